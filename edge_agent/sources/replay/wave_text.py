"""Reads waveforms from a text: a block of samples in each row, or a signal in each column."""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from edge_agent.errors import EdgeAgentError
from edge_agent.sources.replay.config import Waves
from edge_agent.sources.replay.csv_reader import sniff_separator
from edge_agent.sources.replay.files import UNREADABLE, open_file
from edge_agent.sources.replay.labels import TIME_NAMES, plain_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from edge_agent.sources.replay.config import ReplayConfig
    from edge_agent.sources.replay.csv_reader import Reject

    Floats = NDArray[np.float32]
    Row = tuple[int, list[str]]

PIECE: Final = 16_384  # samples of a channel that are read together
MAX_BLOCK: Final = 1 << 22  # samples of one block
_MAX_LINE: Final = 1 << 26
_HEAD_LINES: Final = 40
_NUMBER: Final = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*", re.ASCII)


class Piece(NamedTuple):
    """Samples [n, channels] in order; begins: of a block that has nothing to do with the last one.

    time: the text of a block's own time, of its first sample; line: of a text file.
    """

    samples: Floats
    begins: bool
    time: str = ""
    line: int = 0


@dataclass(slots=True)
class WaveFile:
    """An open file: its channels by name or number, and its samples.

    rate_hz: 0 if the file does not contain it. position: returns the bytes read so far.
    """

    path: Path
    rate_hz: float
    channels: tuple[str, ...]
    pieces: Iterator[Piece]
    position: Callable[[], int]


def as_floats(values: NDArray[np.generic]) -> Floats:
    """The values in single precision; infinite if they are too large for it."""
    with np.errstate(over="ignore", invalid="ignore"):
        return values.astype(np.float32)


@contextmanager
def open_text(path: Path, config: ReplayConfig, reject: Reject) -> Iterator[WaveFile]:
    """A text with a block in each row, or with a signal in each column."""
    with open_file(path, _MAX_LINE) as opened:
        if opened.lines is None:
            raise EdgeAgentError("is a workbook", where=str(path), hint="save it as CSV")
        try:
            rows, decimal = _rows(opened.lines, config)
            first = next(rows, None)
        except UNREADABLE as error:
            raise EdgeAgentError(f"cannot read: {error}", where=str(path)) from error
        if first is None:
            raise EdgeAgentError("the file is empty", where=str(path))
        text = _Text(path, rows, decimal, reject)
        yield text.file(first, opened.position, by_row=config.waves == Waves.ROWS)


def _rows(lines: Iterator[str], config: ReplayConfig) -> tuple[Iterator[Row], str]:
    """The rows of a text by line, without comments and empty lines; and its decimal sign."""
    filled = (
        (n, line.replace("\0", "").strip("\r\n"))
        for n, line in enumerate(lines, 1)
        if line.strip() and not line.startswith("#")
    )
    head = list(islice(filled, _HEAD_LINES))
    sign = config.separator or sniff_separator([line for _, line in head])
    known = [(n, _cells(line, sign)) for n, line in head]
    samples = [cell for _, cells in known for cell in cells[1:] or cells]
    decimal = config.decimal or _decimal(samples, sign)
    return chain(known, ((n, _cells(line, sign)) for n, line in filled)), decimal


def _cells(line: str, separator: str) -> list[str]:
    cells = line.split() if separator == " " else line.split(separator)
    while len(cells) > 1 and not cells[-1].strip():
        cells.pop()
    return [cell.strip().strip('"') for cell in cells]


def _decimal(cells: list[str], separator: str) -> str:
    """A comma if the cells have commas and no points; the separator is never a part of them."""
    has_comma = separator != "," and any("," in cell for cell in cells)
    return "," if has_comma and not any("." in cell for cell in cells) else "."


@dataclass(slots=True)
class _Text:
    """The rows of a text, and the sign of its decimals."""

    path: Path
    rows: Iterator[Row]
    decimal: str
    reject: Reject

    def file(self, first: Row, position: Callable[[], int], *, by_row: bool) -> WaveFile:
        named = plain_name(first[1][0]) in TIME_NAMES
        has_numbers = any(map(self._is_number, first[1][1:] or first[1]))
        header = first[1] if named or not has_numbers else []
        rows = self.rows if header else chain([first], self.rows)
        timed = named or (len(first[1]) > 1 and not header and not self._is_number(first[1][0]))
        if by_row:
            return WaveFile(self.path, 0.0, ("1",), self._by_row(rows, timed=timed), position)
        names = header or [str(number) for number in range(1, len(first[1]) + 1)]
        pieces = self._by_column(rows, len(names), timed=timed)
        return WaveFile(self.path, 0.0, tuple(names[timed:]), pieces, position)

    def _is_number(self, cell: str) -> bool:
        return _NUMBER.fullmatch(cell.replace(self.decimal, ".")) is not None

    def _by_row(self, rows: Iterator[Row], *, timed: bool) -> Iterator[Piece]:
        for line, cells in self._readable(rows):
            samples = self._numbers(line, cells[timed:])[:MAX_BLOCK]
            yield Piece(samples[:, None], begins=True, time=cells[0] if timed else "", line=line)

    def _by_column(self, rows: Iterator[Row], width: int, *, timed: bool) -> Iterator[Piece]:
        begins = True
        reader = self._readable(rows)
        while some := list(islice(reader, PIECE)):
            found = [
                self._numbers(line, [*cells, *[""] * width][timed:width]) for line, cells in some
            ]
            line, cells = some[0]
            yield Piece(np.stack(found), begins, cells[0] if timed and begins else "", line)
            begins = False

    def _readable(self, rows: Iterator[Row]) -> Iterator[Row]:
        """The rows up to the place where a packed file is damaged."""
        line = 0
        try:
            for line, cells in rows:
                yield line, cells
        except UNREADABLE:
            self.reject("unreadable", 1, line + 1, "", "")

    def _numbers(self, line: int, cells: list[str]) -> Floats:
        """The numbers of cells, NaN for a cell that is not one."""
        if self.decimal != ".":
            cells = [cell.replace(self.decimal, ".") for cell in cells]
        try:
            return as_floats(np.array(cells, np.float64))
        except ValueError:
            pass
        wrong = [not self._is_number(cell) for cell in cells]
        self.reject("number", sum(wrong), line, "", cells[wrong.index(True)] if any(wrong) else "")
        good = ["nan" if bad else cell for bad, cell in zip(wrong, cells, strict=True)]
        return as_floats(np.array(good, np.float64))
