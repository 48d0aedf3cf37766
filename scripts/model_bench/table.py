"""A table of figures: plain rows, as Markdown and as plain data."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

# Several values: of several seeds; None: not measured.
Value = str | float | Sequence[float] | None
Row = Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Column:
    """One figure of each row.

    digits: after the point; factor: multiplies the value before it is shown.
    """

    key: str
    title: str
    digits: int = 2
    factor: float = 1.0


@dataclass(frozen=True, slots=True)
class Table:
    """Rows by the columns to show.

    command: reproduces the table; absent: why nothing was measured, else empty;
    notes: how to read it, a sentence each.
    """

    title: str
    command: str
    columns: tuple[Column, ...] = ()
    rows: tuple[Row, ...] = ()
    notes: tuple[str, ...] = ()
    absent: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Everything in plain types, the figures unrounded."""
        return {
            "title": self.title,
            "command": self.command,
            "rows": [dict(row) for row in self.rows],
            "notes": list(self.notes),
            "not_measured": self.absent,
            **self.extra,
        }

    def as_markdown(self) -> str:
        """A heading, the table, its notes and its command."""
        parts = [f"### {self.title}", ""]
        if self.absent:
            parts += [f"Not measured here: {self.absent}", ""]
        if self.rows:
            heads = ["", *(column.title for column in self.columns)]
            parts.append(_line(heads))
            parts.append(_line(["---"] * len(heads)))
            parts += [
                _line([str(row["name"]), *(shown(row.get(c.key), c) for c in self.columns)])
                for row in self.rows
            ]
            parts.append("")
        parts += [f"{note}\n" for note in self.notes]
        parts += [f"`{self.command}`", ""]
        return "\n".join(parts)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def shown(value: Value, column: Column) -> str:
    """A cell: a figure, the mean of several with their range, or a dash."""
    if value is None:
        return "-"
    if isinstance(value, str):
        return value
    if isinstance(value, (int, float)):
        return _number(float(value) * column.factor, column.digits)
    scaled = [float(each) * column.factor for each in value]
    if not scaled:
        return "-"
    mean = _number(statistics.fmean(scaled), column.digits)
    if min(scaled) == max(scaled):
        return mean
    low, high = (_number(f(scaled), column.digits) for f in (min, max))
    return f"{mean} ({low} to {high})"


def _number(value: float, digits: int) -> str:
    return "-" if math.isnan(value) else f"{value:,.{digits}f}"
