"""Root acts as the owner of a folder while it writes there.

The owner of a folder may put links into it. Followed by root, they would lead anywhere; and a file
that root leaves there is one that the daemon, as the folder's owner, cannot open.
"""

from __future__ import annotations

import os
import pwd
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from edge_agent.errors import EdgeAgentError

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROOT: Final = 0
_MAX_LINKS: Final = 40  # as the kernel allows on one path


class Owner(NamedTuple):
    """A user, and the group of its folder."""

    uid: int
    gid: int

    @property
    def name(self) -> str:
        """The user's name, or its number if it has none."""
        with suppress(KeyError):
            return pwd.getpwuid(self.uid).pw_name
        return str(self.uid)


def owner_of(folder: Path) -> Owner:
    """Who decides where `folder` leads: the last one but root that owns a part of its path.

    Parts are all folders and links on the way; those that do not exist yet have no owner. OSError
    if the links are a circle.
    """
    found = Owner(_ROOT, _ROOT)
    for place in _walked(folder):
        status = place.lstat()
        if status.st_uid != _ROOT:
            found = Owner(status.st_uid, status.st_gid)
    return found


def _walked(folder: Path) -> Iterator[Path]:
    """Every folder and link on the way to `folder`, from the top down, as far as they exist."""
    here, left, links = Path("/"), [*reversed(folder.absolute().parts[1:])], 0
    while left:
        place = here / left.pop()
        if not os.path.lexists(place):
            return
        yield place
        if not place.is_symlink():
            here = place.parent if place.name == ".." else place
            continue
        links += 1
        if links > _MAX_LINKS:
            raise OSError(f"{folder}: too many links")
        target = place.readlink()
        here = Path("/") if target.is_absolute() else here
        left += reversed(target.parts[1:] if target.is_absolute() else target.parts)


@contextmanager
def as_owner_of(folder: Path, *read: Path) -> Iterator[None]:
    """Let root act as the owner of `folder` for the duration of a `with`; for others, nothing.

    Changes the user of the whole process, so only for commands; a child stays the owner. read:
    private folders of root that are read meanwhile; the owner may read them from now on, but not
    change them. EdgeAgentError if root may not change its user here.
    """
    owner = owner_of(folder)
    if os.geteuid() != _ROOT or owner.uid == _ROOT:
        yield
        return
    for place in read:
        _lend(place, owner.gid)
    groups = os.getgroups()
    _change_user(owner, folder, back=_ROOT)
    try:
        yield
    finally:
        os.setresuid(_ROOT, _ROOT, _ROOT)
        os.setresgid(_ROOT, _ROOT, _ROOT)
        os.setgroups(groups)


def become_owner_of(folder: Path) -> str:
    """Let root become the owner of `folder` until the process ends; for others, nothing.

    Returns the name of the new user; empty if nothing changed. EdgeAgentError if root may not.
    """
    owner = owner_of(folder)
    if os.geteuid() != _ROOT or owner.uid == _ROOT:
        return ""
    _change_user(owner, folder, back=owner.uid)
    return owner.name


@contextmanager
def scratch_for(folder: Path, prefix: str) -> Iterator[Path]:
    """A private folder for the duration of a `with`, from which files go into `folder`.

    It is in `folder`, on whose disk there is room; but for root and a folder of another owner in
    the system's folder for temporary files, because that owner could exchange it.
    """
    is_foreign = os.geteuid() == _ROOT and owner_of(folder).uid != _ROOT
    if not is_foreign:
        folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=prefix, dir=None if is_foreign else folder) as scratch:
        yield Path(scratch)


def _change_user(owner: Owner, folder: Path, back: int) -> None:
    """Take a user's groups and rights; `back` is the user that this process may become again."""
    groups = [owner.gid]
    with suppress(KeyError):
        groups = os.getgrouplist(pwd.getpwuid(owner.uid).pw_name, owner.gid)
    try:
        os.setgroups(groups)
        os.setresgid(owner.gid, owner.gid, owner.gid)
        os.setresuid(owner.uid, owner.uid, back)
    except OSError as error:
        text, hint = f"root cannot act as {owner.name}: {error.strerror}", "run it as this user"
        raise EdgeAgentError(text, where=str(folder), hint=hint) from error


def _lend(folder: Path, group: int) -> None:
    """Let a group read a folder of root, its files, and pass the private folder around it."""
    for path in (folder.parent, folder, *folder.iterdir()):
        os.chown(path, -1, group, follow_symlinks=False)
        path.chmod(0o750 if path.is_dir() else 0o640)
