"""The store that goes on in memory while its file cannot be used, and returns to it."""

from __future__ import annotations

import contextlib
import logging
import math
import sqlite3
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Concatenate, Final, NamedTuple, ParamSpec, TypeVar

from edge_agent.errors import StoreError
from edge_agent.store import outbox
from edge_agent.store.absorb import Snapshot
from edge_agent.store.schema import (
    PAGE_BYTES,
    FileError,
    open_in_memory,
    quick_check,
)
from edge_agent.store.store import MIN_BYTES, Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from edge_agent.clock import Clock
    from edge_agent.messages import Alarm, Transition

log = logging.getLogger("edge_agent.store")

P = ParamSpec("P")
T = TypeVar("T")

_MAX_MEMORY_BYTES: Final = 16 << 20
_MAX_COPIED: Final = 2000  # messages of the file that are delivered from memory meanwhile
_MAX_CHECKED_BYTES: Final = 16 << 20  # a larger file is checked when it is opened
_CHECK_SHARE: Final = 0.005  # of the time
_CHECK_EVERY_S: Final = 5.0


class Place(NamedTuple):
    """Where a store is, and its limits; as for `Store.open`."""

    path: Path
    max_bytes: int
    history_days: float
    clock: Clock


class MemoryStore(Store):
    """A store in memory that begins with the alarms as they were last committed to `file`.

    delivered: rows of the file's outbox that were confirmed meanwhile, or copied into this one.
    """

    is_durable = False

    def __init__(self, place: Place, file: Store | None = None) -> None:
        clock, max_bytes = place.clock, min(place.max_bytes, _MAX_MEMORY_BYTES)
        # Rows of the file are smaller: a message that is in flight now keeps its row.
        self._first_row = clock.now_us()
        db = open_in_memory(max_bytes // PAGE_BYTES, self._first_row, clock.now_us())
        super().__init__(db, Path(":memory:"), max_bytes, place.history_days, clock)
        self._ballast.next_try_s = math.inf
        if file is not None:
            self.states, self.first_number = dict(file.states), file.first_number
        self.delivered: set[int] = set()
        self._may_have_twins = True

    def note_delivered(self, rows: Sequence[int]) -> None:
        """Note rows of the file: they are deleted there later."""
        self.delivered |= {row for row in rows if row <= self._first_row}

    def forget_twins(self, transitions: Sequence[Transition]) -> None:
        """Delete copied messages of a transaction of the file that only seemed to fail."""
        if self._may_have_twins:
            self._may_have_twins = False
            ids = [(one.alarm.alarm_id, one.alarm.seq) for one in transitions]
            self.db.executemany("DELETE FROM outbox WHERE key = ? AND seq = ?", ids)

    def snapshot(self) -> Snapshot:
        """A copy of the content."""
        copy = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        self.db.backup(copy)
        return Snapshot(copy, dict(self.states))

    def copy_messages(self, file: Store, *, damaged: bool) -> None:
        """Copy the oldest messages that can still be read."""
        found = outbox.readable(file.db, _MAX_COPIED)
        if damaged:
            found = [one for one in found if outbox.is_whole(one)]
        outbox.insert_with_rows(self.db, found)
        self.delivered |= {one.row for one in found}


class FallbackStore:
    """A store in a file, or in memory while the file cannot be used; on one thread, as `Store`.

    Its thread may be given up (`continue_without_thread`) at any time but during a call in memory.
    From then on it touches nothing of its memory, which another one may have taken over.

    store: the present one. failures: of the file, so far. trouble: why it is in memory; empty if it
    is in its file. damage: why the file must be moved aside before it is used again.
    """

    def __init__(self, place: Place, store: Store, error: StoreError | None = None) -> None:
        self.store = store
        self.trouble = ""
        self.damage = ""
        self.failures = 0
        self.is_abandoned = False
        self._place = place
        self._device = _device_of(place.path)
        self._files = _files_of(place.path)
        self._starts_cold = error is not None  # nothing of the file was ever read
        self._next_check_s = 0.0
        self._memory_lock = threading.Lock()
        if error is not None:
            self._set_trouble(error)

    @classmethod
    def open(cls, place: Place) -> FallbackStore:
        """Open the file, or begin in memory."""
        try:
            return cls(place, open_file(place))
        except StoreError as error:
            if place.max_bytes < MIN_BYTES:
                raise
            return cls(place, MemoryStore(place), error)

    def call(
        self, method: Callable[Concatenate[Store, P], T], *args: P.args, **options: P.kwargs
    ) -> T:
        """Call a method of the store; if the file fails, again with one in memory."""
        if self.store.is_durable:
            try:
                return method(self.store, *args, **options)
            except FileError as error:
                self.leave_file(error)
        with self._kept_memory():
            return method(self.store, *args, **options)

    def leave_file(self, error: FileError) -> None:
        """Continue in memory with the alarms as last committed."""
        file = self.store
        memory = MemoryStore(self._place, file)
        memory.copy_messages(file, damaged=error.is_damage)
        with self._kept_memory():
            self.store = memory
        self._starts_cold = False
        if error.is_damage:
            self.damage = error.message
        self._set_trouble(error)
        with contextlib.suppress(StoreError):
            file.close()

    def continue_without_thread(self) -> FallbackStore | None:
        """Another one, in memory: a call of this one does not return.

        None if a call is working in memory: it is slow, but no disk holds it up.
        """
        if not self._memory_lock.acquire(blocking=False):
            return None
        self.is_abandoned = True
        self._memory_lock.release()
        error = FileError("the disk does not answer", where=str(self._place.path))
        store = self.store
        if store.is_durable:
            store = MemoryStore(self._place, store)
        other = FallbackStore(self._place, store, error)
        other._starts_cold = self._starts_cold and store is self.store
        other.damage, other.failures = self.damage, self.failures + 1
        return other

    def close_file(self) -> None:
        """Close the file, if a call returned that was given up."""
        if self.store.is_durable:
            self.store.close()

    def open_file(self) -> Store:
        """Open the file again, from any thread; StoreError if it is not usable."""
        path = self._place.path
        if _device_of(path) != self._device and not path.exists():
            raise StoreError("its file system is not mounted", where=str(path), hint="mount it")
        return open_file(self._place, self.damage)

    def return_to(self, file: Store) -> list[Alarm] | None:
        """Continue in the file; returns its unknown alarms if it was never read before, else None.

        StoreError if the file cannot be written: then all stays in memory.
        """
        memory, cold = self.store, self._starts_cold
        assert isinstance(memory, MemoryStore)  # noqa: S101 (called only then)
        try:
            with self._kept_memory():
                kept, delivered = memory.snapshot(), set(memory.delivered)
            unknown = [one for one in file.alarms() if one.alarm_id not in kept.states]
            with contextlib.closing(kept.db):
                file.absorb(kept, delivered, keep_values=cold)
            with self._kept_memory():
                self.store = file
        except StoreError:
            file.close()
            raise
        self.trouble = self.damage = ""
        self._starts_cold = False
        self._device, self._files = _device_of(self._place.path), _files_of(self._place.path)
        log.info("store works again", extra={"path": str(self._place.path)})
        memory.close()
        return unknown if cold else None

    @contextlib.contextmanager
    def _kept_memory(self) -> Iterator[None]:
        """Nobody takes the memory over during a `with`; StoreError if somebody has."""
        with self._memory_lock:
            if self.is_abandoned:
                raise StoreError("this thread was given up", where=str(self._place.path))
            yield

    def check_file(self) -> None:
        """Find a file that was deleted or replaced, or is damaged where nothing reads; at times.

        SQLite continues to write into a deleted file, and reads what it has in its cache.
        """
        if not self.store.is_durable or time.monotonic() < self._next_check_s:
            return
        begun_s = time.monotonic()
        try:
            self._check_files()
            self._check_pages()
        except FileError as error:
            self.leave_file(error)
        took_s = time.monotonic() - begun_s
        self._next_check_s = begun_s + max(_CHECK_EVERY_S, took_s / _CHECK_SHARE)

    def _check_files(self) -> None:
        present = _files_of(self._place.path)
        if any(present.get(name) != number for name, number in self._files.items()):
            path = self._place.path
            if not path.exists() and _device_of(path) == self._device:
                _write_again(self.store.db, path)
            raise FileError("the file was deleted or replaced", where=str(path))
        self._files = present

    def _check_pages(self) -> None:
        db = self.store.db
        with self.store.reporting("check the file"):
            pages = int(db.execute("PRAGMA page_count").fetchone()[0])
            if pages * PAGE_BYTES <= _MAX_CHECKED_BYTES:
                db.execute("PRAGMA shrink_memory")  # the check must read the file, not the cache
                quick_check(db)

    def _set_trouble(self, error: StoreError) -> None:
        self.failures += 1
        self.trouble = str(error)
        log.error("store failed, continuing in memory", extra={"reason": self.trouble})


def open_file(place: Place, damage: str = "") -> Store:
    """Open the store's file; one that proves to be damaged while it is read is moved aside."""
    path, max_bytes, days, clock = place
    try:
        return Store.open(path, max_bytes=max_bytes, history_days=days, clock=clock, damage=damage)
    except FileError as error:
        if not error.is_damage or damage:
            raise
        return open_file(place, error.message)


def _device_of(path: Path) -> int:
    """The device of the nearest folder that exists."""
    for folder in path.parents:
        with contextlib.suppress(OSError):
            return folder.stat().st_dev
    return 0


def _files_of(path: Path) -> dict[str, int]:
    """The inodes of the file and its WAL, by name."""
    found = {}
    for file in (path, path.with_name(f"{path.name}-wal")):
        with contextlib.suppress(OSError):
            found[file.name] = file.stat().st_ino
    return found


def _write_again(db: sqlite3.Connection, path: Path) -> None:
    """Write the whole content of a deleted file again."""
    with contextlib.suppress(sqlite3.Error, OSError):
        copy = path.with_name(f"{path.name}.copy")
        copy.unlink(missing_ok=True)
        db.execute("VACUUM INTO ?", (str(copy),))
        copy.chmod(0o600)
        path.with_name(f"{path.name}-wal").unlink(missing_ok=True)
        copy.replace(path)
