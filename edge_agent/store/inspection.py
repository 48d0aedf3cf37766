"""A check of a store's file that does not change it."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING
from urllib.parse import quote

from edge_agent.errors import StoreError
from edge_agent.store.schema import MIGRATIONS, hint_of

if TYPE_CHECKING:
    from pathlib import Path


def look_at_store(path: Path) -> str:
    """A text about the state of the file; StoreError if a daemon could not use it.

    Nothing is locked. A file with a journal is in use, or was when the power failed: its pages
    cannot be checked from outside.
    """
    try:
        if not path.exists():
            return "does not exist yet, it is created at the start"
        with path.open("r+b"):
            pass
        wal = path.with_name(f"{path.name}-wal")
        if wal.exists() and wal.stat().st_size:
            return (
                f"{path.stat().st_size >> 10} KiB, with a journal (in use, or recovered at start)"
            )
        return _read(path)
    except (OSError, sqlite3.Error) as problem:
        raise StoreError(str(problem), hint=hint_of(problem)) from problem


def _read(path: Path) -> str:
    db = sqlite3.connect(f"file:{quote(str(path))}?mode=ro&immutable=1", uri=True)
    try:
        answer = str(db.execute("PRAGMA quick_check(1)").fetchone()[0])
        version = int(db.execute("PRAGMA user_version").fetchone()[0])
    finally:
        db.close()
    if answer != "ok":
        raise StoreError(answer, hint="a start moves the file aside and creates a new one")
    if version > len(MIGRATIONS):
        hint = "a newer edge-agent wrote it: install that one again or name another file"
        raise StoreError(f"version {version}, this edge-agent knows {len(MIGRATIONS)}", hint=hint)
    return f"{path.stat().st_size >> 10} KiB, sound"
