"""What a store in memory holds, written into the file that works again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from edge_agent.store import journal, outbox

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Iterable, Mapping

    from edge_agent.messages import Transition
    from edge_agent.store.journal import StoredTransition

_KNOWN: Final = "SELECT 1 FROM history WHERE alarm_id = ? AND seq = ? LIMIT 1"
_AUDIT: Final = "SELECT at_us, actor, action, subject, detail FROM audit ORDER BY row"
_VALUES: Final = "SELECT key, value FROM vault WHERE key NOT IN ('generation', 'identity')"
_ADD_VALUE: Final = "INSERT OR {} INTO vault (key, value) VALUES (?, ?)"
_COMMANDS: Final = "SELECT id, expires_us FROM commands"


class Snapshot(NamedTuple):
    """What a store in memory holds at a moment: a copy, for another thread than its own."""

    db: sqlite3.Connection
    states: Mapping[str, StoredTransition]


def absorb(  # noqa: PLR0913 (two stores, and what is known of both)
    db: sqlite3.Connection,
    memory: sqlite3.Connection,
    latest: Mapping[str, StoredTransition],
    on_disk: Mapping[str, StoredTransition],
    *,
    confirmed: Collection[int],
    keep_values: bool,
    audit_rows: int,
) -> None:
    """Write the content of `memory` into `db`; run it in a transaction.

    latest, on_disk: the newest transition of each alarm, in memory and in the file. confirmed: rows
    of the file's outbox that are in `memory`, or were delivered. keep_values: values of the file
    are kept, because those in memory began without them.
    """
    since = journal.select_all(memory)
    changed = {_id(one.transition) for one in since}
    unchanged = [one for one in latest.values() if _id(one.transition) not in changed]
    for one in (*unchanged, *since):
        if not _is_known(db, one.transition, on_disk):
            journal.insert(db, [one.transition], one.stored_us)
    _forget_messages(db, changed, confirmed)
    outbox.insert_with_rows(db, outbox.everything(memory))
    values = memory.execute(_VALUES).fetchall()
    db.executemany(_ADD_VALUE.format("IGNORE" if keep_values else "REPLACE"), values)
    for entry in memory.execute(_AUDIT).fetchall():
        journal.insert_audit(db, entry, audit_rows)
    known = memory.execute(_COMMANDS).fetchall()
    db.executemany("INSERT OR IGNORE INTO commands VALUES (?, ?)", known)


def _is_known(
    db: sqlite3.Connection, transition: Transition, on_disk: Mapping[str, StoredTransition]
) -> bool:
    """True if the file has it: its transaction seemed to fail, and did not."""
    alarm = transition.alarm
    newest = on_disk.get(alarm.alarm_id)
    if newest is None or newest.transition.alarm.seq < alarm.seq:
        return False
    if newest.transition.alarm.seq == alarm.seq:
        return True
    return db.execute(_KNOWN, (alarm.alarm_id, alarm.seq)).fetchone() is not None


def _forget_messages(
    db: sqlite3.Connection, changed: Collection[tuple[str, int]], confirmed: Collection[int]
) -> None:
    """Delete what was delivered from memory, and states that were superseded there."""
    keys = {alarm_id for alarm_id, _ in changed}
    rows: Iterable[tuple[Any, ...]] = db.execute("SELECT row, kind, key, seq FROM outbox")
    gone = [
        row
        for row, kind, key, seq in rows
        if row in confirmed or (key, seq) in changed or (kind == "alert" and key in keys)
    ]
    outbox.confirm(db, gone)


def _id(transition: Transition) -> tuple[str, int]:
    return transition.alarm.alarm_id, transition.alarm.seq
