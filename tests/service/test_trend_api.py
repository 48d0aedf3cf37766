"""The route of trends: what it reads, bounds and refuses, and what its answer says."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import aiohttp
import numpy as np
import pytest
from jsonschema import validate
from status_support import serving

from edge_agent.clock import FakeClock
from edge_agent.service.trend_api import TREND, TrendApi, alarm_spans
from edge_agent.trends import BAD, REPLAYED, Trends, rows_of

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.store import HistoryFilter

T0 = 1_700_006_400
UNITS = {"temp": "°C", "flow": "", "never": "bar"}


def transition(kind: str, at_s: int, row: int, **window: bool) -> dict[str, Any]:
    alarm = {"severity": 700, "detail": {"window": window or None}}
    about = {"alarm_id": "P-1.pump", "asset": "P-1", "transition": kind}
    return {**about, "at_ms": at_s * 1000, "row": row, "alarm": alarm}


class Gateway:
    """Trends of P-1: 60 s of a temperature, 1 to 60, of a flow, a score and contributions."""

    def __init__(self, folder: Path) -> None:
        self.trends = Trends(folder / "plant.trends", 64 << 20)
        self.trends.tend(T0, 0.0)
        self.pages = [[transition("clear", T0 + 50, 2), transition("raise", T0 + 20, 1)]]
        for kind, name, scale in (
            ("input", "temp", 1.0),
            ("input", "flow", 2.0),
            ("score", "pump", 0.1),
            *(("contribution", f"input{n}", float(n)) for n in range(9)),
        ):
            self.feed(kind, name, scale)

    def feed(self, kind: str, name: str, scale: float, mark: int = 0) -> None:
        time_s = np.arange(T0, T0 + 60)
        series = np.full(60, self.trends.number("P-1", kind, name), np.int32)
        marks = np.full(60, mark, np.uint8)
        value = scale * np.arange(1, 61)
        self.trends.add(rows_of(series, time_s, value, good=marks == 0, marks=marks))

    async def history(self, wanted: HistoryFilter, limit: int) -> list[dict[str, Any]]:
        assert (wanted.asset, limit) == ("P-1", 200)
        return self.pages.pop(0) if self.pages else []

    async def ask(self, query: str) -> tuple[int, Any]:
        clock = FakeClock((T0 + 60) * 1_000_000)
        units = {"P-1": UNITS, "P-9": {}}.get
        api = TrendApi(self.trends, units, self.history, clock, asyncio.Semaphore(2))
        async with (
            serving(routes=api.routes()) as server,
            aiohttp.ClientSession(f"http://127.0.0.1:{server.port}") as session,
            session.get(f"/api/trend?{query}") as answer,
        ):
            if answer.content_type == "text/csv":
                return answer.status, await answer.text()
            return answer.status, await answer.json()


@pytest.fixture
def gateway(tmp_path: Path) -> Gateway:
    return Gateway(tmp_path)


async def test_the_last_hour_of_all_series_by_default(gateway: Gateway) -> None:
    """Inputs first, of the contributions the largest only; it fits the schema of openapi."""
    status, found = await gateway.ask("asset=P-1")
    assert status == 200
    validate(found, TREND)
    assert (found["step_s"], found["to_ms"] - found["from_ms"]) == (20, 3_600_000)
    named = [(one["kind"], one["name"], one["unit"]) for one in found["series"]]
    assert named[:3] == [("input", "temp", "°C"), ("input", "flow", ""), ("score", "pump", "")]
    assert {name for _, name, _ in named[3:]} == {f"input{n}" for n in range(3, 9)}
    temp = found["series"][0]
    assert temp["time_ms"] == [(T0 + 20 * n) * 1000 for n in range(3)]
    assert (temp["min"], temp["max"], temp["mean"]) == (
        [1.0, 21.0, 41.0],
        [20.0, 40.0, 60.0],
        [10.5, 30.5, 50.5],
    )
    assert (temp["count"], temp["good"], temp["marks"]) == ([20] * 3, [1.0] * 3, [0] * 3)


async def test_alarms_are_drawn_from_the_history(gateway: Gateway) -> None:
    _, found = await gateway.ask("asset=P-1")
    (span,) = found["alarms"]
    assert span == {
        "alarm_id": "P-1.pump",
        "severity": 700,
        "from_ms": (T0 + 20) * 1000,
        "to_ms": (T0 + 50) * 1000,
        "replayed": False,
    }
    _, before = await gateway.ask(f"asset=P-1&from={T0 * 1000 - 99_000}&to={T0 * 1000 - 60_000}")
    assert before["alarms"] == []


def test_an_alarm_that_is_there_has_no_end_and_says_that_it_was_told_late() -> None:
    rows = [transition("ack", 30, 3), transition("raise", 20, 2, replayed=True)]
    (span,) = alarm_spans([*rows, transition("clear", 10, 1)])
    assert (span["from_ms"], span["to_ms"], span["replayed"]) == (20_000, None, True)


async def test_chosen_series_and_points(gateway: Gateway) -> None:
    """A kind before a colon, a star for all of it; a signal without a value has no rows."""
    window = f"from={T0 * 1000}&to={(T0 + 60) * 1000}"
    _, found = await gateway.ask(f"asset=P-1&signals=flow,score:*&points=2&{window}")
    assert [(one["kind"], one["name"]) for one in found["series"]] == [
        ("input", "flow"),
        ("score", "pump"),
    ]
    assert found["step_s"] == 30
    _, all_shares = await gateway.ask("asset=P-1&signals=contribution:*")
    assert len(all_shares["series"]) == 9
    status, none = await gateway.ask("asset=P-1&signals=never")
    assert (status, none["series"]) == (200, [])


async def test_bad_values_have_no_number(gateway: Gateway) -> None:
    """JSON has null, CSV an empty cell; the marks say why."""
    gateway.feed("input", "level", 1.0, BAD | REPLAYED)
    _, found = await gateway.ask("asset=P-1&signals=level,temp")
    level = next(one for one in found["series"] if one["name"] == "level")
    assert (level["mean"], level["min"]) == ([None] * 3, [None] * 3)
    assert level["good"] == [0.0] * 3
    _, table = await gateway.ask("asset=P-1&signals=level&format=csv")
    lines = table.splitlines()
    assert lines[0] == "asset,kind,name,unit,time_ms,min,max,mean,count,good,marks"
    assert lines[1] == f"P-1,input,level,,{T0 * 1000},,,,20,0.0,bad replayed"
    assert len(lines) == 4


@pytest.mark.parametrize(
    ("query", "status", "words"),
    [
        ("", 400, "which asset?"),
        ("asset=X", 404, "no such asset"),
        ("asset=P-1&signals=temq", 404, "no such signal"),
        ("asset=P-1&from=2000&to=1000", 400, "not before"),
        ("asset=P-1&points=many", 400, "points"),
        ("asset=P-1&format=xml", 400, "no such format"),
        ("asset=P-1&since=1", 400, "since"),
    ],
)
async def test_what_is_refused(gateway: Gateway, query: str, status: int, words: str) -> None:
    found, told = await gateway.ask(query)
    assert found == status, told
    assert words in told["error"]


async def test_an_asset_without_a_value_has_an_empty_trend(gateway: Gateway) -> None:
    gateway.pages = []
    gateway.history = lambda *_: asyncio.sleep(0, [])  # type: ignore[method-assign]
    status, found = await gateway.ask("asset=P-9")
    assert (status, found["series"], found["alarms"]) == (200, [], [])
