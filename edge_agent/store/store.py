"""The store itself: short transactions, limited in size and time."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any, Final

from edge_agent.errors import StoreError
from edge_agent.store import journal, outbox
from edge_agent.store.absorb import Snapshot, absorb
from edge_agent.store.database import Database, page_limit, reserve_bytes
from edge_agent.store.journal import AuditFilter, HistoryFilter, StoredTransition
from edge_agent.store.schema import open_database, store_error

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from edge_agent.clock import Clock
    from edge_agent.messages import Alarm, Message, Transition
    from edge_agent.store.outbox import DroppedMessages, Line, OutboxStats, Waiting

MIN_BYTES: Final = 1 << 20
_ALL: Final = AuditFilter()
_UPSERT_VALUE: Final = (
    "INSERT INTO vault (key, value) VALUES (?, ?)"
    " ON CONFLICT (key) DO UPDATE SET value = excluded.value"
)


class Store(Database):
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

    @classmethod
    def open(
        cls, path: Path, *, max_bytes: int, history_days: float, clock: Clock, damage: str = ""
    ) -> Store:
        """Open or create the file; one that is corrupt is moved to `<name>.corrupt-<time>`.

        A file that is larger than a newly lowered `max_bytes` keeps its size but grows no more.
        damage: why the file is known to be corrupt.
        """
        if max_bytes < MIN_BYTES:
            raise StoreError(
                f"max_bytes {max_bytes} is too small", where=str(path), hint="at least 1MiB"
            )
        db, aside = open_database(
            path,
            page_limit=page_limit(max_bytes),
            wal_bytes=reserve_bytes(max_bytes) // 2,
            now_us=clock.now_us(),
            damage=damage,
        )
        try:
            store = cls(db, path, max_bytes, history_days, clock)
        except (sqlite3.Error, OSError) as error:
            db.close()
            raise store_error("open the store", path, error) from error
        store.set_aside = aside
        return store

    def close(self) -> None:
        """Close the file; safe when repeated."""
        with self.reporting("close"):
            self.db.close()

    def commit(
        self, transitions: Sequence[Transition], messages: Sequence[Message]
    ) -> list[DroppedMessages]:
        """Alarm states, history and outbox rows in ONE transaction; returns what it had to drop."""
        now_us, now_s = self._clock.now_us(), self._clock.monotonic_s()

        def change(db: sqlite3.Connection) -> tuple[int, list[DroppedMessages]]:
            self.forget_twins(transitions)
            weight = journal.insert(db, transitions, now_us)
            outbox.insert(db, messages)
            return weight, outbox.make_room(db, self._outbox_budget)

        weight, dropped = self.write("commit", change, self.shrink_outbox)
        self.states |= {one.alarm.alarm_id: StoredTransition(now_us, one) for one in transitions}
        self._dropped += dropped
        self._history_bytes += weight
        self.do_housekeeping(now_s)
        dropped, self._dropped = self._dropped, []
        return dropped

    def enqueue(self, key: str, value: bytes, messages: Sequence[Message]) -> None:
        """Store a value, and messages that follow from it, in ONE transaction."""

        def change(db: sqlite3.Connection) -> list[DroppedMessages]:
            db.execute(_UPSERT_VALUE, (key, value))
            outbox.insert(db, messages)
            return outbox.make_room(db, self._outbox_budget)

        self._dropped += self.write("enqueue messages", change, self.shrink_outbox)

    def newest_row(self) -> int:
        """Return the row of the newest transition; 0 if the history is empty."""
        with self.reporting("read the history"):
            return journal.newest_row(self.db)

    def after(self, row: int, limit: int) -> list[tuple[int, Transition]]:
        """Return the oldest transitions after a row, in order, each with its own row."""
        with self.reporting("read the history"):
            return journal.select_after(self.db, row, limit)

    def absorb(self, memory: Snapshot, delivered: Collection[int], *, keep_values: bool) -> None:
        """Add the content of a store in memory, from while this one could not be used.

        delivered: rows of our outbox that it has taken over. keep_values: our values win.
        """

        def change(db: sqlite3.Connection) -> list[DroppedMessages]:
            absorb(
                db,
                memory.db,
                memory.states,
                self.states,
                confirmed=delivered,
                keep_values=keep_values,
                audit_rows=self._audit_rows,
            )
            return outbox.make_room(db, self._outbox_budget)

        self._dropped += self.write("write what was kept in memory", change)
        self.states |= memory.states
        self._history_bytes = journal.history_bytes(self.db)

    def alarms(self) -> list[Alarm]:
        """Return every alarm as last committed; an unreadable one is logged and left out."""
        return [one.transition.alarm for one in self.states.values()]

    def pending(
        self, sink: str, limit: int, exclude: Collection[Line] = (), held: Collection[str] = ()
    ) -> list[Message]:
        """Return the oldest `limit` messages of `sink`, but for `exclude`d lines and `held` kinds.

        Oldest by the history. A line is a (kind, key); lines, not rows, so that an alarm whose
        messages are refused cannot stand in the way of the others.
        """
        with self.reporting("read the outbox"):
            return outbox.pending(self.db, sink, limit, exclude, held)

    def exchange(
        self,
        sink: str,
        delivered: Sequence[int],
        limit: int,
        exclude: Collection[Line] = (),
        held: Collection[str] = (),
    ) -> list[Message]:
        """`confirm` what is delivered, then return what is `pending`."""
        if delivered:
            self.confirm(delivered)
        return self.pending(sink, limit, exclude, held) if limit else []

    def confirm(self, rows: Sequence[int]) -> None:
        """Delete delivered messages; rows that are gone already are no error."""
        self.note_delivered(rows)
        self.write("confirm", lambda db: outbox.confirm(db, rows))

    def forget_sinks(self, keep: Collection[str]) -> int:
        """Delete the messages of every sink not in `keep`; returns how many."""
        return self.write("forget sinks", lambda db: outbox.forget_sinks(db, keep))

    def void_waiting(self) -> int:
        """Delete all that waits, as if it had never happened; returns how many messages.

        Another gateway of a pair has decided since, and its transitions have these numbers.
        """
        return self.write("void what waits", outbox.void_waiting)

    def outbox_stats(self) -> dict[str, OutboxStats]:
        """Return what waits, by sink that has something waiting."""
        with self.reporting("read the outbox"):
            return outbox.stats(self.db)

    def history(
        self, *, asset: str | None = None, alarm_id: str | None = None, limit: int = 100
    ) -> list[dict[str, Any]]:
        """Return transitions, the newest first.

        Keys: row, at_us, alarm_id, asset, transition, actor, and alarm: the whole alarm after the
        transition, as `alarm_to_dict` gives it.
        """
        with self.reporting("read the history"):
            return journal.select_history(self.db, HistoryFilter(asset, alarm_id), limit)

    def latest(self) -> list[StoredTransition]:
        """Return the newest transition of every alarm: the states as last committed."""
        return list(self.states.values())

    def newest(self, limit: int) -> list[StoredTransition]:
        """Return the newest transitions of all alarms, the newest first."""
        with self.reporting("read the history"):
            return journal.select_newest(self.db, limit)

    def progress(self, sink: str, kind: str, limit: int) -> tuple[int, list[tuple[str, int]]]:
        """Return a row of the history, and all that waits for `sink` of the transitions up to it.

        It is the newest row, or an older one if more than `limit` messages of that kind wait.
        """
        with self.reporting("read the outbox"):
            found = outbox.oldest(self.db, sink, kind, limit + 1)
            row = found[limit][0] - 1 if len(found) > limit else journal.newest_row(self.db)
        return max(0, row), [(key, number) for _, key, number in found[:limit]]

    def since(self, row: int, others: Collection[tuple[str, int]], limit: int) -> list[Transition]:
        """Return the newest transitions after a row, and others by (alarm id, number), in order."""
        with self.reporting("read the history"):
            found = [one for each in others for one in journal.select_one(self.db, *each)]
            found += reversed(journal.select_since(self.db, row, limit))
        return [one.transition for one in found]

    def waiting(self, sink: str) -> list[Waiting]:
        """Return what waits for `sink`, without the bodies."""
        with self.reporting("read the outbox"):
            return outbox.waiting(self.db, sink)

    def save_value(self, key: str, value: bytes) -> None:
        """Store `value` under `key`; replaces an older one."""
        self.write("save a value", lambda db: db.execute(_UPSERT_VALUE, (key, value)))

    def load_value(self, key: str) -> bytes | None:
        """Return the value stored by `save_value`; None if there is none."""
        with self.reporting("load a value"):
            row = self.db.execute("SELECT value FROM vault WHERE key = ?", (key,)).fetchone()
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

        self.write("audit", change)

    def claim_command(self, command_id: str, expires_us: int) -> bool:
        """Remember the id of a command until it expires; False if it is known, or no more fit."""
        now_us = self._clock.now_us()

        return self.write(
            "remember a command",
            lambda db: journal.claim_command(db, command_id, expires_us, now_us),
        )

    def said_of(self, subjects: Sequence[str]) -> list[dict[str, Any]]:
        """Return the newest entries of the audit about any of some subjects; none if it fails."""
        try:
            return journal.select_said_of(self.db, subjects)
        except sqlite3.Error:
            return []

    def audit_log(self, wanted: AuditFilter = _ALL, limit: int = 100) -> list[dict[str, Any]]:
        """Return audit entries, the newest first: row, at_us, actor, action, subject, detail.

        `wanted.before` continues after the last row of an answer.
        """
        with self.reporting("read the audit log"):
            return journal.select_audit(self.db, wanted, limit)
