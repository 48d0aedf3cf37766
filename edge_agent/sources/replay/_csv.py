"""Reading one CSV recording, plain or gzip: its separator, its header, its rows in chunks."""

from __future__ import annotations

import csv
import gzip
import itertools
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from io import TextIOWrapper
from typing import IO, TYPE_CHECKING, Final, cast

from edge_agent.errors import EdgeAgentError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    Row = list[str]
    # (reason, number of cells or rows, line of the first)
    Reject = Callable[[str, int, int], None]

_SNIFF_BYTES: Final = 1 << 16
_SNIFF_LINES: Final = 20
_MAX_LINE: Final = 1 << 20
_SEPARATORS: Final = ("\t", ";", "|", ",", " ")
_UNREADABLE: Final = (OSError, EOFError, UnicodeError, zlib.error)


@dataclass(slots=True)
class Table:
    """An open recording: the names of its columns, and its rows, each with its line.

    A row is None where the file is damaged; `position` tells the bytes read so far.
    """

    path: Path
    names: list[str]
    rows: Iterator[tuple[int, Row | None]]
    position: Callable[[], int]


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some rows, all as wide as the header: lines [n], cells by column [columns][n]."""

    lines: list[int]
    cells: list[tuple[str, ...]]


@contextmanager
def open_table(path: Path, separator: str, *, header: bool) -> Iterator[Table]:
    """Open a CSV and read its header; EdgeAgentError where it cannot be one.

    separator: `` finds it out; a blank stands for any run of blanks.
    """
    try:
        raw = path.open("rb")
    except OSError as error:
        raise EdgeAgentError(f"cannot read: {error.strerror}", where=str(path)) from error
    with raw, _as_text(path, raw) as text:
        try:
            lines = iter(lambda: text.readline(_MAX_LINE), "")
            head = list(itertools.islice(lines, _SNIFF_LINES))
            rows = _rows(itertools.chain(head, lines), separator or sniff_separator(head))
            table = _table(path, rows, raw.tell, header=header)
        except _UNREADABLE as error:
            raise EdgeAgentError(f"cannot read: {error}", where=str(path)) from error
        yield table


def _as_text(path: Path, raw: IO[bytes]) -> TextIOWrapper:
    def unpacked() -> IO[bytes]:
        raw.seek(0)
        return cast("IO[bytes]", gzip.GzipFile(fileobj=raw)) if path.suffix == ".gz" else raw

    try:
        encoding = _encoding(unpacked().read(_SNIFF_BYTES))
    except _UNREADABLE:
        encoding = "utf-8"  # the first read says what is wrong
    return TextIOWrapper(unpacked(), encoding, errors="replace", newline="")


def _encoding(head: bytes) -> str:
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    try:
        head.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:  # not just a character that the end of `head` cuts
            return "cp1252"
    return "utf-8-sig"


def sniff_separator(head: Sequence[str]) -> str:
    """The first of tab, `;`, `|`, `,`, blanks that splits all of these lines alike.

    `;` goes before `,` because of decimal commas; blanks last because they stand in dates.
    """
    lines = [line.strip("\r\n") for line in head if line.strip()]
    for separator in _SEPARATORS:
        widths = {len(row or ()) for _, row in _rows(iter(lines), separator)}
        if len(widths) == 1 and widths.pop() > 1:
            return separator
    return next((s for s in _SEPARATORS if lines and s in lines[0]), ",")


def _rows(lines: Iterator[str], separator: str) -> Iterator[tuple[int, Row | None]]:
    if separator == " ":
        for number, line in enumerate(lines, 1):
            yield number, line.split()
        return
    reader = csv.reader(lines, delimiter=separator)
    while True:
        row: Row | None
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error:  # a quoted field without an end
            row = None
        except _UNREADABLE:  # a gzip file cut short
            yield reader.line_num, None
            return
        yield reader.line_num, row


def _table(
    path: Path,
    rows: Iterator[tuple[int, Row | None]],
    position: Callable[[], int],
    *,
    header: bool,
) -> Table:
    first = next(((line, row) for line, row in rows if row and any(row)), None)
    if first is None:
        raise EdgeAgentError("the file is empty", where=str(path))
    if header:
        return Table(path, [name.strip() for name in first[1]], rows, position)
    names = [str(number) for number in range(1, len(first[1]) + 1)]
    return Table(path, names, itertools.chain([first], rows), position)


def find_column(table: Table, wanted: str) -> int:
    """Index of a column given by its name or by its number, the first being 1."""
    if wanted in table.names:
        return table.names.index(wanted)
    if wanted.isascii() and wanted.isdigit() and 1 <= int(wanted) <= len(table.names):
        return int(wanted) - 1
    known = ", ".join(table.names[:20])
    raise EdgeAgentError(
        f"no column {wanted!r}", where=str(table.path), hint=f"its columns: {known}"
    )


def read_chunk(table: Table, size: int, reject: Reject) -> Chunk | None:
    """The next `size` rows without the blank and the misshapen ones; None at the end."""
    taken = list(itertools.islice(table.rows, size))
    if not taken:
        return None
    width = len(table.names)
    lines, rows = [], []
    for line, row in taken:
        if row is None:
            reject("unreadable", 1, line)
        elif any(cell.strip() for cell in row[width:]):
            reject("columns", 1, line)  # more cells than names: a decimal comma, perhaps
        elif any(row):
            lines.append(line)
            rows.append(row if len(row) == width else _fit(row, width))
    return Chunk(lines, list(zip(*rows, strict=True)) or [()] * width)


def _fit(row: Row, width: int) -> Row:
    return row[:width] + [""] * (width - len(row))
