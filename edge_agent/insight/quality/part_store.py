"""What is known of parts, and the state of the charts, in an SQLite file of their own.

Apart from the store of the alarms, so that parts never take its space. Used from one thread. If the
file cannot be used, charts and alarms go on; `trouble` says what is wrong.
"""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

import orjson

from edge_agent.clock import US_PER_MS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from edge_agent.insight.quality.records import PartRecord

T = TypeVar("T")

_TABLES: Final = """
CREATE TABLE IF NOT EXISTS parts (
    row INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT UNIQUE NOT NULL, asset TEXT NOT NULL,
    part TEXT NOT NULL, at_us INTEGER NOT NULL, body BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS parts_asset ON parts (asset, at_us);
CREATE INDEX IF NOT EXISTS parts_time ON parts (at_us);
CREATE TABLE IF NOT EXISTS charts (key TEXT PRIMARY KEY, body BLOB NOT NULL);
"""
_UPSERT: Final = (
    "INSERT INTO parts (key, asset, part, at_us, body) VALUES (?, ?, ?, ?, ?)"
    " ON CONFLICT (key) DO UPDATE SET body = excluded.body"
)
_UPSERT_CHART: Final = (
    "INSERT INTO charts (key, body) VALUES (?, ?)"
    " ON CONFLICT (key) DO UPDATE SET body = excluded.body"
)
_PRUNE: Final = (
    "DELETE FROM parts WHERE row IN (SELECT row FROM parts ORDER BY at_us LIMIT MAX(0,"
    " (SELECT COUNT(*) FROM parts) - ?))"
)
_WAIT_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class PartFilter:
    """Which parts are asked for; before_us: only those that were finished earlier."""

    asset: str = ""
    part: str = ""
    before_us: int | None = None
    limit: int = 100


class PartStore:
    """At most `max_parts` parts; the oldest give way."""

    def __init__(self, path: Path, max_parts: int) -> None:
        self.trouble = ""
        self._path = path
        self._max_parts = max_parts
        self._db: sqlite3.Connection | None = None

    def save_parts(self, records: Sequence[PartRecord]) -> None:
        """Insert or replace parts."""
        rows = [
            (one.row_key, one.asset, one.part, one.at_us, orjson.dumps(one.as_json()))
            for one in records
        ]

        def change(db: sqlite3.Connection) -> None:
            db.executemany(_UPSERT, rows)
            db.execute(_PRUNE, (self._max_parts,))

        self._transact(change, None)

    def save_charts(self, states: Mapping[str, Any]) -> None:
        """Insert or replace the states of charts, by their key."""
        rows = [(key, orjson.dumps(state)) for key, state in states.items()]
        self._transact(lambda db: db.executemany(_UPSERT_CHART, rows).rowcount, 0)

    def load_charts(self) -> dict[str, Any]:
        """The states of all charts; none if the file cannot be read."""
        query = "SELECT key, body FROM charts"
        rows: list[tuple[str, bytes]] = self._transact(lambda db: db.execute(query).fetchall(), [])
        return {str(key): orjson.loads(body) for key, body in rows}

    def find_parts(self, wanted: PartFilter) -> list[dict[str, Any]]:
        """The parts that are asked for, the newest first."""
        tests = {
            "asset = ?": wanted.asset or None,
            "part = ?": wanted.part or None,
            "at_us < ?": wanted.before_us,
        }
        given = {test: value for test, value in tests.items() if value is not None}
        where = f" WHERE {' AND '.join(given)}" if given else ""
        query = f"SELECT body FROM parts{where} ORDER BY at_us DESC LIMIT ?"  # noqa: S608 (ours)
        args = (*given.values(), wanted.limit)
        rows: list[tuple[bytes]] = self._transact(lambda db: db.execute(query, args).fetchall(), [])
        return [orjson.loads(body) for (body,) in rows]

    def close(self) -> None:
        """Close the file; safe when repeated."""
        db, self._db = self._db, None
        if db is not None:
            with contextlib.suppress(sqlite3.Error):
                db.close()

    def _transact(self, work: Callable[[sqlite3.Connection], T], otherwise: T) -> T:
        """Run `work` in a transaction; an error of the file becomes `trouble`: nothing changed."""
        try:
            db = self._opened()
            with db:
                found = work(db)
        except (sqlite3.Error, OSError) as error:
            self.trouble = f"{self._path}: {error}"
            self.close()
            return otherwise
        self.trouble = ""
        return found

    def _opened(self) -> sqlite3.Connection:
        if self._db is None:
            if not self._path.parent.is_dir():
                raise FileNotFoundError(f"there is no folder {self._path.parent}")
            new = not self._path.exists()
            db = sqlite3.connect(self._path, timeout=_WAIT_S, check_same_thread=False)
            if new:
                self._path.chmod(0o600)
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
            db.executescript(_TABLES)
            self._db = db
        return self._db


def before_us(before_ms: int | None) -> int | None:
    """A time of the API in microseconds."""
    return None if before_ms is None else before_ms * US_PER_MS
