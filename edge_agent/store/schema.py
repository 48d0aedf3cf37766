"""The tables, their migrations, and the opening of the file."""

from __future__ import annotations

import contextlib
import secrets
import sqlite3
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from edge_agent.clock import US_PER_S
from edge_agent.errors import StoreError
from edge_agent.store.files import mark_used, move_aside, restrict_access

if TYPE_CHECKING:
    from pathlib import Path

PAGE_BYTES: Final = 4096
BUSY_TIMEOUT_S: Final = 3.0  # a restarting service may still hold the file for a moment
_HINTS: Final = {
    sqlite3.SQLITE_BUSY: "is another edge-agent running on this file?",
    sqlite3.SQLITE_CANTOPEN: "the folder must exist and be writable for the service's user",
    sqlite3.SQLITE_CORRUPT: "the file is moved aside and a new one is created",
    sqlite3.SQLITE_FULL: "free some disk space, or raise store.max_bytes",
    sqlite3.SQLITE_IOERR: "check the disk",
    sqlite3.SQLITE_READONLY: "the file must be writable for the service's user",
}

# The disk or another process is the reason.
_FILE_CODES: Final = {
    sqlite3.SQLITE_AUTH,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_INTERNAL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOLFS,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_READONLY,
}
_COMMIT: Final = "commit"

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
    # stored: 0 if the transition was sent while the store could not be written.
    """
    ALTER TABLE history ADD COLUMN seq INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE history ADD COLUMN stored INTEGER NOT NULL DEFAULT 1
    """,
    # turn: the row of the message's transition in the history; 0 if that has no row any more.
    """
    ALTER TABLE outbox ADD COLUMN turn INTEGER NOT NULL DEFAULT 0;
    UPDATE outbox SET turn = COALESCE((SELECT MAX(row) FROM history
        WHERE history.alarm_id = outbox.key AND history.seq = outbox.seq), 0);
    CREATE INDEX outbox_turn ON outbox (sink, turn)
    """,
)
_GENERATION: Final = "generation"  # keys in the vault
_IDENTITY: Final = "identity"
_RANDOM_BITS: Final = 22
_YEAR_2020_S: Final = 1_577_836_800


class FileError(StoreError):
    """The store's file cannot be used; is_damage: its content is damaged."""

    def __init__(
        self, message: str, *, where: str = "", hint: str = "", is_damage: bool = False
    ) -> None:
        super().__init__(message, where=where, hint=hint)
        self.is_damage = is_damage


def open_database(
    path: Path, *, page_limit: int, wal_bytes: int, now_us: int, damage: str = ""
) -> tuple[sqlite3.Connection, str]:
    """Return the checked, migrated database; a corrupt file is moved aside for a new one.

    The text is the name under which that one is kept; empty if there was none.

    damage: why the file is known to be corrupt, even if the check does not find it. StoreError if
    the folder cannot be written, the file is in use, or a newer version wrote it.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = move_aside(path, now_us, damage) if damage and path.exists() else ""
        try:
            return _open(path, page_limit, wal_bytes, now_us), aside
        except sqlite3.DatabaseError as error:
            if not is_corrupt(error):
                raise
            aside = move_aside(path, now_us, str(error))
            return _open(path, page_limit, wal_bytes, now_us), aside
    except (OSError, sqlite3.Error) as error:
        raise store_error("open the store", path, error) from error


def store_error(action: str, path: Path, error: Exception) -> StoreError:
    """The error of an action; a FileError if the file is the reason.

    A value that does not fit is none: only a full disk or store that refuses alarms is.
    """
    text, where, hint = f"cannot {action}: {error}", str(path), hint_of(error)
    code = primary_code(error)
    is_damage = is_corrupt(error) or str(error).startswith("no such table")
    is_full = code == sqlite3.SQLITE_FULL
    if isinstance(error, OSError) or is_damage or code in _FILE_CODES:
        return FileError(text, where=where, hint=hint, is_damage=is_damage)
    if is_full and action == _COMMIT:
        return FileError(text, where=where, hint=hint)
    return StoreError(text, where=where, hint=hint)


def open_in_memory(page_limit: int, first_row: int, now_us: int) -> sqlite3.Connection:
    """Return an empty database in memory; first_row: of the outbox, later than any on the disk."""
    db = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    db.execute(f"PRAGMA max_page_count = {page_limit}")
    _migrate(db, ":memory:")
    _index_audit(db)
    db.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('outbox', ?)", (first_row,))
    _save_generation(db, new_generation(now_us))
    return db


def first_number(db: sqlite3.Connection) -> int:
    """Return the number before the first one of each alarm that this store does not know.

    0 in the first store of a gateway. Every later one (the file was damaged, deleted, or the disk
    was missing) has a random one, later than all before, so that no id is used twice.
    """
    row = db.execute("SELECT value FROM vault WHERE key = ?", (_GENERATION,)).fetchone()
    return 0 if row is None else int(row[0])


def identity_of(db: sqlite3.Connection) -> str:
    """Return the random name of this store, which it gets here; empty if it cannot be written."""
    name = secrets.token_hex(8).encode()
    with contextlib.suppress(sqlite3.Error):
        db.execute("INSERT OR IGNORE INTO vault (key, value) VALUES (?, ?)", (_IDENTITY, name))
    row = db.execute("SELECT value FROM vault WHERE key = ?", (_IDENTITY,)).fetchone()
    return "" if row is None else bytes(row[0]).decode("ascii", "replace")


def new_generation(now_us: int) -> int:
    """Return a random number that grows with time, and is exact as a JSON number until 2088."""
    seconds = max(0, now_us // US_PER_S - _YEAR_2020_S)
    return (seconds << _RANDOM_BITS) | secrets.randbits(_RANDOM_BITS)


def _save_generation(db: sqlite3.Connection, number: int) -> None:
    db.execute("INSERT INTO vault (key, value) VALUES (?, ?)", (_GENERATION, b"%d" % number))


def _open(path: Path, page_limit: int, wal_bytes: int, now_us: int) -> sqlite3.Connection:
    is_new = restrict_access(path)
    db = connect(path)
    try:
        db.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA temp_store = MEMORY")
        # Debian's default writes zeros over what is deleted: into the WAL, where space is short.
        db.execute("PRAGMA secure_delete = OFF")
        db.execute(f"PRAGMA journal_size_limit = {wal_bytes}")
        db.execute(f"PRAGMA wal_autocheckpoint = {wal_bytes // PAGE_BYTES // 2}")
        db.execute(f"PRAGMA max_page_count = {page_limit}")
        quick_check(db)
        _migrate(db, path)
        _number_store(db, path, now_us, is_new=is_new)
        _index_audit(db)
    except BaseException:
        db.close()
        raise
    return db


def connect(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """Return a connection to the file, which other processes cannot use meanwhile.

    With the VFS unix-excl, connections of this process share the WAL index in its memory: one file
    less that can fail to grow on a full disk, and readers do not wait for the writer.
    """
    mode = "ro" if read_only else "rwc"
    return sqlite3.connect(
        f"file:{quote(str(path))}?vfs=unix-excl&mode={mode}",
        timeout=BUSY_TIMEOUT_S,
        isolation_level=None,
        check_same_thread=False,
        uri=True,
    )


def _index_audit(db: sqlite3.Connection) -> None:
    """Index the audit by subject; no migration, because an older version may ignore it.

    A full disk is no reason not to start: then the index comes with a later start.
    """
    with contextlib.suppress(sqlite3.Error):
        db.execute("CREATE INDEX IF NOT EXISTS audit_subject ON audit (subject)")


def _number_store(db: sqlite3.Connection, path: Path, now_us: int, *, is_new: bool) -> None:
    """Give each store but the first in its folder a generation; a small file remembers the first.

    The first one numbers from 1, as users expect.
    """
    was_used = mark_used(path)
    if is_new and was_used:
        _save_generation(db, new_generation(now_us))


def quick_check(db: sqlite3.Connection) -> None:
    """Find corruption that opening does not detect."""
    answer = str(db.execute("PRAGMA quick_check(1)").fetchone()[0])
    if answer != "ok":
        error = sqlite3.DatabaseError(answer)
        error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise error


def _migrate(db: sqlite3.Connection, path: Path | str) -> None:
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


def is_corrupt(error: Exception) -> bool:
    """True if the content of the file is damaged."""
    return primary_code(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def primary_code(error: Exception) -> int:
    """Return the primary result code, the low byte of SQLite's extended one; 0 for none."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def hint_of(error: Exception) -> str:
    """Return what to do about it, or an empty text."""
    if isinstance(error, OSError):
        return "the folder must exist and be writable for the service's user"
    return _HINTS.get(primary_code(error), "")
