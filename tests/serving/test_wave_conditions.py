"""A learned baseline of waveforms at varying speed, live: what is judged, and what is not."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from live_plants import BEGIN_S, NOTHING, Live, of
from plants import S
from rotating import RATE_HZ, machine, speeds
from support import value_of

from edge_agent.config.bearing import Bearing
from edge_agent.config.schema import Kind, Learn, Signal
from edge_agent.config.settings import Runtime
from edge_agent.config.types import Duration
from edge_agent.learning.waveform_fit import learn_waves
from edge_agent.models.runtime.registry import SessionRegistry
from edge_agent.ops.metrics import Metrics
from edge_agent.values import BAD, TensorBlock, columns

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.config.schema import Config
    from edge_agent.models.runtime.model import Model
    from edge_agent.values import Columns

WAVE_ROW, SPEED_ROW = 0, 1
WAVE = Signal(source="bus", unit="g", kind=Kind.WAVEFORM, rate_hz=RATE_HZ)
SPEED = Signal(source="bus", unit="1/min", stale_after=Duration(30))
N = 200
NOT_LEARNED = "waveforms are not judged: rpm is "


def plant() -> Config:
    config = of("waves", vibration=WAVE, rpm=SPEED)
    ((name, template),) = config.templates.items()
    bearing = Bearing(model="6205", speed="rpm")
    return replace(config, templates={name: replace(template, bearing=bearing)})


def block(at_s: float, wave: np.ndarray) -> TensorBlock:
    return TensorBlock(WAVE_ROW, round((BEGIN_S + at_s) * S), RATE_HZ, wave)


def speed(at_s: float, rpm: float, status: int = 0) -> Columns:
    return columns([SPEED_ROW], [round((BEGIN_S + at_s) * S)], [rpm], [status])


def learned_live() -> Live:
    """A speed each second, a block in the middle of it."""
    live = Live(plant())
    rule = Learn(duration=Duration(60), first_after=Duration(0))
    for asset in live.plant.assets.values():
        assert live.pipeline.waves.learn_asset(asset, rule) == ""
    rpm = speeds(N, 1)
    between = (rpm[1:] + rpm[:-1]) / 2
    for second, wave in enumerate(machine(between, 2)):
        live.turn(second, speed(second, rpm[second]))
        live.turn(second + 0.7, blocks=[block(second + 0.67, wave)])
    return live


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """What the daemon would learn of its live data."""
    (learning,) = learned_live().pipeline.waves.values()
    (training,) = learning.ready()
    folder: Path = tmp_path_factory.mktemp("models")
    recipe = replace(training.recipe, name="waves", step_s=training.step_s)
    learn_waves(training.rows, recipe, now_us=0).write(folder / "waves")
    return SessionRegistry(folder, Runtime(), Metrics()).load("waves")


def windows(live: Live, outcome: str) -> float:
    return value_of(live.metrics.windows.labels("waves", outcome))


def test_windows_are_learned_with_the_speed_of_their_middle(model: Model) -> None:
    """The speed comes each second: between two of them it is interpolated."""
    (learning,) = learned_live().pipeline.waves.values()
    (training,) = learning.ready()
    rpm = speeds(N, 1)
    known = training.rows["any"][:, -1]
    assert len(known) >= N - 4
    assert np.allclose(known[10:50], rpm[10:50] + 0.5 * np.diff(rpm)[10:50], atol=3)
    assert [spec.name for spec in model.manifest.inputs] == ["rpm", "vibration"]


def test_a_healthy_machine_at_any_speed_raises_nothing_and_a_damaged_one_an_alarm(
    model: Model,
) -> None:
    live = Live(plant())
    assert live.use(model) == [""]
    rpm = speeds(60, 3)
    for second, wave in enumerate(machine(rpm, 4)):
        live.turn(second, speed(second, rpm[second]), [block(second, wave)])
    assert live.told() == []
    assert windows(live, "scored") >= 55
    assert live.pipeline.deployments.reports.unjudged() == {}
    for second, wave in enumerate(machine(rpm, 5, fault=1.0), 60):
        live.turn(second, speed(second, rpm[second - 60]), [block(second, wave)])
    assert live.told()[0] == ("raise", "anomaly")
    detail = live.transitions[0].alarm.detail
    assert detail is not None
    assert detail.contributors[0].unit == "g"


@pytest.mark.parametrize(
    "told",
    [
        pytest.param(lambda _: NOTHING, id="missing"),
        pytest.param(lambda t: speed(t, 0.0), id="stands"),
        pytest.param(lambda t: speed(t, 400.0), id="slower than ever"),
        pytest.param(lambda t: speed(t, 3600.0), id="faster than ever"),
        pytest.param(lambda t: speed(t, 1500.0, BAD), id="bad"),
        pytest.param(lambda t: speed(0, 1500.0) if t == 0 else NOTHING, id="stale"),
    ],
)
def test_without_a_usable_speed_nothing_is_judged(model: Model, told: object) -> None:
    """Neither an alarm nor a score: a lost speed is told as the signal's own trouble."""
    assert callable(told)
    live = Live(plant())
    live.use(model)
    start = 40 if told(1) is NOTHING else 0
    live.turn(0, told(0))
    for second, wave in enumerate(machine(np.full(20, 1500.0), 4, fault=1.0), start):
        live.turn(second, told(second), [block(second, wave)])
    live.turn(start + 60)
    assert live.told() == [] or all(key != "anomaly" for _, key in live.told())
    assert windows(live, "scored") == 0
    assert windows(live, "skipped_quality") == 20
    note = live.pipeline.deployments.reports.unjudged()["any"]
    assert note.startswith(("waveforms are not judged: no value of rpm", NOT_LEARNED))


def test_a_speed_that_is_reported_on_change_only_is_waited_for_a_moment(model: Model) -> None:
    """`lateness` after the block the last value counts; the score is not lost."""
    live = Live(plant())
    live.use(model, lateness=Duration(2))
    live.turn(0, speed(0, 1500.0))
    live.turn(1, blocks=[block(1, machine(np.full(1, 1500.0), 4)[0])])
    assert windows(live, "scored") == 0
    live.turn(4)
    assert windows(live, "scored") == 1


def test_an_asset_that_learns_again_is_not_judged_by_what_is_void(model: Model) -> None:
    live = Live(plant())
    live.use(model)
    live.pipeline.deployments.disable(live.plant.assets["any"], "waves")
    for second, wave in enumerate(machine(np.full(5, 1500.0), 4)):
        live.turn(second, speed(second, 1500.0), [block(second, wave)])
    live.turn(60)
    assert windows(live, "scored") == 0


def test_a_speed_that_never_comes_is_told_while_learning() -> None:
    live = Live(plant())
    rule = Learn(duration=Duration(60), first_after=Duration(0))
    for asset in live.plant.assets.values():
        live.pipeline.waves.learn_asset(asset, rule)
    for second, wave in enumerate(machine(np.full(20, 1500.0), 4)):
        live.turn(second, blocks=[block(second, wave)])
    assert live.pipeline.waves.obstacles() == {"any": "no value of rpm"}
