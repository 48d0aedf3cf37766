"""What counters count, in double precision, over roll-over and reset."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.counting import as_read, counted
from edge_agent.learning.scaling import counters


def column(*values: float) -> np.ndarray:
    return np.array(values, float)[:, None]


@pytest.mark.parametrize(
    ("reads", "steps"),
    [
        ((1, 2, 4), [1, 1, 2]),
        ((65_530, 65_534, 2, 6), [4, 4, 4, 4]),  # UInt16
        ((4_294_967_290, 4_294_967_293, 1), [3, 3, 3]),  # UInt32
        ((32_766, 32_767, -32_768, -32_767), [1, 1, 1, 1]),  # Int16
        ((999_998, 999_999, 0, 1), [1, 1, 1, 1]),  # a meter of six digits
        ((1000, 0, 2, 4), [2, 2, 2, 2]),  # reset at the first row of a window
        ((500, 0), [0, 0]),  # nothing but a reset is no step
        ((100, 99, 98), [-1, -1, -1]),  # it runs backwards
        ((7,), [0]),
    ],
)
def test_a_roll_over_and_a_reset_are_no_step(reads: tuple[Any, ...], steps: list[Any]) -> None:
    assert counted(column(*reads))[:, 0].tolist() == steps


def test_a_gap_stays_a_gap() -> None:
    found = counted(column(1, 2, np.nan, 4, 5))[:, 0]
    assert np.isnan(found).tolist() == [False, False, True, True, False]


@settings(max_examples=100, deadline=None)
@given(
    base=st.sampled_from([0.0, 1e6, 2.5e8, 4.2e9, 1.7e12, 9e14]),
    step=st.integers(0, 1000),
    seed=st.integers(0, 99),
)
def test_what_is_read_does_not_depend_on_where_a_meter_stands(
    base: float, step: int, seed: int
) -> None:
    """Windows of the same machine are the same bytes, from any starting value."""
    random = np.random.default_rng(seed)
    reads = np.cumsum(random.integers(0, step + 1, (2, 16, 1)), axis=1).astype(float)
    counts, none = np.array([True]), np.zeros(1)
    assert (as_read(base + reads, none, counts) == as_read(reads, none, counts)).all()
    beside = as_read(base + reads, np.array([base]), ~counts)
    assert (beside == reads.astype(np.float32)).all()


@pytest.mark.parametrize(
    ("values", "counts"),
    [
        (np.arange(5000.0) * 3000 % 2**16, True),  # pulses: over every 22 rows
        (np.arange(5000.0) * 9e5 % 2**32, True),
        (np.arange(5000.0) * 3000 % 2**16 - 2**15, True),  # signed
        (np.arange(5000.0) * 3000 % 60_000, False),  # a sawtooth of no such range
        (np.arange(5000.0) * 7 % 360, False),  # an angle
    ],
)
def test_a_counter_that_rolls_over_often_is_one(values: np.ndarray, *, counts: bool) -> None:
    assert counters(values[:, None]).tolist() == [counts]
