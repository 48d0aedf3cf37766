"""States and part counts of a line from CSV files, as any MES or historian exports them."""

from __future__ import annotations

import csv
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.errors import UsageError
from edge_agent.insight.line_model import NS_PER_S, LineData, PartCounts
from edge_agent.insight.states import STATES, MachineState, StateLog

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

_STATE_COLUMNS: Final = ("machine", "state", "start", "end")
_PART_COLUMNS: Final = ("machine", "time")
_MS: Final = 10**11  # a larger number of seconds is one of milliseconds
_WORDS: Final = {"working": "running", "processing": "running", "failed": "down", "repair": "down"}


def read_line(states: Path, parts: Path | None = None, machines: Sequence[str] = ()) -> LineData:
    """A line from a table of states (machine, state, start, end) and one of parts (machine, time).

    A row of parts may have a column `parts`: how many. machines: their order in the line; default:
    the order in which they first appear. UsageError with the row if the table is no such one.
    """
    rows = [_state_row(where, row) for where, row in _rows(states, _STATE_COLUMNS)]
    names = tuple(machines) or tuple(dict.fromkeys(row[0] for row in rows))
    place = {name: at for at, name in enumerate(names)}
    found = sorted((place[m], s, a, b) for m, s, a, b in rows if m in place)
    if not found:
        raise UsageError("no states of these machines", where=str(states), hint=", ".join(names))
    columns = np.array(found, np.int64).T
    log = StateLog(columns[0].astype(np.int32), columns[1].astype(np.int8), columns[2], columns[3])
    counts = _counts(parts, place)
    return LineData(names, log, counts, int(columns[2].min()), int(columns[3].max()))


def _counts(parts: Path | None, place: Mapping[str, int]) -> PartCounts:
    rows = [] if parts is None else list(_rows(parts, _PART_COLUMNS))
    found = sorted(
        (_time_ns(where, row["time"]), place[row["machine"]], _number(where, row.get("parts")))
        for where, row in rows
        if row["machine"] in place
    )
    table = np.array([one[1:] for one in found], np.float64).reshape(-1, 2)
    at_ns = np.array([one[0] for one in found], np.int64)
    return PartCounts(table[:, 0].astype(np.int32), at_ns, table[:, 1])


def _rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[str, dict[str, str]]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            table = csv.DictReader(file)
            missing = [one for one in columns if one not in (table.fieldnames or ())]
            if missing:
                hint = f"the first line names the columns: {','.join(columns)}"
                raise UsageError(f"no column {missing[0]!r}", where=str(path), hint=hint)
            for row in table:
                yield f"{path}, line {table.line_num}", row
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"cannot read the table: {error}", where=str(path)) from error


def _state_row(where: str, row: Mapping[str, str]) -> tuple[str, int, int, int]:
    word = (row["state"] or "").strip().lower()
    word = _WORDS.get(word, word)
    if word not in STATES:
        raise UsageError(f"no such state: {word!r}", where=where, hint=", ".join(STATES))
    start, end = _time_ns(where, row["start"]), _time_ns(where, row["end"])
    if end < start:
        raise UsageError("the end is before the start", where=where)
    return row["machine"], STATES.index(MachineState(word)), start, end


def _time_ns(where: str, text: str | None) -> int:
    """Nanoseconds of an ISO 8601 time (UTC without a zone), or of seconds or milliseconds."""
    text = (text or "").strip()
    with suppress(ValueError, OverflowError):
        value = float(text)
        if value != value:  # noqa: PLR0124 (NaN)
            raise ValueError
        return round(value * 1_000_000) if abs(value) > _MS else round(value * NS_PER_S)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        hint = "2026-11-27T06:00:00Z, or seconds or milliseconds since 1970"
        raise UsageError(f"no time: {text!r}", where=where, hint=hint) from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1_000_000) * 1000


def _number(where: str, text: str | None) -> float:
    try:
        return float(text) if text else 1.0
    except ValueError:
        raise UsageError(f"no number of parts: {text!r}", where=where) from None
