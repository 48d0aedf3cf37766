"""The routes by which people and programs read the daemon's state and give it commands.

docs/http.md shows each with the fields of its rows.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from prometheus_client import CONTENT_TYPE_LATEST

from edge_agent.clock import US_PER_MS
from edge_agent.ops.routes import (
    COMMAND,
    OPEN,
    READ,
    Parameter,
    Refusal,
    Request,
    Response,
    Route,
    as_json,
    choice,
    number,
    text,
)
from edge_agent.service import schemas
from edge_agent.service.command_body import (
    STATES,
    parse_asset_command,
    parse_command,
    parse_feedback,
    parse_selection,
)
from edge_agent.store import AuditFilter, HistoryFilter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edge_agent.ops.metrics import Metrics
    from edge_agent.service.status_provider import StatusProvider

COMMANDS: Final = (
    "ack",
    "confirm",
    "comment",
    "shelve",
    "unshelve",
    "suppress",
    "unsuppress",
    "remove_from_service",
    "return_to_service",
)
ASSET_COMMANDS: Final = ("failed", "overhauled", "healthy", "learn", "forget")
MAX_ROWS: Final = 10_000
_DEFAULT_ROWS: Final = 100  # of the history and of the audit
# After a scrape the next one waits for twice the time that it took.
_REST_FACTOR: Final = 2.0
_MAX_REST_S: Final = 0.2
NO_PARAMETERS: Final[Mapping[str, Parameter]] = {}
_LAST: Final = 10**15  # of row numbers, and of milliseconds


def status_routes(status: StatusProvider, metrics: Metrics) -> list[Route]:
    """The table of the status API."""
    api = _StatusApi(status, metrics)
    kinds = f"{{kind:{'|'.join(COMMANDS)}}}"
    asset_kinds = f"{{kind:{'|'.join(ASSET_COMMANDS)}}}"
    page = {"offset": number(1_000_000, 0), "limit": number(MAX_ROWS, MAX_ROWS)}
    few = {"limit": number(MAX_ROWS, _DEFAULT_ROWS)}
    state = choice(STATES, "no such alarm state")
    one_page = {"asset": text(), "alarm_id": text(), "before": number(_LAST, None), **few}
    audited = {"by": text(), "since_ms": number(_LAST, None), **one_page}
    return [
        _read("/metrics", api.scrape, ("Prometheus metrics", None)),
        _read("/health/live", api.live, ("Does the pipeline run", schemas.LIVE), scope=OPEN),
        _read("/health/ready", api.ready, ("Is everything started", schemas.READY), scope=OPEN),
        _read("/api/summary", api.summary, ("The gateway at a glance", schemas.SUMMARY)),
        _read("/api/models", lambda _: status.models(), ("Models in service", schemas.MODELS)),
        _read("/api/models/{name}/report", api.model_report, ("A shadow compared", schemas.REPORT)),
        _read(
            "/api/assets",
            api.assets,
            ("Assets", schemas.ASSETS),
            query={"search": text(), "ids": _ids(), **page},
        ),
        _read("/api/assets/{asset}", api.asset, ("One asset", schemas.ASSET)),
        _read(
            "/api/alarms", api.alarms, ("Alarms", schemas.ALARMS), query={"state": state, **page}
        ),
        _read(
            "/api/alarms/{alarm_id}/guidance",
            lambda request: status.guidance(request.parts["alarm_id"]),
            ("What to check and mend, and what helped last time", schemas.GUIDANCE),
        ),
        _read("/api/alarms/history", api.history, ("Transitions", schemas.HISTORY), query=one_page),
        _read("/api/audit", api.audit, ("Who did what", schemas.AUDIT), query=audited),
        _command(
            f"/api/alarms/{kinds}",
            api.command_several,
            parse_selection,
            ("Command several alarms", schemas.SELECTION, schemas.ALARMS),
        ),
        _command(
            f"/api/alarms/{{alarm_id}}/{kinds}",
            api.command,
            parse_command,
            ("Command an alarm", schemas.COMMAND, schemas.ALARM),
        ),
        _command(
            "/api/alarms/{alarm_id}/feedback",
            api.feedback,
            parse_feedback,
            ("Call an alarm true, false or planned work", schemas.CALLED, schemas.FEEDBACK),
        ),
        Route("*", "/api/alarms/{alarm_id}/{kind}", _no_command, OPEN),
        _command(
            f"/api/assets/{{asset}}/{asset_kinds}",
            api.asset_command,
            parse_asset_command,
            ("Say what became of an asset", schemas.ASSET_COMMAND, schemas.ASSET_COMMANDED),
        ),
    ]


class _StatusApi:
    """The handlers that are more than one call."""

    def __init__(self, status: StatusProvider, metrics: Metrics) -> None:
        self._status = status
        self._metrics = metrics
        self._scrape: asyncio.Task[bytes] | None = None  # one that has not begun
        self._scraping = asyncio.Lock()

    async def scrape(self, _: Request) -> Response:
        """Answer all who wait with one scrape, made after they asked."""
        if self._scrape is None:
            self._scrape = asyncio.create_task(self._render())
        return Response(await asyncio.shield(self._scrape), CONTENT_TYPE_LATEST)

    async def _render(self) -> bytes:
        """One at a time, off the loop and with rests: thousands of series take milliseconds."""
        loop = asyncio.get_running_loop()
        await self._scraping.acquire()
        self._scrape = None
        begun_s = loop.time()
        try:
            self._status.export()
            return await asyncio.to_thread(self._metrics.render)
        finally:
            rest_s = min(_MAX_REST_S, _REST_FACTOR * (loop.time() - begun_s))
            loop.call_later(rest_s, self._scraping.release)

    def live(self, _: Request) -> Response:
        """Answer 200 or 503, with the reason."""
        alive, reason = self._status.live()
        return as_json({"live": alive, "reason": reason}, 200 if alive else 503)

    def ready(self, _: Request) -> Response:
        """Answer 200 or 503, with the reasons."""
        ready, reasons = self._status.ready()
        return as_json({"ready": ready, **reasons}, 200 if ready else 503)

    def summary(self, request: Request) -> dict[str, Any]:
        """Answer with the gateway at a glance, and what this client may do."""
        client = request.client
        asked_by = {"name": client.name, "scopes": sorted(client.scopes)}
        return self._status.summary() | {"commands": client.commands, "client": asked_by}

    def model_report(self, request: Request) -> dict[str, Any]:
        """Answer with the comparison of a shadow."""
        return self._status.model_report(request.parts["name"])

    def assets(self, request: Request) -> Response:
        """Answer with the assets that hold the searched text, the abnormal ones first."""
        wanted, only = (request.query["search"] or "").casefold(), request.query["ids"]
        found = [asset for asset in self._status.assets(only) if _matches(asset, wanted)]
        found.sort(key=_urgency)
        return _page(request, found)

    def asset(self, request: Request) -> dict[str, Any]:
        """Answer with one asset."""
        found = self._status.asset(request.parts["asset"])
        if found is None:
            raise Refusal(404, "no such asset", "GET /api/assets lists them")
        return found

    def alarms(self, request: Request) -> Response:
        """Answer with the alarms of a state."""
        return _page(request, self._status.alarms(request.query["state"]))

    async def history(self, request: Request) -> list[dict[str, Any]]:
        """Answer with past transitions."""
        asked = request.query
        wanted = HistoryFilter(asked["asset"], asked["alarm_id"], asked["before"])
        return await self._status.history(wanted, asked["limit"])

    async def audit(self, request: Request) -> list[dict[str, Any]]:
        """Answer with who did what."""
        asked = request.query
        since_us = None if asked["since_ms"] is None else asked["since_ms"] * US_PER_MS
        wanted = AuditFilter(
            asked["asset"], asked["alarm_id"], asked["by"], since_us, asked["before"]
        )
        return await self._status.audit(wanted, asked["limit"])

    async def command_several(self, request: Request) -> list[dict[str, Any]]:
        """Command all alarms that are selected."""
        wanted, by, duration_s, comment = request.body
        kind, actor = request.parts["kind"], request.client.actor(by)
        return await self._status.command_several(kind, wanted, actor, duration_s, comment)

    async def command(self, request: Request) -> dict[str, Any]:
        """Command one alarm."""
        kind, alarm_id = request.parts["kind"], request.parts["alarm_id"]
        by, duration_s, comment = request.body
        actor = request.client.actor(by)
        return await self._status.command(kind, alarm_id, actor, duration_s, comment)

    async def feedback(self, request: Request) -> dict[str, Any]:
        """Call an alarm true, false or planned work."""
        judgement, by = request.body
        alarm_id, actor = request.parts["alarm_id"], request.client.actor(by)
        return await self._status.feedback(alarm_id, judgement, actor)

    async def asset_command(self, request: Request) -> dict[str, Any]:
        """Command one asset."""
        kind, asset = request.parts["kind"], request.parts["asset"]
        by, at_ms, comment = request.body
        return await self._status.asset_command(
            kind, asset, request.client.actor(by), at_ms, comment
        )


def _read(
    path: str,
    handler: Callable[[Request], object],
    described: tuple[str, schemas.Schema | None],
    *,
    scope: str = READ,
    query: Mapping[str, Parameter] = NO_PARAMETERS,
) -> Route:
    """The route of a question; described: its summary and its answer, None if that is not JSON."""
    summary, answer = described
    return Route("GET", path, handler, scope, query=query, summary=summary, answer=answer)


def _command(
    path: str,
    handler: Callable[[Request], object],
    parse: Callable[[object, str], object],
    described: tuple[str, schemas.Schema, schemas.Schema],
) -> Route:
    """The route of a command; parse: its body, by the last part of the path."""
    read = lambda body, parts: parse(body, parts.get("kind", ""))  # noqa: E731 (a column of the row)
    summary, takes, answer = described
    return Route(
        "POST", path, handler, COMMAND, parse=read, summary=summary, takes=takes, answer=answer
    )


def _no_command(request: Request) -> None:
    if request.parts["kind"] in (*COMMANDS, "feedback"):
        raise Refusal(405, "method not allowed", headers={"Allow": "POST"})
    raise Refusal(404, "no such command", f"POST one of: {', '.join(COMMANDS)}")


def _ids() -> Parameter:
    """Parse ids, one a line; None: no choice is made."""

    def parse(_name: str, value: str) -> list[str]:
        return list(dict.fromkeys(value.split("\n")))

    return Parameter(parse, schema={"type": "string", "description": "ids, one a line"})


def _page(request: Request, found: list[dict[str, Any]]) -> Response:
    """Answer with the part that was asked for; X-Total-Count tells how many there are."""
    offset, limit = request.query["offset"], request.query["limit"]
    return as_json(found[offset : offset + limit], headers={"X-Total-Count": str(len(found))})


def _matches(asset: dict[str, Any], wanted: str) -> bool:
    return wanted in f"{asset['path']} {asset['id']} {asset['state']}".casefold()


def _urgency(asset: dict[str, Any]) -> tuple[bool, bool, float]:
    """Order the abnormal first: alarms, then inputs that are not good, then the lowest health."""
    good = all(each["quality"] == "good" for each in asset["inputs"])
    health = asset["health"]
    return not asset["alarms"], good, 1.0 if health is None else health
