"""Reads the table in a recording: its separator, its header, its rows in chunks.

No cell extends beyond the end of its line: in a sensor log an unclosed quote is an error, and would
include all following rows.
"""

from __future__ import annotations

import csv
import itertools
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from edge_agent.errors import EdgeAgentError
from edge_agent.sources.replay.files import UNREADABLE, open_file
from edge_agent.sources.replay.moments import is_number, looks_like_moment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from edge_agent.sources.replay.files import Opened

    Row = list[str]
    Record = tuple[int, Row | None]

SAMPLE_ROWS: Final = 2000
_HEAD_LINES: Final = 60
_SNIFF_LINES: Final = 40
_MAX_LINE: Final = 1 << 20
_MAX_HEADER_LINES: Final = 6  # of one header whose cells have line breaks
_MAX_UNIT_ROWS: Final = 3
_SEPARATORS: Final = ("\t", ";", "|", ",", " ")
_COMMENT: Final = "#"
_ENOUGH_ALIKE: Final = 0.6


class Reject(Protocol):
    """Called with refused input: the number of rows or cells, and the first of them."""

    def __call__(self, reason: str, n: int, line: int, column: str, cell: str) -> None:
        """Count and report them."""


@dataclass(slots=True)
class Table:
    """An open recording: the names of its columns, and its rows, each with its line.

    A row is None if the file is damaged; `position` returns the bytes read so far. sample: the
    first rows, which `rows` also returns. again: opens the table anew, to read all of its rows.
    """

    path: Path
    names: list[str]
    rows: Iterator[Record]
    position: Callable[[], int]
    sample: list[Row] = field(default_factory=list)
    again: Callable[[], Iterator[Row]] = lambda: iter(())
    since_1904: bool = False
    separator: str = ""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some rows, all as wide as the header: lines [n], cells by column [columns][n]."""

    lines: list[int]
    cells: list[tuple[str, ...]]


@contextmanager
def open_table(path: Path, separator: str, *, header: bool) -> Iterator[Table]:
    """Open a recording and read its header; EdgeAgentError if it is not a recording.

    separator: `` detects it; a blank stands for any run of blanks.
    """
    with open_file(path, _MAX_LINE) as opened:
        try:
            table = _table(path, opened, separator, header=header)
        except UNREADABLE as error:
            raise EdgeAgentError(f"cannot read: {error}", where=str(path)) from error

        def again() -> Iterator[Row]:
            with open_table(path, separator, header=header) as other:
                yield from (row for _, row in other.rows if row)

        table.again = again
        yield table


def _table(path: Path, opened: Opened, separator: str, *, header: bool) -> Table:
    if opened.lines is not None:
        lines = _Lines(opened.lines)
        separator = separator or lines.separator or sniff_separator(lines.data)
        records: Iterator[Record] = lines.records(separator)
    else:
        rows = opened.rows or iter(())
        lines, records = None, ((n, row) for n, row in enumerate(rows, 1))
    head = list(itertools.islice(records, _HEAD_LINES))
    top, first = _find_header(head) if header else (None, _first_filled(head))
    if first is None and top is None:
        raise EdgeAgentError("the file is empty", where=str(path))
    start = first if first is not None else (top or 0) + 1  # rows without numbers: refused by row
    names = _names(head, top, start, lines.comment(separator) if lines else [])
    data = _data(itertools.chain(head[start:], records), names)
    sample = list(itertools.islice(data, SAMPLE_ROWS))
    return Table(
        path,
        names,
        itertools.chain(sample, data),
        opened.position,
        sample=[row for _, row in sample if row],
        since_1904=opened.since_1904,
        separator=separator,
    )


def _names(head: list[Record], top: int | None, start: int, comment: Row) -> Row:
    """Names of the columns: the header's, those of a header that is a comment, or numbers."""
    first = head[start][1] or [] if start < len(head) else []
    if top is None and len(comment) == len(first) > 1:
        return comment
    if top is None:
        return [str(number) for number in range(1, len(first) + 1)]
    return [" ".join(name.split()) for name in head[top][1] or []]


def _data(records: Iterator[Record], names: Row) -> Iterator[Record]:
    """All rows except repetitions of the header, which loggers write after each start."""
    return ((n, row) for n, row in records if row != names)


class _Lines:
    """The lines of a text: the first lines are read in advance, without comments."""

    def __init__(self, lines: Iterator[str]) -> None:
        self.separator = ""
        numbered = ((n, line.replace("\0", "").rstrip("\r\n")) for n, line in enumerate(lines, 1))
        head: list[tuple[int, str]] = []
        self._comments: list[str] = []
        self._failed: BaseException | None = None
        try:
            for n, line in numbered:
                if n == 1 and line[:4].lower() == "sep=" and len(line) >= 5:  # noqa: PLR2004 (Excel)
                    self.separator = line[4]
                elif line.startswith(_COMMENT):
                    self._comments.append(line)
                else:
                    head.append((n, line))
                if len(head) >= _SNIFF_LINES:
                    break
        except UNREADABLE:
            if not head:
                raise
        self._head = _join_header(head)
        self._rest = numbered
        self.data = [line for _, line in self._head]

    def comment(self, separator: str) -> Row:
        """The last comment above the data, cut into cells: it may be the header."""
        last = self._comments[-1].lstrip("# ") if self._comments else ""
        return [cell.strip() for cell in _cut(last, separator) or []] if last else []

    def records(self, separator: str) -> Iterator[Record]:
        """Yield each line as its cells; None for a line that cannot be read."""
        n = 0
        try:
            for n, line in itertools.chain(self._head, self._rest):
                if not line.startswith(_COMMENT):
                    yield n, _cut(line, separator)
        except UNREADABLE:  # a packed file cut short
            yield n, None


def _join_header(head: list[tuple[int, str]]) -> list[tuple[int, str]]:
    """Join a header whose quoted cells have line breaks, as Excel writes them."""
    first = next((i for i, (_, line) in enumerate(head) if line.strip()), 0)
    joined = ""
    for i, (n, line) in enumerate(head[first : first + _MAX_HEADER_LINES]):
        joined = f"{joined} {line}" if joined else line
        if joined.count('"') % 2 == 0:
            return [(n, joined), *head[first + i + 1 :]]
    return head


def _cut(line: str, separator: str) -> Row | None:
    """The cells of a line; None if an extra quote may be part of a number."""
    if separator == " ":
        return line.split()
    if '"' not in line:
        return line.split(separator)
    try:
        return next(csv.reader([line], delimiter=separator, strict=True), [])
    except csv.Error:
        cells = line.split(separator)
    if any('"' in cell and is_number(cell.strip('" ')) for cell in cells):
        return None
    return [cell.replace('"', "") for cell in cells]


def sniff_separator(head: Sequence[str]) -> str:
    """The first of tab, `;`, `|`, `,`, blanks that splits all or most of these lines alike.

    `;` is tried before `,` because of decimal commas; blanks last because dates contain them.
    """
    lines = [line for line in head if line.strip()]
    best, share = "", 0.0
    # A run of blanks may contain tabs, but where there are tabs, they separate.
    tabs = bool(lines) and "\t" in lines[0]
    for separator in _SEPARATORS[:-1] if tabs else _SEPARATORS:
        widths = Counter(len(_cut(line.strip("\r\n"), separator) or ()) for line in lines)
        width, n = widths.most_common(1)[0] if widths else (0, 0)
        if width > 1 and n == len(lines):
            return separator
        if width > 1 and n / len(lines) > share and separator != " ":
            best, share = separator, n / len(lines)
    if share >= _ENOUGH_ALIKE:
        return best
    return next((s for s in _SEPARATORS if lines and s in lines[0]), ",")


def _find_header(head: list[Record]) -> tuple[int | None, int | None]:
    """Index of the header and of the first row of data; rows above are not part of the table.

    Between them there may be rows of units. Without a row above the data there is no header.
    """
    rows = [row or [] for _, row in head]
    filled = [i for i, row in enumerate(rows) if any(cell.strip() for cell in row)]
    if not filled:
        return None, None
    width = Counter(len(rows[i]) for i in filled).most_common(1)[0][0]
    data = [i for i in filled if _is_data(rows[i])]
    full = next((i for i in data if len(rows[i]) >= width), None)
    names = [i for i in filled if i not in data and len(rows[i]) >= width - 1]
    above = [i for i in names if full is None or i < full]
    if not above and filled[0] not in data:
        above, full = filled[:1], None  # narrower than the rows: reported when the rows are checked
    if not above:
        return None, full
    block = above[-1 - _MAX_UNIT_ROWS :] if full is not None else above[:1]
    block = [i for n, i in enumerate(block) if not _is_title(rows, block[n:])]
    top = next(
        i
        for n, i in enumerate(block)
        if all(_is_next(block, filled, m) for m in range(n + 1, len(block)))
    )
    return top, next((i for i in data if i > top), None)


def _is_title(rows: list[Row], block: list[int]) -> bool:
    """True if the first row of a block is a title that spreadsheets fill up with empty cells.

    At most half of its cells have a text, and a row below it has more of them.
    """
    texts = [sum(bool(cell.strip()) for cell in rows[i]) for i in block]
    return 2 * texts[0] <= len(rows[block[0]]) and max(texts) > texts[0]


def _is_next(block: list[int], filled: list[int], n: int) -> bool:
    """True if there is no other row between the rows n - 1 and n of the block."""
    return filled.index(block[n]) == filled.index(block[n - 1]) + 1


def _is_data(row: Row) -> bool:
    """True if a row contains a number or a time; names and units are neither."""
    return any(looks_like_moment(cell) for cell in row)


def _first_filled(head: list[Record]) -> int | None:
    return next((i for i, (_, row) in enumerate(head) if row and any(row)), None)


def find_column(table: Table, wanted: str) -> int:
    """Index of a column, from its name or its number, the first being 1."""
    if wanted in table.names:
        return table.names.index(wanted)
    lower = [name.casefold() for name in table.names]
    if lower.count(wanted.casefold()) == 1:
        return lower.index(wanted.casefold())
    if wanted.isascii() and wanted.isdigit() and 1 <= int(wanted) <= len(table.names):
        return int(wanted) - 1
    known = ", ".join(table.names[:20])
    raise EdgeAgentError(
        f"no column {wanted!r}", where=str(table.path), hint=f"its columns: {known}"
    )


def read_chunk(table: Table, size: int, reject: Reject) -> Chunk | None:
    """The next `size` rows without blank and misshapen ones; None at the end."""
    taken = list(itertools.islice(table.rows, size))
    if not taken:
        return None
    width = len(table.names)
    lines, rows = [], []
    for line, row in taken:
        if row is None:
            reject("unreadable", 1, line, "", "")
        elif any(cell.strip() for cell in row[width:]):
            reject("columns", 1, line, "", (table.separator or ",").join(row))
        elif any(row):
            lines.append(line)
            rows.append(row if len(row) == width else _fit(row, width))
    return Chunk(lines, list(zip(*rows, strict=True)) or [()] * width)


def _fit(row: Row, width: int) -> Row:
    return row[:width] + [""] * (width - len(row))
