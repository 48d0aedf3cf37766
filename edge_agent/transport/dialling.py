"""Opens TCP connections on the event loop; names are resolved in separate threads, one per name.

A network or a name server that does not answer affects only the connection that needs it: no thread
is shared with the store, the HTTP server or another connection.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import threading
from collections import deque
from concurrent.futures import Future
from itertools import chain, zip_longest
from typing import TYPE_CHECKING, Any, Final

from edge_agent.errors import ConnectError
from edge_agent.transport.tls import tls_context

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge_agent.transport.tls import Tls

    Address = tuple[socket.AddressFamily, tuple[Any, ...]]

STAGGER_S: Final = 0.25  # RFC 8305, 8: before the next address is tried in parallel
_HINTS: Final = (
    (ssl.SSLCertVerificationError, "see tls.ca, and the name in the {peer}'s certificate"),
    (ssl.SSLError, "see url (with or without TLS, port) and tls"),
    (socket.gaierror, "the name is unknown: see url"),
    (ConnectionRefusedError, "is the {peer} running, on this port?"),
    (TimeoutError, "no answer: is the {peer} up, does a firewall drop packets?"),
)
# Names that are being resolved, at most one thread each: all names come from the config.
_lookups: dict[str, Future[list[Address]]] = {}


async def dial(
    host: str,
    port: int,
    timeout_s: float,
    context: ssl.SSLContext | None = None,
    server_name: str = "",
) -> socket.socket:
    """Resolve, connect to the first address that answers, TLS handshake if there is a context.

    The socket does not block. server_name: the name in the certificate, default the host.
    OSError if no address can be reached, TimeoutError among them.
    """
    try:
        async with asyncio.timeout(timeout_s):
            opened = await _first(await resolve(host, port))
            if context is None:
                return opened
            return await _handshake(opened, context, server_name or host)
    except TimeoutError as error:
        raise TimeoutError(f"no answer within {timeout_s:g} s") from error


async def answers(host: str, port: int, timeout_s: float) -> bool:
    """True if a connection is accepted there; it is closed at once."""
    try:
        opened = await dial(host, port, timeout_s)
    except OSError:
        return False
    opened.close()
    return True


async def dial_endpoint(host: str, port: int, timeout_s: float, tls: Tls | None) -> socket.socket:
    """As `dial`, with TLS if configured; ConnectError for its files."""
    if tls is None:
        return await dial(host, port, timeout_s)
    context = await asyncio.to_thread(tls_context, tls)
    return await dial(host, port, timeout_s, context, tls.server_name)


async def resolve(host: str, port: int) -> list[Address]:
    """All addresses of a name, in the order of attempts; OSError."""
    try:
        found = _addresses(host, socket.AI_NUMERICHOST)
    except socket.gaierror:
        found = await asyncio.wrap_future(_look_up(host))
    return [(family, (address[0], port, *address[2:])) for family, address in found]


def dial_error(error: Exception, where: str, peer: str = "broker") -> ConnectError:
    """The error of a failed connection attempt for the user."""
    hint = next((hint for kind, hint in _HINTS if isinstance(error, kind)), "")
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return ConnectError(text, where=where, hint=hint.format(peer=peer))


def _look_up(host: str) -> Future[list[Address]]:
    found = _lookups.get(host)
    if found is None:
        found = _lookups[host] = Future()
        found.set_running_or_notify_cancel()  # a cancelled waiter does not end it
        name = f"resolve {host}"
        threading.Thread(target=_run_lookup, args=(host, found), name=name, daemon=True).start()
    return found


def _run_lookup(host: str, found: Future[list[Address]]) -> None:
    try:
        addresses = _addresses(host)
    except Exception as error:  # noqa: BLE001 (it is the waiting side's)
        _lookups.pop(host, None)
        found.set_exception(error)
    else:
        _lookups.pop(host, None)
        found.set_result(addresses)


def _addresses(host: str, flags: int = 0) -> list[Address]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=flags)
    except UnicodeError as error:  # the error for an impossible name
        raise socket.gaierror(socket.EAI_NONAME, f"{host!r} is not a name of a host") from error
    return _interleaved(list(dict.fromkeys((family, address) for family, *_, address in found)))


def _interleaved(addresses: Sequence[Address]) -> list[Address]:
    """IPv6 and IPv4 alternately (RFC 8305, 4), starting with the resolver's first."""
    families = {family: [a for a in addresses if a[0] is family] for family, _ in addresses}
    rounds = zip_longest(*families.values())
    return [address for address in chain.from_iterable(rounds) if address is not None]


async def _first(addresses: Sequence[Address]) -> socket.socket:
    """Connect to all, each shortly after the previous one; the first that answers is used."""
    waiting, running = deque(addresses), set[asyncio.Task[socket.socket]]()
    errors: list[OSError] = []
    try:
        while waiting or running:
            if waiting:
                running.add(asyncio.create_task(_connect(*waiting.popleft())))
            rest_s = STAGGER_S if waiting else None
            done, _ = await asyncio.wait(
                running, timeout=rest_s, return_when=asyncio.FIRST_COMPLETED
            )
            for one in done:
                running.discard(one)
                if (error := one.exception()) is None:
                    running |= done - {one}
                    return one.result()
                errors.append(error if isinstance(error, OSError) else OSError(str(error)))
    finally:
        for one in running:
            one.cancel()
            one.add_done_callback(_close_late)
    raise _all_of(errors)


def _all_of(errors: Sequence[OSError]) -> OSError:
    """One error for all addresses; its class is that of the last one."""
    if len(errors) <= 1:
        return errors[0] if errors else OSError("the name has no address")
    texts = dict.fromkeys(str(error.strerror or error) for error in errors)
    return OSError(errors[-1].errno, "; ".join(texts))


def _close_late(task: asyncio.Task[socket.socket]) -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().close()


async def _connect(family: socket.AddressFamily, address: tuple[Any, ...]) -> socket.socket:
    opened = socket.socket(family, socket.SOCK_STREAM)
    try:
        opened.setblocking(False)  # noqa: FBT003
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(opened, address)
    except OSError as error:
        opened.close()
        text = os.strerror(error.errno).lower() if error.errno else str(error)
        raise OSError(error.errno, f"{address[0]} port {address[1]}: {text}") from error
    except BaseException:
        opened.close()
        raise
    return opened


async def _handshake(
    opened: socket.socket, context: ssl.SSLContext, server_name: str
) -> ssl.SSLSocket:
    """TLS handshake without a thread: a silent peer blocks nothing else."""
    loop = asyncio.get_running_loop()
    wrapped: socket.socket = opened
    try:
        secured = wrapped = context.wrap_socket(
            opened, server_hostname=server_name, do_handshake_on_connect=False
        )
        while True:
            try:
                secured.do_handshake()
            except ssl.SSLWantReadError:
                await _ready(secured, loop.add_reader, loop.remove_reader)
            except ssl.SSLWantWriteError:
                await _ready(secured, loop.add_writer, loop.remove_writer)
            else:
                return secured
    except BaseException:
        wrapped.close()
        opened.close()
        raise


async def _ready(
    sock: socket.socket, watch: Callable[..., object], leave: Callable[[int], object]
) -> None:
    number = sock.fileno()
    event = asyncio.Event()
    watch(number, event.set)
    try:
        await event.wait()
    finally:
        leave(number)
