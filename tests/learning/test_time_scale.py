"""The step that is found from the times of values, and what follows from it in rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.config.schema import Learn
from edge_agent.config.types import Duration
from edge_agent.learning.time_scale import (
    FEW,
    NO_SPACING,
    TimeScale,
    duration_text,
    length_for,
    rounded_us,
    spacing_of,
    step_of,
)

S = 1_000_000
STEPS_S = (0.001, 0.02, 0.05, 0.2, 1.0, 10.0, 60.0, 180.0, 300.0, 3600.0, 6 * 3600.0, 86_400.0)
steps = st.sampled_from(STEPS_S)
seeds = st.integers(0, 2**32 - 1)


def regular(
    step_s: float, n: int, begin_us: int = 1_700_000_000 * S
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return begin_us + np.round(np.arange(n) * step_s * S).astype(np.int64)


@given(steps, seeds, st.floats(0, 0.2), st.floats(0, 0.3), st.integers(100, 400))
@settings(max_examples=60, deadline=None)
def test_jitter_and_lost_values_do_not_change_the_step(
    step_s: float, seed: int, jitter: float, lost: float, n: int
) -> None:
    """Stamps that vary by a fifth of the step, three of ten values lost, in any order."""
    random = np.random.default_rng(seed)
    jitter_us = np.round(random.uniform(-jitter, jitter, n) * step_s * S).astype(np.int64)
    times = random.permutation((regular(step_s, n) + jitter_us)[random.random(n) >= lost])
    found = step_of([spacing_of(times)], FEW)
    assert found == pytest.approx(step_s, rel=0.12)
    if jitter < 0.02:
        assert found == step_s


@given(steps, seeds, st.integers(1, 4), st.floats(10, 1e5))
@settings(max_examples=60, deadline=None)
def test_gaps_do_not_change_the_step(step_s: float, seed: int, gaps: int, longest: float) -> None:
    """Nights and weekends without values."""
    random = np.random.default_rng(seed)
    pauses = np.zeros(500)
    pauses[random.choice(500, gaps, replace=False)] = random.uniform(5, longest, gaps)
    times = regular(step_s, 500) + np.round(np.cumsum(pauses) * step_s * S).astype(np.int64)
    assert step_of([spacing_of(times)]) == step_s


@given(steps.filter(lambda one: one >= 1), seeds, st.integers(2, 40))
@settings(max_examples=40, deadline=None)
def test_values_in_bunches_have_the_step_of_the_bunches(
    step_s: float, seed: int, size: int
) -> None:
    """A device that sends what it has buffered, stamped by its arrival, with equal stamps too."""
    random = np.random.default_rng(seed)
    bunch = np.sort(random.integers(0, 10_000, (40, size)), axis=1)
    times = (regular(step_s, 40)[:, None] + bunch).ravel()
    assert step_of([spacing_of(times)], FEW) == step_s


def test_a_single_burst_is_no_rate() -> None:
    times = np.concatenate([regular(60.0, 200), regular(0.01, 50) + 30 * S])
    assert step_of([spacing_of(times)]) == 60.0


@given(
    st.lists(st.tuples(st.sampled_from((0.5, 1.0, 5.0, 60.0)), st.integers(40, 80)), min_size=1),
    seeds,
)
@settings(max_examples=60, deadline=None)
def test_half_of_the_inputs_have_a_new_value_in_each_step(
    inputs: list[tuple[float, int]], seed: int
) -> None:
    """The lower median over inputs of several rates, in any order and phase."""
    random = np.random.default_rng(seed)
    spacings = [spacing_of(regular(step_s, n) + int(random.integers(0, S))) for step_s, n in inputs]
    rates = sorted(step_s for step_s, _ in inputs)
    assert step_of(spacings) == rates[(len(rates) - 1) // 2]


@given(seeds, st.floats(2.0, 50.0))
@settings(max_examples=40, deadline=None)
def test_inputs_that_report_changes_are_set_aside(seed: int, mean_s: float) -> None:
    """Three of them beside one that is sampled; by themselves, they have a step all the same."""
    random = np.random.default_rng(seed)
    changes = [
        spacing_of(np.cumsum(random.exponential(mean_s * S, 400)).astype(np.int64) + offset)
        for offset in range(3)
    ]
    assert step_of([*changes, spacing_of(regular(1.0, 60))]) == 1.0
    alone = step_of(changes)
    assert alone is not None
    assert 0.2 * mean_s < alone < 2 * mean_s


def test_the_step_is_not_known_before_there_is_enough() -> None:
    """An input that may be slower than all others counts, until it is no longer waited for."""
    fast = spacing_of(regular(1.0, 40))
    assert step_of([]) is None
    assert step_of([NO_SPACING]) is None
    assert step_of([spacing_of(regular(1.0, 20))]) is None
    assert step_of([spacing_of(regular(1.0, 20))], FEW) == 1.0
    assert step_of([fast, NO_SPACING], silent=1) == 1.0
    assert step_of([fast, NO_SPACING, NO_SPACING], silent=2) is None
    assert step_of([fast, NO_SPACING, NO_SPACING]) == 1.0


@pytest.mark.parametrize(
    ("distance_us", "jitter", "step_us"),
    [
        (1_004_000, 0.0, S),
        (1_050_000, 0.0, 1_050_000),
        (46_870, 0.07, 50_000),
        (7_312_345, 0.0, 7_310_000),
        (182 * S, 0.0, 180 * S),
        (12, 0.0, 1000),
        (200_000 * S, 0.0, 86_400 * S),
    ],
)
def test_steps_are_round(distance_us: float, jitter: float, step_us: int) -> None:
    """So that the grids of like assets agree; from 1 ms to a day."""
    assert rounded_us(distance_us, jitter) == step_us


@pytest.mark.parametrize(
    ("step_s", "stages"),
    [
        (0.05, (18_000, 72_000, 288_000, 1_728_000)),
        (1.0, (900, 3600, 14_400, 86_400)),
        (180.0, (256, 1024)),
        (3600.0, (256, 1024)),
        (86_400.0, (256, 1024)),
    ],
)
def test_learning_is_counted_in_rows(step_s: float, stages: tuple[int, ...]) -> None:
    """A day, but never fewer rows than a baseline needs; what is told in seconds stays so."""
    assert TimeScale.of(Learn(), step_s).stages == stages
    assert TimeScale.of(Learn(step=Duration(step_s))).stages == stages
    scale = TimeScale.of(Learn(duration=Duration(3600.0), first_after=Duration(0)), step_s)
    assert scale.stages == (max(256, round(3600 / step_s)),)


def test_what_is_told_overrides_what_is_found() -> None:
    told = Learn(step=Duration(5), grace=Duration(60), length=16)
    scale = TimeScale.of(told, 180.0)
    assert (scale.step_s, scale.grace_s, scale.length) == (5.0, 60.0, 16)
    assert not scale.is_found
    assert TimeScale.of(Learn(), 180.0).grace_s == 1800.0
    assert TimeScale.of(Learn(), 180.0).patience_s == 900.0
    assert TimeScale.of(Learn(), 1.0).grace_s == 225.0


@pytest.mark.parametrize(
    ("rows", "length"), [(0, 8), (40, 8), (130, 16), (255, 16), (256, 64), (100_000, 64)]
)
def test_few_rows_have_short_windows(rows: int, length: int) -> None:
    """At least eight windows, unless the length is told."""
    assert length_for(rows, Learn()) == length
    assert length_for(rows, Learn(length=32)) == 32


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.05, "50ms"), (1, "1s"), (90, "90s"), (180, "3m"), (21_600, "6h"), (86_400, "1d")],
)
def test_steps_are_written_as_in_the_config(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text
