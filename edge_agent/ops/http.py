"""The daemon's own HTTP server: serves tables of routes behind one guard, and the status page.

docs/http.md lists the routes. Importing this module imports aiohttp.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from importlib import resources
from inspect import isawaitable
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final

import orjson
from aiohttp import hdrs, web

from edge_agent.errors import ConnectError
from edge_agent.ops.guard import Connection, Connections, Guard, add_headers
from edge_agent.ops.routes import (
    JSON,
    MAX_TEXT,
    OPEN,
    Refusal,
    Request,
    Response,
    Route,
    as_json,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from edge_agent.config.settings import Http

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

log = logging.getLogger("edge_agent.ops")

SHUTDOWN_S: Final = 1.0
BODY_TIMEOUT_S: Final = 5.0
SLOWEST_BYTES_S: Final = 1 << 20  # a route that allows large bodies waits longer for them
_WITH_BODY: Final = frozenset({hdrs.METH_POST, hdrs.METH_PUT, hdrs.METH_PATCH})
_PAGE_TYPES: Final = {"html": "text/html", "css": "text/css", "js": "text/javascript"}


class HttpServer:
    """Serves `routes` until stopped; `port` is the one in use (with port 0 the system chooses it).

    Raises ConfigError if the token is too short.
    """

    def __init__(self, config: Http, routes: Sequence[Route]) -> None:
        self.port = config.port
        self._config = config
        self._routes = [*page_routes(), *routes]
        self._connections = Connections()
        self._guard = Guard(config, self._connections)
        self._runner: web.AppRunner | None = None
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Bind and serve; ConnectError if the address is in use or not ours."""
        if self._server is not None or not self._config.enabled:
            return
        loop = asyncio.get_running_loop()
        runner = web.AppRunner(self._application(), shutdown_timeout=SHUTDOWN_S)
        await runner.setup()
        server = runner.server
        assert server is not None  # noqa: S101 (setup() made it)
        try:
            self._server = await loop.create_server(
                lambda: Connection(server, self._connections, loop),
                self._config.host,
                self._config.port,
            )
        except OSError as error:
            await runner.cleanup()
            where = f"http://{self._config.host}:{self._config.port}"
            hint = "another program has the port, or http.host is not an address of this machine"
            raise ConnectError(error.strerror or str(error), where=where, hint=hint) from error
        self._runner = runner
        self.port = self._server.sockets[0].getsockname()[1]
        self._announce()

    async def stop(self) -> None:
        """End all connections; safe before `start` and when repeated."""
        server, runner = self._server, self._runner
        self._server = self._runner = None
        if server is not None:
            server.close()
        if runner is not None:
            await runner.cleanup()

    def _announce(self) -> None:
        log.info("http serves", extra={"host": self._config.host, "port": self.port})
        if not self._guard.has_token and not _is_loopback(self._config.host):
            log.warning(
                "http without token beyond loopback",
                extra={"effect": "all may read, none may command", "hint": "set http.token"},
            )

    def _application(self) -> web.Application:
        app = web.Application(middlewares=[self._guard.middleware])
        app.on_response_prepare.append(add_headers)
        for route in self._routes:
            handler = _handler(route)
            self._guard.scopes[handler] = route.scope
            if route.method == hdrs.METH_GET:
                app.router.add_get(route.path, handler)  # and HEAD
            else:
                app.router.add_route(route.method, route.path, handler)
        return app


def _handler(route: Route) -> Handler:
    """The aiohttp handler of a route."""

    async def answer(request: web.Request) -> web.StreamResponse:
        query = _query(request, route)
        said = route.handler(Request(request.match_info, query, await _body(request, route)))
        if isawaitable(said):
            said = await said
        response = said if isinstance(said, Response) else as_json(said)
        headers = {**response.headers, hdrs.CONTENT_TYPE: response.content_type}
        return web.Response(body=response.body, status=response.status, headers=headers)

    return answer


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
    if request.content_type != route.content_type:
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
