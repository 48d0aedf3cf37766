"""Listening sockets that end at once the connections whose client has gone already.

A program that opens and closes connections in a loop fills the kernel's queue; a connection that
finds it full waits a second for its next try (tcp(7)). A connection object costs half a
millisecond, this check some microseconds, so that the queue is never full for long.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_QUEUE: Final = 4096  # connections that the kernel keeps until they are accepted, as it allows
_AT_ONCE: Final = 100  # new connections before others have their turn
_GONE_AT_ONCE: Final = 2000
_NO_SUCH_ADDRESS: Final = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}


class ListeningSocket(socket.socket):
    """Accepts the connections whose client is still there."""

    def listen(self, _: int = 0) -> None:
        """Listen with a long queue; asyncio's number is that of connections it accepts at once."""
        super().listen(_QUEUE)

    def accept(self) -> tuple[socket.socket, Any]:
        """The next connection; BlockingIOError if there is none, or very many have gone."""
        for _ in range(_GONE_AT_ONCE):
            connection, address = super().accept()
            if not _has_gone(connection):
                return connection, address
            connection.close()
        raise BlockingIOError


def _has_gone(connection: socket.socket) -> bool:
    """True if the client has closed, and sent nothing before."""
    try:
        return not connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True


async def listen_tcp(
    connect: Callable[[], asyncio.Protocol], host: str, port: int
) -> tuple[asyncio.Server, ...]:
    """A server at each address of `host`; OSError if the port of one of them is taken.

    A machine without IPv6 may have a name for its address, such as localhost: that is left out.
    """
    loop = asyncio.get_running_loop()
    infos = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    lacking: OSError | None = None
    sockets: list[ListeningSocket] = []
    with ExitStack() as made:
        for family, kind, protocol, _, address in dict.fromkeys(infos):
            try:
                sockets.append(made.enter_context(_bound(family, kind, protocol, address)))
            except OSError as error:
                if error.errno not in _NO_SUCH_ADDRESS:
                    raise
                lacking = error
        if lacking is not None and not sockets:
            raise lacking
        made.pop_all()
    return tuple([await loop.create_server(connect, sock=one, backlog=_AT_ONCE) for one in sockets])


def _bound(family: int, kind: int, protocol: int, address: Any) -> ListeningSocket:  # noqa: ANN401
    ready = ListeningSocket(family, kind, protocol)
    try:
        ready.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:  # IPv4 has a socket of its own
            ready.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        ready.settimeout(0)
        ready.bind(address)
    except OSError:
        ready.close()
        raise
    return ready
