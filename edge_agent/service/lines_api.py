"""The routes by which people and programs read lines: states, shifts, OEE; docs/lines.md."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from edge_agent.errors import UsageError
from edge_agent.ops.routes import READ, Request, Response, Route, choice, number, text
from edge_agent.service import schemas

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from edge_agent.clock import Clock

PATH: Final = "/api/lines"
MOST_SHIFTS: Final = 1000
MOST_STAYS: Final = 5000  # of a machine, if a drawing asks for a number
_SHIFTS: Final = 100
_LAST_MS: Final = 4 * 10**12  # the year 2096: its nanoseconds are 64 bit
_NS_PER_MS: Final = 1_000_000
_SPAN_MS: Final = 12 * 3_600_000
_LONGEST_MS: Final = 31 * 86_400_000
_FORMATS: Final = ("json", "csv")
_RESULT: Final = schemas.object_of(
    *("line", "machine", "shift", "day", "start_ms", "end_ms", "is_closed", "indicators"),
    *("coverage", "is_ideal_cycle_wrong", "elements", "stops", "products", "losses"),
    line=schemas.TEXT,
    machine=schemas.TEXT,
    shift=schemas.TEXT,
    day=schemas.TEXT,
    start_ms=schemas.WHOLE,
    end_ms=schemas.WHOLE,
    is_closed=schemas.FLAG,
    indicators=schemas.FREE,
    coverage=schemas.MAYBE,
    is_ideal_cycle_wrong=schemas.FLAG,
    elements=schemas.FREE,
    stops=schemas.FREE,
    products=schemas.list_of(schemas.FREE),
    losses=schemas.FREE,
)
_LINES: Final = schemas.list_of(
    schemas.object_of(
        *("line", "oee_of", "current", "machines"),
        line=schemas.TEXT,
        oee_of=schemas.TEXT,
        machines=schemas.list_of(schemas.FREE),
    )
)
_STATES: Final = schemas.object_of(
    *("line", "from_ms", "to_ms", "machines"),
    line=schemas.TEXT,
    from_ms=schemas.WHOLE,
    to_ms=schemas.WHOLE,
    machines=schemas.list_of(schemas.FREE),
)


class LineProvider(Protocol):
    """What knows the lines. Each call may raise NotFoundError or StoreError."""

    async def lines(self) -> list[dict[str, Any]]:
        """All lines now."""

    async def stays(self, line: str, start_ns: int, end_ns: int, most: int) -> list[dict[str, Any]]:
        """The stays of each machine of a line in a span of time.

        most: of a machine, for a drawing: of more, those that last longest; 0: all.
        """

    async def shifts(
        self, line: str, machine: str, before_ns: int, limit: int
    ) -> list[dict[str, Any]]:
        """Closed shifts of a line, or of one machine, the newest first."""


@dataclass(frozen=True, slots=True)
class LinesApi:
    """The handlers."""

    provider: LineProvider
    clock: Clock

    def routes(self) -> list[Route]:
        """The table of the lines API."""
        form = {"format": choice(_FORMATS, "no such format")}
        span = {
            "from": number(_LAST_MS, None),
            "to": number(_LAST_MS, None),
            "most": number(MOST_STAYS, 0),
        }
        page = {
            "machine": text(),
            "before_ms": number(_LAST_MS, _LAST_MS),
            "limit": number(MOST_SHIFTS, _SHIFTS),
        }
        states, shifts = f"{PATH}/{{line}}/states", f"{PATH}/{{line}}/shifts"
        said = (
            "Lines: state and running shift of each machine",
            "States of the machines of a line over time",
            "Closed shifts of a line, the newest first: OEE, times, losses",
        )
        rows = schemas.list_of(_RESULT)
        return [
            Route("GET", PATH, self.lines, READ, query=form, summary=said[0], answer=_LINES),
            Route(
                "GET",
                states,
                self.states,
                READ,
                query={**span, **form},
                summary=said[1],
                answer=_STATES,
            ),
            Route(
                "GET",
                shifts,
                self.shifts,
                READ,
                query={**page, **form},
                summary=said[2],
                answer=rows,
            ),
        ]

    async def lines(self, request: Request) -> object:
        """Answer with all lines now."""
        found = await self.provider.lines()
        if request.query["format"] != "csv":
            return found
        rows = [row["current"] for line in found for row in line["machines"]]
        return _csv_of(shift_rows(one for one in rows if one is not None))

    async def states(self, request: Request) -> object:
        """Answer with the stays of a span of time; the last twelve hours unless given."""
        line, asked = request.parts["line"], request.query
        to_ms = self.clock.now_us() // 1000 if asked["to"] is None else asked["to"]
        from_ms = to_ms - _SPAN_MS if asked["from"] is None else asked["from"]
        if not 0 < to_ms - from_ms <= _LONGEST_MS:
            raise UsageError("`from` is not before `to`, or more than 31 days before it")
        span = from_ms * _NS_PER_MS, to_ms * _NS_PER_MS
        found = await self.provider.stays(line, *span, asked["most"])
        if asked["format"] == "csv":
            head = ("line", "machine", "state", "start_ms", "end_ms")
            rows = [(line, one["machine"], *stay) for one in found for stay in one["stays"]]
            return _csv_of([head, *rows])
        return {"line": line, "from_ms": from_ms, "to_ms": to_ms, "machines": found}

    async def shifts(self, request: Request) -> object:
        """Answer with closed shifts."""
        asked = request.query
        found = await self.provider.shifts(
            request.parts["line"],
            asked["machine"] or "",
            asked["before_ms"] * _NS_PER_MS,
            asked["limit"],
        )
        return _csv_of(shift_rows(found)) if asked["format"] == "csv" else found


_HEAD: Final = ("line", "machine", "shift", "day", "start_ms", "end_ms", "is_closed", "coverage")


def shift_rows(results: Iterable[Mapping[str, Any]]) -> list[tuple[Any, ...]]:
    """Results of shifts as rows of a table, with a head; no rows if there are none."""
    found: list[tuple[Any, ...]] = []
    for one in results:
        numbers = {**one["indicators"], **one["elements"]}
        if not found:
            found.append((*_HEAD, *numbers))
        found.append((*(one[key] for key in _HEAD), *numbers.values()))
    return found


def _csv_of(rows: Sequence[Sequence[Any]]) -> Response:
    lines = io.StringIO()
    table = csv.writer(lines, lineterminator="\r\n")
    for row in rows:
        table.writerow(["" if cell is None else cell for cell in row])
    return Response(lines.getvalue().encode(), "text/csv; charset=utf-8")
