"""The connection of a store: transactions, and what it does when there is no space."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from typing import TYPE_CHECKING, Final, TypeVar

from edge_agent.clock import US_PER_S
from edge_agent.store import journal, outbox
from edge_agent.store.ballast import Ballast, empty_wal, limit_pages
from edge_agent.store.schema import PAGE_BYTES, first_number, identity_of, primary_code, store_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from edge_agent.clock import Clock
    from edge_agent.messages import Transition
    from edge_agent.store.outbox import DroppedMessages

log = logging.getLogger("edge_agent.store")

T = TypeVar("T")

_MAX_RESERVE: Final = 4 << 20
# On a full disk the history goes in small cuts, before the outbox is touched: the WAL of a large
# one would not fit either.
_CUTS: Final = 16
_CUT_BYTES: Final = 64 << 10
_PRUNE_EVERY_S: Final = 3600.0
_REPORT_EVERY_S: Final = 3600.0  # the store may become full and free again with every row
_SECONDS_A_DAY: Final = 86_400


class Database:
    """A connection with budgets for its tables; the base of `Store`.

    is_durable: False if its content is lost with the process. set_aside: the name under which a
    damaged file was kept when this one was opened. first_number, identity: see
    `schema`. states: the newest transition of each alarm.
    """

    is_durable = True
    set_aside = ""

    def __init__(
        self, db: sqlite3.Connection, path: Path, max_bytes: int, history_days: float, clock: Clock
    ) -> None:
        self.db = db
        self.first_number = first_number(db)
        self.identity = identity_of(db)
        self.states = {one.transition.alarm.alarm_id: one for one in journal.select_latest(db)}
        self._path = path
        self._clock = clock
        self._page_limit = page_limit(max_bytes)
        self._outbox_budget = self._page_limit * PAGE_BYTES // 2
        self._history_budget = self._page_limit * PAGE_BYTES // 4
        self._audit_rows = min(10_000, max_bytes >> 13)
        self._history_us = round(history_days * _SECONDS_A_DAY * US_PER_S)
        self._history_bytes = journal.history_bytes(db)
        self._next_prune_s = clock.monotonic_s()
        self._dropped: list[DroppedMessages] = []
        self._next_report_s = clock.monotonic_s()
        self._ballast = Ballast(path.with_name(f"{path.name}.ballast"), reserve_bytes(max_bytes))
        if self.is_durable:
            self._ballast.restore(clock.monotonic_s())

    def forget_twins(self, transitions: Sequence[Transition]) -> None:
        """Delete messages of the same transitions; only a store in memory may have some."""

    def note_delivered(self, rows: Sequence[int]) -> None:
        """Note rows of the outbox that are confirmed; only a store in memory needs them."""

    def write(
        self,
        action: str,
        change: Callable[[sqlite3.Connection], T],
        last_relief: Callable[[], None] = lambda: None,
    ) -> T:
        """Run `change` in a transaction; when there is no space, make some and try again."""
        reliefs = (self._fit_to_disk, *[self._cut_history] * _CUTS, last_relief)
        with self.reporting(action):
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
        self._ballast.spend(self.db, self._page_limit)

    def _cut_history(self) -> None:
        cut = max(_CUT_BYTES, self._history_bytes // _CUTS)
        self._prune_history(max(0, self._history_bytes - cut))
        empty_wal(self.db)

    def shrink_outbox(self) -> None:
        """Drop half of the outbox; the next successful commit returns what was dropped.

        Not on a full disk: memory has room.
        """
        if self.is_durable and self._ballast.is_spent:
            return

        def change(db: sqlite3.Connection) -> list[DroppedMessages]:
            total = sum(one.bytes for one in outbox.stats(db).values())
            return outbox.make_room(db, total // 2)

        self._dropped += self._transaction(change)
        empty_wal(self.db)

    def do_housekeeping(self, now_s: float) -> None:
        """Do periodic maintenance; its failure never fails the commit before it."""
        try:
            if now_s >= self._ballast.next_try_s and self._ballast.restore(now_s):
                limit_pages(self.db, self._page_limit)
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
        self._history_bytes = journal.history_bytes(self.db)

    def _transaction(self, change: Callable[[sqlite3.Connection], T]) -> T:
        self.db.execute("BEGIN IMMEDIATE")
        try:
            result = change(self.db)
            self.db.execute("COMMIT")
        except BaseException:
            if self.db.in_transaction:  # SQLite has rolled back by itself after some errors
                self.db.execute("ROLLBACK")
            raise
        return result

    @contextlib.contextmanager
    def reporting(self, action: str) -> Iterator[None]:
        """Turn the errors of SQLite into StoreErrors; action: `read the history` and the like."""
        try:
            yield
        except (sqlite3.Error, UnicodeEncodeError, OverflowError) as error:
            raise store_error(action, self._path, error) from error


def reserve_bytes(max_bytes: int) -> int:
    """Return the size of the ballast, and half of that of the WAL."""
    return min(max_bytes // 16, _MAX_RESERVE) // PAGE_BYTES * PAGE_BYTES


def page_limit(max_bytes: int) -> int:
    """Return how many pages the file itself may have."""
    return (max_bytes - 2 * reserve_bytes(max_bytes)) // PAGE_BYTES
