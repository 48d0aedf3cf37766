"""Waveforms that learn: how windows are decided, when they are enough, what comes of them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import numpy as np
import plants
import pytest
from live_plants import BEGIN_S, Live, of
from plants import S

from edge_agent.alarms import BASELINE, WAVEFORMS
from edge_agent.config.bearing import Bearing
from edge_agent.config.schema import Kind, Learn, LearnedAlarm, Signal, Template
from edge_agent.config.types import Duration, Name
from edge_agent.values import BAD, TensorBlock, columns

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.config.schema import Config
    from edge_agent.daemon.replay import Replay
    from edge_agent.learning import WaveLearning, WaveTraining
    from edge_agent.messages import Transition

RATE_HZ = 2000.0
WAVE = Signal(source="bus", kind=Kind.WAVEFORM, rate_hz=RATE_HZ)
RANDOM = np.random.default_rng(0)


def learning(live: Live, **changes: Any) -> WaveLearning:
    rule = Learn(**{"duration": Duration(60), "first_after": Duration(0), **changes})
    for asset in live.plant.assets.values():
        assert live.pipeline.waves.learn_asset(asset, rule) == ""
    (found,) = live.pipeline.waves.values()
    return found


def feed(
    live: Live, n: int, *, every_s: float, size: int, begin_s: float = 0.0, **more: Any
) -> None:
    """n blocks of noise of each signal, `every_s` apart."""
    for k in range(n):
        end_us = round((BEGIN_S + begin_s + k * every_s) * S)
        blocks = [
            TensorBlock(signal, end_us, RATE_HZ, RANDOM.standard_normal(size).astype("f4"), **more)
            for signal in range(len(live.plant.signals))
        ]
        live.turn(begin_s + k * every_s, blocks=blocks)


def only(found: WaveLearning) -> WaveTraining:
    (one,) = found.trainings
    return one


@pytest.mark.parametrize(
    ("size", "every_s", "length"),
    [(500, 0.25, 1024), (5000, 600.0, 1024), (700, 600.0, 512), (300, 1.0, 256)],
)
def test_a_window_is_as_long_as_the_blocks_allow(size: int, every_s: float, length: int) -> None:
    """Blocks that follow each other are joined."""
    live = Live(of(vibration=WAVE))
    one = only(learning(live))
    feed(live, 8, every_s=every_s, size=size)
    assert one.recipe is not None
    assert [spec.length for spec in one.recipe.inputs] == [length]
    assert one.n > 0


def test_blocks_that_are_too_short_are_told() -> None:
    live = Live(of(vibration=WAVE))
    one = only(learning(live))
    feed(live, 8, every_s=1.0, size=100)
    assert one.failure == "blocks of vibration are too short: 256 samples are needed"


def test_the_time_of_rare_blocks_is_the_time_between_them_and_a_stop_is_none() -> None:
    live = Live(of(vibration=WAVE))
    one = only(learning(live))
    feed(live, 50, every_s=600.0, size=1024)
    assert one.seconds == pytest.approx(49 * 600, rel=0.05)
    feed(live, 10, every_s=600.0, size=1024, begin_s=500_000)
    assert one.seconds < 62 * 600 + 1200


def test_a_baseline_is_wanted_after_the_time_and_not_before() -> None:
    """48 windows at least; provisional ones when the config wants them."""
    live = Live(of(vibration=WAVE))
    found = learning(live, duration=Duration(100 * 600), first_after=Duration(900))
    feed(live, 40, every_s=600.0, size=1024)
    assert found.ready() == []
    feed(live, 10, every_s=600.0, size=1024, begin_s=40 * 600)
    (provisional,) = found.ready()
    assert provisional.provisional_s == pytest.approx(50 * 600, rel=0.05)
    assert provisional.step_s == pytest.approx(600, rel=0.05)
    found.learned(["any"])
    assert found.ready() == []
    feed(live, 60, every_s=600.0, size=1024, begin_s=50 * 600)
    (full,) = found.ready()
    assert full.provisional_s == 0
    found.learned(["any"])
    assert only(found).is_done


def test_bad_blocks_are_not_learned() -> None:
    live = Live(of(vibration=WAVE))
    one = only(learning(live))
    feed(live, 5, every_s=1.0, size=1024)
    n = one.n
    feed(live, 5, every_s=1.0, size=1024, begin_s=5, status=BAD)
    assert one.n == n > 0


def test_windows_before_an_alarm_are_taken_back() -> None:
    live = Live(of(vibration=WAVE))
    found = learning(live)
    one = only(found)
    feed(live, 20, every_s=1.0, size=1024)
    n, seconds = one.n, one.seconds
    found.alarm("any", "why", (BEGIN_S + 15) * S)
    assert n - one.n == 5
    assert one.seconds < seconds
    feed(live, 5, every_s=1.0, size=1024, begin_s=20)
    assert one.n == n - 5
    assert found.ready() == []
    found.alarm("any", "")
    feed(live, 5, every_s=1.0, size=1024, begin_s=25)
    assert one.n == n


def test_the_bearing_of_an_asset_adds_its_defect_frequencies() -> None:
    live = Live(of(vibration=WAVE))
    (asset,) = live.plant.assets.values()
    asset.bearing = Bearing(model="6205", rpm=1500)
    one = only(learning(live))
    feed(live, 5, every_s=1.0, size=1024)
    assert one.recipe is not None
    lines = dict(one.recipe.lines)
    assert lines["outer race"] == pytest.approx(3.585 * 25, rel=1e-3)
    assert "vibration: 2 x inner race" in one.recipe.features


@pytest.mark.parametrize("same", [True, False])
def test_a_new_config_continues_unless_the_bearing_is_another(same: bool) -> None:  # noqa: FBT001
    """Features at other defect frequencies are not those of the old ones."""
    live, later = Live(of(vibration=WAVE)), Live(of(vibration=WAVE))
    for each, model in ((live, "6205"), (later, "6205" if same else "6206")):
        (asset,) = each.plant.assets.values()
        asset.bearing = Bearing(model=model, rpm=1500)
    old, new = learning(live), learning(later)
    feed(live, 20, every_s=1.0, size=1024)
    new.adopt_rows(old)
    assert (only(new).n > 0) is same


def test_windows_of_a_stopped_machine_are_not_learned() -> None:
    from edge_agent.config.conditions import parse_condition  # noqa: PLC0415

    live = Live(of(vibration=WAVE))
    one = only(learning(live, when=parse_condition("vibration > 5")))  # its RMS
    feed(live, 10, every_s=1.0, size=1024)
    assert one.n == 0


def test_a_day_is_kept_in_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_agent.learning.waveform_progress._MAX_BLOCKS", 2)
    live = Live(of(vibration=WAVE))
    one = only(learning(live))
    feed(live, 1400, every_s=1.0, size=256)
    assert len(one.rows.blocks) <= 2
    assert one.n > 1200


def _plant_config(folder: Path) -> Config:
    """Numbers and a waveform; both are learned by themselves."""
    rule = Learn(
        auto=True,
        duration=Duration(300),
        first_after=Duration(0),
        length=16,
        step=Duration(1),
        alarm=LearnedAlarm(on_delay=Duration(0)),
    )
    signals = {Name(name): Signal(source="bus") for name in plants.INPUTS}
    template = Template({**signals, Name("vibration"): WAVE}, learn=rule)
    return plants.config(templates={"pump": template}, models_dir=folder)


def test_the_daemon_learns_waveforms_beside_numbers_and_raises_their_own_alarm(
    tmp_path: Path,
) -> None:
    """Two bundles of one asset: neither replaces the other, also after a restart."""
    replay = plants.prepared(_plant_config(tmp_path))
    pipeline, models = replay.runtime.pipeline, replay.runtime.models
    healthy = plants.healthy(310, seed=1)
    for second, row in enumerate(healthy):
        _turn(replay, row, second, fault=False)
    asyncio.run(models.learn_what_is_ready())
    assert {one.use_name for one in pipeline.deployments} == {BASELINE, WAVEFORMS}
    assert models.without == {}
    assert pipeline.deployments.baselines.provisional() == {}
    assert all(one.is_done for each in pipeline.waves.values() for one in each.trainings)
    replay.close()

    again = plants.prepared(_plant_config(tmp_path))
    assert {one.use_name for one in again.runtime.pipeline.deployments} == {BASELINE, WAVEFORMS}
    assert not again.runtime.pipeline.waves.learning_assets()
    found = []
    for second in range(30):
        found += _turn(again, healthy[second], 310 + second, fault=second >= 20)
    raised = [one.alarm.alarm_id for one in found if one.kind == "raise"]
    assert raised == ["any.waveforms"]
    detail = next(one.alarm.detail for one in found if one.kind == "raise")
    assert detail is not None
    first = detail.contributors[0]
    assert first.input.startswith("vibration (")
    asset = again.runtime.plant.assets["any"]
    assert again.runtime.models.forget(asset, (BEGIN_S + 400) * S) == ""
    assert again.runtime.pipeline.waves.learning_assets()
    again.close()


def test_the_daemon_learns_waveforms_given_the_speed(tmp_path: Path) -> None:
    """`learn: auto`, a fan whose level follows its speed: a level that is wrong for it is found."""
    rule = Learn(
        auto=True,
        duration=Duration(150),
        first_after=Duration(0),
        step=Duration(1),
        alarm=LearnedAlarm(on_delay=Duration(0)),
    )
    signals = {Name("vibration"): WAVE, Name("rpm"): Signal(source="bus", unit="1/min")}
    template = Template(signals, learn=rule, bearing=Bearing(model="6205", speed="rpm"))
    replay = plants.prepared(plants.config(templates={"pump": template}, models_dir=tmp_path))
    pipeline = replay.runtime.pipeline
    speeds = 1500 + 500 * np.sin(np.arange(400) / 9)
    found = []
    for second, rpm in enumerate(speeds.tolist()):
        if second == 170:
            asyncio.run(replay.runtime.models.learn_what_is_ready())
        wrong = 1.5 if second >= 350 else 1.0
        samples = RANDOM.standard_normal(2000).astype(np.float32) * np.float32((rpm / 1500) ** 2)
        at_us = (BEGIN_S + second) * S
        values = columns([1], [at_us], [rpm])
        due = pipeline.close_windows(values, [TensorBlock(0, at_us, RATE_HZ, wrong * samples)])
        found += pipeline.update_alarms(pipeline.score_windows(due)).transitions
    waves = next(one for one in pipeline.deployments if one.use_name == WAVEFORMS)
    assert [spec.name for spec in waves.model.manifest.inputs] == ["rpm", "vibration"]
    assert waves.model.manifest.calibration["judged_given"] == "any: rpm"
    raised = [one for one in found if one.kind == "raise" and one.alarm.alarm_id == "any.waveforms"]
    assert raised
    assert min(one.at_us for one in raised) > (BEGIN_S + 349) * S
    replay.close()


def test_an_operator_calls_a_louder_machine_healthy(tmp_path: Path) -> None:
    """Its waveform baseline moves at once, and its alarm clears by its own rule."""
    replay = plants.prepared(_plant_config(tmp_path))
    healthy = plants.healthy(310, seed=1)
    for second, row in enumerate(healthy):
        _turn(replay, row, second, fault=False)
    asyncio.run(replay.runtime.models.learn_what_is_ready())
    for second in range(40):
        _turn(replay, healthy[second], 310 + second, fault=True)
    deployments = replay.runtime.pipeline.deployments
    waves = next(one for one in deployments if one.use_name == WAVEFORMS)
    assert waves.score[0] > 1
    assert len(deployments.recentre("any", BEGIN_S * S)) == 2
    found = []
    for second in range(60):
        found += _turn(replay, healthy[second], 350 + second, fault=True)
    assert waves.score[0] < 1
    assert "any.waveforms" in [one.alarm.alarm_id for one in found if one.kind == "clear"]
    assert {each.input for each in deployments.followed("any")} >= {"vibration"}
    replay.close()


def test_windows_are_learned_after_an_operator_calls_the_machine_healthy() -> None:
    """The alarm of a provisional baseline stops learning, and the operator starts it again."""
    live = Live(of(vibration=WAVE))
    found = learning(live)
    one = only(found)
    feed(live, 20, every_s=1.0, size=1024)
    found.alarm("any", "why")
    n = one.n
    found.confirm_healthy("any")
    found.alarm("any", "why")  # it still stands
    feed(live, 10, every_s=1.0, size=1024, begin_s=20)
    assert one.n == n + 10
    feed(live, 80, every_s=1.0, size=1024, begin_s=30)
    found.alarm("any", "why")
    assert one.closed


def _turn(replay: Replay, row: np.ndarray, second: int, *, fault: bool) -> list[Transition]:
    """A second of numbers and of samples; the fault doubles the samples of the waveform."""
    pipeline = replay.runtime.pipeline
    values = plants.values(row[None], start_s=BEGIN_S + second)
    signal = replay.runtime.plant.assets["any"].signals["vibration"].index
    samples = RANDOM.standard_normal(2000).astype(np.float32) * (2.0 if fault else 1.0)
    block = TensorBlock(signal, (BEGIN_S + second) * S, RATE_HZ, samples)
    due = pipeline.close_windows(values, [block])
    return pipeline.update_alarms(pipeline.score_windows(due)).transitions
