"""The interval of a remaining life: what it promises, on streams of lives that are made up."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.diagnostics.adaptive_interval import WIDEST, AdaptiveInterval
from edge_agent.models.bundle.reference_distribution import Interval

if TYPE_CHECKING:
    from collections.abc import Callable

RAW = np.array([[90.0, 100.0, 110.0]], np.float32)
HOURS = st.floats(width=32, allow_nan=True, allow_infinity=True)
TOLD = st.lists(st.tuples(HOURS, HOURS, HOURS), min_size=1, max_size=5)


def run(
    truths: np.ndarray, rate: float = 0.2, scale: Callable[[int], float] = lambda _: 1.0
) -> tuple[AdaptiveInterval, np.ndarray, np.ndarray]:
    """One prediction a life; gives the last state, who was held, and how wide it was told."""
    state = AdaptiveInterval(Interval(0.8, rate))
    held, width = [], []
    for number, truth in enumerate(truths):
        told = state.adapt(100 + (RAW - 100) * np.float32(scale(number)))
        held.append(told[0, 0] <= truth <= told[0, 2])
        width.append(told[0, 2] - told[0, 0])
        state = state.after(told, [truth])
    return state, np.array(held), np.array(width)


def test_with_nothing_to_learn_from_the_models_own_interval_is_told() -> None:
    """A plant whose machines never fail has the calibration of the bundle, and no coverage."""
    state = AdaptiveInterval()
    assert np.array_equal(state.adapt(RAW), RAW)
    assert math.isnan(state.covered)


def test_exchangeable_truths_are_held_as_often_as_promised() -> None:
    """Though the model's own half-widths are too narrow: they would hold 57 %."""
    coverages = []
    for seed in range(10):
        truths = np.random.default_rng(seed).normal(100, 12.7, 400)
        _, held, _ = run(truths)
        coverages.append(held[100:].mean())
    assert np.mean(coverages) == pytest.approx(0.8, abs=0.015)
    assert np.ptp(coverages) < 0.06


def test_truths_that_drift_away_are_followed() -> None:
    """Machines that scatter more and more, and in the end fail ever earlier than the model says."""
    random = np.random.default_rng(1)
    spread = np.linspace(8, 30, 600)
    bias = -np.linspace(0, 15, 600)
    _, held, _ = run(100 + bias + spread * random.standard_normal(600))
    fixed = np.abs(bias + spread * random.standard_normal(600)) <= 10
    assert held[100:].mean() == pytest.approx(0.8, abs=0.03)
    assert fixed.mean() < 0.6, "without adaptation it is missed"


def test_it_shrinks_where_the_model_is_too_careful() -> None:
    """An interval that holds everything is no use to whoever plans an overhaul."""
    truths = np.random.default_rng(2).normal(100, 2, 400)
    _, held, width = run(truths)
    assert held[200:].mean() == pytest.approx(0.8, abs=0.04)
    assert width[-100:].mean() < 8, "from 20 h"


def test_each_side_keeps_its_name() -> None:
    """A biased model: one in ten is below p10 and one in ten above p90 all the same."""
    truths = np.random.default_rng(3).normal(94, 10, 1000)
    state = AdaptiveInterval(Interval(0.8, 0.1))
    below = above = 0
    for number, truth in enumerate(truths):
        told = state.adapt(RAW)
        below += bool(number >= 200 and truth < told[0, 0])
        above += bool(number >= 200 and truth > told[0, 2])
        state = state.after(told, [truth])
    assert below / 800 == pytest.approx(0.1, abs=0.02)
    assert above / 800 == pytest.approx(0.1, abs=0.02)


@given(st.lists(st.floats(0, 1e4), min_size=1, max_size=60), st.floats(0.01, 1.0))
@settings(max_examples=60, deadline=None)
def test_the_average_missed_keeps_its_bound_whatever_the_truths_are(
    truths: list[float], rate: float
) -> None:
    """The guarantee of quantile tracking, for a stream that an adversary chose."""
    state = AdaptiveInterval(Interval(0.8, rate))
    below = 0
    for count, truth in enumerate(truths, start=1):
        told = state.adapt(RAW)
        below += bool(truth < told[0, 0])
        state = state.after(told, [truth])
        if state.low in {WIDEST, 1 / WIDEST}:
            return
        assert abs(below / count - 0.1) <= math.log(WIDEST) / (rate * count) + 1e-9


@given(TOLD, st.lists(HOURS, min_size=5, max_size=5), st.floats(0, 1))
@settings(max_examples=200, deadline=None)
def test_nothing_that_is_fed_in_breaks_its_bounds(
    told: list[tuple[float, float, float]], truth: list[float], rate: float
) -> None:
    """NaN, infinities and intervals upside down included."""
    state = AdaptiveInterval(Interval(0.8, rate), low=3.0, high=0.5)
    after = state.after(told, truth[: len(told)])
    for factor in (after.low, after.high):
        assert 1 / WIDEST <= factor <= WIDEST
    assert after is state or 0 <= after.covered <= 1
    assert (after.adapt(RAW) >= 0).all()


@given(st.floats(0, 200), st.floats(0, 200))
def test_a_later_end_never_widens_below_nor_narrows_above(first: float, second: float) -> None:
    """The answer to a truth is monotone: only an earlier end may pull p10 down."""
    early, late = sorted((first, second))
    after_early = AdaptiveInterval().after(RAW, [early])
    after_late = AdaptiveInterval().after(RAW, [late])
    assert after_early.low >= after_late.low
    assert after_early.high <= after_late.high


def test_a_life_counts_once_however_often_it_was_predicted() -> None:
    """A machine that was watched for a year says no more than one watched for a day."""
    one = AdaptiveInterval().after(RAW, [50.0])
    many = AdaptiveInterval().after(np.repeat(RAW, 500, axis=0), np.full(500, 50.0))
    assert (one.low, one.high, one.lives) == (many.low, many.high, 1)
    half = AdaptiveInterval().after(np.repeat(RAW, 2, axis=0), [50.0, 100.0])
    assert half.covered == 0.5


def test_a_life_longer_than_the_model_can_tell_is_no_miss() -> None:
    """A model that was taught lives up to 125 h says 125 of a machine that has 300 left."""
    capped = AdaptiveInterval(Interval(0.8, 0.2, cap_h=105.0))
    assert capped.after(RAW, [300.0]).covered == 1.0
    assert AdaptiveInterval().after(RAW, [300.0]).covered == 0.0


def test_no_hours_below_zero_are_told() -> None:
    """Stretched below zero, p10 is zero: life is not negative."""
    wide = AdaptiveInterval(low=8.0, high=1.0)
    assert wide.adapt(np.array([[1, 5, 9]], np.float32)).tolist() == [[0, 5, 9]]
