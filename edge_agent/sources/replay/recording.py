"""Reads recordings as one stream of values in order of time, from files of any form."""

from __future__ import annotations

import logging
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from glob import glob, has_magic
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.clock import NEVER
from edge_agent.errors import EdgeAgentError
from edge_agent.sources.replay.csv_reader import open_table, read_chunk
from edge_agent.sources.replay.decoder import Decoder, Rows
from edge_agent.sources.replay.places import Places
from edge_agent.sources.replay.plan import make_plan
from edge_agent.sources.replay.sniff import check_shape, choose_numbers, choose_time
from edge_agent.sources.replay.times import TimeReader
from edge_agent.sources.replay.zone import find_zone
from edge_agent.values import Columns
from edge_agent.values import columns as make_columns

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    from edge_agent.plant import Plant
    from edge_agent.sources.replay.config import ReplayConfig
    from edge_agent.sources.replay.csv_reader import Table

BLOCK_VALUES: Final = 4096
MAX_FILES: Final = 512  # all are open at once, and a process may open 1024
_SORT_VALUES: Final = 1_000_000
_CHUNK_VALUES: Final = 16_384
_MAX_CELL: Final = 60
_NOTHING: Final = make_columns([], [], [])

log = logging.getLogger("edge_agent.sources")


_CAUSES: Final = {
    "time": "is not a time (time_format)",
    "no_such_time": "does not exist: summer time skips that hour (timezone; is the clock of the "
    "recording without summer time?)",
    "out_of_order": "is too far behind the rows before it",
    "number": "is not a number, or may be several (decimal)",
    "quality": "is not a quality (quality_codes)",
    "unknown": "belongs to no signal",
    "columns": "has more cells than the header (separator, decimal)",
    "unreadable": "a quote in a wrong place, or the file is damaged",
    "samples": "has a sample that is not a number",
}


@dataclass(slots=True)
class Refused:
    """Rows or cells that were refused for one reason: how many, and the first of them."""

    reason: str
    n: int
    path: Path
    line: int
    column: str
    cell: str

    def __str__(self) -> str:
        line = f", line {self.line}" if self.line else ""
        column = f", column {self.column!r}" if self.column else ""
        cell = f": {_shown(self.cell)}" if self.cell or self.column else ":"
        cause = _CAUSES.get(self.reason, self.reason)
        return f"the first in {self.path.name}{line}{column}{cell} {cause}"


def _shown(cell: str) -> str:
    return repr(cell if len(cell) <= _MAX_CELL else f"{cell[:_MAX_CELL]}...")


@dataclass(slots=True)
class Rejects:
    """The refused input of one file, by reason."""

    path: Path
    total: Callable[[Refused], None]
    found: dict[str, Refused] = field(default_factory=dict)

    def add(self, reason: str, n: int, line: int, column: str, cell: str) -> None:
        """Count refused input of this file; see `Reject`."""
        new = Refused(reason, n, self.path, line, column, cell)
        if reason in self.found:
            self.found[reason].n += n
        else:
            self.found[reason] = replace(new)
        self.total(new)

    def __str__(self) -> str:
        return ", ".join(
            f"{one.n} {one.reason} from line {one.line}" for one in self.found.values()
        )


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
        self.refused: dict[str, Refused] = {}
        """Rows or cells refused, by reason, with the first of each."""
        self.n_rows = 0
        self.n_values = 0

    @property
    def rejected(self) -> dict[str, int]:
        """Rows or cells refused, by reason."""
        return {reason: one.n for reason, one in self.refused.items()}

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
            rejects = Rejects(path, self.count_refused)
            yield from self._decode(table, rejects)
            size = self._sizes[path]
            self._positions[path] = lambda: size
        if rejects.found and not self._quiet:
            first = str(next(iter(rejects.found.values())))
            fields = {"file": str(path), "reasons": str(rejects), "example": first}
            log.warning("values rejected", extra=fields)

    def _decode(self, table: Table, rejects: Rejects) -> Iterator[Rows]:
        config = self._config
        asset = config.asset.replace("{stem}", table.path.name.split(".")[0])
        if asset and not self._places.knows(asset):
            raise EdgeAgentError(
                f"the plant has no asset {asset!r}",
                where=str(table.path),
                hint="name it in `assets`, or give the source a `template`",
            )
        plan = make_plan(config, table, self._places, asset)
        if plan.unused:
            log.info("columns unused", extra={"file": str(table.path), "columns": plan.unused})
        time_name = table.names[plan.time]
        parse = choose_time(table, config.time_format, time_name, plan.moment)
        sample = [plan.moment(row) for row in table.sample]
        zone, several = find_zone(config.timezone), plan.label_column is not None
        reader = TimeReader(parse, zone, sample, several=several)
        how = choose_numbers(table, plan.values, (plan.time, plan.clock), config.decimal)
        decoder = Decoder(config, self._places, plan, table.names, reader, how, rejects.add)
        size = max(1, _chunk_values(len(self._paths)) // max(1, len(plan.values)))
        while (chunk := read_chunk(table, size, rejects.add)) is not None:
            rows = decoder.decode(chunk, self.n_rows, self._done_us)
            self.n_rows += len(chunk.lines)
            self.n_values += len(rows.row)
            yield rows
        if doubtful := reader.doubtful():
            log.warning(
                "times are ambiguous: their hour comes twice at the end of summer time, and no row"
                " shows which; they are read as the first",
                extra={"file": str(table.path), "rows": doubtful, "timezone": config.timezone},
            )

    def count_refused(self, new: Refused) -> None:
        """Count refused input, with the first of each reason."""
        if new.reason in self.refused:
            self.refused[new.reason].n += new.n
        else:
            self.refused[new.reason] = new


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
