"""A file that only takes up space, so that there is some to give back on a full disk.

Even a DELETE writes (into the WAL): on a full disk an outbox could not be emptied any more.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from typing import TYPE_CHECKING, Final

from edge_agent.store.schema import PAGE_BYTES

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

_RETRY_S: Final = 60.0


class Ballast:
    """Reserves `size` bytes beside the store until they are needed."""

    def __init__(self, path: Path, size: int) -> None:
        self._path = path
        self._size = size
        self.next_try_s = 0.0

    def spend(self, db: sqlite3.Connection, page_limit: int) -> None:
        """On a full disk give the space to the WAL and its checkpoint, hardly any to growth.

        Pages that the disk has no room for would keep the WAL from ever being emptied.
        """
        if self._free_bytes() < self._size:
            with contextlib.suppress(OSError):
                self._path.unlink()
        empty_wal(db)
        pages = int(db.execute("PRAGMA page_count").fetchone()[0])
        growth = max(0, self._free_bytes() - self._size * 3 // 4)
        limit_pages(db, min(pages + growth // PAGE_BYTES, page_limit))

    def restore(self, now_s: float) -> bool:
        """Reserve again if there is room for it twice; asked often, tried once a minute.

        True if it was not there and is now.
        """
        if now_s < self.next_try_s:
            return False
        self.next_try_s = now_s + _RETRY_S
        with contextlib.suppress(OSError):
            if self._path.exists() and self._path.stat().st_size == self._size:
                return False
            if self._free_bytes() >= 2 * self._size:
                self._fill()
                return True
        return False

    def _free_bytes(self) -> int:
        return shutil.disk_usage(self._path.parent).free

    def _fill(self) -> None:
        # Random bytes: a file system that compresses would keep zeros in no space at all.
        with self._path.open("wb") as file:
            file.write(os.urandom(self._size))
            file.flush()
            os.fsync(file.fileno())


def limit_pages(db: sqlite3.Connection, pages: int) -> None:
    """Let the file grow to `pages` and no further."""
    db.execute(f"PRAGMA max_page_count = {pages}")


def empty_wal(db: sqlite3.Connection) -> None:
    """Begin the WAL anew without giving its space back."""
    db.execute("PRAGMA wal_checkpoint(RESTART)")
