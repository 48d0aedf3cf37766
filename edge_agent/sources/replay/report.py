"""What the columns of a recording hold that is no data: by column and cause, with what to do."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from edge_agent.sources.replay.labels import is_quality_name

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_MAX_CELL: Final = 60
_OPTION: Final = re.compile(r"--([a-z]+(?:-[a-z]+)*)")


class Cause(NamedTuple):
    """Why cells or rows are not used as they are.

    reason: the label in the metric of refused values; empty if they are used, or were expected.
    """

    reason: str
    what: str
    mend: str


CAUSES: Final = {
    "time": Cause("time", "not a time", "set --time-format, or another column by --time"),
    "no_such_time": Cause(
        "no_such_time",
        "a time that does not exist, because summer time skips that hour,",
        "does the clock of the recording follow summer time? set --timezone, as +01:00",
    ),
    "message": Cause("message", "no recorded message", "mosquitto_sub -F '%U %t %x' writes them"),
    "out_of_order": Cause("out_of_order", "too far behind the rows before it", "sort the file"),
    "text": Cause("number", "text", "give its signal a map {WORD: number}, or remove the column"),
    "decimal": Cause("number", "a number that may be several", "set --decimal , or --decimal ."),
    "sign": Cause("number", "another decimal sign than the other cells", "set --decimal"),
    "infinite": Cause("number", "infinite", "is it an overflow of the logger?"),
    "number": Cause("number", "not a number", "correct the cells, or remove the column"),
    "unit": Cause(
        "number", "another unit than the signal or the first cell", "export one unit, or none"
    ),
    "quality": Cause("quality", "not a quality", "set --quality-codes"),
    "unknown": Cause("unknown", "no signal of the plant", "set --columns SIGNAL=NAME"),
    "other_asset": Cause("unknown", "an asset that is not in the config", "add it to assets"),
    "columns": Cause(
        "columns", "more cells than the header", "is a decimal comma the separator, too?"
    ),
    "unreadable": Cause("unreadable", "a quote in a wrong place, or damage", "export it again"),
    "samples": Cause("samples", "a sample that is not a number", "its block is not used"),
    "file": Cause("file", "a file that cannot be read", "export it again"),
    "out_of_range": Cause("", "outside the signal's valid range", "check unit, scale and valid"),
    "equal_time": Cause(
        "", "a time that an earlier row has, too,", "the last one is used; export more digits"
    ),
    "earlier_time": Cause("", "an earlier time than the rows before it", "they were sorted"),
    "empty": Cause("", "empty cells", "the last value holds for a while"),
}
# A column without any value is of no use, whatever holds elsewhere.
_ALL_EMPTY: Final = "remove the column, or its signal"


@dataclass(slots=True)
class Finding:
    """Cells of a column, or rows, with one cause: how many of how many, and the first of them."""

    cause: str
    column: str
    n: int
    path: Path
    line: int
    cell: str
    rows: int = 0

    @property
    def reason(self) -> str:
        """The label in the metric of refused values; empty if nothing was refused."""
        return CAUSES[self.cause].reason

    @property
    def share(self) -> float:
        """Of all rows."""
        return self.n / max(self.n, self.rows)

    @property
    def mend(self) -> str:
        """What to do."""
        return _ALL_EMPTY if self.cause == "empty" and self.is_whole else CAUSES[self.cause].mend

    @property
    def is_whole(self) -> bool:
        """True if every cell of the column has this cause: it has no value."""
        return self.n >= self.rows

    def __str__(self) -> str:
        if self.cause == "file":
            return f"{self.path.name}: {self.cell}"
        column = f"column {self.column!r}: " if self.column else ""
        such = f", such as {shown(self.cell)}" if self.cell.strip() else ", the first"
        line = f", line {self.line}" if self.line else ""
        return (
            f"{column}{CAUSES[self.cause].what} in {self.n} of {max(self.n, self.rows)} rows"
            f"{such} in {self.path.name}{line} ({self.mend})"
        )

    def in_config(self) -> str:
        """The same text for a source: with keys instead of options."""
        return _OPTION.sub(lambda found: found[1].replace("-", "_"), str(self))

    def as_dict(self) -> dict[str, Any]:
        """The same for programs."""
        return {
            "column": self.column,
            "cause": self.cause,
            "rows": self.n,
            "of": max(self.n, self.rows),
            "file": str(self.path),
            "line": self.line,
            "cell": self.cell[:_MAX_CELL],
            "refused": bool(self.reason),
            "mend": self.mend,
        }


def _order(one: Finding) -> tuple[bool, int, int]:
    return not one.reason, -one.n, one.line


def shown(cell: str) -> str:
    """A cell, quoted and cut."""
    return repr(cell if len(cell) <= _MAX_CELL else f"{cell[:_MAX_CELL]}...")


@dataclass(slots=True)
class Report:
    """The findings of one file, or of all files of a recording.

    rows: read, by column. read_as: what was detected, of each kind of file. unused: columns that
    are no signal. other_units: the unit of its signal, by column that names another one.
    """

    found: dict[tuple[str, str], Finding] = field(default_factory=dict)
    rows: Counter[str] = field(default_factory=Counter)
    read_as: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)
    other_units: dict[str, str] = field(default_factory=dict)

    def add(self, one: Finding) -> None:
        """Count cells or rows with a cause."""
        key = one.cause, one.column
        if key in self.found:
            self.found[key].n += one.n
        else:
            self.found[key] = one

    def count_rows(self, columns: list[str], n: int) -> None:
        """Count rows that were read, of each of these columns."""
        for column in columns:
            self.rows[column] += n

    def describe(self, read_as: str, unused: list[str], other_units: Mapping[str, str]) -> None:
        """Record how a file is read, its columns that are no signal, and those in other units."""
        self.other_units |= other_units
        self.read_as += [read_as] * (bool(read_as) and read_as not in self.read_as)
        self.unused += [name for name in unused if name and name not in self.unused]

    def unused_qualities(self) -> list[str]:
        """Columns that are no signal, but may be qualities by their names."""
        return [name for name in self.unused if is_quality_name(name)]

    def findings(self) -> list[Finding]:
        """What was refused first, then what was only noted; each with the most rows first."""
        for one in self.found.values():
            one.rows = self.rows[one.column]
        return sorted(self.found.values(), key=_order)

    def refused(self) -> list[Finding]:
        """What was refused."""
        return [one for one in self.findings() if one.reason]

    def without_value(self) -> dict[str, str]:
        """Columns of which no cell is a valid value, and what they hold."""
        found: dict[str, list[Finding]] = {}
        for one in self.findings():
            found.setdefault(one.column, []).append(one)
        return {
            column: " and ".join(CAUSES[one.cause].what for one in several)
            for column, several in found.items()
            if sum(one.n for one in several) >= self.rows[column]
        }

    def count(self, cause: str) -> int:
        """The number of cells or rows with a cause."""
        return sum(one.n for one in self.found.values() if one.cause == cause)

    def by_reason(self) -> dict[str, int]:
        """The number of refused rows or cells, by the label of the metric."""
        found: Counter[str] = Counter()
        for one in self.refused():
            found[one.reason] += one.n
        return dict(found)
