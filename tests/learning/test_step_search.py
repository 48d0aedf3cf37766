"""Learning with nothing told: the step is found, and no value is lost meanwhile."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import plants
import pytest
from live_plants import BEGIN_S, Live
from plants import S

from edge_agent.config.schema import Asset, Learn, Signal, SourceTraits, Template
from edge_agent.config.types import Name
from edge_agent.values import Columns

if TYPE_CHECKING:
    from edge_agent.learning.collection import Learning

NAMES = ("flow", "pressure", "vibration")


class Fed:
    """Assets of three inputs that learn with nothing told; `sees` sends rows of them."""

    def __init__(self, assets: int = 1, **changes: Any) -> None:
        template = Template({Name(name): Signal(source="bus") for name in NAMES})
        many = {f"P-{{1..{assets}}}": Asset(Name("pump"))}
        sources = changes.pop("sources", {})
        self.config = plants.config(templates={"pump": template}, assets=many, sources=sources)
        self.rule = Learn(**changes)
        self.live = Live(self.config)
        self.learns(self.live)
        self.at_s = 0.0

    def learns(self, live: Live) -> None:
        for asset in live.plant.assets.values():
            assert live.pipeline.learning.learn_asset(asset, self.rule) == ""

    def sees(self, rows: int, step_s: float, *, assets: tuple[int, ...] = (0,)) -> None:
        """Each row in a turn of its own; its values are the number of its seconds."""
        for _ in range(rows):
            mine = np.array([3 * asset + i for asset in assets for i in range(3)], np.int32)
            time_us = np.full(len(mine), (BEGIN_S + round(self.at_s * 1e6) / 1e6) * S)
            value = np.full(len(mine), self.at_s)
            zeros = np.zeros(len(mine), np.uint32)
            self.live.turn(self.at_s, Columns(mine, time_us.astype(np.int64), value, zeros))
            self.live.pipeline.learning.check_inputs()
            self.at_s += step_s

    @property
    def learning(self) -> Learning:
        (found,) = self.live.pipeline.learning.values()
        return found

    @property
    def obstacles(self) -> dict[str, str]:
        return self.live.pipeline.learning.obstacles()


@pytest.mark.parametrize("step_s", [0.05, 1.0, 180.0, 3600.0, 6 * 3600.0])
def test_the_step_is_found_and_every_value_before_is_learned(
    step_s: float, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says it; no input is left out, and no obstacle is reported."""
    caplog.set_level(logging.INFO)
    fed = Fed()
    fed.sees(8, step_s)
    assert len(fed.live.pipeline.learning) == 0
    fed.sees(292, step_s)
    assert fed.learning.scale.step_s == step_s
    assert fed.learning.scale.is_found
    rows = fed.learning.rows()["P-1"]
    assert len(rows) == pytest.approx(300, abs=2)
    assert np.diff(rows[:, 0]) == pytest.approx(step_s)
    assert rows[0, 0] <= step_s
    (said,) = [r for r in caplog.records if r.message == "time scale of learning"]
    assert vars(said)["step"].endswith("found from the data")
    assert "input left out of learning" not in caplog.messages
    assert fed.obstacles == {}


@pytest.mark.parametrize("step_s", [180.0, 600.0, 3600.0])
def test_rows_are_kept_until_there_are_enough_and_then_a_baseline_is_learned(
    step_s: float,
) -> None:
    """Also where a day has fewer rows than learning needs, however often a day ends."""
    fed = Fed()
    counts = []
    for _ in range(26):
        fed.sees(10, step_s)
        counts.append(fed.learning.trainings[0].choice.complete() if fed.at_s > 40 * step_s else 0)
        if fed.at_s < 255 * step_s:
            assert [
                one for group in fed.live.pipeline.learning.values() for one in group.ready()
            ] == []
    assert (np.diff(counts) >= 0).all()
    (ready,) = fed.learning.ready()
    assert len(ready.rows["P-1"]) >= 256
    assert ready.provisional_s >= 256 * step_s
    assert ready.length == 64


def test_a_step_of_ten_minutes_told_with_a_day_never_throws_rows_away() -> None:
    """`check` refuses it; a daemon that runs with it keeps trying with ever more rows."""
    fed = Fed(step=600.0, duration=86_400.0)
    fed.sees(300, 600.0)
    (ready,) = fed.learning.ready()
    assert len(ready.rows["P-1"]) >= 299
    fed.learning.failed(["P-1"], "too few windows")
    fed.sees(10, 600.0)
    assert len(fed.learning.rows()["P-1"]) >= 309


@pytest.mark.parametrize("told", [{}, {"step": 600.0}, {"step": 600.0, "grace": 60.0}])
def test_inputs_that_come_at_other_times_of_a_long_step_stay(told: dict[str, Any]) -> None:
    """Each in a message of its own, minutes apart: nothing is left out, nothing is an obstacle."""
    fed = Fed(**told)
    for t in np.arange(0, 300 * 600.0, 100.0):
        signal = int(t % 600) // 200
        if t % 200 == 0:
            time_us = np.array([round((BEGIN_S + t) * S)], np.int64)
            one = np.array([signal], np.int32)
            fed.live.turn(t, Columns(one, time_us, np.array([t]), np.zeros(1, np.uint32)))
        else:
            fed.live.turn(t)
        fed.live.pipeline.learning.check_inputs()
        for group in fed.live.pipeline.learning.values():
            assert group.trainings[0].left_out == {}
        assert fed.obstacles == {}
    assert fed.learning.scale.step_s == 600.0
    assert fed.learning.trainings[0].choice.complete() == pytest.approx(300, abs=3)


@dataclass(frozen=True, slots=True)
class Bus:
    """As MQTT, with nothing told."""

    traits = SourceTraits(silence_s=30.0, finds_silence=True)


def test_a_slow_input_is_held_between_its_values_and_learned() -> None:
    """Two inputs each second, one each minute: the row of a second has its last value."""
    fed = Fed(sources={"bus": Bus()})
    for t in np.arange(0.0, 600.0):
        signals = np.array([0, 1, 2] if t % 60 == 0 else [0, 1], np.int32)
        time_us = np.full(len(signals), round((BEGIN_S + t) * S), np.int64)
        value, status = np.full(len(signals), t), np.zeros(len(signals), np.uint32)
        fed.live.turn(t, Columns(signals, time_us, value, status))
        fed.live.pipeline.learning.check_inputs()
    assert fed.learning.scale.step_s == 1.0
    assert fed.learning.trainings[0].left_out == {}
    assert fed.learning.trainings[0].choice.complete() == pytest.approx(600, abs=10)
    rows = fed.learning.rows()["P-1"]
    assert (rows[-1, 2], rows[-1, 0] - rows[-1, 2]) == pytest.approx((540, 55), abs=5)
    assert fed.live.transitions == []


def test_machines_of_one_template_with_unlike_rates_learn_apart() -> None:
    """And like machines together, also if their rates differ slightly."""
    fed = Fed(assets=3)
    for n in range(600):
        assets = (0, 1) if n % 10 else (0, 1, 2)
        fed.sees(1, 1.0, assets=assets)
    groups = fed.live.pipeline.learning
    assert {key: one.scale.step_s for key, one in groups.items()} == {"pump": 1.0, "pump 10s": 10.0}
    assert [asset.id for asset in groups["pump"].assets] == ["P-1", "P-2"]
    assert [asset.id for asset in groups["pump 10s"].assets] == ["P-3"]
    assert list(groups.learning_assets()) == ["pump"]


def test_an_asset_that_is_slow_is_no_obstacle_but_one_that_is_silent_is() -> None:
    fed = Fed()
    fed.sees(1, 180.0)
    fed.live.turn(170.0)
    assert fed.obstacles == {}
    fed.sees(4, 180.0)
    fed.live.turn(fed.at_s)
    assert fed.obstacles == {}
    fed.live.turn(fed.at_s + 1000.0)
    assert fed.obstacles["P-1"].endswith("none of its inputs has values")
    silent = Fed()
    silent.live.turn(10.0)
    assert silent.obstacles == {}
    silent.live.turn(1000.0)
    assert "P-1" in silent.obstacles


def test_an_input_that_never_delivers_does_not_delay_the_step_for_long() -> None:
    """After two minutes it is not waited for; then it is an obstacle like any other."""
    fed = Fed()
    values = np.arange(200.0)
    for t in values:
        time_us = np.array([round((BEGIN_S + t) * S)], np.int64)
        fed.live.turn(
            t, Columns(np.zeros(1, np.int32), time_us, np.array([t]), np.zeros(1, np.uint32))
        )
        fed.live.pipeline.learning.check_inputs()
        if not 120 <= t <= 155:
            assert len(fed.live.pipeline.learning) == (t > 155)
    assert fed.learning.scale.step_s == 1.0
    assert "no value" in fed.obstacles["P-1"]


def test_a_new_config_continues_the_search_and_what_was_found() -> None:
    fed = Fed()
    fed.sees(20, 60.0)
    other = Live(fed.config)
    fed.learns(other)
    other.pipeline.learning.take_over(fed.live.pipeline.learning)
    fed.live = other
    fed.sees(20, 60.0)
    assert fed.learning.scale.step_s == 60.0
    assert len(fed.learning.rows()["P-1"]) >= 38
    third = Live(fed.config)
    fed.learns(third)
    third.pipeline.learning.take_over(other.pipeline.learning)
    (found,) = third.pipeline.learning.values()
    assert len(found.rows()["P-1"]) >= 38
    assert len(third.pipeline.learning.searches) == 0


def test_a_clock_that_moves_moves_the_values_that_are_kept() -> None:
    """The gateway's clock is set an hour forward in the middle of the search."""
    fed = Fed(sources={"bus": plants.Subscribed()})
    fed.sees(15, 10.0)
    search = next(iter(fed.live.pipeline.learning.searches))
    before = search.values().time_us
    search.shift_clock(3600 * S)
    assert (search.values().time_us - before == 3600 * S).all()


def test_what_stands_while_the_step_is_found_is_in_every_row() -> None:
    """A set point that reports only changes, from before learning began."""
    fed = Fed(sources={"bus": plants.Subscribed()})
    live = Live(fed.config)
    time_us = np.full(3, (BEGIN_S - 100) * S, np.int64)
    live.turn(
        0.0, Columns(np.arange(3, dtype=np.int32), time_us, np.full(3, 7.0), np.zeros(3, np.uint32))
    )
    fed.learns(live)
    for t in range(1, 200):
        now_us = np.array([(BEGIN_S + t) * S], np.int64)
        live.turn(
            float(t),
            Columns(np.zeros(1, np.int32), now_us, np.array([float(t)]), np.zeros(1, np.uint32)),
        )
    (found,) = live.pipeline.learning.values()
    assert found.scale.step_s == 1.0
    rows = found.rows()["P-1"]
    assert len(rows) > 190
    assert set(rows[:, 1]) == {7.0}


def test_learning_again_finds_the_step_anew() -> None:
    fed = Fed()
    fed.sees(40, 1.0)
    assert fed.learning.scale.step_s == 1.0
    fed.learns(fed.live)
    fed.sees(40, 60.0)
    steps = [group.scale.step_s for group in fed.live.pipeline.learning.values()]
    assert steps == [1.0, 60.0]
    assert fed.live.pipeline.learning.learning_assets() == {"pump": ["P-1"]}


def test_memory_is_bounded_while_the_step_is_sought() -> None:
    """Ten inputs never deliver, one delivers fast: it is decided when the memory is full."""
    fed = Fed()
    n = 12_000
    time_us = (BEGIN_S * S + np.arange(n) * 1000).astype(np.int64)
    values = Columns(
        np.zeros(n, np.int32), time_us, np.arange(n, dtype=float), np.zeros(n, np.uint32)
    )
    for chunk in values.chunks(1000):
        fed.live.turn(float(chunk.time_us[-1]) / S - BEGIN_S, chunk)
    assert fed.learning.scale.step_s == 0.001
    assert len(fed.live.pipeline.learning.searches) == 0
