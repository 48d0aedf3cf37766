"""A table that a client sent, as the file of a recording, which `replay` reads."""

from __future__ import annotations

import csv
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import orjson

from edge_agent.errors import EdgeAgentError
from edge_agent.sources.replay import QualityCodes, ReplayConfig, has_times

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from edge_agent.service.predict_api import SentTable

_COLUMN: Final = re.compile(r"column '([^']*)'")
_OPTION: Final = re.compile(r"--([a-z]+(?:-[a-z]+)*)")
_EXAMPLE: Final = '{"time": [...], "flow": [...]}, or a list of rows'
_PLAIN: Final = (str, int, float)  # a bool is an int

Cell = str | int | float | None


class TableError(EdgeAgentError):
    """The table does not fit; column: the one to look at, empty if it is none alone."""

    def __init__(self, message: str, *, column: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.column = column


def table_error(error: EdgeAgentError, folder: Path) -> TableError:
    """The same for a client, which knows neither our files nor options of a command."""
    text, hint = (part.replace(f"{folder}/", "") for part in (str(error), error.hint))
    text = text.removesuffix(f" ({hint})") if hint else text
    column = _COLUMN.search(text)
    return TableError(as_keys(text), column=column[1] if column else "", hint=as_keys(hint))


def as_keys(text: str) -> str:
    """The same with parameters of a question, `time_format`, instead of options of a command."""
    return _OPTION.sub(lambda found: found[1].replace("-", "_"), text)


def write_recording(
    table: SentTable, path: Path, names: Sequence[str], step_s: float | None
) -> ReplayConfig:
    """Write the table into a file; returns how to read it. TableError if it is none.

    names: of the columns of rows without names. step_s: between rows without times; None: the
    models need times.
    """
    reading: dict[str, Any] = {**table.reading}
    if codes := reading.get("quality_codes"):
        if codes not in {*QualityCodes}:
            raise TableError("quality_codes: one of " + ", ".join(QualityCodes))
        reading["quality_codes"] = QualityCodes(codes)
    config = replace(ReplayConfig(path, asset=table.asset), **reading)
    for key, problem in config.problems():
        raise TableError(f"{key}: {problem}")
    if not table.is_json:
        path.write_bytes(table.body)
        return config
    columns = _columns_of(table.body, names)
    rows = list(zip(*columns.values(), strict=True))
    if not table.reading.get("time") and not has_times([*columns], [str(c) for c in rows[0]]):
        columns = {"time": _times(len(rows), step_s), **columns}
        rows = list(zip(*columns.values(), strict=True))
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
    return replace(config, separator=",", decimal=".")


def _times(rows: int, step_s: float | None) -> list[Cell]:
    if step_s is None:
        hint = "the models have several steps, or judge by the hour of the week"
        raise TableError("the table has no times", column="time", hint=hint)
    return [number * step_s for number in range(rows)]


def _columns_of(body: bytes, names: Sequence[str]) -> dict[str, list[Cell]]:
    """The columns of a JSON table, all of one length and not empty."""
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as problem:
        raise TableError(f"the body is not JSON: {problem}", hint=_EXAMPLE) from None
    if isinstance(found, list):
        found = _named(found, names)
    if not isinstance(found, dict) or not found:
        raise TableError("the body is no table", hint=_EXAMPLE)
    columns = {" ".join(name.split()): _column(name, values) for name, values in found.items()}
    (first, values), *others = columns.items()
    for name, other in others:
        if len(other) != len(values):
            what = f"column {name!r} has {len(other)} rows, and {first!r} has {len(values)}"
            raise TableError(what, column=name, hint="all columns have the same rows")
    if not values:
        raise TableError("the table has no rows", column=first)
    return columns


def _named(rows: list[Any], names: Sequence[str]) -> dict[str, list[Any]]:
    """Rows without names: their columns are the inputs, in their order."""
    for number, row in enumerate(rows, 1):
        if not isinstance(row, list) or len(row) != len(names):
            what = f"{len(row)} values" if isinstance(row, list) else "no list"
            wanted = f"a row has {', '.join(names)}, in this order; or name the columns"
            raise TableError(f"row {number} has {what}, not {len(names)}", hint=wanted)
    return {name: [row[n] for row in rows] for n, name in enumerate(names)}


def _column(name: str, values: object) -> list[Cell]:
    if not isinstance(values, list):
        raise TableError(f"column {name!r} is no list", column=name, hint=_EXAMPLE)
    for number, value in enumerate(values, 1):
        if value is not None and not isinstance(value, _PLAIN):
            what = f"column {name!r} has {type(value).__name__} in row {number}"
            raise TableError(what, column=name, hint="numbers, texts, or null for no value")
    return [int(value) if isinstance(value, bool) else value for value in values]
