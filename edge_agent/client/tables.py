"""The forms in which data may come, as the body of a request.

pandas, polars and NumPy are known by what their objects can do, and never imported.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Final

from edge_agent.client.errors import BadDataError

CSV: Final = "text/csv"
JSON: Final = "application/json"
MAX_BYTES: Final = 16 << 20  # that a gateway reads
_ROWS_AND_COLUMNS: Final = 2
_MISSING: Final = frozenset({"NAType", "NaTType"})  # pandas.NA and pandas.NaT
_FORMS: Final = "a DataFrame, a dict of columns, an array of rows, or the path of a CSV file"

Cell = str | int | float | None


def encode_table(data: object, names: Sequence[str] = ()) -> tuple[bytes, str]:
    """The body and its content type; BadDataError if the data are no table.

    names: of the columns of an array.
    """
    if isinstance(data, str | PathLike):
        body, kind = _read(Path(data)), CSV
    else:
        body, kind = json.dumps(_table(data, names), allow_nan=False).encode(), JSON
    if len(body) > MAX_BYTES:
        what = f"the data are {len(body) >> 20} MiB, and a gateway reads {MAX_BYTES >> 20} MiB"
        raise BadDataError(what, hint="send a part of the rows, the newest ones")
    return body, kind


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise BadDataError(f"cannot read {path}: {error.strerror}") from error


def _table(data: object, names: Sequence[str]) -> dict[str, list[Cell]] | list[list[Cell]]:
    """Columns by name, or rows."""
    if isinstance(data, Mapping):
        return {str(name): _column(str(name), values) for name, values in data.items()}
    own = getattr(data, "columns", None)
    if own is not None:
        return _frame(data, list(own))
    rows = _rows(data)
    return _named(rows, names) if names else rows


def _named(rows: list[list[Cell]], names: Sequence[str]) -> dict[str, list[Cell]]:
    for number, row in enumerate(rows, 1):
        if len(row) != len(names):
            text = f"row {number} has {len(row)} values, and {len(names)} columns are named"
            raise BadDataError(text, hint=f"columns: {', '.join(names)}")
    return {name: [row[n] for row in rows] for n, name in enumerate(names)}


def _frame(data: Any, names: list[Any]) -> dict[str, list[Cell]]:  # noqa: ANN401 (pandas or polars)
    """The columns of a DataFrame; its index is the column `time` if it has times."""
    if len(set(names)) < len(names):
        raise BadDataError("the DataFrame has several columns of one name")
    columns = {str(name): _column(str(name), data[name]) for name in names}
    index: Any = getattr(data, "index", None)  # polars has none
    moments = index[:1].tolist() if hasattr(index, "tolist") else []
    if moments and hasattr(moments[0], "isoformat"):
        return {str(getattr(index, "name", None) or "time"): _column("time", index), **columns}
    return columns


def _rows(data: Any) -> list[list[Cell]]:  # noqa: ANN401 (whatever somebody hands in)
    """Rows, of an array with two dimensions, or with one: of one input."""
    dimensions = getattr(data, "ndim", None)
    values = data.tolist() if hasattr(data, "tolist") else data
    if not isinstance(values, Sequence) or dimensions not in {None, 1, _ROWS_AND_COLUMNS}:
        shape = f" with {dimensions} dimensions" if dimensions is not None else ""
        raise BadDataError(f"{type(data).__name__}{shape} is no table", hint=f"give {_FORMS}")
    return [
        [_cell(str(number), cell) for number, cell in enumerate(_row(row), 1)] for row in values
    ]


def _row(row: Any) -> Sequence[Any]:  # noqa: ANN401 (a row of what somebody hands in)
    if hasattr(row, "tolist"):
        row = row.tolist()
    return row if isinstance(row, list | tuple) else [row]


def _column(name: str, values: Any) -> list[Cell]:  # noqa: ANN401 (a list, an array, a Series)
    for method in ("tolist", "to_list"):
        if hasattr(values, method):
            values = getattr(values, method)()
            break
    if not isinstance(values, Sequence) or isinstance(values, str | bytes):
        raise BadDataError(f"column {name!r} is no list", column=name, hint=f"give {_FORMS}")
    return [_cell(name, value) for value in values]


def _cell(name: str, value: Any) -> Cell:  # noqa: ANN401 (a cell of what somebody hands in)
    """A number, a text, or None for no value; times become ISO 8601."""
    if value is None or isinstance(value, str | int):  # a bool is an int
        return value
    if isinstance(value, float):
        return None if math.isnan(value) else _finite(name, value)
    if type(value).__name__ in _MISSING:
        return None
    if hasattr(value, "isoformat"):
        return str(value.isoformat())
    if hasattr(value, "item"):
        return _cell(name, value.item())
    what = f"column {name!r} has a value of type {type(value).__name__}"
    raise BadDataError(what, column=name, hint="numbers, texts, times, or None for no value")


def _finite(name: str, value: float) -> float:
    """An infinite value is an error of its maker."""
    if math.isinf(value):
        hint = "is it an overflow, or a division by 0?"
        raise BadDataError(f"column {name!r} has an infinite value", column=name, hint=hint)
    return value
