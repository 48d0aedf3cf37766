"""Machines at varying speed and load: orders find what frequencies do not; loads raise nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rotating import LENGTH, OUTER, RATE_HZ, machine, speeds

from edge_agent.config.schema import Kind, Resample
from edge_agent.errors import ModelError
from edge_agent.learning.waveform import defect_lines, lines_at_orders, order_ranges
from edge_agent.learning.waveform_bundle import WaveRecipe
from edge_agent.learning.waveform_fit import learn_waves
from edge_agent.models.bundle.manifest import InputSpec

SPEED = InputSpec("speed", "1/min", resample=Resample.MEAN)
LOAD = InputSpec("load", "%")
WAVE = InputSpec("vibration", "g", kind=Kind.WAVEFORM, rate_hz=RATE_HZ, length=LENGTH)


def recipe_of(*conditions: InputSpec, orders: bool = True, rpm: float = 0.0) -> WaveRecipe:
    known = {"outer race": OUTER}
    return WaveRecipe(
        "waves",
        (WAVE,),
        1.0,
        lines=defect_lines(known, rpm / 60) if rpm else (),
        orders=order_ranges(known) if orders else (),
        conditions=conditions,
        speed_hz=1 / 60 if orders else 0.0,
    )


def rows(recipe: WaveRecipe, waves: np.ndarray, conditions: np.ndarray) -> np.ndarray:
    return np.concatenate([recipe.measure([waves], conditions), conditions], axis=1)


class Judge:
    """A baseline of healthy windows, and its scores."""

    def __init__(self, recipe: WaveRecipe, waves: np.ndarray, conditions: np.ndarray) -> None:
        data = rows(recipe, waves, conditions)
        self.learned = learn_waves({"P": data}, recipe, now_us=0)
        self.manifest = self.learned.manifest
        self.session = onnxruntime.InferenceSession(self.learned.onnx_bytes)
        names = [spec.name for spec in recipe.conditions]
        self.used = [names.index(spec.name) for spec in self.manifest.scalars]

    def run(self, waves: np.ndarray, conditions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Scores [n] and contributions [n, F]."""
        feeds = {"vibration": waves, "unit": np.zeros(len(waves), np.int64)}
        if self.used:
            feeds["x"] = conditions[:, None, self.used].astype(np.float32)
        score, shares = self.session.run(["score", "contributions"], feeds)
        return score, shares


def test_orders_find_an_outer_race_at_varying_speed_and_frequencies_do_not() -> None:
    """Strikes at a quarter of the power of the noise, while the speed varies by a factor of 2.3."""
    rpm = speeds(600, 1)[:, None]
    waves = machine(rpm[:, 0], 2)
    by_orders = Judge(recipe_of(SPEED), waves, rpm)
    by_frequency = Judge(recipe_of(orders=False, rpm=1500), waves, rpm[:, :0])
    later = speeds(200, 3)[:, None]
    healthy, worn = machine(later[:, 0], 4), machine(later[:, 0], 5, fault=0.5)
    assert by_orders.run(healthy, later)[0].max() < 1
    assert by_frequency.run(healthy, later)[0].max() < 1
    score, shares = by_orders.run(worn, later)
    assert np.mean(score > 1) > 0.85
    assert np.mean(by_frequency.run(worn, later)[0] > 1) < 0.25
    named = by_orders.manifest.contributors[int(shares.sum(axis=0).argmax())]
    assert "outer race" in named or named == "vibration: envelope orders 3.15-3.85"


def test_a_level_is_judged_given_speed_and_load_if_that_finds_smaller_faults() -> None:
    """Level follows both; a machine that is a third louder than at this speed and load is found."""
    rpm, load = speeds(600, 1), 100 * np.random.default_rng(6).random(600)
    conditions = np.stack([rpm, load], axis=1)
    judge = Judge(recipe_of(SPEED, LOAD), machine(rpm, 2, load), conditions)
    assert judge.manifest.calibration["judged_given"] == "P: speed and load"
    assert [spec.name for spec in judge.manifest.scalars] == ["speed", "load"]
    low, high = judge.manifest.scalars[0].valid or (0, 0)
    assert 500 < low < 900
    assert 2100 < high < 2500
    later = np.stack([speeds(200, 3), 100 * np.random.default_rng(7).random(200)], axis=1)
    healthy = machine(later[:, 0], 8, later[:, 1])
    assert judge.run(healthy, later)[0].max() < 1
    assert np.mean(judge.run(1.33 * healthy, later)[0] > 1) > 0.9
    plain = Judge(recipe_of(orders=False), machine(rpm, 2, load), conditions[:, :0])
    assert np.mean(plain.run(1.33 * healthy, later[:, :0])[0] > 1) < 0.1


def test_a_condition_that_explains_nothing_is_left_out() -> None:
    """An ambient value that has nothing to do with the waveform: no window waits for it."""
    load = 100 * np.random.default_rng(6).random(400)
    rpm = np.full(400, 1500.0)
    waves = machine(rpm, 2, 50.0)
    judge = Judge(recipe_of(LOAD, orders=False), waves, load[:, None])
    assert judge.manifest.calibration["judged_given"] == "P: nothing"
    assert judge.manifest.scalars == ()
    assert not judge.manifest.window.at_blocks


def test_load_steps_raise_nothing() -> None:
    """Two loads and two speeds, in blocks, as a plant has them."""
    random = np.random.default_rng(1)
    states = random.integers(0, 2, (40, 2)).repeat(20, axis=0)
    conditions = np.stack([1000 + 800.0 * states[:, 0], 20 + 70.0 * states[:, 1]], axis=1)
    conditions += random.normal(0, 0.5, conditions.shape)
    judge = Judge(
        recipe_of(SPEED, LOAD), machine(conditions[:, 0], 2, conditions[:, 1]), conditions
    )
    other = conditions[::-1]
    healthy = machine(other[:, 0], 3, other[:, 1])
    assert judge.run(healthy, other)[0].max() < 1
    assert np.mean(judge.run(1.3 * healthy, other)[0] > 1) > 0.9


def test_the_graph_is_the_reference_at_all_speeds() -> None:
    """The golden vectors go through the whole range of the conditions."""
    rpm = speeds(200, 1)[:, None]
    judge = Judge(recipe_of(SPEED), machine(rpm[:, 0], 2), rpm)
    feeds, expected = judge.learned.golden
    found = dict(zip(expected, judge.session.run(list(expected), feeds), strict=True))
    for name, value in expected.items():
        assert np.allclose(found[name], value, rtol=2e-3, atol=1e-4)
    assert float(np.ptp(feeds["x"])) > 1000


@settings(max_examples=10, deadline=None)
@given(
    rate_hz=st.floats(1000, 50_000),
    length=st.sampled_from([512, 1000, 4096]),
    count=st.integers(1, 3),
    has_speed=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_the_graph_is_the_reference_for_any_conditions(
    rate_hz: float, length: int, count: int, *, has_speed: bool, seed: int
) -> None:
    """Noise of any rate, conditions that explain anything or nothing."""
    random = np.random.default_rng(seed)
    spec = replace(WAVE, rate_hz=rate_hz, length=length)
    names = tuple(InputSpec(f"c{k}", resample=Resample.MEAN) for k in range(count))
    recipe = replace(recipe_of(*names, orders=has_speed), inputs=(spec,))
    conditions = random.uniform(1, 3000, (80, count)) * 10.0 ** random.integers(-2, 3, count)
    waves = random.standard_normal((80, length)) * (1 + conditions[:, :1] / conditions.max())
    learned = learn_waves({"P": rows(recipe, waves, conditions)}, recipe, now_us=0)
    session = onnxruntime.InferenceSession(learned.onnx_bytes)
    feeds, expected = learned.golden
    found = dict(zip(expected, session.run(list(expected), feeds), strict=True))
    for name, value in expected.items():
        assert np.isfinite(value).all()
        assert np.allclose(found[name], value, rtol=5e-3, atol=1e-3)


def test_windows_of_a_machine_that_stands_are_not_learned() -> None:
    """Half of the windows at rest: they are not healthy ones, and not a reason to refuse."""
    rpm = speeds(400, 1)
    rpm[::2] = 0.0
    waves = np.where(rpm[:, None] > 0, machine(np.maximum(rpm, 900), 2), np.float32(0.01))
    judge = Judge(recipe_of(SPEED), waves, rpm[:, None])
    assert (judge.manifest.scalars[0].valid or (0, 0))[0] > 500


def test_too_few_windows_with_a_speed_are_told() -> None:
    recipe = recipe_of(SPEED)
    rpm = np.full((60, 1), np.nan)
    rpm[:20] = 1500.0
    data = {"P": rows(recipe, machine(np.full(60, 1500.0), 1), rpm)}
    with pytest.raises(ModelError, match="20 windows of the 48 needed, 40 are without speed"):
        learn_waves(data, recipe, now_us=0)


@pytest.mark.parametrize("rpm", [1.0, 60.0, 900.0, 30_000.0])
def test_every_order_has_a_line_at_any_speed(rpm: float) -> None:
    """Below and above the envelope's spectrum the nearest line stands for it: never silence."""
    (bank,) = recipe_of(SPEED).banks
    lines = np.random.default_rng(0).random((3, len(bank.bins))) + 0.1
    found = lines_at_orders(lines, bank, np.full(3, rpm / 60))
    assert found.shape == (3, len(bank.orders))
    assert found.min() > 0


def test_a_speed_in_hz_and_a_gear_are_the_same_orders() -> None:
    recipe = recipe_of(SPEED)
    rpm = speeds(20, 1)[:, None]
    waves = machine(rpm[:, 0], 2)
    geared = replace(recipe, speed_hz=0.25)
    expected = recipe.measure([waves], rpm)
    assert np.allclose(geared.measure([waves], rpm / 60 * 4), expected)
