"""The daemon's own HTTP server: metrics, health, status page, alarms and assets as JSON.

docs/http.md lists its routes. Importing this module imports aiohttp.
"""

from __future__ import annotations

import asyncio
import logging
from importlib import resources
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from edge_agent.errors import ConnectError
from edge_agent.ops import params
from edge_agent.ops.guard import (
    MAX_BODY,
    Connection,
    Connections,
    Guard,
    Refusal,
    add_headers,
    json,
)
from edge_agent.ops.status import ASSET_COMMANDS, COMMANDS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from importlib.resources.abc import Traversable

    from edge_agent.config.schema import Http
    from edge_agent.ops.metrics import Metrics
    from edge_agent.ops.status import StatusProvider

log = logging.getLogger("edge_agent.ops")

SHUTDOWN_S: Final = 1.0
HISTORY_ROWS: Final = 100
AUDIT_ROWS: Final = 100
MAX_ROWS: Final = 10_000
_CONTENT_TYPES: Final = {"html": "text/html", "css": "text/css", "js": "text/javascript"}


class HttpServer:
    """Serves until stopped; `port` is the one in use, which port 0 leaves to the system."""

    def __init__(self, config: Http, status: StatusProvider, metrics: Metrics) -> None:
        self.port = config.port
        self._config = config
        self._status = status
        self._metrics = metrics
        self._connections = Connections()
        self._guard = Guard(config, self._connections)
        self._scrape = asyncio.Lock()
        self._runner: web.AppRunner | None = None
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Bind and serve; ConnectError where the address is taken or not ours."""
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
        app = web.Application(client_max_size=MAX_BODY, middlewares=[self._guard.middleware])
        app.on_response_prepare.append(add_headers)
        for file in resources.files("edge_agent.ops").joinpath("page").iterdir():
            path = "/" if file.name == "index.html" else f"/static/{file.name}"
            app.router.add_get(path, _static(file))
        for path, handler in (
            ("/metrics", self._get_metrics),
            ("/health/live", self._get_live),
            ("/health/ready", self._get_ready),
            ("/api/summary", self._get_summary),
            ("/api/models", self._get_models),
            ("/api/models/{name}/report", self._get_report),
            ("/api/assets", self._get_assets),
            ("/api/alarms", self._get_alarms),
            ("/api/alarms/history", self._get_history),
            ("/api/audit", self._get_audit),
        ):
            app.router.add_get(path, handler)
        kinds = f"{{kind:{'|'.join(COMMANDS)}}}"
        app.router.add_post(f"/api/alarms/{kinds}", self._post_several)
        app.router.add_post(f"/api/alarms/{{alarm_id}}/{kinds}", self._post)
        app.router.add_route("*", "/api/alarms/{alarm_id}/{kind}", _no_command)
        path = f"/api/assets/{{asset}}/{{kind:{'|'.join(ASSET_COMMANDS)}}}"
        app.router.add_post(path, self._post_asset)
        return app

    async def _get_metrics(self, _request: web.Request) -> web.Response:
        # One at a time and off the loop: thousands of series take many milliseconds.
        async with self._scrape:
            self._status.export()
            body = await asyncio.to_thread(self._metrics.render)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _get_live(self, _request: web.Request) -> web.Response:
        alive, reason = self._status.live()
        return json({"live": alive, "reason": reason}, 200 if alive else 503)

    async def _get_ready(self, _request: web.Request) -> web.Response:
        ready, reasons = self._status.ready()
        return json({"ready": ready, **reasons}, 200 if ready else 503)

    async def _get_summary(self, _request: web.Request) -> web.Response:
        return json(self._status.summary())

    async def _get_models(self, _request: web.Request) -> web.Response:
        return json(self._status.models())

    async def _get_report(self, request: web.Request) -> web.Response:
        return json(self._status.model_report(request.match_info["name"]))

    async def _get_assets(self, request: web.Request) -> web.Response:
        params.only(request, "search", "offset", "limit")
        wanted = params.text(request, "search") or ""
        found = [asset for asset in self._status.assets() if _matches(asset, wanted.casefold())]
        found.sort(key=_urgency)
        return _rows(request, found)

    async def _get_alarms(self, request: web.Request) -> web.Response:
        params.only(request, "state", "offset", "limit")
        return _rows(request, self._status.alarms(params.alarm_state(request)))

    async def _get_history(self, request: web.Request) -> web.Response:
        params.only(request, "asset", "alarm_id", "limit")
        asset, alarm_id = params.text(request, "asset"), params.text(request, "alarm_id")
        limit = params.number(request, "limit", HISTORY_ROWS, MAX_ROWS)
        return json(await self._status.history(asset, alarm_id, limit))

    async def _get_audit(self, request: web.Request) -> web.Response:
        params.only(request, "limit")
        return json(await self._status.audit(params.number(request, "limit", AUDIT_ROWS, MAX_ROWS)))

    async def _post_several(self, request: web.Request) -> web.Response:
        kind = request.match_info["kind"]
        wanted, actor, duration_s, comment = await params.commands(request, kind)
        return json(await self._status.command_several(kind, wanted, actor, duration_s, comment))

    async def _post(self, request: web.Request) -> web.Response:
        kind, alarm_id = request.match_info["kind"], request.match_info["alarm_id"]
        actor, duration_s, comment = await params.command(request, kind)
        return json(await self._status.command(kind, alarm_id, actor, duration_s, comment))

    async def _post_asset(self, request: web.Request) -> web.Response:
        kind, asset = request.match_info["kind"], request.match_info["asset"]
        actor, at_ms = await params.asset_command(request, kind)
        return json(await self._status.asset_command(kind, asset, actor, at_ms))


async def _no_command(request: web.Request) -> web.Response:
    kind = request.match_info["kind"]
    if kind in COMMANDS:
        raise web.HTTPMethodNotAllowed(request.method, ["POST"])
    raise Refusal(404, "no such command", f"POST one of: {', '.join(COMMANDS)}")


def _rows(request: web.Request, found: list[dict[str, Any]]) -> web.Response:
    """Answer with the part that was asked for; X-Total-Count tells how many there are."""
    offset = params.number(request, "offset", 0, 1_000_000)
    limit = params.number(request, "limit", MAX_ROWS, MAX_ROWS)
    response = json(found[offset : offset + limit])
    response.headers["X-Total-Count"] = str(len(found))
    return response


def _matches(asset: dict[str, Any], wanted: str) -> bool:
    return wanted in f"{asset['path']} {asset['id']} {asset['state']}".casefold()


def _urgency(asset: dict[str, Any]) -> tuple[bool, bool, float]:
    """Order the abnormal first: alarms, then inputs that are not good, then the lowest health."""
    good = all(each["quality"] == "good" for each in asset["inputs"])
    health = asset["health"]
    return not asset["alarms"], good, 1.0 if health is None else health


def _static(file: Traversable) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    body = file.read_bytes()
    content_type = _CONTENT_TYPES[file.name.rpartition(".")[2]]

    async def get(_request: web.Request) -> web.Response:
        return web.Response(body=body, content_type=content_type, charset="utf-8")

    return get


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
