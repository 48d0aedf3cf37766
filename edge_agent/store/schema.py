"""The tables, their migrations, and the opening of the file."""

from __future__ import annotations

import logging
import sqlite3
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from edge_agent.clock import US_PER_S
from edge_agent.errors import StoreError

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger("edge_agent.store")

PAGE_BYTES: Final = 4096
BUSY_TIMEOUT_S: Final = 3.0  # a restarting service may still hold the file for a moment
KEPT_CORRUPT_FILES: Final = 2
_HINTS: Final = {
    sqlite3.SQLITE_BUSY: "is another edge-agent running on this file?",
    sqlite3.SQLITE_CANTOPEN: "the folder must exist and be writable for the service's user",
    sqlite3.SQLITE_CORRUPT: "a restart moves the file aside and starts a new one",
    sqlite3.SQLITE_FULL: "free some disk space, or raise store.max_bytes",
    sqlite3.SQLITE_IOERR: "check the disk",
    sqlite3.SQLITE_READONLY: "the file must be writable for the service's user",
}

# Row n brings the file from user_version n to n + 1. Rows are only added.
# AUTOINCREMENT: a row number that was dropped must never come back, or a late confirmation of the
# dropped message would delete one that was not sent.
MIGRATIONS: Final = (
    """
    CREATE TABLE alarms (alarm_id TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE history (
        row INTEGER PRIMARY KEY AUTOINCREMENT, stored_us INTEGER NOT NULL,
        at_us INTEGER NOT NULL, asset TEXT NOT NULL, alarm_id TEXT NOT NULL,
        kind TEXT NOT NULL, actor TEXT NOT NULL, body TEXT NOT NULL);
    CREATE INDEX history_asset ON history (asset);
    CREATE INDEX history_alarm ON history (alarm_id);
    CREATE TABLE outbox (
        row INTEGER PRIMARY KEY AUTOINCREMENT, sink TEXT NOT NULL, kind TEXT NOT NULL,
        key TEXT NOT NULL, seq INTEGER NOT NULL, topic TEXT NOT NULL, body BLOB NOT NULL,
        created_us INTEGER NOT NULL, bytes INTEGER NOT NULL);
    CREATE INDEX outbox_sink ON outbox (sink, row, bytes, created_us);
    CREATE INDEX outbox_line ON outbox (sink, kind, key);
    CREATE TABLE vault (key TEXT PRIMARY KEY, value BLOB NOT NULL);
    CREATE TABLE audit (
        row INTEGER PRIMARY KEY, at_us INTEGER NOT NULL, actor TEXT NOT NULL,
        action TEXT NOT NULL, subject TEXT NOT NULL, detail TEXT NOT NULL);
    """,
    # Ids of commands from the bus, until they expire: a repeated one is ignored.
    """
    CREATE TABLE commands (id TEXT PRIMARY KEY, expires_us INTEGER NOT NULL) WITHOUT ROWID
    """,
)


def open_database(
    path: Path, *, page_limit: int, wal_bytes: int, now_us: int
) -> sqlite3.Connection:
    """Return the checked, migrated database; a corrupt file is moved aside for a new one.

    StoreError if the folder cannot be written, the file is in use, or a newer version wrote it.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            return _open(path, page_limit, wal_bytes)
        except sqlite3.DatabaseError as error:
            if not _is_corrupt(error):
                raise
            move_aside(path, now_us, str(error))
            return _open(path, page_limit, wal_bytes)
    except (OSError, sqlite3.Error) as error:
        raise StoreError(
            f"cannot open the store: {error}", where=str(path), hint=hint_of(error)
        ) from error


def _open(path: Path, page_limit: int, wal_bytes: int) -> sqlite3.Connection:
    db = sqlite3.connect(
        path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
    )
    try:
        # Exclusive: two daemons on one file would both deliver its outbox. It also keeps the WAL
        # index in memory, one file less that can fail to grow on a full disk.
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        db.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA temp_store = MEMORY")
        # Debian's default writes zeros over what is deleted: into the WAL, where space is short.
        db.execute("PRAGMA secure_delete = OFF")
        db.execute(f"PRAGMA journal_size_limit = {wal_bytes}")
        db.execute(f"PRAGMA wal_autocheckpoint = {wal_bytes // PAGE_BYTES // 2}")
        db.execute(f"PRAGMA max_page_count = {page_limit}")
        _quick_check(db)
        _migrate(db, path)
    except BaseException:
        db.close()
        raise
    return db


def _quick_check(db: sqlite3.Connection) -> None:
    """Find corruption that opening does not detect."""
    answer = str(db.execute("PRAGMA quick_check(1)").fetchone()[0])
    if answer != "ok":
        error = sqlite3.DatabaseError(answer)
        error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise error


def _migrate(db: sqlite3.Connection, path: Path) -> None:
    version = int(db.execute("PRAGMA user_version").fetchone()[0])
    if version > len(MIGRATIONS):
        raise StoreError(
            f"the store has version {version}, this edge-agent knows {len(MIGRATIONS)}",
            where=str(path),
            hint="a newer edge-agent wrote it: install that one again or name another file",
        )
    if version == len(MIGRATIONS):
        return
    db.execute("BEGIN IMMEDIATE")
    for script in MIGRATIONS[version:]:
        for statement in script.split(";"):  # executescript would commit in between
            db.execute(statement)
    db.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
    db.execute("COMMIT")


def move_aside(path: Path, now_us: int, reason: str) -> None:
    """Rename the file and its WAL to `<name>.corrupt-<time>`; keep the newest few of these."""
    stamp = datetime.fromtimestamp(now_us / US_PER_S, UTC).strftime("%Y%m%dT%H%M%SZ")
    aside = path.with_name(f"{path.name}.corrupt-{stamp}")
    path.replace(aside)
    wal = path.with_name(f"{path.name}-wal")
    if wal.exists():  # otherwise it would be replayed into the new file
        wal.replace(aside.with_name(f"{aside.name}-wal"))
    path.with_name(f"{path.name}-shm").unlink(missing_ok=True)
    log.error("store corrupt", extra={"path": str(path), "kept": str(aside), "reason": reason})
    copies = sorted(one for one in path.parent.glob(f"{path.name}.corrupt-*Z"))
    for old in copies[:-KEPT_CORRUPT_FILES]:
        old.unlink()
        old.with_name(f"{old.name}-wal").unlink(missing_ok=True)


def _is_corrupt(error: sqlite3.Error) -> bool:
    return primary_code(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def primary_code(error: Exception) -> int:
    """Return the primary result code, the low byte of SQLite's extended one; 0 for none."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def hint_of(error: Exception) -> str:
    """Return what to do about it, or an empty text."""
    if isinstance(error, OSError):
        return "the folder must exist and be writable for the service's user"
    return _HINTS.get(primary_code(error), "")
