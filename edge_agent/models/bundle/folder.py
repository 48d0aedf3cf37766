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


@contextmanager
def as_owner_of(folder: Path, *read: Path) -> Iterator[None]:
    """Let root act as the owner of `folder` for the duration of a `with`; for others, nothing.

    Whoever owns a folder may put links there; followed by root, they would lead anywhere. Sets the
    effective user of the whole process, so only for commands. read: private folders of root that
    are read meanwhile; the owner may read them from now on, but not change them.
    """
    owner = _nearest(folder).stat()
    if os.geteuid() != 0 or owner.st_uid == 0:
        yield
        return
    for place in read:
        _lend(place, owner.st_gid)
    groups = os.getgroups()
    os.setgroups([owner.st_gid])
    os.setegid(owner.st_gid)
    os.seteuid(owner.st_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


def _nearest(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    return next(place for place in (folder, *folder.absolute().parents) if place.is_dir())


def _lend(folder: Path, group: int) -> None:
    """Let a group read a folder of root, its files, and pass the private folder around it."""
    for path in (folder.parent, folder, *folder.iterdir()):
        os.chown(path, -1, group, follow_symlinks=False)
        path.chmod(0o750 if path.is_dir() else 0o640)


def write_folder(folder: Path, files: Iterable[tuple[str, bytes]]) -> None:
    """Write `folder` with only these files, completely or not at all.

    ModelError if that fails; `folder` is unchanged then.
    """
    try:
        _make_folder(folder.parent)
        with tempfile.TemporaryDirectory(prefix=".new-", dir=folder.parent) as scratch:
            new = Path(scratch) / "bundle"
            new.mkdir(mode=0o755)
            _chown_to_owner(new, folder.parent)
            for name, raw in files:
                _write_durably(new / name, raw, folder.parent)
            _replace(folder, new, Path(scratch))
    except OSError as error:
        raise ModelError(f"cannot be written: {error.strerror}", where=str(folder)) from error


def _make_folder(path: Path) -> None:
    if not path.is_dir():
        _make_folder(path.parent)
        path.mkdir(exist_ok=True)
        _chown_to_owner(path, path.parent)


def _chown_to_owner(path: Path, place: Path) -> None:
    """Give files of root to the owner of `place`, so that the daemon can change them."""
    if os.geteuid() == 0:
        owner = place.stat()
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def _write_durably(path: Path, raw: bytes, place: Path) -> None:
    with path.open("xb") as file:
        _chown_to_owner(path, place)
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
                _chown_to_owner(Path(new), path.parent)
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
        _chown_to_owner(folder / _LOCK, folder)
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
