"""Growable tables: rows keep what was written, new rows hold the fill values."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.clock import NEVER
from edge_agent.tables import Table, column


class Sensors(Table):
    value = column(np.float64, np.nan)
    time_us = column(np.int64, NEVER)
    is_on = column(np.bool_)


class Rings(Sensors):
    sample = column(np.float32, 1.5, "length", 2)


def test_new_rows_hold_the_fill_values_in_the_type_of_their_column() -> None:
    """A table begins without rows; `grow` returns the first new one."""
    table = Sensors()
    assert (len(table), len(table.value)) == (0, 0)
    assert (table.grow(), table.grow(3), len(table)) == (0, 1, 4)
    assert np.isnan(table.value).all()
    assert table.time_us.tolist() == [NEVER] * 4
    assert table.is_on.tolist() == [False] * 4
    assert [str(each.dtype) for each in (table.value, table.is_on)] == ["float64", "bool"]


def test_further_axes_and_types_are_chosen_for_each_table() -> None:
    """A subclass has the columns of its base; one table does not share rows with another."""
    table, other = Rings({"length": 3}, {"value": np.float32}), Sensors()
    table.grow(2)
    assert table.sample.shape == (2, 3, 2)
    assert (table.sample == 1.5).all()
    assert table.value.dtype == np.float32
    assert len(other) == 0
    assert other.value.dtype == np.float64


def test_cover_adds_only_the_rows_that_are_missing() -> None:
    """It never takes rows away."""
    table = Sensors()
    table.cover(3)
    table.value[:] = 1.0
    table.cover(2)
    table.cover(4)
    assert table.value[:3].tolist() == [1.0] * 3
    assert np.isnan(table.value[3])


@given(st.lists(st.integers(0, 40), max_size=20))
def test_what_was_written_stays_however_a_table_grows(steps: list[int]) -> None:
    """In steps of any size, against a plain list."""
    table = Sensors()
    expected: list[float] = []
    for number, n in enumerate(steps):
        first = table.grow(n)
        assert first == len(expected)
        table.value[first:] = number
        expected += [float(number)] * n
    assert table.value.tolist() == expected
    assert table.time_us.tolist() == [NEVER] * len(expected)


def test_growing_row_by_row_copies_each_row_a_few_times_at_most() -> None:
    """Amortised: memory is reserved rarely."""
    table = Sensors()
    buffers: set[int] = set()
    for _ in range(1000):
        table.grow()
        buffers.add(id(table.value.base))
    assert len(buffers) <= 12
