"""The SQLite file of the lines: stays, closed shifts, and what a restart needs; for one thread.

It is bounded: the oldest stays and shifts are deleted. A failing file costs the past and nothing
else: what is to be stored waits in memory, up to a bound.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import zlib
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from edge_agent.errors import StoreError
from edge_agent.insight.states import CODES, STATES, MachineState

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from edge_agent.insight.machine_book import ClosedShift

    StayRow = tuple[str, MachineState, int, int]

log = logging.getLogger("edge_agent.insight")

VERSION: Final = 1
MAX_BYTES: Final = 64 << 20
MOST_STAYS: Final = 500_000  # about half of the file
MOST_SHIFTS: Final = 20_000  # about the other half
OPEN_AGAIN_S: Final = 60.0
_MOST_WAITING: Final = 100_000
_PRUNE_EVERY: Final = 120  # writes
_PRUNES: Final = (
    ("DELETE FROM stay WHERE id <= (SELECT MAX(id) FROM stay) - ?", MOST_STAYS),
    ("DELETE FROM shift WHERE id <= (SELECT MAX(id) FROM shift) - ?", MOST_SHIFTS),
)
_SCHEMA: Final = f"""
    CREATE TABLE IF NOT EXISTS stay (
        id INTEGER PRIMARY KEY, machine TEXT NOT NULL, state INTEGER NOT NULL,
        start_ns INTEGER NOT NULL, end_ns INTEGER NOT NULL);
    CREATE INDEX IF NOT EXISTS stay_machine ON stay (machine, end_ns);
    CREATE TABLE IF NOT EXISTS shift (
        id INTEGER PRIMARY KEY AUTOINCREMENT, line TEXT NOT NULL, machine TEXT NOT NULL,
        start_ns INTEGER NOT NULL, body BLOB NOT NULL, UNIQUE (machine, start_ns));
    CREATE INDEX IF NOT EXISTS shift_line ON shift (line, machine, start_ns);
    CREATE TABLE IF NOT EXISTS resume (machine TEXT PRIMARY KEY, body BLOB NOT NULL);
    CREATE TABLE IF NOT EXISTS sent (sink TEXT PRIMARY KEY, id INTEGER NOT NULL);
    PRAGMA user_version = {VERSION};
"""


class LineFile:
    """The file. beside: the store's file; without it nothing is made: its disk may be missing.

    trouble: why it cannot be used; empty if it can.
    """

    def __init__(self, path: Path, beside: Path | None = None) -> None:
        self.trouble = ""
        self._path = path
        self._beside = beside
        self._db: sqlite3.Connection | None = None
        self._next_s = -float("inf")
        self._stays: list[StayRow] = []
        self._closed: list[ClosedShift] = []
        self._writes = 0

    def open(self, monotonic_s: float) -> bool:
        """Open the file if it is not open; False if it cannot be used now."""
        if self._db is not None:
            return True
        if monotonic_s < self._next_s or (self._beside is not None and not self._beside.exists()):
            return False
        self._next_s = monotonic_s + OPEN_AGAIN_S
        try:
            self._db = _opened(self._path)
        except (sqlite3.Error, OSError) as error:
            self._fail("open", error)
            return False
        self.trouble = ""
        return True

    def save(
        self,
        stays: Sequence[StayRow],
        closed: Sequence[ClosedShift],
        resume: Mapping[str, Mapping[str, Any]],
    ) -> None:
        """Store what is new, in one transaction; never raises for a failing file."""
        self._stays = [*self._stays, *stays][-_MOST_WAITING:]
        self._closed = [*self._closed, *closed][-_MOST_WAITING:]
        if self._db is None:
            return
        try:
            with _transaction(self._db) as db:
                self._write(db, resume)
        except (sqlite3.Error, OSError) as error:
            self._fail("write", error)
            return
        self._stays, self._closed = [], []

    def _write(self, db: sqlite3.Connection, resume: Mapping[str, Mapping[str, Any]]) -> None:
        self._writes += 1
        if self._writes % _PRUNE_EVERY == 1:
            for prune, most in _PRUNES:
                db.execute(prune, (most,))
        db.executemany(
            "INSERT INTO stay (machine, state, start_ns, end_ns) VALUES (?, ?, ?, ?)",
            [(machine, CODES[state], a, b) for machine, state, a, b in self._stays],
        )
        db.executemany(
            "INSERT OR REPLACE INTO shift (line, machine, start_ns, body) VALUES (?, ?, ?, ?)",
            [(one.line, one.machine, one.start_ns, _packed(one.result)) for one in self._closed],
        )
        rows = [(machine, _packed(body)) for machine, body in resume.items()]
        db.executemany("INSERT OR REPLACE INTO resume VALUES (?, ?)", rows)

    def close(self) -> None:
        """Close the file."""
        db, self._db = self._db, None
        if db is not None:
            with suppress(sqlite3.Error):
                db.close()

    def _fail(self, action: str, error: Exception) -> None:
        if not self.trouble:
            about = {"path": str(self._path), "reason": str(error)}
            log.warning("lines: cannot %s the file", action, extra=about)
        self.trouble = f"lines: cannot {action} {self._path}: {error}"
        self.close()
        if _is_corrupt(error):
            with suppress(OSError):
                self._path.replace(self._path.with_name(f"{self._path.name}.corrupt"))
                for tail in ("-wal", "-shm"):
                    self._path.with_name(f"{self._path.name}{tail}").unlink(missing_ok=True)
            self._next_s = -float("inf")

    # -- questions ----------------------------------------------------------------------------

    def resume(self, machine: str) -> dict[str, Any] | None:
        """What a restart needs of a machine; None if there is nothing."""
        rows = self._ask("SELECT body FROM resume WHERE machine = ?", (machine,))
        return _unpacked(rows[0][0]) if rows else None

    def stays(self, machine: str, start_ns: int, end_ns: int, most: int) -> list[StayRow]:
        """The newest stays of a machine that overlap a span of time, the oldest first."""
        rows = self._ask(
            "SELECT state, start_ns, end_ns FROM stay WHERE machine = ? AND end_ns > ?"
            " AND start_ns < ? ORDER BY end_ns DESC LIMIT ?",
            (machine, start_ns, end_ns, most),
        )
        return [(machine, STATES[state], a, b) for state, a, b in reversed(rows)]

    def shifts(self, line: str, machine: str, before_ns: int, limit: int) -> list[dict[str, Any]]:
        """Closed shifts of a machine, or of all of a line, the newest first."""
        rows = self._ask(
            "SELECT body FROM shift WHERE line = ? AND (? = '' OR machine = ?) AND start_ns < ?"
            " ORDER BY start_ns DESC, id LIMIT ?",
            (line, machine, machine, before_ns, limit),
        )
        return [_unpacked(body) for (body,) in rows]

    def unsent(self, sink: str, limit: int) -> list[tuple[int, dict[str, Any]]]:
        """Closed shifts that a sink has not confirmed, the oldest first; a new sink gets none."""
        known = self._ask("SELECT id FROM sent WHERE sink = ?", (sink,))
        if not known:
            last = self._ask("SELECT COALESCE(MAX(id), 0) FROM shift", ())
            self.mark_sent(sink, last[0][0] if last else 0)
            return []
        rows = self._ask(
            "SELECT id, body FROM shift WHERE id > ? ORDER BY id LIMIT ?", (known[0][0], limit)
        )
        return [(number, _unpacked(body)) for number, body in rows]

    def mark_sent(self, sink: str, number: int) -> None:
        """A sink has confirmed the shifts up to a number."""
        if self._db is None:
            return
        try:
            with _transaction(self._db) as db:
                db.execute("INSERT OR REPLACE INTO sent VALUES (?, ?)", (sink, number))
        except (sqlite3.Error, OSError) as error:
            self._fail("write", error)

    def _ask(self, query: str, values: tuple[object, ...]) -> list[Any]:
        if self._db is None:
            return []
        try:
            return self._db.execute(query, values).fetchall()
        except sqlite3.Error as error:
            self._fail("read", error)
            raise StoreError("cannot read the lines", where=str(self._path)) from error


def _opened(path: Path) -> sqlite3.Connection:
    path.touch(0o600)
    db = sqlite3.connect(path, timeout=3.0, isolation_level=None, check_same_thread=False)
    try:
        _refuse_newer(db)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA secure_delete = OFF")
        db.execute("PRAGMA synchronous = NORMAL")  # a power cut costs what a kill costs
        page = int(db.execute("PRAGMA page_size").fetchone()[0])
        db.execute(f"PRAGMA max_page_count = {MAX_BYTES * 15 // 16 // page}")
        db.execute(f"PRAGMA journal_size_limit = {MAX_BYTES // 16}")
        db.executescript(_SCHEMA)
    except BaseException:
        db.close()
        raise
    return db


def _refuse_newer(db: sqlite3.Connection) -> None:
    if int(db.execute("PRAGMA user_version").fetchone()[0]) > VERSION:
        raise sqlite3.DatabaseError("written by a newer edge-agent")


@contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    db.execute("BEGIN IMMEDIATE")
    try:
        yield db
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:  # SQLite has rolled back by itself after some errors
            db.execute("ROLLBACK")
        raise


def _packed(body: Mapping[str, Any]) -> bytes:
    return zlib.compress(json.dumps(body, separators=(",", ":")).encode(), 1)


def _unpacked(body: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(zlib.decompress(body))
    return found


def _is_corrupt(error: Exception) -> bool:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
