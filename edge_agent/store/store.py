"""The store itself: one connection, short transactions, limited in size and time."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from typing import TYPE_CHECKING, Any, Final, TypeVar

from edge_agent.clock import US_PER_S
from edge_agent.errors import StoreError
from edge_agent.store import journal, outbox
from edge_agent.store.ballast import Ballast, empty_wal, limit_pages
from edge_agent.store.journal import AuditFilter
from edge_agent.store.schema import PAGE_BYTES, hint_of, open_database, primary_code

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence
    from pathlib import Path

    from edge_agent.clock import Clock
    from edge_agent.messages import Alarm, Message, Transition
    from edge_agent.store.journal import StoredTransition
    from edge_agent.store.outbox import DroppedMessages, Line, OutboxStats, Waiting

log = logging.getLogger("edge_agent.store")

T = TypeVar("T")

MIN_BYTES: Final = 1 << 20
_MAX_RESERVE: Final = 4 << 20
# On a full disk the history goes in small cuts, before the outbox is touched: the WAL of a large
# one would not fit either.
_CUTS: Final = 16
_CUT_BYTES: Final = 64 << 10
_PRUNE_EVERY_S: Final = 3600.0
_REPORT_EVERY_S: Final = 3600.0  # the store may become full and free again with every row
_SECONDS_A_DAY: Final = 86_400

_ALL: Final = AuditFilter()
_UPSERT_VALUE: Final = (
    "INSERT INTO vault (key, value) VALUES (?, ?)"
    " ON CONFLICT (key) DO UPDATE SET value = excluded.value"
)


class Store:
    """Alarm states, history, outbox, learned values and audit in one SQLite file.

    WAL with synchronous = FULL: data of a completed call survives a power cut. Every call is
    synchronous and may wait for the disk: make all of them from ONE dedicated executor thread.
    Every method may raise StoreError; a failed one has changed nothing, except old history that
    it may have deleted to free space.

    Of `max_bytes` an eighth (at most 8 MiB) is set apart for the WAL and the ballast; of the rest
    the outbox gets half and the history a quarter. When the outbox would pass its budget,
    messages are dropped in this order, the sink with most bytes first, its oldest first:

    1. an `alert` (retained state) that a newer `alert` of the same key has superseded,
    2. an `event`,
    3. the newest `alert` of a key.
    """

    def __init__(
        self, db: sqlite3.Connection, path: Path, max_bytes: int, history_days: float, clock: Clock
    ) -> None:
        self._db = db
        self._path = path
        self._clock = clock
        self._page_limit = _page_limit(max_bytes)
        self._outbox_budget = self._page_limit * PAGE_BYTES // 2
        self._history_budget = self._page_limit * PAGE_BYTES // 4
        self._audit_rows = min(10_000, max_bytes >> 13)
        self._history_us = round(history_days * _SECONDS_A_DAY * US_PER_S)
        self._history_bytes = journal.history_bytes(db)
        self._next_prune_s = clock.monotonic_s()
        self._dropped: list[DroppedMessages] = []
        self._next_report_s = clock.monotonic_s()
        self._ballast = Ballast(path.with_name(f"{path.name}.ballast"), _reserve(max_bytes))
        self._ballast.restore(clock.monotonic_s())

    @classmethod
    def open(cls, path: Path, *, max_bytes: int, history_days: float, clock: Clock) -> Store:
        """Open or create the file; one that is corrupt is moved to `<name>.corrupt-<time>`.

        A file that is larger than a newly lowered `max_bytes` keeps its size but grows no more.
        """
        if max_bytes < MIN_BYTES:
            raise StoreError(
                f"max_bytes {max_bytes} is too small", where=str(path), hint="at least 1MiB"
            )
        db = open_database(
            path,
            page_limit=_page_limit(max_bytes),
            wal_bytes=_reserve(max_bytes) // 2,
            now_us=clock.now_us(),
        )
        return cls(db, path, max_bytes, history_days, clock)

    def close(self) -> None:
        """Close the file; safe when repeated."""
        with self._reporting("close"):
            self._db.close()

    def commit(
        self, transitions: Sequence[Transition], messages: Sequence[Message]
    ) -> list[DroppedMessages]:
        """Alarm states, history and outbox rows in ONE transaction; returns what it had to drop."""
        now_us, now_s = self._clock.now_us(), self._clock.monotonic_s()

        def change(db: sqlite3.Connection) -> tuple[int, list[DroppedMessages]]:
            weight = journal.insert(db, transitions, now_us)
            outbox.insert(db, messages)
            return weight, outbox.make_room(db, self._outbox_budget)

        weight, dropped = self._write("commit", change, self._halve_outbox)
        self._dropped += dropped
        self._history_bytes += weight
        self._housekeeping(now_s)
        dropped, self._dropped = self._dropped, []
        return dropped

    def alarms(self) -> list[Alarm]:
        """Return every alarm as last committed; an unreadable one is logged and left out."""
        with self._reporting("read the alarms"):
            rows = self._db.execute("SELECT alarm_id, body FROM alarms").fetchall()
        return journal.alarms_from_rows(rows)

    def pending(self, sink: str, limit: int, exclude: Collection[Line] = ()) -> list[Message]:
        """Return the oldest `limit` messages of `sink` in row order, but for `exclude`d lines.

        A line is a (kind, key); lines, not rows, so that an alarm whose messages are refused
        cannot stand in the way of the others.
        """
        with self._reporting("read the outbox"):
            return outbox.pending(self._db, sink, limit, exclude)

    def exchange(
        self, sink: str, delivered: Sequence[int], limit: int, exclude: Collection[Line] = ()
    ) -> list[Message]:
        """`confirm` what is delivered, then return what is `pending`."""
        if delivered:
            self.confirm(delivered)
        return self.pending(sink, limit, exclude) if limit else []

    def confirm(self, rows: Sequence[int]) -> None:
        """Delete delivered messages; rows that are gone already are no error."""
        self._write("confirm", lambda db: outbox.confirm(db, rows))

    def forget_sinks(self, keep: Collection[str]) -> int:
        """Delete the messages of every sink not in `keep`; returns how many."""
        return self._write("forget sinks", lambda db: outbox.forget_sinks(db, keep))

    def outbox_stats(self) -> dict[str, OutboxStats]:
        """Return what waits, by sink that has something waiting."""
        with self._reporting("read the outbox"):
            return outbox.stats(self._db)

    def history(
        self, *, asset: str | None = None, alarm_id: str | None = None, limit: int = 100
    ) -> list[dict[str, Any]]:
        """Return transitions, the newest first.

        Keys: row, at_us, alarm_id, asset, transition, actor, and alarm: the whole alarm after the
        transition, as `alarm_to_dict` gives it.
        """
        with self._reporting("read the history"):
            return journal.select_history(self._db, asset, alarm_id, limit)

    def latest(self) -> list[StoredTransition]:
        """Return the newest transition of every alarm: the states as last committed."""
        with self._reporting("read the alarms"):
            return journal.select_latest(self._db)

    def newest(self, limit: int) -> list[StoredTransition]:
        """Return the newest transitions of all alarms, the newest first."""
        with self._reporting("read the history"):
            return journal.select_newest(self._db, limit)

    def waiting(self, sink: str) -> list[Waiting]:
        """Return what waits for `sink`, without the bodies."""
        with self._reporting("read the outbox"):
            return outbox.waiting(self._db, sink)

    def save_value(self, key: str, value: bytes) -> None:
        """Store `value` under `key`; replaces an older one."""
        self._write("save a value", lambda db: db.execute(_UPSERT_VALUE, (key, value)))

    def load_value(self, key: str) -> bytes | None:
        """Return the value stored by `save_value`; None if there is none."""
        with self._reporting("load a value"):
            row = self._db.execute("SELECT value FROM vault WHERE key = ?", (key,)).fetchone()
        return None if row is None else bytes(row[0])

    def audit(self, actor: str, action: str, subject: str, detail: str = "") -> None:
        """Record an audit entry; the newest are kept (10,000, fewer in a small store)."""
        self.audit_all([(actor, action, subject, detail)])

    def audit_all(self, entries: Sequence[tuple[str, str, str, str]]) -> None:
        """Note several (actor, action, subject, detail) at once."""
        now_us = self._clock.now_us()

        def change(db: sqlite3.Connection) -> None:
            for entry in entries:
                journal.insert_audit(db, (now_us, *entry), self._audit_rows)

        self._write("audit", change)

    def claim_command(self, command_id: str, expires_us: int) -> bool:
        """Remember the id of a command until it expires; False if it is known, or no more fit."""
        now_us = self._clock.now_us()

        return self._write(
            "remember a command",
            lambda db: journal.claim_command(db, command_id, expires_us, now_us),
        )

    def audit_log(self, wanted: AuditFilter = _ALL, limit: int = 100) -> list[dict[str, Any]]:
        """Return audit entries, the newest first: row, at_us, actor, action, subject, detail.

        `wanted.before` continues after the last row of an answer.
        """
        with self._reporting("read the audit log"):
            return journal.select_audit(self._db, wanted, limit)

    def _write(
        self,
        action: str,
        change: Callable[[sqlite3.Connection], T],
        last_relief: Callable[[], None] = lambda: None,
    ) -> T:
        """Run `change` in a transaction; when there is no space, make some and try again."""
        reliefs = (self._fit_to_disk, *[self._cut_history] * _CUTS, last_relief)
        with self._reporting(action):
            for relieve in reliefs:
                try:
                    return self._transaction(change)
                except sqlite3.OperationalError as error:
                    if primary_code(error) != sqlite3.SQLITE_FULL:
                        raise
                    self._report_full()
                    with contextlib.suppress(sqlite3.OperationalError, OSError):
                        relieve()
            return self._transaction(change)

    def _report_full(self) -> None:
        now_s = self._clock.monotonic_s()
        if now_s >= self._next_report_s:
            self._next_report_s = now_s + _REPORT_EVERY_S
            log.warning("store full", extra={"path": str(self._path)})

    def _fit_to_disk(self) -> None:
        self._ballast.spend(self._db, self._page_limit)

    def _cut_history(self) -> None:
        cut = max(_CUT_BYTES, self._history_bytes // _CUTS)
        self._prune_history(max(0, self._history_bytes - cut))
        empty_wal(self._db)

    def _halve_outbox(self) -> None:
        """Drop half of the outbox; the next successful commit returns what was dropped."""

        def change(db: sqlite3.Connection) -> list[DroppedMessages]:
            total = sum(one.bytes for one in outbox.stats(db).values())
            return outbox.make_room(db, total // 2)

        self._dropped += self._transaction(change)
        empty_wal(self._db)

    def _housekeeping(self, now_s: float) -> None:
        """Do periodic maintenance; its failure never fails the commit before it."""
        try:
            if now_s >= self._ballast.next_try_s and self._ballast.restore(now_s):
                limit_pages(self._db, self._page_limit)
            if self._history_bytes > self._history_budget:
                self._prune_history(self._history_budget * 9 // 10)
            if now_s >= self._next_prune_s:
                self._next_prune_s = now_s + _PRUNE_EVERY_S
                oldest_us = self._clock.now_us() - self._history_us
                self._transaction(lambda db: journal.forget_history(db, oldest_us))
        except sqlite3.Error as error:
            log.warning("history not pruned", extra={"path": str(self._path), "reason": str(error)})

    def _prune_history(self, budget: int) -> None:
        self._transaction(lambda db: journal.shrink_history(db, budget))
        self._history_bytes = journal.history_bytes(self._db)

    def _transaction(self, change: Callable[[sqlite3.Connection], T]) -> T:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            result = change(self._db)
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:  # SQLite has rolled back by itself after some errors
                self._db.execute("ROLLBACK")
            raise
        return result

    @contextlib.contextmanager
    def _reporting(self, action: str) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, UnicodeEncodeError, OverflowError) as error:
            raise StoreError(
                f"cannot {action}: {error}",
                where=str(self._path),
                hint=hint_of(error),
            ) from error


def _reserve(max_bytes: int) -> int:
    return min(max_bytes // 16, _MAX_RESERVE) // PAGE_BYTES * PAGE_BYTES


def _page_limit(max_bytes: int) -> int:
    return (max_bytes - 2 * _reserve(max_bytes)) // PAGE_BYTES
