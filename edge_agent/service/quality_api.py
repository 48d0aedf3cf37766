"""The routes of process quality: charts, their points, parts; docs/process-quality.md."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any, Final, Protocol

from edge_agent.insight.quality.part_store import PartFilter, before_us
from edge_agent.ops.routes import (
    COMMAND,
    READ,
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
from edge_agent.service.command_body import parse_command

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PATH: Final = "/api/quality"
MAX_PARTS: Final = 10_000
_LAST: Final = 10**14
_CHART: Final = schemas.object_of(
    *("asset", "chart", "product", "kind", "signal", "state", "counts"),
    asset=schemas.TEXT,
    chart=schemas.TEXT,
    product=schemas.TEXT,
    kind=schemas.TEXT,
    signal=schemas.TEXT,
    state=schemas.TEXT,
    counts=schemas.FREE,
)
_POINT: Final = schemas.object_of(
    *("at_ms", "value", "center", "low", "high", "rules"),
    at_ms=schemas.WHOLE,
    value=schemas.NUMBER,
    center=schemas.NUMBER,
)
PART: Final = schemas.object_of(
    *("asset", "part", "at_ms", "product", "verdict", "measurements", "charts", "cameras"),
    asset=schemas.TEXT,
    part=schemas.TEXT,
    at_ms=schemas.WHOLE,
    verdict=schemas.TEXT,
)
DONE: Final = schemas.object_of("asset", "chart", "action", action=schemas.TEXT)
_PARTS_HEAD: Final = ("at_ms", "asset", "part", "product", "verdict")
_CHART_HEAD: Final = (
    *("asset", "chart", "product", "kind", "signal", "unit", "subgroup", "state", "learned"),
    *(
        "center",
        "sigma",
        "n",
        "mean",
        "cp",
        "cpk",
        "cpk_low",
        "cpk_high",
        "pp",
        "ppk",
        "violations",
    ),
)


class QualityProvider(Protocol):
    """What answers: the recorder of the daemon."""

    async def charts(self) -> list[dict[str, Any]]:
        """A row for each chart and product."""

    async def points(self, asset: str, chart: str, product: str) -> list[dict[str, Any]]:
        """The last points of a chart."""

    async def parts(self, wanted: PartFilter) -> list[dict[str, Any]]:
        """Parts, the newest first."""

    async def begin_anew(
        self, asset: str, chart: str, *, learn: bool, actor: str, comment: str
    ) -> dict[str, Any]:
        """After a tool change; learn: the limits anew, too."""


def quality_routes(quality: QualityProvider) -> list[Route]:
    """The table of routes."""
    api = _QualityApi(quality)
    form = choice(("json", "csv"), "no such format")
    one = {"asset": text(), "chart": text(), "product": text()}
    page = {"before": number(_LAST, None), "limit": number(MAX_PARTS, 100)}
    commands = f"{PATH}/{{asset}}/{{chart}}/{{kind:reset|learn}}"
    return [
        Route(
            *("GET", PATH, api.charts, READ),
            query={"asset": text(), "format": form},
            summary="Control charts with limits and capability",
            answer=schemas.list_of(_CHART),
        ),
        Route(
            *("GET", f"{PATH}/points", api.points, READ),
            query={**one, "format": form},
            summary="The last points of a control chart",
            answer=schemas.list_of(_POINT),
        ),
        Route(
            *("GET", f"{PATH}/parts", api.parts, READ),
            query={"asset": text(), "part": text(), **page, "format": form},
            summary="Parts with measurements, verdicts of charts and cameras, process signals",
            answer=schemas.list_of(PART),
        ),
        Route(
            *("POST", commands, api.begin_anew, COMMAND),
            parse=lambda body, _: parse_command(body, "ack"),
            summary="Begin a chart anew after a tool change, or learn its limits anew",
            takes=schemas.COMMAND,
            answer=DONE,
        ),
    ]


class _QualityApi:
    def __init__(self, quality: QualityProvider) -> None:
        self._quality = quality

    async def charts(self, request: Request) -> Response:
        """Answer with all charts, or those of an asset."""
        asked = request.query
        rows = [
            row
            for row in await self._quality.charts()
            if asked["asset"] in (None, "", row["asset"])
        ]
        if asked["format"] == "csv":
            return _csv(_CHART_HEAD, [_chart_cells(row) for row in rows])
        return as_json(rows)

    async def points(self, request: Request) -> Response:
        """Answer with the points of one chart."""
        asked = request.query
        if not (asked["asset"] and asked["chart"]):
            raise Refusal(400, "which chart?", f"{PATH}/points?asset=P-1&chart=bore")
        rows = await self._quality.points(asked["asset"], asked["chart"], asked["product"] or "")
        if asked["format"] == "csv":
            head = tuple(rows[0]) if rows else ("at_ms",)
            return _csv(head, [[_flat(row[name]) for name in head] for row in rows])
        return as_json(rows)

    async def parts(self, request: Request) -> Response:
        """Answer with parts, the newest first."""
        asked = request.query
        wanted = PartFilter(
            asked["asset"] or "", asked["part"] or "", before_us(asked["before"]), asked["limit"]
        )
        rows = await self._quality.parts(wanted)
        return _parts_csv(rows) if asked["format"] == "csv" else as_json(rows)

    async def begin_anew(self, request: Request) -> dict[str, Any]:
        """Begin a chart anew."""
        by, _, comment = request.body
        parts = request.parts
        return await self._quality.begin_anew(
            parts["asset"],
            parts["chart"],
            learn=parts["kind"] == "learn",
            actor=request.client.actor(by),
            comment=comment,
        )


def _chart_cells(row: Mapping[str, Any]) -> list[Any]:
    baseline, found = row["baseline"] or {}, row["capability"] or {}
    cpk = found.get("cpk") or {}
    values = {
        **row,
        **{name: baseline.get(name) for name in ("center", "sigma")},
        **{name: found.get(name) for name in ("n", "mean")},
        **{name: (found.get(name) or {}).get("value") for name in ("cp", "cpk", "pp", "ppk")},
        "cpk_low": cpk.get("low"),
        "cpk_high": cpk.get("high"),
        "violations": row["counts"]["violations"],
    }
    return [values[name] for name in _CHART_HEAD]


def _parts_csv(rows: Sequence[Mapping[str, Any]]) -> Response:
    """A column for each measurement, chart, camera and process signal that a part has."""
    groups = ("measurements", "charts", "process", "cameras")
    columns = list(
        dict.fromkeys((group, name) for row in rows for group in groups for name in row[group])
    )
    head = (*_PARTS_HEAD, *(f"{group}.{name}" for group, name in columns))
    table = [
        [*(row[name] for name in _PARTS_HEAD), *(_flat(row[g].get(n)) for g, n in columns)]
        for row in rows
    ]
    return _csv(head, table)


def _flat(value: object) -> object:
    """A cell: lists as words, a camera's verdict as its word."""
    if isinstance(value, dict):
        return "defect" if value.get("defect") else "good"
    return " ".join(map(str, value)) if isinstance(value, list) else value


def _csv(head: Sequence[str], rows: Sequence[Sequence[object]]) -> Response:
    lines = io.StringIO()
    table = csv.writer(lines, lineterminator="\r\n")
    table.writerow(head)
    for row in rows:
        table.writerow(["" if cell is None else _cell(cell) for cell in row])
    return Response(lines.getvalue().encode(), "text/csv; charset=utf-8")


def _cell(value: object) -> object:
    """A text that a spreadsheet does not take for a formula."""
    return (
        f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@")) else value
    )
