"""/api/lines: what is asked of the provider, as JSON and as CSV."""

from __future__ import annotations

import csv
import io
import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from edge_agent.clock import FakeClock
from edge_agent.errors import UsageError
from edge_agent.ops.routes import Response
from edge_agent.service.lines_api import LinesApi

if TYPE_CHECKING:
    from edge_agent.ops.routes import Request

RESULT: dict[str, Any] = {
    "line": "main",
    "machine": "M1",
    "shift": "early",
    "day": "2026-03-02",
    "start_ms": 1,
    "end_ms": 2,
    "is_closed": True,
    "coverage": None,
    "indicators": {"oee": 0.8, "nee": None},
    "elements": {"pq": 12.0},
}


class Provider:
    """Answers, and remembers what was asked."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    async def lines(self) -> list[dict[str, Any]]:
        return [{"line": "main", "machines": [{"current": RESULT}, {"current": None}]}]

    async def stays(self, line: str, start_ns: int, end_ns: int, most: int) -> list[dict[str, Any]]:
        assert most == 0
        self.asked.append((line, start_ns, end_ns))
        return [{"machine": "M1", "stays": [["running", 1, 2]]}]

    async def shifts(
        self, line: str, machine: str, before_ns: int, limit: int
    ) -> list[dict[str, Any]]:
        self.asked.append((line, machine, before_ns, limit))
        return [RESULT]


async def get(path: str, **query: Any) -> tuple[Provider, Any]:
    """The answer of a route, with the defaults of its query."""
    provider = Provider()
    routes = {one.path: one for one in LinesApi(provider, FakeClock(10**15)).routes()}
    route = routes[path]
    defaults = {name: one.default for name, one in route.query.items()}
    made = SimpleNamespace(query={**defaults, **query}, parts={"line": "main"})
    found: Any = route.handler(cast("Request", made))
    answer = await found
    if isinstance(answer, Response):
        return provider, list(csv.reader(io.StringIO(bytes(answer.body).decode())))  # type: ignore[arg-type]
    return provider, json.loads(json.dumps(answer))


async def test_the_last_twelve_hours_are_the_default() -> None:
    provider, answer = await get("/api/lines/{line}/states")
    ((line, start_ns, end_ns),) = provider.asked
    assert (line, end_ns - start_ns) == ("main", 12 * 3600 * 10**9)
    assert answer["machines"][0]["stays"] == [["running", 1, 2]]


async def test_a_span_that_is_none_is_refused() -> None:
    with pytest.raises(UsageError):
        await get("/api/lines/{line}/states", **{"from": 20, "to": 10})


async def test_shifts_are_a_table_with_all_figures() -> None:
    """Unknown numbers are empty cells."""
    provider, rows = await get("/api/lines/{line}/shifts", machine="M1", format="csv", limit=5)
    assert provider.asked == [("main", "M1", 4 * 10**18, 5)]
    assert rows[0][-3:] == ["oee", "nee", "pq"]
    assert rows[1][-3:] == ["0.8", "", "12.0"]


async def test_lines_and_states_are_tables_too() -> None:
    _, rows = await get("/api/lines", format="csv")
    assert len(rows) == 2
    _, rows = await get("/api/lines/{line}/states", format="csv")
    assert rows[1] == ["main", "M1", "running", "1", "2"]
