"""A file that reserves space, which is freed when the disk is full.

Even a DELETE writes (into the WAL): on a full disk the outbox could not be emptied any more.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from typing import TYPE_CHECKING, Final

from edge_agent.store.files import OWNER_ONLY
from edge_agent.store.schema import PAGE_BYTES

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

_RETRY_S: Final = 60.0


class Ballast:
    """Reserves `size` bytes in the store's folder until they are needed."""

    def __init__(self, path: Path, size: int) -> None:
        self._path = path
        self._size = size
        self.next_try_s = 0.0

    def spend(self, db: sqlite3.Connection, page_limit: int) -> None:
        """On a full disk, free the space for the WAL and its checkpoint, with little for growth.

        Pages without space on the disk would prevent the WAL from being emptied.
        """
        if self._free_bytes() < self._size:
            with contextlib.suppress(OSError):
                self._path.unlink()
        empty_wal(db)
        pages = int(db.execute("PRAGMA page_count").fetchone()[0])
        growth = max(0, self._free_bytes() - self._size * 3 // 4)
        limit_pages(db, min(pages + growth // PAGE_BYTES, page_limit))

    @property
    def is_spent(self) -> bool:
        """True if the disk was full, and has no room for it yet."""
        return not self._path.exists()

    def restore(self, now_s: float) -> bool:
        """Reserve again if the disk has twice the space; called often, tried once a minute.

        True if it was missing and is reserved now.
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
        # Random bytes: a compressing file system would store zeros without using space.
        self._path.touch(OWNER_ONLY)
        with self._path.open("wb") as file:
            file.write(os.urandom(self._size))
            file.flush()
            os.fsync(file.fileno())


def limit_pages(db: sqlite3.Connection, pages: int) -> None:
    """Let the file grow to `pages` and no further."""
    db.execute(f"PRAGMA max_page_count = {pages}")


def empty_wal(db: sqlite3.Connection) -> None:
    """Restart the WAL without freeing its space."""
    db.execute("PRAGMA wal_checkpoint(RESTART)")
