"""The SQLite file of the trends: segments of rows, summed up by and by, the oldest deleted.

A segment holds what was collected in some minutes, in parts of a few series each, so that a write
is one short transaction and a question reads few parts. Values that come late are in the segment of
the time at which they came; `first_s` and `last_s` tell which times a segment has.
"""

from __future__ import annotations

import sqlite3
import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import numpy as np

from edge_agent.trends.encoding import decode, encode
from edge_agent.trends.levels import LAST, LEVELS
from edge_agent.trends.rows import Rows, grouped, joined

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

VERSION: Final = 1
PAGE_BYTES: Final = 4096
GROUP: Final = 64  # series in one part
_PART_SHIFT: Final = 20  # of the number of a segment, in that of its parts
_BUSY_S: Final = 3.0
_FILL: Final = 0.7  # of the size; the rest is for pages that are half full
_SCHEMA: Final = f"""
    CREATE TABLE IF NOT EXISTS series (
        id INTEGER PRIMARY KEY, asset TEXT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL,
        UNIQUE (asset, kind, name));
    CREATE TABLE IF NOT EXISTS segment (
        id INTEGER PRIMARY KEY AUTOINCREMENT, level INTEGER NOT NULL, first_s INTEGER NOT NULL,
        last_s INTEGER NOT NULL, written_s INTEGER NOT NULL, bytes INTEGER NOT NULL,
        is_rolled INTEGER NOT NULL);
    CREATE INDEX IF NOT EXISTS segment_level ON segment (level, is_rolled, id);
    CREATE TABLE IF NOT EXISTS part (id INTEGER PRIMARY KEY, data BLOB NOT NULL);
    CREATE TABLE IF NOT EXISTS pruned (level INTEGER PRIMARY KEY, until_s INTEGER NOT NULL);
    PRAGMA user_version = {VERSION};
"""
# What answers at a level: its own segments, and finer ones that are not yet summed up.
_WANTED: Final = (
    "SELECT id, level, first_s FROM segment WHERE (level = :level OR (level < :level AND"
    " is_rolled = 0)) AND last_s >= :first AND first_s < :last ORDER BY id"
)


def connect(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """A connection to the file; as of the store, its WAL index is in memory of this process."""
    mode = "ro" if read_only else "rwc"
    return sqlite3.connect(
        f"file:{quote(str(path))}?vfs=unix-excl&mode={mode}",
        timeout=_BUSY_S,
        isolation_level=None,
        check_same_thread=False,
        uri=True,
    )


class TrendFile:
    """The file, for its one writer. Every method may raise sqlite3.Error."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(0o600)
        self._db = connect(path)
        self._budget = round(max_bytes * _FILL)
        try:
            self._prepare(max_bytes)
        except BaseException:
            self._db.close()
            raise

    def _prepare(self, max_bytes: int) -> None:
        db = self._db
        version = int(db.execute("PRAGMA user_version").fetchone()[0])
        if version > VERSION:
            raise sqlite3.DatabaseError("written by a newer edge-agent")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA secure_delete = OFF")
        db.execute("PRAGMA synchronous = NORMAL")  # a power cut costs minutes of a trend, no more
        wal_bytes = max_bytes // 16
        db.execute(f"PRAGMA journal_size_limit = {wal_bytes}")
        db.execute(f"PRAGMA wal_autocheckpoint = {wal_bytes // PAGE_BYTES // 2}")
        db.execute(f"PRAGMA max_page_count = {(max_bytes - 2 * wal_bytes) // PAGE_BYTES}")
        db.executescript(_SCHEMA)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def load_series(self) -> dict[tuple[str, str, str], int]:
        """The number of each series, by asset, kind and name."""
        rows = self._db.execute("SELECT asset, kind, name, id FROM series")
        return {(asset, kind, name): number for asset, kind, name, number in rows}

    def write(
        self,
        level: int,
        rows: Rows,
        series: Sequence[tuple[int, str, str, str]],
        now_s: int,
    ) -> None:
        """Append a segment of rows, as `grouped` returns them, and these new series."""
        with self._transaction():
            self._db.executemany("INSERT OR REPLACE INTO series VALUES (?, ?, ?, ?)", series)
            if len(rows):
                first_s, last_s = int(rows["bucket"].min()), int(rows["bucket"].max())
                last_s += LEVELS[level].resolution_s - 1
                number = self._add_segment(level, first_s, last_s, now_s)
                self._add_parts(number, level, first_s, rows)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:  # SQLite has rolled back by itself after some errors
                self._db.execute("ROLLBACK")
            raise

    def _add_segment(self, level: int, first_s: int, last_s: int, now_s: int) -> int:
        values = (level, first_s, last_s, now_s, int(level == LAST))
        cursor = self._db.execute(
            "INSERT INTO segment (level, first_s, last_s, written_s, bytes, is_rolled)"
            " VALUES (?, ?, ?, ?, 0, ?)",
            values,
        )
        return int(cursor.lastrowid or 0)

    def _add_parts(self, segment: int, level: int, first_s: int, rows: Rows) -> None:
        group = rows["series"] // GROUP
        starts = np.flatnonzero(np.append(True, group[1:] != group[:-1])).tolist()
        size = 0
        for start, stop in zip(starts, [*starts[1:], len(rows)], strict=True):
            data = encode(rows[start:stop], first_s, LEVELS[level].resolution_s)
            key = (segment << _PART_SHIFT) | int(group[start])
            self._db.execute("INSERT INTO part VALUES (?, ?)", (key, data))
            size += len(data)
        self._db.execute("UPDATE segment SET bytes = bytes + ? WHERE id = ?", (size, segment))

    # -- what becomes old ---------------------------------------------------------------------

    def tidy(self, now_s: int) -> None:
        """Sum up what is due for the next level, and delete what is too old or too much."""
        for level in range(len(LEVELS)):
            if level < LAST:
                self._roll_due(level, now_s)
            self._prune(level, now_s)

    def _roll_due(self, level: int, now_s: int) -> None:
        oldest = self._db.execute(
            "SELECT MIN(written_s), SUM(bytes) FROM segment WHERE level = ? AND is_rolled = 0",
            (level,),
        ).fetchone()
        if oldest[0] is None:
            return
        is_large = oldest[1] > self._budget * LEVELS[level].share / 2
        if is_large or not 0 <= now_s - oldest[0] < LEVELS[level].roll_s:
            self._roll(level, now_s)

    def _roll(self, level: int, now_s: int) -> None:
        """Sum up all segments of a level that are not yet summed up; a group at a time."""
        segments = self._db.execute(
            "SELECT id, level, first_s, last_s FROM segment WHERE level = ? AND is_rolled = 0",
            (level,),
        ).fetchall()
        above = LEVELS[level + 1].resolution_s
        first_s = min(one[2] for one in segments) // above * above
        numbers = [one[0] for one in segments]
        last_s = max(one[3] for one in segments) // above * above + above - 1
        with self._transaction():
            made = self._add_segment(level + 1, first_s, last_s, now_s)
            for group in self._groups_of(numbers):
                parts = read_parts(self._db, [one[:3] for one in segments], group)
                if len(rows := grouped(joined(list(parts)), above)):
                    self._add_parts(made, level + 1, first_s, rows)
            self._db.executemany(
                "UPDATE segment SET is_rolled = 1 WHERE id = ?", [(one,) for one in numbers]
            )

    def _groups_of(self, segments: Iterable[int]) -> list[int]:
        found: set[int] = set()
        for number in segments:
            low, high = number << _PART_SHIFT, (number + 1) << _PART_SHIFT
            keys = self._db.execute("SELECT id FROM part WHERE id >= ? AND id < ?", (low, high))
            found |= {key - low for (key,) in keys}
        return sorted(found)

    def _prune(self, level: int, now_s: int) -> None:
        """Delete the oldest segments of a level that are summed up."""
        rows = self._db.execute(
            "SELECT id, written_s, bytes FROM segment WHERE level = ? AND is_rolled = 1"
            " ORDER BY id DESC",
            (level,),
        ).fetchall()
        total, gone = 0, []
        limit = self._budget * LEVELS[level].share
        for number, written_s, size in rows:
            total += size
            if total > limit or now_s - written_s > LEVELS[level].kept_s:
                gone.append((number, written_s))
        if gone:
            self._delete(level, gone)

    def _delete(self, level: int, gone: Sequence[tuple[int, int]]) -> None:
        until_s = max(written_s for _, written_s in gone)
        with self._transaction():
            for number, _ in gone:
                low, high = number << _PART_SHIFT, (number + 1) << _PART_SHIFT
                self._db.execute("DELETE FROM part WHERE id >= ? AND id < ?", (low, high))
                self._db.execute("DELETE FROM segment WHERE id = ?", (number,))
            self._db.execute("INSERT OR REPLACE INTO pruned VALUES (?, ?)", (level, until_s))

    def relieve(self) -> bool:
        """Delete the oldest segment that is summed up, after the file was full; False if none."""
        row = self._db.execute(
            "SELECT level, id, written_s FROM segment WHERE is_rolled = 1"
            " ORDER BY level = ?, id LIMIT 1",
            (LAST,),
        ).fetchone()
        if row is None:
            return False
        self._delete(row[0], [(row[1], row[2])])
        return True


# -- questions ------------------------------------------------------------------------------------


def kept_level(db: sqlite3.Connection, level: int, first_s: int) -> int:
    """The finest level from that one on which still has what began then."""
    pruned = dict(db.execute("SELECT level, until_s FROM pruned").fetchall())
    return next((n for n in range(level, LAST) if pruned.get(n, -1) < first_s), LAST)


def read(
    db: sqlite3.Connection, series: Sequence[int], level: int, first_s: int, last_s: int
) -> Rows:
    """The rows of these series from first_s to before last_s, in parts."""
    wanted = {"level": level, "first": first_s, "last": last_s}
    segments = db.execute(_WANTED, wanted).fetchall()
    found = []
    for group in sorted({one // GROUP for one in series}):
        mine = np.array([one for one in series if one // GROUP == group], np.int32)
        for rows in read_parts(db, segments, group):
            inside = (rows["bucket"] >= first_s) & (rows["bucket"] < last_s)
            found.append(rows[inside & np.isin(rows["series"], mine)])
    return joined(found)


def read_parts(
    db: sqlite3.Connection, segments: Sequence[tuple[int, int, int]], group: int
) -> Iterable[Rows]:
    """The parts of one group of series in these segments; a damaged one is DatabaseError."""
    for number, level, first_s in segments:
        row: Any = db.execute(
            "SELECT data FROM part WHERE id = ?", ((number << _PART_SHIFT) | group,)
        ).fetchone()
        if row is None:
            continue
        try:
            yield decode(row[0], first_s, LEVELS[level].resolution_s)
        except (ValueError, zlib.error) as error:
            raise damaged(str(error)) from error


def damaged(reason: str) -> sqlite3.DatabaseError:
    """The error of a damaged file."""
    error = sqlite3.DatabaseError(reason)
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error
