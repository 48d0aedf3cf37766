"""The daemon's own HTTP server: serves tables of routes behind one guard, and the status page.

docs/http.md lists the routes. Importing this module imports aiohttp.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from functools import partial
from importlib import resources
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Final

from aiohttp import hdrs, web

from edge_agent.messages import Detail, Fault
from edge_agent.ops import local_socket
from edge_agent.ops.access import Access
from edge_agent.ops.bodies import LargeBodies
from edge_agent.ops.guard import Connection, Connections, Guard, add_headers, expect
from edge_agent.ops.handlers import Pace, handler_of
from edge_agent.ops.key_file import FILE_NAME
from edge_agent.ops.keys import KeyRing
from edge_agent.ops.listening import listen_tcp
from edge_agent.ops.routes import (
    OPEN,
    Request,
    Response,
    Route,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence
    from importlib.resources.abc import Traversable

    from edge_agent.clock import Clock
    from edge_agent.config.settings import Http
    from edge_agent.ops.handlers import AtHome

log = logging.getLogger("edge_agent.ops")

SHUTDOWN_S: Final = 1.0
RETRY_S: Final = 5.0  # between attempts to listen on an address that another program has
_PAGE_TYPES: Final = {"html": "text/html", "css": "text/css", "js": "text/javascript"}


@dataclass(slots=True)
class _Listener:
    """An address on which the server listens; servers: none while it cannot.

    is_wanted: the config names it, so that its lack is a fault.
    """

    where: str
    hint: str
    open: Callable[[], Awaitable[tuple[asyncio.Server, ...]]]
    is_wanted: bool = True
    servers: tuple[asyncio.Server, ...] = ()
    reason: str = ""


class HttpServer:
    """Serves `routes` and those of the page until stopped.

    port: the one in use; with port 0 the system chooses it.
    It listens on a TCP port and on a unix socket, `socket_path`. An address that it cannot have is
    a fault, and tried again by `listen`. keys: the file of the API keys, unless the config names
    another. at_home: runs handlers on the daemon's loop, if the server has another one. Raises
    ConfigError if the token is too short.
    """

    def __init__(
        self,
        config: Http,
        routes: Sequence[Route],
        clock: Clock,
        keys: Path | None = None,
        at_home: AtHome | None = None,
    ) -> None:
        self.port = config.port
        self.socket_path = config.socket
        self._config = config
        self._clock = clock
        self._at_home = at_home
        self.routes = (*page_routes(), *routes)
        self._connections = Connections()
        path = config.keys or keys or Path(FILE_NAME)
        self.keys = KeyRing(path, clock, is_required=config.keys is not None)
        self.guard = Guard(config, Access(config, self.keys, clock), self._connections)
        self._runner: web.AppRunner | None = None
        self._next_try_s = 0.0
        hint = "another program has the port, or http.host is not an address of this machine"
        self._tcp = _Listener(f"http://{config.host}:{config.port}", hint, self._open_tcp)
        is_wanted = config.socket is not None or config.group is not None
        hint = "see http.socket and http.group; commands need http.token meanwhile"
        self._unix = _Listener("unix socket", hint, self._open_socket, is_wanted)

    async def start(self) -> None:
        """Serve; addresses that are not free are left to `listen`."""
        if self._runner is not None or not self._config.enabled:
            return
        self._runner = web.AppRunner(self._application(), shutdown_timeout=SHUTDOWN_S)
        await self._runner.setup()
        self._next_try_s = 0.0
        await self.listen()
        self._announce()

    async def listen(self) -> None:
        """Try to have the addresses that are missing, save what changed; call it every second."""
        await self.keys.save_last_uses()
        now_s = self._clock.monotonic_s()
        if self._runner is None or now_s < self._next_try_s:
            return
        self._next_try_s = now_s + RETRY_S
        for one in (self._tcp, self._unix):
            if not one.servers:
                await self._try(one)

    async def _try(self, one: _Listener) -> None:
        try:
            one.servers = await one.open()
        except OSError as error:
            reason = error.strerror or str(error)
            if reason != one.reason:
                extra = {"where": one.where, "reason": reason, "hint": one.hint}
                log.warning("http cannot listen", extra=extra)
            one.reason = reason
            return
        if one.reason:
            log.info("http listens now", extra={"where": one.where})
        one.reason = ""

    async def _open_tcp(self) -> tuple[asyncio.Server, ...]:
        servers = await listen_tcp(self._connect, self._config.host, self._config.port)
        self.port = servers[0].sockets[0].getsockname()[1]
        return servers

    async def _open_socket(self) -> tuple[asyncio.Server, ...]:
        await asyncio.to_thread(self.guard.find_group)
        if self.socket_path is None:
            folder = local_socket.socket_dirs()[0]
            self.socket_path = folder / local_socket.socket_name(self.port)
        ready = local_socket.listen(self.socket_path)
        return (await asyncio.get_running_loop().create_unix_server(self._connect, sock=ready),)

    def _connect(self) -> Connection:
        """The protocol of a new connection."""
        assert self._runner is not None  # noqa: S101 (it is served)
        assert self._runner.server is not None  # noqa: S101 (setup() made it)
        return Connection(self._runner.server, self._connections, asyncio.get_running_loop())

    def faults(self) -> list[Fault]:
        """Addresses on which the server cannot listen, and keys that it cannot check."""
        missing = [one for one in (self._tcp, self._unix) if one.reason and one.is_wanted]
        if not missing:
            return self.keys.faults()
        text = "; ".join(f"{one.where}: {one.reason}" for one in missing)
        args = {"where": missing[0].where, "reason": missing[0].reason}
        return [
            Fault("http", f"http: {text} ({missing[0].hint})", Detail("http_address", args)),
            *self.keys.faults(),
        ]

    async def stop(self) -> None:
        """End all connections; safe before `start` and when repeated."""
        await self.keys.save_last_uses(at_once=True)
        runner, self._runner = self._runner, None
        if self._unix.servers and self.socket_path is not None:
            self.socket_path.unlink(missing_ok=True)
        self.socket_path = self._config.socket
        for one in (self._tcp, self._unix):
            servers, one.servers, one.reason = one.servers, (), ""
            for server in servers:
                server.close()
        if runner is not None:
            await runner.cleanup()

    def _announce(self) -> None:
        config, keys = self._config, self.keys.path.absolute()
        extra = {"host": config.host, "port": self.port, "socket": str(self.socket_path)}
        extra["keys"] = str(keys)
        log.info("http serves", extra=extra)
        if not self.guard.access.has_keys and not _is_loopback(self._config.host):
            log.warning(
                "http without token beyond loopback",
                extra={
                    "effect": "all may read, none may command",
                    "hint": "edge-agent keys create",
                },
            )

    def _application(self) -> web.Application:
        app = web.Application(middlewares=[self.guard.middleware])
        app.on_response_prepare.append(add_headers)
        pace, bodies = Pace(), LargeBodies()
        for route in self.routes:
            handler = handler_of(
                route, pace, bodies, self.guard.access.is_still_valid, self._at_home
            )
            self.guard.scopes[handler] = route.scope
            if route.method == hdrs.METH_GET:
                app.router.add_get(route.path, handler)  # and HEAD
            else:
                app.router.add_route(route.method, route.path, handler, expect_handler=expect)
        return app


# The files of `page` that have addresses of their own.
_PAGES: Final = {"index.html": ("/", "/wall"), "openapi.html": ("/openapi",)}


def page_routes() -> list[Route]:
    """The status page and its files, those of folders included."""
    rows = []
    for name, file in _files_below(resources.files("edge_agent.ops").joinpath("page")):
        paths = _PAGES.get(name, (f"/static/{name}",))
        kind = _PAGE_TYPES[name.rpartition(".")[2]]
        answer = Response(file.read_bytes(), f"{kind}; charset=utf-8")
        handler = partial(_same, answer)
        rows += [Route("GET", path, handler, OPEN, is_apart=True) for path in paths]
    return rows


def _files_below(folder: Traversable, prefix: str = "") -> Iterator[tuple[str, Traversable]]:
    for one in folder.iterdir():
        if one.is_dir():
            yield from _files_below(one, f"{prefix}{one.name}/")
        else:
            yield f"{prefix}{one.name}", one


def _same(answer: Response, _: Request) -> Response:
    return answer


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
