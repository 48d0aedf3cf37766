"""The trends of a gateway: open rows in memory, closed ones in their file, and questions to both.

All methods but `read` are for one thread, that of the recorder. A failing file costs trends and
nothing else: `trouble` tells it, and rows wait in memory, the oldest of too many are lost.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from edge_agent.errors import StoreError
from edge_agent.trends import file as files
from edge_agent.trends.levels import RESOLUTIONS_S, base_level, level_for, step_for
from edge_agent.trends.rows import Rows, empty_rows, grouped, joined

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

log = logging.getLogger("edge_agent.trends")

FLUSH_S: Final = 300  # so much of the trends a crash may cost
OPEN_AGAIN_S: Final = 60
MOST_OPEN: Final = 400_000  # rows in memory: about 20 MiB
MOST_RECENT: Final = 20_000  # rows that are not yet among the others
MOST_SERIES: Final = 200_000
MOST_POINTS: Final = 20_000  # in one answer
READ_S: Final = 2.0
_KEPT_ASIDE: Final = 2
_CHECK_STEPS: Final = 20_000  # of SQLite's machine, between two looks at the time
_TRIES: Final = 5
_WRITING_S: Final = 0.05  # a write takes so long, about


class SeriesName(NamedTuple):
    """What a series of an asset is: kind input, score, limit or contribution, and its name."""

    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class Trend:
    """An answer. step_s: length of its buckets; series: the rows of each, by time."""

    step_s: int
    first_s: int
    last_s: int
    series: dict[SeriesName, Rows] = field(default_factory=dict)


class Trends:
    """Collects rows, writes them in batches, and answers questions.

    beside: the store's file if this one is in its folder: without it nothing is made there, since
    it may be the empty mount point of a disk. generation: grows when the numbers of series have
    changed. trouble: why the file cannot be used.
    """

    def __init__(self, path: Path, max_bytes: int, beside: Path | None = None) -> None:
        self.generation = 0
        self.trouble = ""
        self.lost = 0  # rows
        self._path = path
        self._max_bytes = max_bytes
        self._beside = beside
        self._file: files.TrendFile | None = None
        self._next_open_s = -float("inf")
        self._flushed_s: int | None = None
        # Merged ones, and those since: each second is merged with the few of its bucket. In one
        # tuple, since a reader in another thread must see each row once.
        self._memory: tuple[Rows, Rows] = empty_rows(), empty_rows()
        self._by_asset: dict[str, dict[SeriesName, int]] = {}
        self._new: list[tuple[int, str, str, str]] = []
        self._last_number = -1
        self._writes = 0

    @property
    def resolution_s(self) -> int:
        """The finest resolution that is kept, in seconds: coarser if there are many series."""
        return RESOLUTIONS_S[self._base]

    @property
    def _base(self) -> int:
        return base_level(self._last_number + 1, self._max_bytes)

    @property
    def rows(self) -> Rows:
        """The rows in memory."""
        return self._merge()

    # -- the recorder's side ------------------------------------------------------------------

    def number(self, asset: str, kind: str, name: str) -> int:
        """The number of a series, a new one if it is new; -1 if there are too many."""
        mine = self._by_asset.setdefault(asset, {})
        found = mine.get(SeriesName(kind, name))
        if found is None:
            if self._last_number + 1 >= MOST_SERIES:
                return -1
            found = self._last_number = self._last_number + 1
            mine[SeriesName(kind, name)] = found
            self._new.append((found, asset, kind, name))
        return found

    def add(self, rows: Rows) -> None:
        """Add rows of any buckets; rows of series -1 are left out."""
        merged, recent = self._memory
        recent = grouped(joined([recent, rows[rows["series"] >= 0]]), self.resolution_s)
        self._memory = merged, recent
        if len(recent) > MOST_RECENT:
            self._merge()

    def _merge(self) -> Rows:
        """All rows in memory, as one; the oldest of too many are lost."""
        merged, recent = self._memory
        if not len(recent):
            return merged
        found = grouped(joined([merged, recent]), self.resolution_s)
        if len(found) > MOST_OPEN:
            newest = np.argsort(found["bucket"], kind="stable")[-MOST_OPEN * 3 // 4 :]
            self.lost += len(found) - len(newest)
            found = found[np.sort(newest)]
        self._memory = found, empty_rows()
        return found

    def tend(self, now_s: int, monotonic_s: float) -> None:
        """Open the file if it is not, and write if it is time; never raises its errors."""
        if self._file is None:
            self._open(now_s, monotonic_s)
        if self._flushed_s is None or now_s < self._flushed_s:
            self._flushed_s = now_s
        is_due = now_s - self._flushed_s >= FLUSH_S or len(self._memory[0]) > MOST_OPEN // 2
        if self._file is not None and is_due:
            self.flush(now_s)

    def flush(self, now_s: int, *, everything: bool = False) -> None:
        """Write the rows of all buckets that are over, or everything."""
        if self._file is None:
            return
        self._flushed_s = now_s
        before_s = now_s // self.resolution_s * self.resolution_s
        over = self._merge()["bucket"] < before_s - self.resolution_s
        if everything:
            over[:] = True
        try:
            self._move(over, self._file, now_s)
            self._file.tidy(now_s)
        except (sqlite3.Error, OSError) as error:
            self._fail("write", error, now_s)

    def _move(self, over: NDArray[np.bool_], file: files.TrendFile, now_s: int) -> None:
        """Move these rows from memory to the file; a reader sees them in one of both."""
        self._writes += 1
        try:
            rows = self._merge()
            self._write(rows[over], file, now_s)
            self._memory, self._new = (rows[~over], empty_rows()), []
        finally:
            self._writes += 1

    def _write(self, rows: Rows, file: files.TrendFile, now_s: int) -> None:
        while True:
            try:
                file.write(self._base, rows, self._new, now_s)
                break
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_FULL or not file.relieve():
                    raise

    def close(self, now_s: int) -> None:
        """Write everything and close the file."""
        self.flush(now_s, everything=True)
        if self._file is not None:
            with suppress(sqlite3.Error):
                self._file.close()
        self._file = None

    # -- the file -----------------------------------------------------------------------------

    def _open(self, now_s: int, monotonic_s: float) -> None:
        if monotonic_s < self._next_open_s:
            return
        self._next_open_s = monotonic_s + OPEN_AGAIN_S
        if self._beside is not None and not self._beside.exists():
            return  # the alarm of the store says it
        try:
            try:
                self._use(files.TrendFile(self._path, self._max_bytes))
            except sqlite3.DatabaseError as error:
                if not _is_corrupt(error):
                    raise
                self._set_aside(now_s, str(error))
                self._use(files.TrendFile(self._path, self._max_bytes))
        except (sqlite3.Error, OSError) as error:
            self._fail("open", error, now_s)

    def _use(self, file: files.TrendFile) -> None:
        """Continue with this file: its numbers count, and the series in memory get theirs."""
        try:
            known = file.load_series()
        except sqlite3.Error:
            file.close()
            raise
        before, self._by_asset, self._new = self._by_asset, {}, []
        for (asset, kind, name), number in known.items():
            self._by_asset.setdefault(asset, {})[SeriesName(kind, name)] = number
        last, self._last_number = self._last_number, max(known.values(), default=-1)
        here = np.full(last + 1, -1, np.int32)
        for asset, mine in before.items():
            for series, number in mine.items():
                here[number] = self.number(asset, *series)
        rows = self._merge().copy()
        rows["series"] = here[rows["series"]]
        self._file, self.trouble, self.generation = file, "", self.generation + 1
        self._memory = grouped(rows[rows["series"] >= 0], self.resolution_s), empty_rows()

    def _fail(self, action: str, error: Exception, now_s: int) -> None:
        """Note why the file cannot be used; a damaged one is set aside, and begun anew."""
        if not self.trouble:
            about = {"path": str(self._path), "reason": str(error)}
            log.warning("trends: cannot %s the file", action, extra=about)
        self.trouble = f"trends: cannot {action} {self._path}: {error}"
        file, self._file = self._file, None
        if file is not None:
            with suppress(sqlite3.Error):
                file.close()
        if isinstance(error, sqlite3.DatabaseError) and _is_corrupt(error):
            with suppress(OSError):
                self._set_aside(now_s, str(error))
            self._next_open_s = -float("inf")

    def _set_aside(self, now_s: int, reason: str) -> None:
        """Rename a damaged file and its WAL; keep the newest few of these."""
        stamp = datetime.fromtimestamp(now_s, UTC).strftime("%Y%m%dT%H%M%SZ")
        path = self._path
        aside = path.with_name(f"{path.name}.corrupt-{stamp}")
        path.replace(aside)
        for tail in ("-wal", "-shm"):
            path.with_name(f"{path.name}{tail}").unlink(missing_ok=True)
        log.error("trends corrupt", extra={"path": str(path), "kept": aside.name, "reason": reason})
        for old in sorted(path.parent.glob(f"{path.name}.corrupt-*Z"))[:-_KEPT_ASIDE]:
            old.unlink()

    # -- questions ----------------------------------------------------------------------------

    def series_of(self, asset: str) -> list[SeriesName]:
        """The series of an asset, in the order in which they were first seen."""
        return list(self._by_asset.get(asset, {}))

    def read(
        self, asset: str, wanted: Sequence[SeriesName], first_s: int, last_s: int, points: int
    ) -> Trend:
        """Series of an asset in at most `points` buckets each; may run in any thread.

        The times become multiples of the step. StoreError if the file cannot be read in time.
        """
        mine = self._by_asset.get(asset, {})
        numbers = {one: mine[one] for one in wanted if one in mine}
        points = max(1, min(points, MOST_POINTS // max(1, len(numbers))))
        step_s = step_for(max(1, last_s - first_s), points)
        level = max(level_for(step_s), self._base)
        for _ in range(_TRIES):
            writes, parts = self._writes, self._memory
            stored, level = self._read_file(list(numbers.values()), level, first_s, last_s)
            if writes == self._writes and writes % 2 == 0:
                break
            time.sleep(_WRITING_S)
        step_s = max(step_s, RESOLUTIONS_S[level])
        first_s, last_s = first_s // step_s * step_s, -(-last_s // step_s) * step_s
        open_rows = joined(parts)
        inside = (open_rows["bucket"] >= first_s) & (open_rows["bucket"] < last_s)
        inside &= np.isin(open_rows["series"], list(numbers.values()))
        rows = grouped(joined([stored, open_rows[inside]]), step_s)
        found = {one: rows[rows["series"] == number] for one, number in numbers.items()}
        return Trend(step_s, first_s, last_s, found)

    def _read_file(
        self, numbers: Sequence[int], level: int, first_s: int, last_s: int
    ) -> tuple[Rows, int]:
        """What the file has, and the level that answers."""
        if self._file is None or not numbers:
            return empty_rows(), level
        deadline_s = time.monotonic() + READ_S
        try:
            with closing(files.connect(self._path, read_only=True)) as db:
                db.execute("BEGIN")  # one state of the file for all that is read
                db.set_progress_handler(lambda: time.monotonic() > deadline_s, _CHECK_STEPS)
                level = files.kept_level(db, level, first_s)
                return files.read(db, numbers, level, first_s, last_s), level
        except (sqlite3.Error, OSError) as error:
            raise StoreError("cannot read the trends", where=str(self._path)) from error


def _is_corrupt(error: sqlite3.DatabaseError) -> bool:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
