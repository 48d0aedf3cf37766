"""The forms of data: all of them say the same of the same numbers, and what is none says why."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from frames import Frame, Series
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.client import BadDataError
from edge_agent.client.tables import MAX_BYTES, encode_table

if TYPE_CHECKING:
    from pathlib import Path

Columns = dict[str, list[float]]


class PolarsFrame:
    """A DataFrame without index, whose columns have `to_list`."""

    def __init__(self, columns: Columns) -> None:
        self.columns = list(columns)
        self._data = columns

    def __getitem__(self, name: str) -> Any:
        class Column:
            def to_list(_self) -> list[float]:  # noqa: N805
                return self._data[name]

        return Column()


def decoded(data: object) -> Any:
    body, kind = encode_table(data)
    assert kind == "application/json"
    return json.loads(body)


tables = st.integers(1, 8).flatmap(
    lambda n: st.dictionaries(
        st.text(min_size=1, max_size=8),
        st.lists(st.none() | st.floats(allow_infinity=False), min_size=n, max_size=n),
        min_size=1,
        max_size=4,
    )
)


@given(tables)
def test_all_forms_of_the_same_numbers_are_the_same_body(columns: dict[str, list[Any]]) -> None:
    """Lists, tuples, arrays, a DataFrame: a missing number is null in each."""
    wanted = {
        name: [None if value is None or math.isnan(value) else value for value in values]
        for name, values in columns.items()
    }
    nan = {n: [np.nan if v is None else v for v in values] for n, values in columns.items()}
    assert decoded(columns) == wanted
    assert decoded({name: tuple(values) for name, values in columns.items()}) == wanted
    assert decoded({name: np.array(values) for name, values in nan.items()}) == wanted
    assert decoded(Frame(nan)) == wanted
    assert decoded(PolarsFrame(columns)) == wanted


@given(tables)
def test_rows_are_rows_in_every_form(columns: dict[str, list[Any]]) -> None:
    rows = np.array([[np.nan if v is None else v for v in c] for c in columns.values()]).T
    wanted = [[None if math.isnan(value) else value for value in row] for row in rows.tolist()]
    assert decoded(rows) == wanted
    assert decoded(rows.tolist()) == wanted
    assert decoded([tuple(row) for row in rows]) == wanted


def test_the_columns_of_an_array_can_be_named() -> None:
    """Whoever does not know the order of the inputs."""
    body, _ = encode_table(np.array([[1.0, 2.0], [3.0, 4.0]]), ["b", "a"])
    assert json.loads(body) == {"b": [1.0, 3.0], "a": [2.0, 4.0]}
    with pytest.raises(BadDataError, match="row 2 has 1 values, and 2 columns are named"):
        encode_table([[1.0, 2.0], [3.0]], ["b", "a"])


def test_one_row_of_numbers_is_one_input() -> None:
    assert decoded(np.array([1.0, 2.0])) == decoded([1.0, 2.0]) == [[1.0], [2.0]]


def test_an_index_with_times_is_a_column() -> None:
    """As pandas.read_csv(..., index_col=0, parse_dates=True) gives it."""
    times = [datetime(2026, 1, 1, 0, 0, second, tzinfo=UTC) for second in range(2)]
    stamps = ["2026-01-01T00:00:00+00:00", "2026-01-01T00:00:01+00:00"]
    found = decoded(Frame({"flow": [1.0, 2.0]}, Series(times)))
    assert found == {"time": stamps, "flow": [1.0, 2.0]}
    found = decoded(Frame({"flow": [1.0, 2.0]}, Series(times, "ts")))
    assert found == {"ts": stamps, "flow": [1.0, 2.0]}


def test_cells_of_numpy_are_plain() -> None:
    found = decoded(
        {"on": [np.bool_(1), np.int16(2), np.float32(0.5), np.datetime64("2026-01-01")]}
    )
    assert found == {"on": [True, 2, 0.5, "2026-01-01"]}


def test_what_pandas_calls_missing_is_no_value() -> None:
    """pandas.NA has no truth value, and NaT looks like a time."""

    class NAType:
        def __bool__(self) -> bool:
            raise TypeError

    class NaTType:
        def isoformat(self) -> str:
            return "NaT"

    assert decoded({"flow": [NAType(), NaTType(), 1.0]}) == {"flow": [None, None, 1.0]}


def test_a_file_is_sent_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "run.csv"
    path.write_bytes(b"time;flow\r\n1;2,5\r\n")
    assert encode_table(path) == encode_table(str(path)) == (path.read_bytes(), "text/csv")


@pytest.mark.parametrize(
    ("data", "text", "column"),
    [
        ({"flow": 7.0}, "column 'flow' is no list", "flow"),
        ({"flow": "7"}, "column 'flow' is no list", "flow"),
        ({"flow": [1.0, float("inf")]}, "column 'flow' has an infinite value", "flow"),
        ({"flow": [object()]}, "column 'flow' has a value of type object", "flow"),
        ({"flow": [{}]}, "column 'flow' has a value of type dict", "flow"),
        (7.0, "float is no table", ""),
        (None, "NoneType is no table", ""),
        (np.zeros((2, 2, 2)), "ndarray with 3 dimensions is no table", ""),
        ("/nowhere/run.csv", "cannot read /nowhere/run.csv: No such file", ""),
    ],
)
def test_what_is_no_table_says_why(data: object, text: str, column: str) -> None:
    with pytest.raises(BadDataError, match=text) as raised:
        encode_table(data)
    assert raised.value.column == column


def test_two_columns_of_one_name_are_refused() -> None:
    frame = Frame({"flow": [1.0]})
    frame.columns = ["flow", "flow"]
    with pytest.raises(BadDataError, match="several columns of one name"):
        encode_table(frame)


def test_too_much_is_not_sent(tmp_path: Path) -> None:
    path = tmp_path / "run.csv"
    path.write_bytes(b" " * (MAX_BYTES + 1))
    with pytest.raises(BadDataError, match="16 MiB"):
        encode_table(path)
