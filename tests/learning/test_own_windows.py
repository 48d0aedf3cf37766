"""A baseline of any kind of data is quiet over what it has learned, or it is refused."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tiny_models import NOW_US, recipe

from edge_agent.errors import ModelError
from edge_agent.learning.fit import learn
from edge_agent.learning.statistics import CHARTS
from edge_agent.learning.threshold import limits_of
from edge_agent.models.runtime.graph_engine import model_of_graph

if TYPE_CHECKING:
    from collections.abc import Callable

    Random = np.random.Generator

LENGTH = 16
PROMISED = 0.01  # of its own windows


def random_walk(random: Random, rows: int) -> np.ndarray:
    return np.asarray(np.cumsum(random.standard_normal((rows, 3)), axis=0))


def noise(random: Random, rows: int) -> np.ndarray:
    return np.asarray(random.standard_t(3, (rows, 4)))


def cyclic(random: Random, rows: int) -> np.ndarray:
    phase = 2 * np.pi * np.arange(rows) / random.uniform(5, 30)
    return np.column_stack([np.sin(phase), np.sin(phase) > 0.9]) + 0.05 * random.random((rows, 2))


def trending(random: Random, rows: int) -> np.ndarray:
    drift = np.linspace(0, 50, rows)[:, None] * random.random(3)
    return np.asarray(drift + random.standard_normal((rows, 3)))


def seasonal(random: Random, rows: int) -> np.ndarray:
    day = np.sin(2 * np.pi * np.arange(rows) / (rows / 2.7))
    return np.asarray(10 * day[:, None] * random.random(3) + random.standard_normal((rows, 3)))


def two_states(random: Random, rows: int) -> np.ndarray:
    spans = random.integers(1, 60, rows)
    state = np.repeat(np.arange(rows) % 2, spans)[:rows]
    return np.column_stack([100.0 * state, 5 - 4.0 * state]) + random.standard_normal((rows, 2))


def one_input(random: Random, rows: int) -> np.ndarray:
    return np.asarray(random.exponential(1.0, (rows, 1)) ** 2)


def mostly_constant(random: Random, rows: int) -> np.ndarray:
    found = np.full((rows, 3), 7.0)
    found[:, 1] = random.random(rows) < 0.01
    return found


def counted(random: Random, rows: int) -> np.ndarray:
    steps = random.integers(0, 4, (rows, 2))
    return np.column_stack([np.cumsum(steps[:, 0]), np.cumsum(steps[:, 1]) % 256])


KINDS = (
    random_walk,
    noise,
    cyclic,
    trending,
    seasonal,
    two_states,
    one_input,
    mostly_constant,
    counted,
)


@pytest.mark.parametrize("make", KINDS, ids=lambda make: make.__name__)
@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(160, 2000))
@example(seed=4818, rows=711)  # two states whose autocorrelation has peaks below 0 only
def test_a_baseline_is_quiet_over_its_own_windows(
    make: Callable[[Random, int], np.ndarray], seed: int, rows: int
) -> None:
    """At most one window of a hundred reaches the limit, and every score is a number."""
    values = np.asarray(make(np.random.default_rng(seed), rows), float)
    asked = recipe(values.shape[1], length=LENGTH)
    try:
        learned = learn({"A": values}, asked, now_us=NOW_US)
    except ModelError:
        return
    view = np.lib.stride_tricks.sliding_window_view(values, LENGTH, axis=0).transpose(0, 2, 1)
    x = learned.manifest.as_read(np.ascontiguousarray(view))
    model = model_of_graph(learned.manifest, learned.onnx_bytes)
    score = model.infer({"x": x, "unit": np.zeros(len(x), np.int64)}).score
    assert np.isfinite(score).all()
    assert (score >= 1.0).mean() <= PROMISED


@pytest.mark.parametrize("make", KINDS, ids=lambda make: make.__name__)
def test_golden_vectors_hold_a_window_that_alarms(
    make: Callable[[Random, int], np.ndarray],
) -> None:
    """A bundle that cannot alarm would not pass its own test."""
    values = np.asarray(make(np.random.default_rng(1), 1500), float)
    learned = learn({"A": values}, recipe(values.shape[1], length=LENGTH), now_us=NOW_US)
    score = learned.golden[1]["score"]
    assert np.isfinite(score).all()
    assert score.max() >= 1.0


def test_alarms_are_counted_at_the_limit_that_holds() -> None:
    """What is raised for the asset's own windows is raised for the count of the card, too."""
    random = np.random.default_rng(1)
    quarters = [random.exponential(1.0, (500, CHARTS)) for _ in range(4)]
    quarters[0][[50, 300], 0] = [1e3, 1e4]
    found = limits_of(quarters, 1, 64, 1.0, 0.1)
    factor = 5e3 / float(found.limit[0])
    assert found.alarms(factor / 10) == 2
    assert found.alarms(factor) == 1
    assert found.alarms(2.1 * factor) == 0


@pytest.mark.parametrize(("faulty", "told"), [(0, False), (150, True)])
def test_a_fault_in_the_learned_time_is_told(faulty: int, told: bool) -> None:  # noqa: FBT001
    """It is taken as healthy and hides later ones of its size: the user must hear of it."""
    random = np.random.default_rng(3)
    flow = 20 + random.standard_normal(9000)
    rows = np.column_stack([flow, 0.3 * flow + 0.05 * random.standard_normal(9000), flow * 0])
    rows[:, 2] = 40 + random.standard_normal(9000)
    rows[5000 : 5000 + faulty, 1] += 3
    times = {"P-1": NOW_US + np.arange(9000) * 1_000_000}
    stated = learn({"P-1": rows}, recipe(), now_us=NOW_US, times_us=times).manifest.calibration
    assert ("unusual" in stated) is told
    if told:
        at, text = stated["unusual"].split(" to ", 1)
        seconds = datetime.fromisoformat(at).timestamp() - NOW_US / 1e6
        assert abs(seconds - 5000) < 100
        assert "most of all s1: taken as healthy" in text
