"""Charts on their thread: from values to alarms, records of parts, the API, and over a restart."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from daemon_support import fed_config
from jsonschema import validate
from status_support import serving

from edge_agent.clock import FakeClock
from edge_agent.daemon.quality_recorder import QualityRecorder
from edge_agent.daemon.runtime import monitor_plant
from edge_agent.daemon.tables import load_config
from edge_agent.errors import NotFoundError
from edge_agent.insight.quality.part_store import PartFilter, PartStore
from edge_agent.messages import Detail, Observation
from edge_agent.ops.metrics import Metrics
from edge_agent.service.quality_api import PART, quality_routes
from edge_agent.values import BAD, columns

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.config.schema import Config
    from edge_agent.messages import Transition

S = 1_000_000
START_S = 10_000
NAMES = ("bore", "done", "serial", "article", "tool", "force")
CHART: dict[str, Any] = {
    "asset": "M-1",
    "signal": "bore",
    "part": {"trigger": "done", "id": "serial"},
    "limits": {"center": 10, "sigma": 1},
    "specification": {"low": 5, "high": 15},
    "product": "article",
    "products": 2,
    "reset": "tool",
    "process": ["force"],
    "lateness": "0s",
    "clear_after": 2,
}


def config_of(folder: Path, **changes: Any) -> Config:
    chart = {key: one for key, one in {**CHART, **changes}.items() if one is not None}
    signals = {name: {"stale_after": "20s"} for name in NAMES}
    template = {"signals": signals, "quality_alarm": {"enabled": False}}
    path = fed_config(
        folder,
        ("press", template),
        "M-1",
        control_charts={"bore": chart},
        part_records={"max_parts": 100},
    )
    return load_config(path)


class Gateway:
    """A live pipeline of one press with its recorder; nothing runs by itself."""

    def __init__(self, folder: Path, config: Config | None = None, start_s: int = START_S) -> None:
        self.clock = FakeClock(start_s * S)
        self.metrics = Metrics()
        self.config = config or config_of(folder)
        made = monitor_plant(self.config, self.metrics, self.clock, live=True)
        made.add_assets(lambda _: None)
        self.pipeline, self.plant = made.pipeline, made.plant
        self.runtime = SimpleNamespace(pipeline=made.pipeline, plant=made.plant)
        self.store = PartStore(folder / "store.db.parts", 100)
        self.audited: list[Any] = []
        self.woken = 0
        self.recorder = QualityRecorder(
            lambda: self.runtime,  # type: ignore[arg-type, return-value]
            self.store,
            self.metrics,
            self._audit,
            self._wake,
            self.clock,
        )

    async def _audit(self, *entry: Any) -> None:
        self.audited.append(entry)

    def _wake(self) -> None:
        self.woken += 1

    async def turn(self, *, is_bad: bool = False, **values: float) -> list[Transition]:
        """A second passes with these values; what the alarms say to it."""
        self.clock.advance(1.0)
        signals = self.plant.assets["M-1"].signals
        numbers = [signals[name].index for name in values]
        at = [self.clock.now_us()] * len(numbers)
        given = columns(numbers, at, list(values.values()), BAD if is_bad else 0)
        found = self._step(given)
        for _ in range(2):  # the second applies what the first found
            await self.recorder.record()
            if self.recorder._work is not None:
                await self.recorder._work
        return found + self._step(columns((), (), ()))

    def _step(self, given: Any) -> list[Transition]:
        monotonic_s = self.clock.monotonic_s()
        pipeline = self.pipeline
        due = pipeline.close_windows(given, now_us=self.clock.now_us(), monotonic_s=monotonic_s)
        return pipeline.update_alarms(pipeline.score_windows(due)).transitions

    async def part(self, bore: float, serial: int, article: float = 1, **more: float) -> list[str]:
        """A part is measured and finished; the transitions, as `raise P-1...`."""
        await self.turn(
            bore=bore, serial=serial, article=article, force=7.5, done=0, is_bad=False, **more
        )
        found = await self.turn(done=1)
        return [f"{one.kind} {one.alarm.alarm_id}" for one in found]


async def test_a_part_out_of_control_raises_and_parts_in_control_clear(tmp_path: Path) -> None:
    """In the table, with the rule, the part and the last points; the part is recorded."""
    gateway = Gateway(tmp_path)
    await gateway.recorder.restore()
    for serial, bore in enumerate((10, 11, 9)):
        assert await gateway.part(bore, serial) == []
    assert await gateway.part(16, 3) == ["raise M-1.bore.chart"]
    alarm = gateway.pipeline.alarms.get("M-1.bore.chart")
    assert alarm is not None
    assert alarm.detail is not None
    args = alarm.detail.message_args
    assert (args["part"], args["product"], args["rules"]) == ("3", "1", "beyond_limits")
    first, second, *_ = alarm.detail.contributors
    assert (first.input, first.value, first.high) == ("bore 3", 16.0, 13.0)
    assert second.input == "bore 2"
    assert await gateway.part(10, 4) == []
    assert await gateway.part(10, 5) == ["clear M-1.bore.chart"]
    newest, *_, before = await gateway.recorder.parts(PartFilter(limit=3))
    validate(newest, PART)
    assert (newest["part"], newest["verdict"], newest["process"]) == ("5", "ok", {"force": 7.5})
    assert (before["part"], before["verdict"]) == ("3", "reject")
    assert before["charts"] == {"bore": ["beyond_limits"]}
    assert gateway.woken > 0
    await gateway.recorder.stop()


async def test_a_bad_or_stale_measurement_is_a_part_without_one(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path)
    await gateway.part(10, 1)
    await gateway.turn(is_bad=True, bore=99)
    await gateway.turn(serial=2, done=0)
    await gateway.turn(done=1)
    await gateway.turn(bore=10, done=0)
    gateway.clock.advance(60)
    await gateway.turn(done=1, serial=3, article=1)
    rows = await gateway.recorder.parts(PartFilter())
    assert [(row["part"], row["measurements"]["bore"]) for row in rows] == [
        *(("3", None), ("2", None), ("1", 10.0)),
    ]
    (chart,) = await gateway.recorder.charts()
    assert (chart["counts"]["points"], chart["counts"]["missing"]) == (1, 2)
    await gateway.recorder.stop()


async def test_each_product_has_its_chart_and_the_oldest_gives_way(tmp_path: Path) -> None:
    """As many as the config allows: no number from the wire makes the gateway grow."""
    gateway = Gateway(tmp_path, config_of(tmp_path, limits=None, phase_one={"subgroups": 5}))
    for serial in range(12):
        await gateway.part(10 + serial % 3, serial, article=1)
    for serial in range(12, 15):
        await gateway.part(100, serial, article=serial)
    rows = await gateway.recorder.charts()
    assert [row["product"] for row in rows] == ["13", "14"]
    await gateway.recorder.stop()


async def test_a_tool_change_begins_runs_anew(tmp_path: Path) -> None:
    """By a signal, and by a command that is recorded in the audit."""
    gateway = Gateway(tmp_path, config_of(tmp_path, rules=["run_of_7"]))
    for serial in range(6):
        assert await gateway.part(11, serial, tool=0) == []
    await gateway.turn(tool=1)
    for serial in range(6):
        assert await gateway.part(11, 10 + serial) == []
    done = await gateway.recorder.begin_anew("M-1", "bore", learn=False, actor="Lena", comment="x")
    assert done["action"] == "chart_reset"
    assert gateway.audited == [("Lena", "chart_reset", ["M-1"], "bore: x")]
    for serial in range(6):
        assert await gateway.part(11, 20 + serial) == []
    assert await gateway.part(11, 30) == ["raise M-1.bore.chart"]
    with pytest.raises(NotFoundError):
        await gateway.recorder.begin_anew("M-1", "x", learn=False, actor="Lena", comment="")
    await gateway.recorder.stop()


async def test_sums_and_learned_limits_outlive_a_restart(tmp_path: Path) -> None:
    config = config_of(
        tmp_path, chart="cusum", limits=None, phase_one={"subgroups": 5}, product=None
    )
    gateway = Gateway(tmp_path, config)
    for serial, bore in enumerate((9, 10, 11, 10, 9, 12, 12)):
        await gateway.part(bore, serial)
    (before,) = await gateway.recorder.charts()
    await gateway.recorder.stop()
    later = Gateway(tmp_path, config, START_S + 3600)
    await later.recorder.restore()
    (after,) = await later.recorder.charts()
    assert after == before
    assert before["last"]["value"] > 0
    await later.recorder.stop()


async def test_a_reload_keeps_what_charts_know_and_forgets_those_that_are_gone(
    tmp_path: Path,
) -> None:
    """Also what the thread finds while the config changes: an alarm without a rule is none."""
    gateway = Gateway(tmp_path, config_of(tmp_path, rules=["run_of_7"]))
    for serial in range(6):
        await gateway.part(11, serial)
    later = Gateway(tmp_path, config_of(tmp_path, rules=["run_of_7"], severity=900))
    later.pipeline.adopt_state(gateway.pipeline)
    later.clock.advance(60)
    await later.turn(done=0)
    assert await later.part(11, 7) == ["raise M-1.bore.chart"]
    await later.turn()
    without = Gateway(tmp_path, replace(later.config, control_charts={}))
    assert without.pipeline.charts is None
    later.runtime.pipeline = without.pipeline
    await later.recorder.stop()
    later.recorder._apply([Observation("M-1.bore.chart", 1.0, S, Detail("chart_beyond"))])
    assert not without.pipeline.reported
    await gateway.recorder.stop()


async def test_a_camera_joins_its_part_by_number_or_by_time(tmp_path: Path) -> None:
    """Also where its verdict comes first; one of another part, or too late, joins none."""
    gateway = Gateway(tmp_path)
    charts = gateway.pipeline.charts
    assert charts is not None
    good, bad = {"defect": False, "score": 0.1}, {"defect": True, "score": 2.0}
    charts.add_inspection("M-1", "top", "1", 0, bad)
    await gateway.part(10, 1)
    await gateway.part(10, 2)
    charts.add_inspection("M-1", "side", "", gateway.clock.now_us() + 2 * S, good)
    seen: Any = SimpleNamespace(asset="M-1", camera="end", part="2", at_us=0, picture_id="end-1")
    seen.score, seen.limit = 0.5, 1.0
    gateway.recorder.add_picture(seen)
    charts.add_inspection("M-1", "late", "", gateway.clock.now_us() + 60 * S, good)
    await gateway.turn()
    second, first = await gateway.recorder.parts(PartFilter())
    assert first["cameras"]["top"]["score"] == 2.0
    assert (first["verdict"], second["verdict"]) == ("reject", "ok")
    assert set(second["cameras"]) == {"side", "end"}
    assert second["cameras"]["end"]["picture"] == "end-1"
    await gateway.recorder.stop()


async def test_parts_are_bounded_and_a_lost_disk_is_a_fault_alone(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path)
    for serial in range(110):
        await gateway.part(10, serial)
    rows = await gateway.recorder.parts(PartFilter(limit=1000))
    assert [row["part"] for row in rows] == [str(n) for n in range(109, 9, -1)]
    gone = Gateway(tmp_path, config_of(tmp_path))
    gone.store._path = tmp_path / "gone" / "x.parts"
    assert await gone.part(16, 1) == ["raise M-1.bore.chart"]
    (fault,) = gone.recorder.faults()
    assert fault.what == "parts"
    assert await gone.recorder.parts(PartFilter()) == []
    await gone.recorder.stop()
    await gateway.recorder.stop()


async def ask(gateway: Gateway, path: str) -> tuple[int, str]:
    async with (
        serving(routes=quality_routes(gateway.recorder)) as server,
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{server.port}{path}") as answer,
    ):
        return answer.status, await answer.text()


async def test_the_api_tells_charts_points_and_parts_as_json_and_csv(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path)
    await gateway.part(10, 1)
    await gateway.part(16, 2)
    status, body = await ask(gateway, "/api/quality?format=csv")
    assert status == 200
    assert body.splitlines()[1].startswith("M-1,bore,1,individuals,bore,,1,out_of_control,0,10")
    status, body = await ask(gateway, "/api/quality/points?asset=M-1&chart=bore&product=1")
    assert status == 200
    assert '"rules":["beyond_limits"]' in body
    assert (await ask(gateway, "/api/quality/points?asset=M-1&chart=x"))[0] == 404
    assert (await ask(gateway, "/api/quality/points"))[0] == 400
    status, body = await ask(gateway, "/api/quality/parts?part=2&format=csv")
    assert body.splitlines()[0] == (
        "at_ms,asset,part,product,verdict,measurements.bore,charts.bore,process.force"
    )
    assert body.splitlines()[1].endswith("M-1,2,1,reject,16.0,beyond_limits,7.5")
    assert len(body.splitlines()) == 2
    await gateway.recorder.stop()
