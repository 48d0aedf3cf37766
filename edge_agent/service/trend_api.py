"""The route by which people and programs read trends; docs/trends.md shows its fields."""

from __future__ import annotations

import asyncio
import csv
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np
import orjson

from edge_agent.errors import NotFoundError, StoreError, UsageError
from edge_agent.ops.routes import READ, Request, Response, Route, choice, number, text
from edge_agent.service import schemas
from edge_agent.store import HistoryFilter
from edge_agent.trends import BAD, HELD, OVER, REPLAYED, UNCERTAIN, SeriesName, means

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from edge_agent.clock import Clock
    from edge_agent.trends import Rows, Trend, Trends

PATH: Final = "/api/trend"
MOST_POINTS: Final = 2000  # of one series
_POINTS: Final = 300
_MOST_SERIES: Final = 64
_TOP: Final = 6  # contributions that are shown if none is asked for
_HOUR_MS: Final = 3_600_000
_LAST_MS: Final = 10**14
_WAIT_S: Final = 10.0  # for the readers before
READERS: Final = 2
_MOST_ALARMS: Final = 5  # pages of the history
_PAGE_ROWS: Final = 200
_KINDS: Final = ("input", "score", "limit", "contribution")
MARKS: Final = {
    "uncertain": UNCERTAIN,
    "bad": BAD,
    "replayed": REPLAYED,
    "held": HELD,
    "over": OVER,
}
_NUMBERS: Final = schemas.list_of(schemas.MAYBE)
_SERIES: Final = schemas.object_of(
    *("kind", "name", "unit", "time_ms", "min", "max", "mean", "count", "good", "marks"),
    kind={"type": "string", "enum": list(_KINDS)},
    name=schemas.TEXT,
    unit=schemas.TEXT,
    time_ms=schemas.list_of(schemas.WHOLE),
    min=_NUMBERS,
    max=_NUMBERS,
    mean=_NUMBERS,
    count=schemas.list_of(schemas.WHOLE),
    good=_NUMBERS,
    marks=schemas.list_of(schemas.WHOLE),
)
_ALARM: Final = schemas.object_of(
    *("alarm_id", "severity", "from_ms", "to_ms", "replayed"),
    alarm_id=schemas.TEXT,
    severity=schemas.WHOLE,
    from_ms=schemas.WHOLE,
    to_ms={"type": ["integer", "null"]},
    replayed=schemas.FLAG,
)
TREND: Final = schemas.object_of(
    *("asset", "from_ms", "to_ms", "step_s", "marks", "series", "alarms"),
    asset=schemas.TEXT,
    from_ms=schemas.WHOLE,
    to_ms=schemas.WHOLE,
    step_s=schemas.WHOLE,
    marks=schemas.FREE,
    series=schemas.list_of(_SERIES),
    alarms=schemas.list_of(_ALARM),
)


class History(Protocol):
    """What answers with past transitions: `StatusProvider.history`."""

    async def __call__(self, wanted: HistoryFilter, limit: int) -> list[dict[str, Any]]:
        """A page of them, the newest first."""


@dataclass(frozen=True, slots=True)
class TrendApi:
    """The handler. units: of the signals of an asset, None if there is no such asset."""

    trends: Trends
    units: Callable[[str], Mapping[str, str] | None]
    history: History
    clock: Clock
    reading: asyncio.Semaphore

    def routes(self) -> list[Route]:
        """The table of the trend API."""
        query = {
            "asset": text(),
            "signals": text(),
            "from": number(_LAST_MS, None),
            "to": number(_LAST_MS, None),
            "points": number(MOST_POINTS, _POINTS),
            "format": choice(("json", "csv"), "no such format"),
        }
        summary = "Trends of an asset: inputs, scores, limits, contributions, alarms"
        return [Route("GET", PATH, self.trend, READ, query=query, summary=summary, answer=TREND)]

    async def trend(self, request: Request) -> Response:
        """Answer with the aggregates of an asset's series."""
        asked = request.query
        asset = asked["asset"]
        if not asset:
            raise UsageError("which asset?", hint=f"{PATH}?asset=P-101")
        units = self.units(asset)
        wanted = _wanted(asked["signals"] or "", self.trends.series_of(asset), units)
        if units is None and not wanted:
            raise NotFoundError("no such asset", where=repr(asset), hint="GET /api/assets")
        first_s, last_s = self._span(asked["from"], asked["to"])
        found = await self._read(asset, wanted, first_s, last_s, asked["points"])
        if asked["format"] == "csv":
            body = await asyncio.to_thread(_csv, asset, found, units or {})
            return Response(body, "text/csv; charset=utf-8")
        alarms = await self._alarms(asset, found.first_s * 1000, found.last_s * 1000)
        chosen = bool(asked["signals"])
        body = await asyncio.to_thread(_json, asset, found, units or {}, alarms, chosen)
        return Response(body)

    def _span(self, first_ms: int | None, last_ms: int | None) -> tuple[int, int]:
        """The time that is asked for, in seconds; the last hour unless given."""
        to_ms = self.clock.now_us() // 1000 if last_ms is None else last_ms
        from_ms = to_ms - _HOUR_MS if first_ms is None else first_ms
        if from_ms >= to_ms:
            raise UsageError("`from` is not before `to`", hint="milliseconds since the epoch")
        return max(0, from_ms // 1000), -(-to_ms // 1000)

    async def _read(
        self, asset: str, wanted: Sequence[SeriesName], first_s: int, last_s: int, points: int
    ) -> Trend:
        try:
            await asyncio.wait_for(self.reading.acquire(), _WAIT_S)
        except TimeoutError:
            hint = "too many readers, or a slow disk"
            raise StoreError("cannot read the trends", hint=hint) from None
        try:
            return await asyncio.to_thread(
                self.trends.read, asset, wanted, first_s, last_s, max(1, points)
            )
        finally:
            self.reading.release()

    async def _alarms(self, asset: str, first_ms: int, last_ms: int) -> list[dict[str, Any]]:
        """The alarms of an asset in that time, from the history; of the newest 1000 transitions."""
        rows: list[dict[str, Any]] = []
        before = None
        for _ in range(_MOST_ALARMS):
            page = await self.history(HistoryFilter(asset, None, before), _PAGE_ROWS)
            rows += page
            if len(page) < _PAGE_ROWS or page[-1]["at_ms"] < first_ms:
                break
            before = page[-1]["row"]
        return [one for one in alarm_spans(rows) if _overlaps(one, first_ms, last_ms)]


def _wanted(
    asked: str, known: Sequence[SeriesName], units: Mapping[str, str] | None
) -> list[SeriesName]:
    """The series that are asked for; all if none is.

    asked: `temp, score:pump, contribution:*`: names of inputs, or of a kind; `*` for all of it.
    """
    found = known
    if asked:
        pairs = [_kind_and_name(one.strip()) for one in asked.split(",") if one.strip()]
        found = [one for one in known if {(one.kind, one.name), (one.kind, "*")} & set(pairs)]
        names = {*known, *(SeriesName("input", name) for name in units or ())}
        for kind, name in pairs:
            if name != "*" and SeriesName(kind, name) not in names and kind == "input":
                raise NotFoundError("no such signal", where=repr(name))
    order = {kind: place for place, kind in enumerate(_KINDS)}
    return sorted(found, key=lambda one: order.get(one.kind, len(order)))[:_MOST_SERIES]


def _kind_and_name(asked: str) -> tuple[str, str]:
    kind, colon, name = asked.partition(":")
    return (kind, name) if colon and kind in _KINDS else ("input", asked)


def alarm_spans(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """When alarms were raised and cleared; rows: transitions of the history, the newest first."""
    open_: dict[str, dict[str, Any]] = {}
    found: list[dict[str, Any]] = []
    for row in reversed(rows):
        alarm_id, kind = row["alarm_id"], row["transition"]
        if kind == "raise":
            window = (row["alarm"].get("detail") or {}).get("window") or {}
            open_[alarm_id] = span = {
                "alarm_id": alarm_id,
                "severity": row["alarm"]["severity"],
                "from_ms": row["at_ms"],
                "to_ms": None,
                "replayed": bool(window.get("replayed")),
            }
            found.append(span)
        elif kind == "clear" and alarm_id in open_:
            open_.pop(alarm_id)["to_ms"] = row["at_ms"]
    return found


def _overlaps(span: Mapping[str, Any], first_ms: int, last_ms: int) -> bool:
    return bool(span["from_ms"] < last_ms and (span["to_ms"] is None or span["to_ms"] > first_ms))


def _shown(found: Trend, *, chosen: bool) -> dict[SeriesName, Rows]:
    """The series of an answer; unless chosen by name, the largest contributions only."""
    if chosen:
        return found.series
    sizes = {
        one: float(np.abs(rows["total"]).sum())
        for one, rows in found.series.items()
        if one.kind == "contribution" and len(rows)
    }
    top = sorted(sizes, key=lambda one: -sizes[one])[:_TOP]
    return {
        one: rows for one, rows in found.series.items() if one.kind != "contribution" or one in top
    }


def _json(
    asset: str,
    found: Trend,
    units: Mapping[str, str],
    alarms: list[dict[str, Any]],
    chosen: bool,  # noqa: FBT001 (called in a thread, which takes no names)
) -> bytes:
    series = [
        {"kind": one.kind, "name": one.name, "unit": _unit(one, units), **_columns(rows)}
        for one, rows in _shown(found, chosen=chosen).items()
    ]
    answer = {
        "asset": asset,
        "from_ms": found.first_s * 1000,
        "to_ms": found.last_s * 1000,
        "step_s": found.step_s,
        "marks": MARKS,
        "series": series,
        "alarms": alarms,
    }
    return orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)


def _unit(one: SeriesName, units: Mapping[str, str]) -> str:
    return units.get(one.name, "") if one.kind == "input" else ""


def _columns(rows: Rows) -> dict[str, Any]:
    """The rows as columns; null where no value could be used."""
    none = rows["used"] == 0
    numbers = {
        "min": np.where(none, np.nan, rows["low"]),
        "max": np.where(none, np.nan, rows["high"]),
        "mean": means(rows),
        "good": rows["good"] / np.maximum(rows["n"], 1),
    }
    return {
        "time_ms": (rows["bucket"] * 1000).astype(np.int64),
        **{key: _rounded(value) for key, value in numbers.items()},
        "count": rows["n"].astype(np.int32),
        "marks": rows["marks"].astype(np.uint8),
    }


def _rounded(values: Any) -> Any:  # noqa: ANN401 (a column)
    """With the seven digits that the file keeps, so that an answer is short."""
    return np.ascontiguousarray(values).astype(np.float32)


def _csv(asset: str, found: Trend, units: Mapping[str, str]) -> bytes:
    """One line for each series and bucket: for a spreadsheet, or a script."""
    lines = io.StringIO()
    table = csv.writer(lines, lineterminator="\r\n")
    names = ("time_ms", "min", "max", "mean", "count", "good", "marks")
    table.writerow(("asset", "kind", "name", "unit", *names))
    for one, rows in found.series.items():
        columns = _columns(rows)
        head = (asset, one.kind, _cell(one.name), _unit(one, units))
        for values in zip(*(columns[name].tolist() for name in names), strict=True):
            cells = ("" if value != value else value for value in values[1:-1])  # noqa: PLR0124 (NaN)
            table.writerow((*head, values[0], *cells, _words(values[-1])))
    return lines.getvalue().encode()


def _cell(name: str) -> str:
    """A name that a spreadsheet does not take for a formula."""
    return f"'{name}" if name.startswith(("=", "+", "-", "@")) else name


def _words(marks: int) -> str:
    return " ".join(name for name, bit in MARKS.items() if marks & bit)
