"""The routes of the bottlenecks of lines; docs/lines.md shows their fields."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any, Final, Protocol

from edge_agent.ops.routes import READ, Request, Response, Route, choice
from edge_agent.service import schemas

if TYPE_CHECKING:
    from collections.abc import Mapping

_ANSWER: Final = schemas.object_of(
    *("line", "shift", "now", "drifts"),
    line=schemas.TEXT,
    shift=schemas.FREE,
    now=schemas.FREE,
    drifts=schemas.list_of(schemas.FREE),
)
_SHARES: Final = ("active", "down", "blocked", "starved", "known", "cycle_s", "mtbf_s", "mttr_s")
_GAINS: Final = ("faster", "repaired", "buffered")
_SPANS: Final = ("shift", "now")


class BottleneckProvider(Protocol):
    """What answers: `daemon.LineAnalyses`."""

    def rows(self) -> list[dict[str, Any]]:
        """The newest answer of each line."""

    def row(self, line: str) -> dict[str, Any]:
        """That of one line; NotFoundError if there is none."""


def bottleneck_routes(provider: BottleneckProvider) -> list[Route]:
    """The table of routes."""

    def one(request: Request) -> dict[str, Any] | Response:
        found = provider.row(request.parts["line"])
        if request.query["format"] == "csv":
            return Response(table_of(found), "text/csv; charset=utf-8")
        return found

    return [
        Route(
            "GET",
            "/api/bottlenecks",
            lambda _: provider.rows(),
            READ,
            summary="The bottleneck of every line, over its shift and now, and drifting cycles",
            answer=schemas.list_of(_ANSWER),
        ),
        Route(
            "GET",
            "/api/lines/{line}/bottleneck",
            one,
            READ,
            query={"format": choice(("json", "csv"), "no such format")},
            summary="The bottleneck of a line: confidence, gains by machine, buffers, drifts",
            answer=_ANSWER,
        ),
    ]


def table_of(answer: Mapping[str, Any]) -> bytes:
    """A row for each machine and span, for a spreadsheet."""
    lines = io.StringIO()
    table = csv.writer(lines, lineterminator="\r\n")
    gains = [f"{kind}_{key}" for kind in _GAINS for key in ("share", "low", "high", "parts_per_h")]
    table.writerow(
        ("line", "span", "from_ms", "to_ms", "machine", "named", "chance", *_SHARES, *gains)
    )
    for span in _SPANS:
        row = answer[span]
        for one in row["stations"]:
            named = row["verdict"] if one["machine"] in row["named"] else ""
            head = (answer["line"], span, row["from_ms"], row["to_ms"], one["machine"], named)
            figures = [value for kind in _GAINS for value in _gain(one[kind])]
            cells = (one["chance"], *(one[key] for key in _SHARES), *figures)
            table.writerow((*head, *("" if cell is None else cell for cell in cells)))
    return lines.getvalue().encode()


def _gain(gain: Mapping[str, Any] | None) -> list[Any]:
    return [None if gain is None else gain[key] for key in ("share", "low", "high", "parts_per_h")]
