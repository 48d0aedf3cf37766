"""What helped last time: the newest words of a person from before the present occurrence."""

from __future__ import annotations

from typing import Any

import pytest

from edge_agent.alarms.experience import last_time
from edge_agent.messages import Alarm

ALARM = Alarm("P-1.pump", "P-1", active=True, first_seen_us=1000)


def row(at_us: int, action: str = "ack", detail: str = "greased it", actor: str = "anna") -> Any:
    return {"at_us": at_us, "action": action, "detail": detail, "actor": actor}


def test_the_newest_words_before_this_occurrence() -> None:
    """What is written about the present occurrence is no experience yet."""
    found = last_time(ALARM, [row(1500, detail="now"), row(900), row(800, detail="older")])
    assert found == {"time_us": 900, "action": "ack", "by": "anna", "comment": "greased it"}


@pytest.mark.parametrize(
    ("action", "detail", "counts"),
    [
        ("ack", "", False),
        ("refused", "no right", False),
        ("give up", "HTTP 400", False),
        ("activate", "2.0", False),
        ("feedback", "", True),
        ("overhauled", "", True),
        ("shelve", "until 10:00: valve is ordered", True),
    ],
)
def test_only_what_people_say_counts(action: str, detail: str, *, counts: bool) -> None:
    """An acknowledgement without words helps nobody, nor does what the service did by itself."""
    assert (last_time(ALARM, [row(900, action, detail)]) is not None) is counts
