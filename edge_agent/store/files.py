"""The files of a store: who may read them, who uses them, and those that are moved aside."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from edge_agent.clock import US_PER_S
from edge_agent.errors import StoreError

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger("edge_agent.store")

KEPT_CORRUPT_FILES: Final = 2
OWNER_ONLY: Final = 0o600
_LOCK_WAIT_S: Final = 3.0  # a restarting service may still hold it for a moment
_LOCK_AGAIN_S: Final = 0.1


class InUseError(StoreError):
    """Another edge-agent uses this store: a second one must not deliver its messages, too."""


def lock_store(path: Path) -> int | None:
    """Lock the store against a second edge-agent; returns the descriptor that holds the lock.

    None if there is no place for a lock. It is a file of its own: SQLite's locks would be lost
    with the first descriptor of its file that this process closes.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(path.with_name(f"{path.name}.lock"), os.O_CREAT | os.O_RDONLY, OWNER_ONLY)
    except OSError:
        return None
    deadline_s = time.monotonic() + _LOCK_WAIT_S
    while not _is_locked(lock):
        if time.monotonic() >= deadline_s:
            os.close(lock)
            hint = "is another edge-agent running on this file?"
            raise InUseError("the store is in use", where=str(path), hint=hint)
        time.sleep(_LOCK_AGAIN_S)
    return lock


def _is_locked(lock: int) -> bool:
    """Try to lock; True also on a file system without locks."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def restrict_access(path: Path) -> bool:
    """Create the file for its owner alone, or take an old one from all others; True if new."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, OWNER_ONLY))
    except FileExistsError:
        for file in path.parent.glob(f"{path.name}*"):
            with contextlib.suppress(OSError):
                file.chmod(file.stat().st_mode & 0o770)
        return path.stat().st_size == 0
    return True


def move_aside(path: Path, now_us: int, reason: str) -> str:
    """Rename the file and its WAL to `<name>.corrupt-<time>`; keep the newest few of these.

    Returns the new name.
    """
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
    return aside.name


def mark_used(path: Path) -> bool:
    """Remember that there was a store here; True if there was one before."""
    mark = path.with_name(f"{path.name}.used")
    known = mark.exists() or any(path.parent.glob(f"{path.name}.corrupt-*"))
    with contextlib.suppress(OSError):
        os.close(os.open(mark, os.O_CREAT | os.O_WRONLY, OWNER_ONLY))
    return known
