"""The unix socket on which the daemon serves clients of the same machine, and who they are.

The kernel tells each side the user at the other end (`SO_PEERCRED`, unix(7)), so that neither needs
a secret. The name of the socket contains the TCP port, by which a client finds the right daemon.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
import struct
from pathlib import Path
from typing import Final, NamedTuple

SYSTEM_DIR: Final = Path("/run/edge-agent")  # RuntimeDirectory= of the systemd unit
CONNECT_S: Final = 2.0
ROOT: Final = 0
# What a user namespace shows for users and groups that it does not contain: never anybody's own.
NOBODY: Final = 65534
_SO_PEERGROUPS: Final = 59  # socket(7), Linux 4.13; the module socket has no name for it
_GROUPS_BYTES: Final = 1024  # all that Python asks for: 256 groups
_CREDENTIALS: Final = struct.Struct("3i")
_FOR_ALL: Final = 0o666
_OTHERS_WRITE: Final = 0o022


class Peer(NamedTuple):
    """The process at the other end of a unix socket: its user, and all its groups."""

    uid: int
    gids: frozenset[int]


def peer_of(connection: socket.socket) -> Peer:
    """Who connected to our socket, or who listens on the one that we connected to."""
    size = _CREDENTIALS.size
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    _pid, uid, gid = _CREDENTIALS.unpack(credentials)
    more: tuple[int, ...] = ()
    with contextlib.suppress(OSError):  # a kernel without it: then the first group only
        raw = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _GROUPS_BYTES)
        more = struct.unpack(f"{len(raw) // 4}I", raw)
    return Peer(uid, frozenset({gid, *more}) - {NOBODY})


def may_command(peer: Peer, own_uid: int, group: int | None) -> bool:
    """True for root, our own user, and members of `group`."""
    users = {ROOT, own_uid} - {NOBODY}
    return peer.uid in users or (group is not None and group in peer.gids)


# Where it is --------------------------------------------------------------------------------------


def socket_dirs() -> list[Path]:
    """The folders for sockets, the first is the one of a daemon of this user."""
    uid = os.geteuid()
    of_unit = os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    of_session = os.environ.get("XDG_RUNTIME_DIR", "")
    found = [Path(of_unit)] if of_unit else []
    found += [SYSTEM_DIR] if uid == ROOT else []
    found += [Path(of_session, "edge-agent")] if of_session else []
    found += [Path(f"/tmp/edge-agent-{uid}"), SYSTEM_DIR]  # noqa: S108 (its owner is looked at)
    return list(dict.fromkeys(found))


def socket_name(port: int) -> str:
    """The name of the socket of the daemon with this TCP port."""
    return f"http-{port}.sock"


def trusted_users() -> set[int]:
    """The users to whose programs this one may give a token: root, ourselves, the service's user.

    Only root can make SYSTEM_DIR: its owner is the service's user.
    """
    users = {ROOT, os.geteuid()}
    with contextlib.suppress(OSError):
        users.add(SYSTEM_DIR.stat().st_uid)
    return users - {NOBODY}


def find_daemon(port: int) -> Path | None:
    """The socket of the running daemon with this TCP port; None if there is none to be trusted."""
    for folder in socket_dirs():
        path = folder / socket_name(port)
        with contextlib.suppress(OSError):
            if server_of(path).uid in trusted_users():
                return path
    return None


def server_of(path: Path) -> Peer:
    """Who listens on a socket; OSError if nobody does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(CONNECT_S)
        probe.connect(str(path))
        return peer_of(probe)


# Listening ----------------------------------------------------------------------------------------


def listen(path: Path) -> socket.socket:
    """Listen on a unix socket; OSError if this is not possible, or a daemon already does it.

    A socket that a killed daemon left behind is replaced.
    """
    _make_dir(path.parent)
    if _is_served(path):
        raise OSError(errno.EADDRINUSE, "another edge-agent has this socket")
    new = path.with_name(f"{path.name}.{os.getpid()}")
    new.unlink(missing_ok=True)
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        server.bind(str(new))
        new.chmod(_FOR_ALL)  # the rights of each connection follow from its user
        server.listen()
        new.replace(path)
    except OSError:
        server.close()
        new.unlink(missing_ok=True)
        raise
    return server


def _make_dir(folder: Path) -> None:
    """Make the folder, or check that nobody else can place a socket in it."""
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o755, parents=True)
    found = folder.lstat()
    is_ours = found.st_uid in {ROOT, os.geteuid()} and not found.st_mode & _OTHERS_WRITE
    if not stat.S_ISDIR(found.st_mode) or not is_ours:
        raise OSError(errno.EPERM, f"{folder} is not a folder that only this user can write")


def _is_served(path: Path) -> bool:
    if path.exists() and not path.is_socket():
        raise OSError(errno.EEXIST, f"{path} is not a socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(0)
        return probe.connect_ex(str(path)) not in {errno.ECONNREFUSED, errno.ENOENT}


# A TCP port of this machine -----------------------------------------------------------------------

_LISTENS: Final = "0A"
_TABLES: Final = ("/proc/net/tcp", "/proc/net/tcp6")


def port_owners(port: int) -> set[int]:
    """The users whose programs listen on a TCP port of this machine; see proc(5)."""
    return {uid for table in _TABLES for uid in _owners_in(Path(table), port)}


def _owners_in(table: Path, port: int) -> list[int]:
    try:
        rows = table.read_text("ascii").splitlines()[1:]
    except OSError:
        return []
    fields = [row.split() for row in rows]
    return [
        int(one[7])
        for one in fields
        if one[3] == _LISTENS and int(one[1].rpartition(":")[2], 16) == port
    ]
