"""Reads recordings as one stream of values in order of time, from files of any form."""

from __future__ import annotations

import logging
from contextlib import ExitStack, closing
from glob import glob, has_magic
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.clock import NEVER
from edge_agent.config.schema import Kind
from edge_agent.errors import EdgeAgentError
from edge_agent.sources.replay.csv_reader import open_table, read_chunk
from edge_agent.sources.replay.decoder import Decoder, Rows
from edge_agent.sources.replay.number_format import check_shape, choose_numbers
from edge_agent.sources.replay.places import Places
from edge_agent.sources.replay.plan import make_plan
from edge_agent.sources.replay.report import Finding, Report, shown
from edge_agent.sources.replay.time_format import choose_time
from edge_agent.sources.replay.time_order import TimeOrder
from edge_agent.sources.replay.times import TimeReader
from edge_agent.sources.replay.zone import find_zone
from edge_agent.values import Columns
from edge_agent.values import columns as make_columns

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    from edge_agent.plant import Plant, PlantSignal
    from edge_agent.sources.replay.cells import Numbers
    from edge_agent.sources.replay.config import ReplayConfig
    from edge_agent.sources.replay.csv_reader import Reject, Table

BLOCK_VALUES: Final = 4096
MAX_FILES: Final = 512  # all are open at once, and a process may open 1024
_SORT_VALUES: Final = 1_000_000
_CHUNK_VALUES: Final = 16_384
_NOTHING: Final = make_columns([], [], [])

log = logging.getLogger("edge_agent.sources")


class Recording:
    """All files of a replay config.

    A million values are held and sorted together, so that files may overlap, run backwards or go
    signal by signal within that range; values that come later are rejected as `out_of_order`.
    source: only signals of this source; None for any source. quiet: refused rows are not logged:
    the caller reports `refused`. paths: only these of its files.
    """

    def __init__(
        self,
        config: ReplayConfig,
        plant: Plant,
        source: str | None = None,
        *,
        quiet: bool = False,
        paths: Sequence[Path] | None = None,
    ) -> None:
        self._config = config
        self._quiet = quiet
        self._plant = plant
        columns = {str(signal): column for signal, column in config.columns.items()}
        self._places = Places(plant, source, config.template, columns)
        self._paths = find_files(config.path) if paths is None else list(paths)
        if len(self._paths) > MAX_FILES:
            where, what = str(config.path), f"{len(self._paths)} files are more than {MAX_FILES}"
            raise EdgeAgentError(what, where=where, hint="join some")
        self._sizes = {path: path.stat().st_size for path in self._paths}
        self._positions: dict[Path, Callable[[], int]] = {}
        self._done_us = NEVER
        self.total_bytes = sum(self._sizes.values())
        self.report = Report()
        self._columns: dict[int, str] = {}  # by signal, the column or the label of its values
        self.n_rows = 0
        self.n_values = 0

    @property
    def rejected(self) -> dict[str, int]:
        """Rows or cells refused, by reason."""
        return self.report.by_reason()

    def causes(self) -> dict[int, str]:
        """Why scalar signals have no value, by number: their column, and what it holds."""
        held = self.report.without_value()
        found = {
            index: f"only {held[column]} in column {column!r}"
            for index, column in self._columns.items()
            if column in held
        }
        lacking = {one.index: "no column" for one in self._lacking()}
        return found | lacking

    def without_column(self) -> list[str]:
        """Signals of the recorded assets that no column or row has, as `asset.signal`."""
        return [f"{one.asset.id}.{one.name}" for one in self._lacking()]

    def _lacking(self) -> list[PlantSignal]:
        assets = {self._plant.signals[index].asset.id for index in self._columns}
        return [
            one
            for one in self._plant.signals
            if one.asset.id in assets
            and one.config.kind is Kind.SCALAR
            and one.index not in self._columns
        ]

    @property
    def position(self) -> int:
        """Bytes read so far, of `total_bytes`."""
        return sum(position() for position in self._positions.values())

    def blocks(self) -> Generator[Columns]:
        """All values in order of time, at most 4096 per block; a row is never split.

        Raises EdgeAgentError if a file does not match the config.
        """
        with closing(self.steps()) as steps:
            yield from (block for block in steps if len(block))

    def steps(self) -> Generator[Columns]:
        """Like `blocks`, with empty blocks at which the caller may do other work."""
        with ExitStack() as opened:
            readers = [opened.enter_context(closing(self._read(path))) for path in self._paths]
            waiting: list[Rows] = []
            n = 0
            for rows, horizon_us in _merged(readers):
                waiting.append(rows)
                n += len(rows.row)
                if n >= _SORT_VALUES:
                    ready, rest = self._split(_merge(waiting), horizon_us)
                    waiting, n = [rest], len(rest.row)
                    yield from _cut(ready)
                yield _NOTHING
            yield from _cut(_merge(waiting))

    def _split(self, rows: Rows, horizon_us: int) -> tuple[Rows, Rows]:
        """The values that no file can precede any more, at least half; and the others."""
        time_us = rows.values.time_us
        self._done_us = max(horizon_us, int(time_us[len(time_us) // 2]))
        n = int(np.searchsorted(time_us, self._done_us, "right"))
        return (
            Rows(rows.values.slice(0, n), rows.row[:n]),
            Rows(rows.values.slice(n), rows.row[n:]),
        )

    def _read(self, path: Path) -> Generator[Rows]:
        config = self._config
        with open_table(path, config.separator, header=config.header) as table:
            self._positions[path] = table.position
            check_shape(table)
            report = Report()
            yield from self._decode(table, report)
            size = self._sizes[path]
            self._positions[path] = lambda: size
        if (refused := report.refused()) and not self._quiet:
            reasons = ", ".join(f"{n} {reason}" for reason, n in report.by_reason().items())
            fields = {"file": str(path), "reasons": reasons, "example": refused[0].in_config()}
            log.warning("values rejected", extra=fields)

    def _decode(self, table: Table, report: Report) -> Iterator[Rows]:
        decoder = self._decoder(table, report)
        size = max(1, _chunk_values(len(self._paths)) // max(1, len(decoder.plan.values)))
        first = True
        while (chunk := read_chunk(table, size, decoder.reject)) is not None:
            rows = decoder.decode(chunk, self.n_rows, self._done_us)
            self._count_rows(report, table.names, len(chunk.lines))
            self._columns |= decoder.columns
            if first and decoder.order.is_coarse:
                raise _coarse(report, table.path)
            first = False
            self.n_values += len(rows.row)
            yield rows
        if doubtful := decoder.time.doubtful():
            log.warning(
                "times are ambiguous: their hour comes twice at the end of summer time, and no row"
                " shows which; they are read as the first",
                extra={
                    "file": str(table.path),
                    "rows": doubtful,
                    "timezone": self._config.timezone,
                },
            )

    def _decoder(self, table: Table, report: Report) -> Decoder:
        """Detects how a table is written; EdgeAgentError if it does not match the config."""
        config = self._config
        plan = make_plan(config, table, self._places, self._asset_of(table.path))
        parse = choose_time(table, config.time_format, table.names[plan.time], plan.moment)
        sample = [plan.moment(row) for row in table.sample]
        zone, several = find_zone(config.timezone), plan.label_column is not None
        reader = TimeReader(parse, zone, sample, several=several)
        how = choose_numbers(table, plan.values, (plan.time, plan.clock), config.decimal)
        read_as = _read_as(config, table, how, reader)
        self.report.describe(read_as, plan.unused, plan.other_units)
        order, count = TimeOrder(backward=reader.backward), self.counter(table.path, report)
        return Decoder(config, self._places, plan, table.names, reader, order, how, count)

    def _asset_of(self, path: Path) -> str:
        """The asset of all rows of a file, if the config names it."""
        asset = self._config.asset.replace("{stem}", path.name.split(".")[0])
        if asset and not self._places.knows(asset):
            raise EdgeAgentError(
                f"the plant has no asset {asset!r}",
                where=str(path),
                hint="name it in `assets`, or give the source a `template`",
            )
        return asset

    def _count_rows(self, report: Report, names: list[str], n: int) -> None:
        self.n_rows += n
        for each in (report, self.report):
            each.count_rows(["", *names], n)

    def counter(self, path: Path, *reports: Report) -> Reject:
        """Counts what is refused or noted in a file, in the report of the recording and these."""

        def count(reason: str, n: int, line: int, column: str, cell: str) -> None:
            for each in (self.report, *reports):
                each.add(Finding(reason, column, n, path, line, cell))
                each.rows[""] += n if not column else 0  # a row that has no cells

        return count


def _coarse(report: Report, path: Path) -> EdgeAgentError:
    """The times of most rows are equal: their values would be lost."""
    (found,) = (one for one in report.findings() if one.cause == "equal_time")
    return EdgeAgentError(
        f"{found.n} of {found.rows} rows have the time of another row, such as "
        f"{shown(found.cell)} in line {found.line}",
        where=f"{path}: column {found.column!r}",
        hint="export times with seconds or milliseconds, or set another column: time",
    )


def _read_as(config: ReplayConfig, table: Table, how: list[Numbers], reader: TimeReader) -> str:
    """What was detected, if it is not what every program writes."""
    found = []
    if not config.separator and table.separator not in {",", ""}:
        name = {"\t": "tab", " ": "blanks"}.get(table.separator, repr(table.separator))
        found.append(f"separator {name}")
    if not config.decimal and any(each.decimal == "," for each in how):
        found.append("decimal ','")
    if any(each.grouped for each in how):
        found.append("thousands in groups")
    if any(each.assumed for each in how):
        found.append("1.234 as a decimal (--decimal)")
    if reader.is_relative and not config.time_format:
        found.append("times count from a start, in seconds if their column names no unit")
    elif reader.is_local and config.timezone == "UTC":
        found.append("times without a zone are UTC (--timezone)")
    return ", ".join(found)


def find_files(path: Path) -> list[Path]:
    """The files that match a path or pattern, sorted by name."""
    literal = not has_magic(str(path)) or path.exists()
    found = [path] if literal else sorted(map(Path, glob(str(path))))  # noqa: PTH207 (absolute patterns)
    files = [file for file in found if file.is_file()]
    if not files and path.is_dir():
        raise EdgeAgentError("is a folder", where=str(path), hint=f"write {path / '*.csv'}")
    if not files:
        raise EdgeAgentError("no such file", where=str(path))
    return files


def _merged(readers: list[Generator[Rows]]) -> Iterator[tuple[Rows, int]]:
    """The rows of the reader furthest behind, in turn; and the time that all have reached."""
    reached = dict.fromkeys(readers, NEVER)
    while reached:
        reader = min(reached, key=reached.__getitem__)
        rows = next(reader, None)
        if rows is None:
            del reached[reader]
            continue
        last_us = int(rows.values.time_us.max(initial=NEVER + 1))
        reached[reader] = max(reached[reader], last_us)
        yield rows, min(reached.values())


def _chunk_values(files: int) -> int:
    """Chunk size, so that a chunk of each file fills at most half of the sorted values."""
    return min(_CHUNK_VALUES, _SORT_VALUES // (2 * files))


def _merge(parts: list[Rows]) -> Rows:
    """All rows in order of time; rows of the same time keep their order."""
    values = Columns.concat([part.values for part in parts])
    row = np.concatenate([np.empty(0, np.int64), *(part.row for part in parts)])
    order = np.argsort(values.time_us, kind="stable")
    return Rows(values.where(order), row[order])


def _cut(rows: Rows) -> Iterator[Columns]:
    """Blocks of at most `BLOCK_VALUES`, or of one row that is larger."""
    ends = np.append(np.flatnonzero(np.diff(rows.row)) + 1, len(rows.row))
    start = 0
    while start < len(rows.row):
        last = int(np.searchsorted(ends, start + BLOCK_VALUES, "right")) - 1
        next_end = int(np.searchsorted(ends, start, "right"))
        stop = int(ends[max(last, next_end)])
        yield rows.values.slice(start, stop)
        start = stop
