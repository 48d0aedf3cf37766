"""Real recordings of bearings go to the shipped model: blocks in, the part that is damaged out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from live_plants import BEGIN_S, Live, of
from plants import S
from support import value_of

from edge_agent.config.schema import Kind, Signal
from edge_agent.config.settings import Runtime
from edge_agent.models.runtime.registry import SessionRegistry
from edge_agent.ops.metrics import Metrics
from edge_agent.values import TensorBlock, columns
from scripts.rigs import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.models.runtime.model import Model

RATE_HZ = 12_000
SPEED = Signal(source="bus", unit="1/min")
ACCELERATION = Signal(source="bus", unit="g", kind=Kind.WAVEFORM, rate_hz=RATE_HZ)
# The numbers of the signals in `of(acceleration=.., speed=..)`.
ACCELERATION_ROW, SPEED_ROW = 0, 1
SECONDS = 9


@pytest.fixture(scope="module")
def model() -> Model:
    return SessionRegistry(ROOT / "models", Runtime(), Metrics()).load("bearing-fault")


def played(model: Model, wave: np.ndarray, rpm: float) -> Live:
    """A plant that has heard the recording, a block a second."""
    live = Live(of("bearing-fault", acceleration=ACCELERATION, speed=SPEED))
    assert live.use(model) == [""]
    for second in range(SECONDS):
        end_us = (BEGIN_S + second) * S
        samples = wave[second * RATE_HZ : (second + 1) * RATE_HZ].astype(np.float32)
        block = TensorBlock(ACCELERATION_ROW, end_us, RATE_HZ, samples)
        live.turn(second, columns([SPEED_ROW], [end_us], [rpm]), [block])
    return live


@pytest.mark.parametrize(
    ("recording", "part"),
    [
        ("b_014_load0", "bearing_ball"),
        ("ir_021_load2", "bearing_inner_race"),
        ("or_007_6_load1", "bearing_outer_race"),
        ("or_014_load3", "bearing_outer_race"),
    ],
)
def test_a_damaged_bearing_raises_one_alarm_that_names_the_part(
    data_dir: Path, model: Model, recording: str, part: str
) -> None:
    with np.load(data_dir / "cwru" / f"{recording}.npz") as archive:
        live = played(model, archive["drive_end"].ravel(), float(archive["rpm"]))
    assert live.told() == [("raise", "fault")]
    detail = live.transitions[0].alarm.detail
    assert detail is not None
    assert detail.failure_mode == part
    assert {each.input for each in detail.contributors} == {"speed", "acceleration"}


def test_a_healthy_bearing_is_left_alone(data_dir: Path, model: Model) -> None:
    """Its second half, which the model was not taught."""
    with np.load(data_dir / "cwru" / "normal_000_load0.npz") as archive:
        wave = archive["drive_end"].ravel()
        live = played(model, wave[len(wave) // 2 :], float(archive["rpm"]))
    assert live.told() == []
    assert value_of(live.metrics.windows.labels("bearing-fault", "scored")) >= 5


def test_loudness_and_an_offset_of_the_sensor_change_nothing(data_dir: Path, model: Model) -> None:
    """Another sensor, another gain: the class is the same."""
    with np.load(data_dir / "cwru" / "ir_014_load1.npz") as archive:
        wave = 0.01 * archive["drive_end"].ravel() + 3
        live = played(model, wave, float(archive["rpm"]))
    (raised,) = live.transitions
    assert raised.alarm.detail is not None
    assert raised.alarm.detail.failure_mode == "bearing_inner_race"
