"""The daemon's own HTTP server: serves tables of routes behind one guard, and the status page.

docs/http.md lists the routes. Importing this module imports aiohttp.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing, nullcontext
from dataclasses import dataclass
from functools import partial
from importlib import resources
from inspect import isawaitable, iscoroutinefunction
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final

import orjson
from aiohttp import hdrs, web

from edge_agent.messages import Detail, Fault
from edge_agent.ops import local_socket
from edge_agent.ops.guard import CLIENT, DENIED, Connection, Connections, Guard, add_headers
from edge_agent.ops.routes import (
    ANY_TYPE,
    JSON,
    MAX_TEXT,
    OPEN,
    READ,
    Refusal,
    Request,
    Response,
    Route,
    as_json,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

    from edge_agent.clock import Clock
    from edge_agent.config.settings import Http

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

log = logging.getLogger("edge_agent.ops")

# After a reader of the API the next one waits for twice the time that this one took.
REST_FACTOR: Final = 2.0
MAX_REST_S: Final = 0.2
SHUTDOWN_S: Final = 1.0
RETRY_S: Final = 5.0  # between attempts to listen on an address that another program has
BODY_TIMEOUT_S: Final = 5.0
SLOWEST_BYTES_S: Final = 1 << 20  # a route that allows large bodies waits longer for them
_WITH_BODY: Final = frozenset({hdrs.METH_POST, hdrs.METH_PUT, hdrs.METH_PATCH})
_PAGE_TYPES: Final = {"html": "text/html", "css": "text/css", "js": "text/javascript"}


@dataclass(slots=True)
class _Listener:
    """An address on which the server listens; server: None while it cannot.

    is_wanted: the config names it, so that its lack is a fault.
    """

    where: str
    hint: str
    open: Callable[[], Awaitable[asyncio.Server]]
    is_wanted: bool = True
    server: asyncio.Server | None = None
    reason: str = ""


class HttpServer:
    """Serves `routes` until stopped; `port` is the one in use (with port 0 the system chooses it).

    It listens on a TCP port and on a unix socket, `socket_path`. An address that it cannot have is
    a fault, and tried again by `listen`. Raises ConfigError if the token is too short.
    """

    def __init__(self, config: Http, routes: Sequence[Route], clock: Clock) -> None:
        self.port = config.port
        self.socket_path = config.socket
        self._config = config
        self._clock = clock
        self._routes = [*page_routes(), *routes]
        self._connections = Connections()
        self.guard = Guard(config, self._connections)
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
        """Try to have the addresses that are missing; call it every second."""
        now_s = self._clock.monotonic_s()
        if self._runner is None or now_s < self._next_try_s:
            return
        self._next_try_s = now_s + RETRY_S
        for one in (self._tcp, self._unix):
            if one.server is None:
                await self._try(one)

    async def _try(self, one: _Listener) -> None:
        try:
            one.server = await one.open()
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

    async def _open_tcp(self) -> asyncio.Server:
        loop, config = asyncio.get_running_loop(), self._config
        server = await loop.create_server(self._connect, config.host, config.port)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def _open_socket(self) -> asyncio.Server:
        await asyncio.to_thread(self.guard.find_group)
        if self.socket_path is None:
            folder = local_socket.socket_dirs()[0]
            self.socket_path = folder / local_socket.socket_name(self.port)
        ready = local_socket.listen(self.socket_path)
        return await asyncio.get_running_loop().create_unix_server(self._connect, sock=ready)

    def _connect(self) -> Connection:
        """The protocol of a new connection."""
        assert self._runner is not None  # noqa: S101 (it is served)
        assert self._runner.server is not None  # noqa: S101 (setup() made it)
        return Connection(self._runner.server, self._connections, asyncio.get_running_loop())

    def faults(self) -> list[Fault]:
        """One for each address on which the server cannot listen."""
        missing = [one for one in (self._tcp, self._unix) if one.reason and one.is_wanted]
        if not missing:
            return []
        text = "; ".join(f"{one.where}: {one.reason}" for one in missing)
        args = {"where": missing[0].where, "reason": missing[0].reason}
        return [Fault("http", f"http: {text} ({missing[0].hint})", Detail("http_address", args))]

    async def stop(self) -> None:
        """End all connections; safe before `start` and when repeated."""
        runner, self._runner = self._runner, None
        if self._unix.server is not None and self.socket_path is not None:
            self.socket_path.unlink(missing_ok=True)
        self.socket_path = self._config.socket
        for one in (self._tcp, self._unix):
            server, one.server, one.reason = one.server, None, ""
            if server is not None:
                server.close()
        if runner is not None:
            await runner.cleanup()

    def _announce(self) -> None:
        extra = {"host": self._config.host, "port": self.port, "socket": str(self.socket_path)}
        log.info("http serves", extra=extra)
        if not self.guard.has_token and not _is_loopback(self._config.host):
            log.warning(
                "http without token beyond loopback",
                extra={"effect": "all may read, none may command", "hint": "set http.token"},
            )

    def _application(self) -> web.Application:
        app = web.Application(middlewares=[self.guard.middleware])
        app.on_response_prepare.append(add_headers)
        pace = Pace()
        for route in self._routes:
            handler = _handler(route, pace)
            self.guard.scopes[handler] = route.scope
            if route.method == hdrs.METH_GET:
                app.router.add_get(route.path, handler)  # and HEAD
            else:
                app.router.add_route(route.method, route.path, handler)
        return app


class Pace:
    """Lets the readers of the API run one after the other, with rests between them.

    Their handlers run on the event loop of the pipeline. However many clients ask, and without a
    pause, they get a third of its time at most.
    """

    def __init__(self) -> None:
        self._turn = asyncio.Lock()

    async def __aenter__(self) -> None:
        await self._turn.acquire()
        self._begun_s = asyncio.get_running_loop().time()

    async def __aexit__(self, *_: object) -> None:
        loop = asyncio.get_running_loop()
        took_s = loop.time() - self._begun_s
        loop.call_later(min(MAX_REST_S, REST_FACTOR * took_s), self._turn.release)


def _handler(route: Route, pace: Pace) -> Handler:
    """The aiohttp handler of a route; a handler that is a coroutine function has its own pace."""
    is_paced = route.scope == READ and not iscoroutinefunction(route.handler)

    async def answer(request: web.Request) -> web.StreamResponse:
        parts, query = request.match_info, _query(request, route)
        body = await _body(request, route)
        if route.parse is not None:
            body = route.parse(body, parts)
        if DENIED in request:
            raise request[DENIED]
        asked = Request(parts, query, body, request[CLIENT], request.headers)
        async with pace if is_paced else nullcontext():
            said = _encoded(route.handler(asked))
        response = _encoded(await said) if isawaitable(said) else said
        headers = {**response.headers, hdrs.CONTENT_TYPE: response.content_type}
        if isinstance(response.body, bytes):
            return web.Response(body=response.body, status=response.status, headers=headers)
        stream = web.StreamResponse(status=response.status, headers=headers)
        return await _streamed(request, stream, response.body)

    return answer


async def _streamed(
    request: web.Request, answer: web.StreamResponse, parts: AsyncGenerator[bytes]
) -> web.StreamResponse:
    """Send each part at once; a part for a client that is gone ends the stream."""
    async with aclosing(parts):
        await answer.prepare(request)
        async for part in parts:
            await answer.write(part)
    await answer.write_eof()
    return answer


def _encoded(said: object) -> Any:  # noqa: ANN401 (a Response, or what will be one)
    return said if isinstance(said, Response) or isawaitable(said) else as_json(said)


def _query(request: web.Request, route: Route) -> dict[str, Any]:
    """Refuse a misspelt parameter, which would otherwise be ignored silently."""
    given, known = request.query, route.query
    for name in given if known else ():
        if name not in known or len(given.getall(name)) > 1:
            hint = f"once each: {', '.join(known)}"
            raise Refusal(400, f"no parameter {name[:MAX_TEXT]!r}", hint)
    return {
        name: one.parse(name, given[name]) if name in given else one.default
        for name, one in known.items()
    }


async def _body(request: web.Request, route: Route) -> object:
    """Read the body as the route defines it: bytes, or the value if it is JSON."""
    if request.method not in _WITH_BODY or route.method == hdrs.METH_ANY:
        return None
    if route.content_type not in {ANY_TYPE, request.content_type}:
        what = "JSON" if route.content_type == JSON else route.content_type
        raise Refusal(415, f"the body is not {what}", f"Content-Type: {route.content_type}")
    timeout_s = BODY_TIMEOUT_S + route.max_body // SLOWEST_BYTES_S
    try:
        async with asyncio.timeout(timeout_s):
            body = await request.clone(client_max_size=route.max_body).read()
    except TimeoutError:
        raise Refusal(408, f"no whole body within {timeout_s:g} s") from None
    except web.RequestPayloadError:
        raise Refusal(400, "the body is cut or malformed") from None
    if route.content_type != JSON:
        return body
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as problem:
        raise Refusal(400, f"the body is not JSON: {problem}") from None


def page_routes() -> list[Route]:
    """The status page and its files."""
    rows = []
    for file in resources.files("edge_agent.ops").joinpath("page").iterdir():
        path = "/" if file.name == "index.html" else f"/static/{file.name}"
        kind = _PAGE_TYPES[file.name.rpartition(".")[2]]
        answer = Response(file.read_bytes(), f"{kind}; charset=utf-8")
        rows.append(Route("GET", path, partial(_same, answer), OPEN))
    return rows


def _same(answer: Response, _: Request) -> Response:
    return answer


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
