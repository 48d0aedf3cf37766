"""Clocks that jump, services that come back, signals that take their quality back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import plants
import pytest
from live_plants import BEGIN_S, Live, of
from plants import S

from edge_agent.config.schema import (
    AlarmRule,
    Asset,
    Kind,
    LearnedAlarm,
    ModelUse,
    Signal,
    Template,
)
from edge_agent.config.settings import Runtime
from edge_agent.config.types import Duration, Name
from edge_agent.learning.fit import Recipe, learn
from edge_agent.models.bundle.manifest import InputSpec
from edge_agent.models.runtime.registry import SessionRegistry
from edge_agent.ops.metrics import Metrics
from edge_agent.signals.episodes import Problem
from edge_agent.values import BAD, columns

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.models.runtime.model import Model

NAN = float("nan")
FLOW = Signal(source="bus")


def model(folder: Path | None = None) -> Model:
    return SessionRegistry(folder or plants.models(), Runtime(), Metrics()).load("base")


def write(folder: Path, *assets: str, length: int = 32, version: int = 0) -> Model:
    rows = plants.healthy(plants.HEALTHY_ROWS, seed=1).astype(np.float32)
    specs = tuple(InputSpec(name) for name in plants.INPUTS)
    recipe = Recipe("base", specs, length=length, false_alarms_per_day=1.0)
    wanted = {asset: rows + 100 * number for number, asset in enumerate(assets)}
    learn(wanted, recipe, now_us=version * S).write(folder / str(version) / "base")
    return model(folder / str(version))


def test_quality_that_is_taken_back_counts_although_the_time_stamp_stays() -> None:
    """Many OPC UA servers say Bad with the source time of the last good value."""
    live = Live(of(flow=FLOW))
    live.turn(0, columns([0], [BEGIN_S * S], [1.0]))
    live.turn(1, columns([0], [BEGIN_S * S], [NAN], BAD))
    assert live.told() == [("raise", "sensor_bad")]


def test_a_model_does_not_go_on_with_a_value_whose_quality_was_taken_back() -> None:
    live = Live(plants.config())
    live.use(model())
    rows = plants.healthy(60, seed=3)
    for t in range(60):
        live.turn(t, plants.values(rows[t : t + 1], start_s=BEGIN_S + t))
    flow_bad = columns([0], [(BEGIN_S + 59) * S], [NAN], BAD)
    live.turn(59.5, flow_bad)
    others = [
        columns([1, 2], [(BEGIN_S + t) * S] * 2, rows[t - 60, 1:].tolist()) for t in range(60, 80)
    ]
    assert sum(live.turn(t, values).windows for t, values in enumerate(others, 60)) == 0


@pytest.mark.parametrize("off_delay", [0.0, 30.0])
def test_a_quality_alarm_that_a_restart_found_raised_clears_when_its_sensor_is_well(
    off_delay: float,
) -> None:
    rule = AlarmRule(off_delay=Duration(off_delay))
    made = plants.config(templates={"pump": Template({Name("flow"): FLOW}, quality_alarm=rule)})
    before = Live(made)
    before.turn(0, columns([0], [BEGIN_S * S], [NAN], BAD))
    after = Live(made, [t.alarm for t in before.transitions])
    after.pipeline.follow_alarms(BEGIN_S * S)
    for t in range(60):
        after.turn(t, columns([0], [(BEGIN_S + t) * S], [float(t)]))
    assert after.told() == [("clear", "sensor_bad")]


@pytest.mark.parametrize("off_delay", [0.0, 30.0])
def test_a_restart_does_not_clear_the_alarm_of_a_sensor_that_stays_silent(
    off_delay: float,
) -> None:
    rule = AlarmRule(off_delay=Duration(off_delay))
    made = plants.config(templates={"pump": Template({Name("flow"): FLOW}, quality_alarm=rule)})
    before = Live(made)
    before.turn(0)
    before.turn(10)
    assert before.told() == [("raise", "sensor_stale")]
    after = Live(made, [t.alarm for t in before.transitions])
    after.pipeline.follow_alarms(BEGIN_S * S)
    for t in range(100):
        after.turn(t)
    assert after.told() == []


def test_a_clock_of_a_source_that_is_set_back_costs_seconds_not_the_step() -> None:
    live = Live(plants.config())
    live.use(model())
    rows = plants.healthy(600, seed=3)
    windows = []
    for t in range(300):
        at_s = BEGIN_S + t - (0 if t < 100 else 900)
        windows.append(live.turn(t, plants.values(rows[t : t + 1], start_s=at_s)).windows)
    first = next(t for t in range(101, 300) if windows[t])
    assert 100 + 10 <= first <= 100 + 10 + 32 + 2
    assert live.told() == []
    assert live.pipeline.watch.problem_of(0) is Problem.NONE


def test_a_device_that_delivers_what_it_had_kept_does_not_set_the_clock_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Old values among new ones, for as long as they like."""
    live = Live(of(flow=FLOW, pressure=FLOW))
    for t in range(200):
        live.turn(t, columns([0, 1], [(BEGIN_S + t) * S, (BEGIN_S + t - 90) * S], [1.0, 1.0]))
    assert live.pipeline.watch.time_us[0] == (BEGIN_S + 199) * S
    assert live.pipeline.signals.time.now_us(199)[0] == (BEGIN_S + 199) * S
    assert caplog.messages == []


def test_a_number_that_no_model_can_hold_is_out_of_range() -> None:
    live = Live(of(flow=FLOW))
    live.turn(0, columns([0], [BEGIN_S * S], [1e39]))
    assert live.told() == [("raise", "sensor_out_of_range")]


def test_an_alarm_clears_though_its_model_was_exchanged_meanwhile(tmp_path: Path) -> None:
    """For one with other windows, which takes over once they are full."""
    live = Live(plants.config())
    live.use(model())
    live.turn(0, plants.values(plants.fault()))
    raised = live.told()
    old = next(iter(live.pipeline.deployments))
    live.pipeline.deployments.replace_version(write(tmp_path, "any", length=16))
    live.turn(300, plants.values(plants.fault(200, 0)[:30], start_s=BEGIN_S + 300))
    live.turn(330, plants.values(plants.healthy(200, seed=4), start_s=BEGIN_S + 330))
    assert old not in live.pipeline.deployments
    assert raised == [("raise", "anomaly")]
    assert live.told()[-1] == ("clear", "anomaly")


def test_an_alarm_clears_though_its_model_came_after_it() -> None:
    """As when a baseline is learned anew after a restart."""
    before = Live(plants.config())
    before.use(model())
    before.turn(0, plants.values(plants.fault()))
    after = Live(plants.config(), [t.alarm for t in before.transitions])
    after.pipeline.follow_alarms(BEGIN_S * S)
    after.use(model())
    after.turn(1, plants.values(plants.healthy(200, seed=4)))
    assert after.told() == [("clear", "anomaly")]


def test_an_asset_is_never_judged_by_the_baseline_of_another(tmp_path: Path) -> None:
    """A bundle learned anew may know fewer assets."""
    assets = {"A": Asset(Name("pump")), "B": Asset(Name("pump"))}
    old, new = write(tmp_path, "A", "B"), write(tmp_path, "A", version=1)
    live = Live(plants.config(assets=assets))
    assert live.use(old) == ["", ""]
    assert live.pipeline.deployments.replace_version(new) == {
        "B": "model base was not learned for this asset"
    }
    rows = np.concatenate([plants.healthy(60, seed=4)] * 2, axis=1)
    judged = []
    for start_s in (1000, 1060):
        due = live.pipeline.close_windows(plants.values(rows, start_s=start_s), now_us=2000 * S)
        scored = live.pipeline.score_windows(due)
        assets_of = {one.deployment.assets[row].id for one in scored for row in one.row}
        judged.append((scored[0].deployment.model, assets_of))
    assert judged == [(old, {"A", "B"}), (new, {"A"})]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"inputs": {"flow": "speed"}}, "no signal for input flow"),
        ({"inputs": {"flow": "pressure"}}, "one signal for several inputs"),
        ({"inputs": {"flow": "sound"}}, "has the wrong kind"),
    ],
)
def test_signals_that_do_not_fit_are_told(changes: dict[str, Any], reason: str) -> None:
    signals = dict.fromkeys(plants.INPUTS, FLOW)
    signals["sound"] = Signal(source="bus", kind=Kind.WAVEFORM)
    live = Live(of(**signals))
    (told,) = live.use(model(), **changes)
    assert reason in told
    assert [one.assets for one in live.pipeline.deployments] == [[]]


def test_rules_of_models_that_were_learned_by_hand_survive_a_reload() -> None:
    """Their template has no `learn:` of its own."""
    made = plants.config()
    live = Live(made)
    live.pipeline.deployments.add_model(model())
    live.pipeline.use_model(live.plant.assets["any"], ModelUse(Name("base")), "baseline")
    live.pipeline.adopt_rules(made)
    (deployment,) = live.pipeline.deployments
    assert deployment.use.alarm == LearnedAlarm()


def subscribed() -> Live:
    """A pump whose source reports only what changes: its last input never does."""
    return Live(plants.config(sources={"bus": plants.Subscribed()}))


def feed(live: Live, begin: int, end: int) -> int:
    """All inputs once, then all but the last, which stands still; gives the windows scored."""
    rows = plants.healthy(end, seed=3)
    windows = 0
    for t in range(begin, end):
        inputs = [0, 1, 2] if t == 0 else [0, 1]
        times = [(BEGIN_S + t) * S] * len(inputs)
        windows += live.turn(t, columns(inputs, times, rows[t, : len(inputs)].tolist())).windows
    return windows


def test_a_model_that_comes_later_knows_what_stands_still() -> None:
    """A set point that nobody touches is not sent again because a model begins to listen."""
    live = subscribed()
    feed(live, 0, 40)
    assert live.use(model()) == [""]
    assert feed(live, 40, 100) > 20


def test_a_model_that_comes_later_does_not_take_what_is_bad_for_standing() -> None:
    live = subscribed()
    feed(live, 0, 40)
    live.turn(40, columns([2], [(BEGIN_S + 40) * S], [NAN], BAD))
    assert live.use(model()) == [""]
    assert feed(live, 41, 100) == 0
