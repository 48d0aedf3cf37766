"""The speed from the pulses of a tacho: any form of pulse, and nothing made up from noise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from live_plants import BEGIN_S, Live, of
from plants import S

from edge_agent.config.bearing import Bearing
from edge_agent.config.schema import Kind, Learn, Signal
from edge_agent.config.types import Duration
from edge_agent.signals.tacho import pulse_rate_hz
from edge_agent.values import BAD, TensorBlock

RATE_HZ = 12_000.0


def pulses(hz: float, n: int, form: str, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    phase = (np.arange(n) / RATE_HZ * hz + random.random()) % 1
    wave = {
        "narrow": np.where(phase < 0.05, 5.0, 0.0),
        "square": np.where(phase < 0.5, 24.0, 0.0),
        "negative": np.where(phase < 0.1, -10.0, 0.0),
        "sine": np.sin(2 * np.pi * phase),
    }[form]
    return np.asarray(wave + random.normal(0, 0.02 * np.ptp(wave), n), np.float32)


@given(
    hz=st.floats(6, 400),
    form=st.sampled_from(["narrow", "square", "negative", "sine"]),
    seed=st.integers(0, 100),
)
def test_the_rate_of_pulses_of_any_form(hz: float, form: str, seed: int) -> None:
    """Half a second at 12 kHz: within the half percent that orders need.

    But for few periods of a sine, whose crossings move by noise / (2 pi amplitude) of a period.
    """
    samples = 6000
    found = pulse_rate_hz(pulses(hz, samples, form, seed), RATE_HZ)
    moved = 0.04 / (2 * np.pi) if form == "sine" else 0.0
    five_sigmas = 5 * np.sqrt(2) * moved / (hz * samples / RATE_HZ)
    assert found == pytest.approx(hz, rel=max(5e-3, five_sigmas))


@pytest.mark.parametrize("case", ["noise", "constant", "nan", "one pulse", "empty of pulses"])
def test_without_pulses_there_is_no_speed(case: str) -> None:
    random = np.random.default_rng(1)
    wave = {
        "noise": random.standard_normal(4096),
        "constant": np.full(4096, 3.0),
        "nan": np.full(4096, np.nan),
        "one pulse": (np.arange(4096) // 100 == 20).astype(float),
        "empty of pulses": 0.01 * random.standard_normal(4096) + 5,
    }[case]
    assert pulse_rate_hz(wave.astype(np.float32), RATE_HZ) == 0.0


def test_a_tacho_is_the_speed_of_its_machine_and_no_waveform_that_is_learned() -> None:
    """Two pulses for each turn; its value, also on the page, is in 1/min."""
    wave = Signal(source="bus", kind=Kind.WAVEFORM, rate_hz=RATE_HZ)
    tacho = replace(wave, unit="1/min", pulses_per_turn=2.0)
    live = Live(of(vibration=wave, tacho=tacho))
    (asset,) = live.plant.assets.values()
    asset.bearing = Bearing(model="6205", speed="tacho")
    rule = Learn(duration=Duration(60), first_after=Duration(0))
    assert live.pipeline.waves.learn_asset(asset, rule) == ""
    (learning,) = live.pipeline.waves.values()
    assert learning.inputs == ("vibration",)
    random = np.random.default_rng(0)
    for second in range(20):
        end_us = (BEGIN_S + second) * S
        noise = random.standard_normal(4096).astype(np.float32)
        blocks = [
            TensorBlock(0, end_us, RATE_HZ, noise),
            TensorBlock(1, end_us, RATE_HZ, pulses(50, 4096, "narrow"), BAD * (second > 15)),
        ]
        live.turn(second, blocks=blocks)
    (one,) = learning.trainings
    assert one.recipe is not None
    assert one.recipe.speed_hz == pytest.approx(1 / 60)
    speeds = one.rows.all(one.recipe.places[-1] + 1)[:, -1]
    assert len(speeds) >= 14
    assert np.allclose(speeds, 1500, rtol=5e-3)
    assert one.lacks == "no value of tacho"
