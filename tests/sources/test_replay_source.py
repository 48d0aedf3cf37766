"""The replay source: pace, back-pressure, looping, and a life cycle that cannot be upset."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from support import NO_SOURCE

from edge_agent.clock import FakeClock, SystemClock
from edge_agent.config.schema import Asset, Config, Gateway, Kind, Signal, Template
from edge_agent.config.types import Duration, Name
from edge_agent.errors import EdgeAgentError
from edge_agent.messages import LinkState
from edge_agent.plant import Plant
from edge_agent.sources import SOURCES
from edge_agent.sources.replay.config import ReplayConfig
from edge_agent.sources.replay.source import ReplaySource, _Pace, probe
from edge_agent.values import BoundedIntake, Columns

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.clock import Clock
    from edge_agent.ops.metrics import Metrics
    from edge_agent.testing import ListIntake
    from edge_agent.values import Intake

START_US = 1_767_268_800_000_000


def make(
    path: Path, intake: Intake, metrics: Metrics, clock: Clock | None = None, **options: Any
) -> ReplaySource:
    plant = Plant(
        Config(
            sources={Name("rec"): NO_SOURCE},
            templates={Name("pump"): Template(signals={Name("flow"): Signal()})},
            assets={"P1": Asset(Name("pump"))},
        )
    )
    config = ReplayConfig(path, asset="P1", **options)
    return ReplaySource("rec", config, plant, intake, metrics, clock or SystemClock(), Gateway())


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Ten rows, a second apart."""
    path = tmp_path / "run.csv"
    path.write_text("time,flow\n" + "".join(f"{1767268800 + n},{n}\n" for n in range(10)))
    return path


async def until(source: ReplaySource, state: LinkState) -> None:
    async with asyncio.timeout(10):
        while source.link.state is not state:
            await asyncio.sleep(0.005)


async def test_without_pace_everything_arrives_with_its_own_time(
    recording: Path, intake: ListIntake, metrics: Metrics
) -> None:
    source = make(recording, intake, metrics, speed=0)
    await source.start()
    await until(source, LinkState.STOPPED)
    assert intake.columns.value.tolist() == list(range(10))
    assert intake.columns.time_us.tolist() == [START_US + n * 1_000_000 for n in range(10)]
    assert metrics.registry.get_sample_value(
        "edge_agent_values_received_total", {"source": "rec"}
    ) == 10  # fmt: skip


def test_pace_follows_the_clock() -> None:
    clock = FakeClock()
    pace = _Pace(speed=4, first_us=START_US, clock=clock)
    clock.advance(2)
    assert pace.now_us() == START_US + 8_000_000
    assert pace.wait_s(START_US + 9_000_000) == 0.25
    assert pace.wait_s(START_US + 90_000_000) == 0.5
    assert pace.wait_s(START_US) == 0.02


async def test_values_wait_for_their_time(
    recording: Path, intake: ListIntake, metrics: Metrics, clock: FakeClock
) -> None:
    source = make(recording, intake, metrics, clock, speed=100)
    await source.start()
    await until(source, LinkState.UP)
    await asyncio.sleep(0.05)
    assert intake.columns.value.tolist() == [0]
    clock.advance(0.045)
    async with asyncio.timeout(10):
        while len(intake) < 5:
            await asyncio.sleep(0.005)
    await asyncio.sleep(0.05)
    assert intake.columns.value.tolist() == [0, 1, 2, 3, 4]
    await source.stop()


async def test_shifted_to_now_the_first_value_is_now(
    recording: Path, intake: ListIntake, metrics: Metrics, clock: FakeClock
) -> None:
    source = make(recording, intake, metrics, clock, speed=0, shift_to_now=True)
    await source.start()
    await until(source, LinkState.STOPPED)
    assert intake.columns.time_us[0] == clock.now_us()
    assert intake.columns.time_us[9] == clock.now_us() + 9_000_000


async def test_a_loop_goes_on_in_time(
    recording: Path, intake: ListIntake, metrics: Metrics
) -> None:
    source = make(recording, intake, metrics, speed=0, loop=True)
    await source.start()
    async with asyncio.timeout(10):
        while len(intake) < 25:
            await asyncio.sleep(0)
    await source.stop()
    seconds = (intake.columns.time_us[:25] - START_US) // 1_000_000
    assert seconds.tolist() == list(range(25))
    assert intake.columns.value[:25].tolist() == [*range(10), *range(10), *range(5)]


async def test_without_pace_nothing_is_lost_to_a_slow_reader(
    tmp_path: Path, metrics: Metrics
) -> None:
    path = tmp_path / "run.csv"
    path.write_text("time,flow\n" + "".join(f"{1767268800 + n},{n}\n" for n in range(60_000)))
    bounded = BoundedIntake(20_480, 1, lambda: None)
    source = make(path, bounded, metrics, speed=0)
    await source.start()
    got: list[Columns] = []
    async with asyncio.timeout(20):
        while source.link.state is not LinkState.STOPPED or len(bounded):
            await asyncio.sleep(0.03)
            got.append(bounded.drain()[0])
    assert Columns.concat(got).value.tolist() == list(range(60_000))
    assert not bounded.drain_dropped()


async def test_a_missing_file_is_down_with_a_reason_and_stops_cleanly(
    tmp_path: Path, intake: ListIntake, metrics: Metrics
) -> None:
    source = make(tmp_path / "none.csv", intake, metrics)
    await source.start()
    await until(source, LinkState.DOWN)
    assert "none.csv: no such file" in source.link.detail
    await source.stop()
    assert source.link.state is LinkState.STOPPED


async def test_refused_cells_are_counted_by_reason(
    tmp_path: Path, intake: ListIntake, metrics: Metrics
) -> None:
    path = tmp_path / "run.csv"
    path.write_text("time,flow\n1767268800,1\n1767268801,x\nnever,2\n")
    source = make(path, intake, metrics, speed=0)
    await source.start()
    await until(source, LinkState.STOPPED)
    for reason in ("number", "time"):
        labels = {"source": "rec", "reason": reason}
        name = "edge_agent_values_rejected_total"
        assert metrics.registry.get_sample_value(name, labels) == 1


async def test_a_recording_of_which_nothing_is_taken_is_down_with_the_first_refusal(
    tmp_path: Path, intake: ListIntake, metrics: Metrics
) -> None:
    """Played to its end without one value, a machine would not be watched and nobody knew."""
    path = tmp_path / "run.csv"
    path.write_text("time,flow\nnever,1\n")
    source = make(path, intake, metrics, speed=0)
    await source.start()
    await until(source, LinkState.DOWN)
    assert "it contains no value" in source.link.detail
    assert "column 'time': not a time in 1 of 1 rows, such as 'never' in run" in source.link.detail
    assert "(set time_format, or another column by time)" in source.link.detail
    await source.stop()


async def test_stop_is_safe_before_start_and_when_repeated(
    recording: Path, intake: ListIntake, metrics: Metrics
) -> None:
    source = make(recording, intake, metrics)
    await source.stop()
    await source.start()
    await source.stop()
    await source.stop()
    assert len(intake) == 0


def test_it_stands_in_the_table_of_sources() -> None:
    assert SOURCES["replay"][:3] == (ReplayConfig, ReplaySource, probe)


async def test_a_probe_opens_the_files(recording: Path, tmp_path: Path) -> None:
    await probe(ReplayConfig(recording))
    with pytest.raises(EdgeAgentError, match="no such file"):
        await probe(ReplayConfig(tmp_path / "other.csv"))


async def test_waveforms_are_played_as_blocks(
    tmp_path: Path, intake: ListIntake, metrics: Metrics
) -> None:
    """In their order of time with the values, shifted as these are."""
    np.save(tmp_path / "1767268800.npy", np.ones((3, 50)))
    vibration = Signal(kind=Kind.WAVEFORM, rate_hz=50.0)
    template = Template(signals={Name("flow"): Signal(), Name("vibration"): vibration})
    plant = Plant(
        Config(
            sources={Name("rec"): NO_SOURCE},
            templates={Name("pump"): template},
            assets={"P1": Asset(Name("pump"))},
        )
    )
    config = ReplayConfig(tmp_path, interval=Duration(10), speed=0)
    source = ReplaySource("rec", config, plant, intake, metrics, SystemClock(), Gateway())
    await source.start()
    await until(source, LinkState.STOPPED)
    await source.stop()
    ends_us = [START_US + second * 1_000_000 + 980_000 for second in (0, 10, 20)]
    assert [block.end_us for block in intake.blocks] == ends_us
