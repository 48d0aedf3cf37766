"""The outbox table: messages wait in it until their sink has confirmed them."""

from __future__ import annotations

import contextlib
import sqlite3
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from edge_agent.messages import Message

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

# Messages of one sink that must arrive one after the other: (kind, key).
Line = tuple[str, str]

ROW_OVERHEAD_BYTES: Final = 128  # numbers, and entries of both indexes
_CHUNK: Final = 64

_COLUMNS: Final = "sink, kind, key, seq, topic, body, created_us"
# From the newest row on, where it is found at once.
_TURN: Final = (
    "COALESCE((SELECT row FROM history WHERE alarm_id = ?3 AND seq = ?4"
    " ORDER BY row DESC LIMIT 1), 0)"
)
_INSERT: Final = (
    f"INSERT INTO outbox ({_COLUMNS}, bytes, row, turn)"  # noqa: S608
    f" VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, {_TURN})"
)
_ALL: Final = f"SELECT row, {_COLUMNS} FROM outbox ORDER BY row"  # noqa: S608
_KEPT: Final = "SELECT key, seq FROM outbox WHERE row = ?"
_PENDING: Final = f"SELECT row, {_COLUMNS} FROM outbox WHERE sink = ?"  # noqa: S608
_WAITING: Final = "SELECT kind, key, seq, created_us FROM outbox WHERE sink = ?"
_OLDEST: Final = (
    "SELECT turn, key, seq FROM outbox WHERE sink = ? AND kind = ? ORDER BY turn, row LIMIT ?"
)
_STATS: Final = "SELECT sink, COUNT(*), SUM(bytes), MIN(created_us) FROM outbox GROUP BY sink"
_TOTAL: Final = "SELECT COALESCE(SUM(bytes), 0) FROM outbox"

# The drop order, first row first; within a row, the sink with most bytes and its oldest message.
_SUPERSEDED: Final = (
    "SELECT row, bytes FROM outbox AS old WHERE sink = ? AND kind = 'alert' AND EXISTS"
    " (SELECT 1 FROM outbox AS new WHERE new.sink = old.sink AND new.kind = 'alert'"
    " AND new.key = old.key AND new.row > old.row) ORDER BY row LIMIT ?"
)
_EVENTS: Final = (
    "SELECT row, bytes FROM outbox WHERE sink = ? AND kind <> 'alert' ORDER BY row LIMIT ?"
)
_ALERTS: Final = (
    "SELECT row, bytes FROM outbox WHERE sink = ? AND kind = 'alert' ORDER BY row LIMIT ?"
)
_RANKS: Final = (("superseded", _SUPERSEDED), ("event", _EVENTS), ("newest", _ALERTS))


@dataclass(frozen=True, slots=True)
class OutboxStats:
    """Waiting messages of one sink; oldest_us: gateway time of the oldest one."""

    rows: int
    bytes: int
    oldest_us: int


class Waiting(NamedTuple):
    """A message that is not confirmed yet, without its body."""

    kind: str
    key: str
    seq: int
    created_us: int


@dataclass(frozen=True, slots=True)
class DroppedMessages:
    """Messages given up to stay within the budget.

    rank: `superseded` (a newer state of the same alarm waits: nothing is lost), `event`, `newest`.
    """

    sink: str
    rank: str
    messages: int
    bytes: int


def insert(db: sqlite3.Connection, messages: Sequence[Message]) -> None:
    """Append `messages`; the table assigns their `row`."""
    db.executemany(_INSERT, [(*_values(one), None) for one in messages])


def _values(m: Message) -> tuple[object, ...]:
    size = len(m.body) + len(m.topic) + 2 * len(m.key) + ROW_OVERHEAD_BYTES
    return m.sink, m.kind, m.key, m.seq, m.topic, m.body, m.created_us, size


def insert_with_rows(db: sqlite3.Connection, messages: Sequence[Message]) -> None:
    """Insert messages under the row that they have; one that is there already is left out."""
    for one in messages:
        kept = db.execute(_KEPT, (one.row,)).fetchone()
        if kept is None:
            db.execute(_INSERT, (*_values(one), one.row))
        elif kept != (one.key, one.seq):
            insert(db, [one])


def everything(db: sqlite3.Connection) -> list[Message]:
    """Return all messages in row order."""
    return [Message(*row) for row in db.execute(_ALL)]


def readable(db: sqlite3.Connection, limit: int) -> list[Message]:
    """Return the oldest messages, up to the first that cannot be read."""
    found: list[Message] = []
    with contextlib.suppress(sqlite3.Error, TypeError, ValueError):
        for row in db.execute(f"{_ALL} LIMIT ?", (limit,)):
            found.append(Message(*row))  # noqa: PERF401 (what came before an error is kept)
    return found


def is_whole(message: Message) -> bool:
    """True if the body is that of this message: a damaged page may decode to anything."""
    named = f'"id":"{message.key}:{message.seq}"'.encode()
    return not message.body or named in message.body


def pending(
    db: sqlite3.Connection,
    sink: str,
    limit: int,
    exclude: Collection[Line],
    held: Collection[str] = (),
) -> list[Message]:
    """Return the oldest `limit` messages of `sink` in no line of `exclude` and of no `held` kind.

    In the order of the history: what is sent again comes before what was raised since. Otherwise a
    long queue hides how far a receiver has received, and all of it would be sent again.
    """
    query, values = _PENDING, [sink]
    if exclude:
        lines = ", ".join(["(?, ?)"] * len(exclude))
        query += f" AND (kind, key) NOT IN (VALUES {lines})"
        values += [part for line in exclude for part in line]
    if held:
        query += f" AND kind NOT IN ({', '.join('?' * len(held))})"
        values += held
    rows = db.execute(f"{query} ORDER BY turn, row LIMIT ?", (*values, limit))
    return [Message(*row) for row in rows]


def waiting(db: sqlite3.Connection, sink: str) -> list[Waiting]:
    """Return everything that waits for `sink`, in no order."""
    return [Waiting(*row) for row in db.execute(_WAITING, (sink,))]


def oldest(db: sqlite3.Connection, sink: str, kind: str, limit: int) -> list[tuple[int, str, int]]:
    """Return (row of the history, key, number) of the oldest of a kind that wait for `sink`."""
    return db.execute(_OLDEST, (sink, kind, limit)).fetchall()


def confirm(db: sqlite3.Connection, rows: Sequence[int]) -> None:
    """Delete delivered messages; a missing row is not an error."""
    db.executemany("DELETE FROM outbox WHERE row = ?", [(row,) for row in rows])


def forget_sinks(db: sqlite3.Connection, keep: Collection[str]) -> int:
    """Delete the messages of every sink not in `keep`; returns how many."""
    gone = [(sink,) for sink in stats(db) if sink not in keep]
    return db.executemany("DELETE FROM outbox WHERE sink = ?", gone).rowcount if gone else 0


def void_waiting(db: sqlite3.Connection) -> int:
    """Delete all that waits, and the transitions of events that wait from the history."""
    db.execute(
        "DELETE FROM history WHERE EXISTS (SELECT 1 FROM outbox WHERE kind = 'event'"
        " AND key = history.alarm_id AND outbox.seq = history.seq)"
    )
    return db.execute("DELETE FROM outbox").rowcount


def stats(db: sqlite3.Connection) -> dict[str, OutboxStats]:
    """Return what waits per sink; a sink for which nothing waits is not in it."""
    return {sink: OutboxStats(*numbers) for sink, *numbers in db.execute(_STATS)}


def make_room(db: sqlite3.Connection, budget: int) -> list[DroppedMessages]:
    """Drop in the stated order until all messages together fit `budget` bytes."""
    excess = int(db.execute(_TOTAL).fetchone()[0]) - budget
    if excess <= 0:
        return []
    weights = {sink: one.bytes for sink, one in stats(db).items()}
    rows: Counter[tuple[str, str]] = Counter()
    freed: Counter[tuple[str, str]] = Counter()
    for rank, query in _RANKS:
        candidates = set(weights)
        while excess > 0 and candidates:
            sink = max(candidates, key=lambda name: weights[name])
            victims = db.execute(query, (sink, _CHUNK)).fetchall()
            if not victims:
                candidates.remove(sink)
                continue
            gone, size = _drop(db, victims, excess)
            rows[sink, rank] += gone
            freed[sink, rank] += size
            weights[sink] -= size
            excess -= size
    return [DroppedMessages(*who, count, freed[who]) for who, count in rows.items()]


def _drop(
    db: sqlite3.Connection, victims: Sequence[tuple[int, int]], excess: int
) -> tuple[int, int]:
    size = 0
    gone: list[int] = []
    for row, bytes_ in victims:
        if size >= excess:
            break
        gone.append(row)
        size += bytes_
    confirm(db, gone)
    return len(gone), size
