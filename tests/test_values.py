"""Columns: rows chosen, cut, joined and put in the order of time."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.values import Columns, columns

ROW = st.tuples(
    st.integers(0, 99), st.integers(-10, 10), st.floats(-1, 1), st.integers(0, (1 << 32) - 1)
)
ROWS = st.lists(ROW, max_size=30)


def made(rows: list[tuple[int, int, float, int]]) -> Columns:
    signal, time_us, value, status = zip(*rows, strict=True) if rows else ((), (), (), ())
    return columns(signal, time_us, value, np.array(status, np.uint32))


def rows_of(values: Columns) -> list[tuple[int, int, float, int]]:
    lists = (values.signal, values.time_us, values.value, values.status)
    return list(zip(*(each.tolist() for each in lists), strict=True))


def dtypes(values: Columns) -> list[str]:
    return [str(getattr(values, name).dtype) for name in Columns.__slots__]


@given(ROWS)
def test_sorting_by_time_keeps_the_order_of_the_same_time(rows: list[Any]) -> None:
    """As Python's own stable sort does."""
    assert rows_of(made(rows).sorted_by_time()) == sorted(rows, key=lambda row: row[1])


def test_what_is_in_order_is_not_copied() -> None:
    """The hot path sorts every turn, and mostly nothing is out of order."""
    values = made([(1, 5, 0.0, 0), (2, 5, 0.0, 0), (1, 6, 0.0, 0)])
    assert values.sorted_by_time() is values


@given(ROWS, st.data())
def test_where_takes_a_mask_or_an_order(rows: list[Any], data: st.DataObject) -> None:
    """A mask keeps the order; row numbers give a new one."""
    mask = data.draw(st.lists(st.booleans(), min_size=len(rows), max_size=len(rows)))
    order = data.draw(st.permutations(range(len(rows))))
    found = made(rows).where(np.array(mask, bool))
    assert rows_of(found) == [row for row, kept in zip(rows, mask, strict=True) if kept]
    assert rows_of(made(rows).where(np.array(order, np.intp))) == [rows[n] for n in order]


@given(ROWS, st.integers(-40, 40), st.none() | st.integers(-40, 40))
def test_a_slice_is_one_of_python(rows: list[Any], start: int, stop: int | None) -> None:
    """Negative and missing ends mean what they mean in a list."""
    assert rows_of(made(rows).slice(start, stop)) == rows[start:stop]


@given(ROWS, st.integers(1, 10))
def test_chunks_are_full_and_together_the_whole(rows: list[Any], size: int) -> None:
    """No rows are one empty chunk, so that a turn without values still happens."""
    found = list(made(rows).chunks(size))
    assert [row for chunk in found for row in rows_of(chunk)] == rows
    assert all(len(chunk) == size for chunk in found[:-1])
    assert len(found) == max(1, -(-len(rows) // size))


@given(st.lists(ROWS, max_size=4))
def test_concat_is_one_part_after_the_other(parts: list[Any]) -> None:
    """Its columns have the types of `Columns`, with no part at all, too."""
    found = Columns.concat([made(part) for part in parts])
    assert rows_of(found) == [row for part in parts for row in part]
    assert dtypes(found) == ["int32", "int64", "float64", "uint32"]
