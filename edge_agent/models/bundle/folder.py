"""Writes a folder so that it is never seen half written, and survives a power cut."""

from __future__ import annotations

import ctypes
import fcntl
import os
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edge_agent.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import IO

LOCK_TIMEOUT_S: Final = 20.0
_LOCK: Final = ".lock"
_HERE: Final = -100  # AT_FDCWD and RENAME_EXCHANGE of renameat2(2), which Python does not define
_RENAME_EXCHANGE: Final = 2
_LOCK_POLL_S: Final = 0.05


def write_folder(folder: Path, files: Iterable[tuple[str, bytes]]) -> None:
    """Write `folder` with only these files, completely or not at all.

    ModelError if that fails; `folder` is unchanged then.
    """
    try:
        _make_folder(folder.parent)
        with tempfile.TemporaryDirectory(prefix=".new-", dir=folder.parent) as scratch:
            new = Path(scratch) / "bundle"
            new.mkdir(mode=0o755)
            for name, raw in files:
                _write_durably(new / name, raw)
            _replace(folder, new, Path(scratch))
    except OSError as error:
        raise ModelError(f"cannot be written: {error.strerror}", where=str(folder)) from error


def _make_folder(path: Path) -> None:
    if not path.is_dir():
        _make_folder(path.parent)
        path.mkdir(exist_ok=True)


def _write_durably(path: Path, raw: bytes) -> None:
    with path.open("xb") as file:
        file.write(raw)
        file.flush()
        os.fsync(file.fileno())


def _replace(folder: Path, new: Path, scratch: Path) -> None:
    """Replace `folder` by `new`; the old one is moved to `scratch`."""
    if folder.exists() and not _exchange(folder, new):
        # For an instant there is none: a loader at that time fails and keeps its model.
        old = scratch / "old"
        folder.rename(old)
        try:
            new.rename(folder)
        except OSError:
            old.rename(folder)
            raise
    elif not folder.exists():
        new.rename(folder)
    _sync(folder.parent)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two folders in one step; False if the system or its disk cannot."""
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if call is None:
        return False
    done = call(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _RENAME_EXCHANGE)
    return bool(done == 0)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_file(path: Path, raw: bytes) -> None:
    """Write the file `path`, completely or not at all; ModelError if that fails."""
    with durable(path) as stream:
        stream.write(raw)


@contextmanager
def durable(path: Path, mode: int = 0o644) -> Iterator[IO[bytes]]:
    """A new file that replaces `path` at the end of a `with`, unless an exception was raised.

    ModelError if the disk fails.
    """
    try:
        _make_folder(path.parent)
        handle, new = tempfile.mkstemp(prefix=".new-", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as stream:
                yield stream
                stream.flush()
                os.fchmod(handle, mode)
                os.fsync(handle)
            Path(new).rename(path)
        finally:
            Path(new).unlink(missing_ok=True)
        _sync(path.parent)
    except OSError as error:
        raise ModelError(f"cannot be written: {error.strerror}", where=str(path)) from error


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock out other processes that change `folder` for the duration of a `with`.

    ModelError if another one does not unlock in time. The kernel unlocks for a process that dies.
    """
    try:
        _make_folder(folder)
        handle = os.open(
            folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
        )
    except OSError as error:
        raise ModelError(f"cannot be written: {error.strerror}", where=str(folder)) from error
    try:
        _wait_for_lock(handle, folder)
        yield
    finally:
        os.close(handle)


def _wait_for_lock(handle: int, folder: Path) -> None:
    give_up = time.monotonic() + LOCK_TIMEOUT_S
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if time.monotonic() >= give_up:
                text = "another process is changing it"
                raise ModelError(text, where=str(folder), hint="try again") from error
            time.sleep(_LOCK_POLL_S)
        else:
            return
