"""Lines beside a live pipeline: states, links, restarts, what is published and answered."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from importlib import resources
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import jsonschema
import plants
import pytest
from plants import S

from edge_agent.clock import FakeClock
from edge_agent.config.lines import Line, LineMachine
from edge_agent.config.shifts import Calendar, Shift
from edge_agent.config.structs import parse_struct
from edge_agent.config.types import Name
from edge_agent.daemon.line_publisher import LinePublisher
from edge_agent.daemon.line_recorder import LineRecorder, line_file
from edge_agent.daemon.runtime import monitor_plant
from edge_agent.errors import NotFoundError
from edge_agent.messages import LinkState
from edge_agent.ops.metrics import Metrics
from edge_agent.testing import RecordingSink
from edge_agent.values import BAD, columns

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

START_S = 1_772_431_200  # 2026-03-02T06:00Z
MACHINE = """\
states: [{state: down, when: flow < 1}, {state: running, when: flow >= 5}]
parts: pressure
ideal_cycle: 2s
"""
SCHEMA = json.loads(resources.files("edge_agent.insight").joinpath("kpi.schema.json").read_text())


def _machine() -> LineMachine:
    return parse_struct(MACHINE, Path(__file__), LineMachine)


class KpiSink(RecordingSink):
    """A sink that takes figures; answers: whether it confirms them."""

    takes_kpi = True

    def __init__(self) -> None:
        super().__init__("bus")
        self.kpi: list[tuple[str, dict[str, Any], bool]] = []
        self.confirms = True

    async def publish_kpi(self, topic: str, body: bytes, *, retain: bool) -> bool:
        if self.confirms:
            self.kpi.append((topic, json.loads(body), retain))
        return self.confirms


class Gateway:
    """A live pipeline of one machine with its recorder; nothing runs by itself."""

    def __init__(self, folder: Path, start_s: int = START_S) -> None:
        self.clock = FakeClock(start_s * S)
        config = plants.config(
            sources={"bus": plants.Subscribed()},
            lines={Name("main"): Line({"any": _machine()}, shifts=Name("plant"))},
            shifts={Name("plant"): Calendar({Name("day"): Shift("00:00", "00:00")}, "UTC")},
        )
        monitored = monitor_plant(config, Metrics(), self.clock, live=True)
        monitored.add_assets(lambda _: None)
        self.pipeline = monitored.pipeline
        self.link = SimpleNamespace(state=LinkState.UP, has_kept=False)
        self.runtime = SimpleNamespace(
            config=config,
            pipeline=self.pipeline,
            plant=monitored.plant,
            sources={"bus": SimpleNamespace(link=self.link)},
        )
        store = folder / "store.db"
        store.touch()
        self.metrics = Metrics()
        runtime: Any = lambda: self.runtime  # noqa: E731
        self.recorder = LineRecorder(runtime, line_file(store), self.metrics, self.clock)
        self.sink = KpiSink()
        publisher: Any = SimpleNamespace(
            is_active=True, may_send=lambda: True, sinks={"bus": self.sink}
        )
        self.publisher = LinePublisher(runtime, self.recorder, publisher, self.clock)

    async def second(self, *rows: tuple[int, float], status: int = 0, seconds: float = 1) -> None:
        """Time passes with these values (signal, value) of now."""
        self.clock.advance(seconds)
        now_us = self.clock.now_us()
        signal, value = zip(*rows, strict=True) if rows else ((), ())
        given = columns(signal, [now_us] * len(rows), value, status)
        self.pipeline.close_windows(given, now_us=now_us, monotonic_s=self.clock.monotonic_s())
        await self.recorder.record()
        if self.recorder._busy is not None:
            await self.recorder._busy

    async def current(self) -> dict[str, Any]:
        (line,) = await self.recorder.lines()
        (row,) = line["machines"]
        return dict(row)

    async def states(self) -> list[tuple[str, int]]:
        """Each stay: its state, and for how many seconds."""
        now_ns = self.clock.now_us() * 1000
        (row,) = await self.recorder.stays("main", now_ns - 10**15, now_ns)
        return [(state, (b - a) // 1000) for state, a, b in row["stays"]]


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    made = Gateway(tmp_path)
    yield made
    await made.recorder.stop()


async def test_the_state_of_a_machine_follows_its_signals(gateway: Gateway) -> None:
    await gateway.second()
    await gateway.second((0, 7.0), (1, 100.0))
    for _ in range(20):
        await gateway.second()
    await gateway.second((0, 0.0), (1, 106.0))
    for _ in range(12):
        await gateway.second()
    row = await gateway.current()
    assert row["state"] == "down"
    assert await gateway.states() == [("unknown", 1), ("running", 21), ("down", 10)]
    assert row["current"]["elements"]["pq"] == 6
    assert row["current"]["indicators"]["effectiveness"] == pytest.approx(12 / 21)
    labels = {"asset": "any", "state": "down"}
    value = gateway.metrics.registry.get_sample_value("edge_agent_machine_state", labels)
    assert value == 1


async def test_a_bad_value_and_a_lost_link_are_gaps(gateway: Gateway) -> None:
    await gateway.second((0, 7.0))
    await gateway.second(seconds=10)
    await gateway.second((0, 7.0), status=BAD)
    await gateway.second(seconds=10)
    await gateway.second((0, 7.0))
    gateway.link.state = LinkState.DOWN
    await gateway.second(seconds=10)
    gateway.link.state = LinkState.UP
    await gateway.second(seconds=5)
    await gateway.second((0, 7.0), seconds=5)
    await gateway.second(seconds=5)
    found = await gateway.states()
    assert [state for state, _ in found] == ["running", "unknown", "running", "unknown", "running"]


async def test_what_the_other_side_kept_fills_the_gap(gateway: Gateway) -> None:
    await gateway.second((0, 7.0))
    gateway.link.state = LinkState.DOWN
    await gateway.second(seconds=30)
    gateway.link.state, gateway.link.has_kept = LinkState.UP, True
    await gateway.second(seconds=5)
    await gateway.second(seconds=5)
    assert {state for state, _ in await gateway.states()} == {"running"}


async def test_a_kill_costs_a_gap_and_no_parts(tmp_path: Path) -> None:
    """The sums go on; what the counter counted meanwhile is told as parts of the gap."""
    first = Gateway(tmp_path)
    await first.second((0, 7.0), (1, 0.0))
    for n in range(1, 40):
        await first.second((1, float(n)))
    again = Gateway(tmp_path, START_S + 100)
    await again.second()
    await again.second((0, 7.0), (1, 80.0))
    for _ in range(20):
        await again.second()
    elements = (await again.current())["current"]["elements"]
    assert elements["pq"] + elements["pq_gap"] == 80
    assert elements["pq"] >= 25
    total = sum(elements[f"{one}_s"] for one in ("apt", "adot", "adet", "aust", "gap", "planned"))
    assert total == pytest.approx(elements["elapsed_s"])
    await again.recorder.stop()
    await first.recorder.stop()


async def test_a_closed_shift_is_stored_and_told_once(gateway: Gateway) -> None:
    """It is told when no late value can change it, again until the receiver has confirmed it."""
    await gateway.second((0, 7.0), (1, 0.0))
    for _ in range(17):
        await gateway.second((1, 1.0), seconds=3600)
    await gateway.publisher.publish()
    assert [row["shift"] for row in await gateway.recorder.shifts("main", "", 1 << 62, 10)] == []
    gateway.sink.confirms = False
    for _ in range(10):
        await gateway.second(seconds=3600)
    await gateway.publisher.publish()
    gateway.sink.confirms = True
    await gateway.publisher.publish()
    await gateway.publisher.publish()
    told = [(topic, body) for topic, body, retain in gateway.sink.kpi if not retain]
    ((topic, body),) = told
    assert topic == "edge/enterprise/site/area/line/any/_kpi/shift"
    (stored,) = await gateway.recorder.shifts("main", "any", 1 << 62, 10)
    assert body["data"] == stored
    assert stored["is_closed"]
    retained = {topic for topic, _, retain in gateway.sink.kpi if retain}
    assert retained == {
        "edge/enterprise/site/area/main/_kpi/current",
        "edge/enterprise/site/area/line/any/_kpi/current",
    }
    for _, body, _ in gateway.sink.kpi:
        jsonschema.validate(body, SCHEMA)


async def test_a_machine_that_is_too_fast_is_a_fault_of_the_config(gateway: Gateway) -> None:
    await gateway.second((0, 7.0), (1, 0.0))
    for n in range(1, 60):
        await gateway.second((1, 3.0 * n))
    (fault,) = gateway.recorder.faults()
    assert fault.detail.message_key == "ideal_cycle_wrong"
    assert fault.detail.message_args["share"] > 500


async def test_a_damaged_file_is_set_aside(tmp_path: Path) -> None:
    """The lines go on with a new one."""
    (tmp_path / "store.db.lines").write_bytes(b"no database" * 1000)
    made = Gateway(tmp_path)
    for _ in range(3):
        await made.second((0, 7.0))
    assert (tmp_path / "store.db.lines.corrupt").exists()
    await made.second(seconds=61)
    assert made.recorder.faults() == []
    await made.recorder.stop()


async def test_there_is_no_other_line(gateway: Gateway) -> None:
    await gateway.second()
    with pytest.raises(NotFoundError):
        await gateway.recorder.shifts("other", "", 1 << 62, 1)


def test_a_gateway_without_lines_imports_nothing_of_them() -> None:
    """Neither the room nor what records them."""
    code = (
        "import sys, edge_agent.daemon.daemon;"
        "print([m for m in sys.modules if 'insight' in m or 'daemon.line' in m])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert done.stdout.strip() == "[]"


async def test_a_reload_with_other_rules_keeps_the_past(gateway: Gateway) -> None:
    """The sums of the shift and the stays go on; the new rule counts from then on."""
    await gateway.second((0, 7.0), (1, 0.0))
    for n in range(1, 30):
        await gateway.second((1, float(n)))
    config = gateway.runtime.config
    line = config.lines[Name("main")]
    other = parse_struct(MACHINE.replace("flow < 1", "flow < 8"), Path(__file__), LineMachine)
    lines = {Name("main"): replace(line, machines={"any": other})}
    gateway.runtime.config = replace(config, lines=lines)
    for _ in range(10):
        await gateway.second((0, 7.0))
    states = [state for state, _ in await gateway.states()]
    assert states[0] == "running"
    assert states[-1] == "down"
    assert (await gateway.current())["current"]["elements"]["apt_s"] >= 25


async def test_an_error_of_one_second_is_told_and_the_next_one_works(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its boundary reports it once; nothing stops for good."""
    await gateway.second((0, 7.0))
    with monkeypatch.context() as broken:
        broken.setattr(gateway.recorder.work.book, "advance", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            await gateway.second()
    with pytest.raises(ZeroDivisionError):  # of the second before
        await gateway.recorder.record()
    await gateway.second((0, 7.0))
    await gateway.second(seconds=5)
    assert (await gateway.current())["state"] == "running"


async def test_machines_of_another_shard_are_left_out(tmp_path: Path) -> None:
    """Each gateway shows those of its own assets; a line without any is not there."""
    made = Gateway(tmp_path)
    line = made.runtime.config.lines[Name("main")]
    both = replace(line, machines={**line.machines, "elsewhere": _machine()}, oee_of="elsewhere")
    none = replace(line, machines={"elsewhere": _machine()})
    lines = {Name("main"): both, Name("far"): none}
    made.runtime.config = replace(made.runtime.config, lines=lines)
    await made.second()
    (row,) = await made.recorder.lines()
    assert (row["line"], row["oee_of"], len(row["machines"])) == ("main", "any", 1)
    await made.recorder.stop()


async def test_a_clock_that_jumps_a_year_costs_no_time(gateway: Gateway) -> None:
    """No snapshot is kept of what no value can reach; shifts of long ago are not told."""
    await gateway.second((0, 7.0))
    await gateway.second(seconds=365 * 86_400)
    (book,) = gateway.recorder.work.book.machines
    assert len(book.tracker._snapshots) < 20
    assert len(await gateway.recorder.shifts("main", "", 1 << 62, 100)) <= 3
