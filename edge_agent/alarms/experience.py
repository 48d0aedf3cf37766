"""What people wrote about an alarm or its asset: which entries of the audit say something."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from edge_agent.messages import Alarm

    Row = Mapping[str, Any]

OUTCOMES: Final = frozenset({"feedback", "failed", "overhauled", "healthy"})
# By people, on an alarm or an asset; what the service itself did helps nobody.
_OF_PEOPLE: Final = OUTCOMES | {"ack", "shelve", "suppress", "out_of_service", "in_service"}


def says_something(row: Row) -> bool:
    """True if an entry of the audit is an outcome, or has words."""
    return row["action"] != "refused" and bool(row["detail"] or row["action"] in OUTCOMES)


def last_time(alarm: Alarm, rows: Iterable[Row]) -> dict[str, Any] | None:
    """What was written about the last occurrence of an alarm; rows: the newest first.

    Only entries from before the present occurrence, each about the alarm or its asset.
    """
    for row in rows:
        is_past = row["at_us"] < alarm.first_seen_us
        if is_past and row["action"] in _OF_PEOPLE and says_something(row):
            return {
                "time_us": row["at_us"],
                "action": row["action"],
                "by": row["actor"],
                "comment": row["detail"],
            }
    return None
