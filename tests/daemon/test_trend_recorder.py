"""What the recorder of trends takes from a pipeline: values, scores, what holds, what was late."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import plants
import pytest
from daemon_support import fed_config
from plants import S

from edge_agent.clock import FakeClock
from edge_agent.daemon.runtime import monitor_plant
from edge_agent.daemon.trend_recorder import TrendRecorder
from edge_agent.messages import LinkState
from edge_agent.ops.metrics import Metrics
from edge_agent.trends import BAD, HELD, OVER, REPLAYED, SeriesName, Trends
from edge_agent.values import BAD as BAD_STATUS
from edge_agent.values import columns

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.trends import Rows

START_S = 10_000
LOADED: list[Any] = []  # the models of the plant


class Gateway:
    """A live pipeline of one machine with its recorder; nothing runs by itself."""

    def __init__(self, folder: Path, made: Any = None) -> None:
        made = made or plants.config()
        self.clock = FakeClock(START_S * S)
        monitored = monitor_plant(made, Metrics(), self.clock, live=True)
        self.pipeline = monitored.pipeline
        for model in LOADED:
            self.pipeline.deployments.add_model(model)
        missing: list[str] = []
        use_model = self.pipeline.use_model
        monitored.add_assets(
            lambda asset: missing.extend(use_model(asset, use) for use in asset.template.models)
        )
        self.link = SimpleNamespace(state=LinkState.UP)
        sources = {"bus": SimpleNamespace(link=self.link)}
        self.runtime = SimpleNamespace(
            pipeline=self.pipeline, plant=monitored.plant, sources=sources
        )
        self.trends = Trends(folder / "plant.trends", 64 << 20)
        self.recorder = TrendRecorder(lambda: self.runtime, self.trends, self.clock)  # type: ignore[arg-type, return-value]

    async def second(self, *rows: tuple[int, float, float], status: int = 0) -> None:
        """One second passes with these values (signal, time in s, value)."""
        self.clock.advance(1.0)
        signal, time_s, value = zip(*rows, strict=True) if rows else ((), (), ())
        time_us = (np.array(time_s, float) * S).astype(np.int64)
        given = columns(signal, time_us, value, status)
        due = self.pipeline.close_windows(
            given, now_us=self.clock.now_us(), monotonic_s=self.clock.monotonic_s()
        )
        self.pipeline.update_alarms(self.pipeline.score_windows(due))
        await self.recorder.record()
        if self.recorder._work is not None:
            await self.recorder._work

    async def healthy(self, seconds: int, signals: tuple[int, ...] = (0, 1, 2)) -> None:
        rows = plants.healthy(seconds, seed=3)
        for row in rows:
            now_s = self.clock.now_us() / S + 1
            await self.second(*((n, now_s, float(row[n])) for n in signals))

    def rows(self, name: str, kind: str = "input") -> Rows:
        now_s = self.clock.now_us() // S
        one = SeriesName(kind, name)
        found = self.trends.read("any", [one], START_S - 9000, now_s + 60, 2000)
        return found.series.get(one, self.trends.rows[:0])


@pytest.fixture(autouse=True, scope="module")
def loaded() -> None:
    LOADED[:] = plants.prepared(plants.config()).runtime.pipeline.deployments.models()


@pytest.fixture
async def gateway(tmp_path: Path) -> Any:
    made = Gateway(tmp_path)
    yield made
    await made.recorder.stop()


async def test_values_and_scores_of_a_live_pipeline(gateway: Gateway) -> None:
    """Every value once from the second second on; the score with its limit beside it."""
    await gateway.healthy(61)
    flow = gateway.rows("flow")
    assert flow["n"].sum() == 60
    assert flow["good"].sum() == 60
    assert not flow["marks"].any()
    score, limit = gateway.rows("base", "score"), gateway.rows("base", "limit")
    assert score["n"].sum() == limit["n"].sum() > 20
    (deployment,) = gateway.pipeline.deployments
    assert limit["low"] == pytest.approx(deployment.limit)
    assert score["high"].max() < deployment.limit


async def test_a_score_over_its_limit_is_marked_and_explained(gateway: Gateway) -> None:
    """The contributions of reported windows are there, the flow first."""
    await gateway.healthy(40)
    for row in plants.fault(60, 0):
        now_s = gateway.clock.now_us() / S + 1
        await gateway.second(*((n, now_s, float(row[n])) for n in range(3)))
    assert (gateway.rows("base", "score")["marks"] & OVER).any()
    totals = {
        one.name: abs(gateway.rows(one.name, one.kind)["total"].sum())
        for one in gateway.trends.series_of("any")
        if one.kind == "contribution"
    }
    assert max(totals, key=lambda name: totals[name]) == "flow"


async def test_a_value_that_holds_fills_its_buckets_and_a_lost_link_leaves_a_gap(
    tmp_path: Path,
) -> None:
    """A source that reports changes: one value, then nothing, then the link is down."""
    gateway = Gateway(tmp_path, plants.config(sources={"bus": plants.Subscribed()}))
    await gateway.second()
    await gateway.second((0, START_S + 2, 5.0))
    for _ in range(60):
        await gateway.second()
    held = gateway.rows("flow")
    assert held["bucket"].tolist() == [START_S + 10 * n for n in range(6)][: len(held)]
    assert held["marks"].tolist() == [0] + [HELD] * (len(held) - 1)
    assert len(held) >= 5
    assert set(held["low"]) == {5.0}
    gateway.link.state = LinkState.DOWN
    n = len(held)
    for _ in range(40):
        await gateway.second()
    assert len(gateway.rows("flow")) <= n + 1
    assert len(gateway.rows("pressure")) == 0
    await gateway.recorder.stop()


async def test_bad_values_are_marked(gateway: Gateway) -> None:
    await gateway.second()
    await gateway.second((0, START_S + 2, 1.0), status=BAD_STATUS)
    (row,) = gateway.rows("flow")
    assert (row["marks"], row["used"], row["n"]) == (BAD, 0, 1)


async def test_what_was_kept_in_an_outage_fills_the_gap_as_replayed(gateway: Gateway) -> None:
    """Under its own times, and only that."""
    await gateway.healthy(30)
    gateway.pipeline.follow_links({"bus"}, {"bus"}, (), gateway.clock.monotonic_s())
    for _ in range(60):
        await gateway.second()
    gateway.pipeline.follow_links((), (), ("bus",), gateway.clock.monotonic_s())
    kept = [(0, START_S + 31.0 + n, 7.0) for n in range(59)]
    await gateway.second(*kept)
    await gateway.healthy(30)
    rows = gateway.rows("flow")
    late = (rows["bucket"] >= START_S + 40) & (rows["bucket"] < START_S + 90)
    assert rows["n"][late].tolist() == [10] * 5
    assert (rows["marks"][late] == REPLAYED).all()
    assert not (rows["marks"][rows["bucket"] >= START_S + 100] & REPLAYED).any()
    assert not (rows["marks"][rows["bucket"] < START_S + 30] & REPLAYED).any()


async def test_late_values_that_changed_seldom_fill_what_lies_between_them(tmp_path: Path) -> None:
    """A source that reports changes: each value was valid until the next one, also over batches."""
    gateway = Gateway(tmp_path, plants.config(sources={"bus": plants.Subscribed()}))
    await gateway.second()
    await gateway.second((0, START_S + 2, 5.0))
    gateway.pipeline.follow_links({"bus"}, {"bus"}, (), gateway.clock.monotonic_s())
    gateway.link.state = LinkState.DOWN
    for _ in range(118):
        await gateway.second()
    gateway.pipeline.follow_links((), (), ("bus",), gateway.clock.monotonic_s())
    gateway.link.state = LinkState.UP
    await gateway.second((0, START_S + 31, 7.0))
    await gateway.second((0, START_S + 65, 8.0), (0, START_S + 71, float("nan")))
    await gateway.second((0, START_S + 95, 9.0))
    await gateway.second((0, START_S + 124, 9.5))
    await gateway.recorder.record()
    rows = gateway.rows("flow")
    found = dict(zip((rows["bucket"] - START_S).tolist(), rows["low"].tolist(), strict=True))
    assert found == {
        0: 5.0,
        30: 7.0,
        40: 7.0,
        50: 7.0,
        60: 8.0,
        70: np.inf,
        90: 9.0,
        100: 9.0,
        110: 9.0,
        120: 9.5,
    }
    marks = dict(zip((rows["bucket"] - START_S).tolist(), rows["marks"].tolist(), strict=True))
    assert (marks[30], marks[40], marks[110]) == (REPLAYED, REPLAYED | HELD, REPLAYED | HELD)
    assert marks[120] == 0
    await gateway.recorder.stop()


async def test_another_runtime_goes_on_under_the_same_series(gateway: Gateway) -> None:
    """As after a reload: the plant is another object, with other numbers."""
    await gateway.healthy(11)
    other = Gateway(gateway.trends._path.parent / "other")
    gateway.runtime.pipeline, gateway.runtime.plant = other.pipeline, other.runtime.plant
    gateway.pipeline = other.pipeline
    await gateway.healthy(11)
    assert gateway.rows("flow")["n"].sum() == 20
    await other.recorder.stop()


async def test_an_ancient_value_is_no_trend(gateway: Gateway) -> None:
    """A node tells when it changed last; that is not a value of now."""
    gateway.clock.advance(200 * 86_400)
    await gateway.second()
    await gateway.second((0, START_S, 5.0))
    assert len(gateway.trends.rows) == 0


async def test_a_busy_thread_loses_seconds_and_holds_up_nothing(gateway: Gateway) -> None:
    await gateway.healthy(3)
    gateway.recorder._work = asyncio.get_running_loop().create_future()
    await gateway.recorder.record()
    assert gateway.recorder.missed == 1
    gateway.recorder._work = None


async def test_a_file_that_fails_is_a_fault_of_the_service(tmp_path: Path) -> None:
    """And the values go on."""
    (tmp_path / "in the way").write_text("")
    gateway = Gateway(tmp_path / "in the way")
    await gateway.healthy(3)
    (fault,) = gateway.recorder.faults()
    assert fault.what == "trends"
    assert "cannot open" in fault.text
    assert gateway.rows("flow")["n"].sum() == 2
    await gateway.recorder.stop()


def test_a_gateway_without_trends_does_not_import_them(tmp_path: Path) -> None:
    """Start-up and memory stay as they were."""
    path = fed_config(tmp_path, ("pump", {"signals": {"a": {}}}), "P-1", trends={"enabled": False})
    code = (
        "import sys; from edge_agent.daemon import Daemon, load_config;"
        f"d = Daemon(load_config('{path}')); assert d.parts.trends is None;"
        "print([m for m in sys.modules if '.trend' in m])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.strip() == "[]", done.stderr
