"""Decodes chunks of cells to rows of values, by the plan of a table."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from edge_agent.sources.replay.cells import numbers, problem_of, qualities
from edge_agent.values import BAD, BAD_NO_DATA, GOOD, Columns

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from edge_agent.sources.replay.cells import Numbers
    from edge_agent.sources.replay.config import ReplayConfig
    from edge_agent.sources.replay.csv_reader import Chunk, Reject
    from edge_agent.sources.replay.places import Places
    from edge_agent.sources.replay.plan import Plan
    from edge_agent.sources.replay.time_order import TimeOrder
    from edge_agent.sources.replay.times import TimeReader


@dataclass(frozen=True, slots=True)
class Rows:
    """Values with the number of the row of each, int64 [n]; a row stays together."""

    values: Columns
    row: NDArray[np.int64]


@dataclass(slots=True)
class Decoder:
    """Decodes the chunks of one table by its plan. columns: of each signal found so far."""

    config: ReplayConfig
    places: Places
    plan: Plan
    names: list[str]
    time: TimeReader
    order: TimeOrder
    numbers: list[Numbers]
    reject: Reject
    columns: dict[int, str] = field(default_factory=dict)

    def decode(self, chunk: Chunk, first_row: int, not_before_us: int) -> Rows:
        """The chunk's values, row by row; `first_row` numbers its first row."""
        moments = self.plan.moments(chunk)
        time_us, never, missing = self.time.read(moments)
        late = np.asarray(~never & (time_us < not_before_us))
        signal = self._signals(chunk)
        value, status, usable = self._values(chunk, signal)
        self._count("time", never & ~missing, chunk, self.plan.time, moments)
        self._count("no_such_time", missing, chunk, self.plan.time, moments)
        self._count("out_of_order", late, chunk, self.plan.time, moments)
        self._count_unknown(np.all(signal < 0, axis=1), chunk)
        keep = usable & ~(never | late)[:, None]
        equal, earlier = self.order.check(time_us, signal, keep)
        self._count("equal_time", equal, chunk, self.plan.time, moments)
        self._count("earlier_time", earlier, chunk, self.plan.time, moments)
        row = np.arange(first_row, first_row + len(chunk.lines))
        width = len(self.plan.values)
        values = Columns(
            signal[keep], np.repeat(time_us, width)[keep.ravel()], value[keep], status[keep]
        )
        return Rows(values, np.repeat(row, width)[keep.ravel()])

    def _signals(self, chunk: Chunk) -> NDArray[np.int32]:
        """Signal of each cell, [rows, value columns]."""
        plan, find = self.plan, self.places.find
        n = len(chunk.lines)
        if plan.asset_column is None and plan.label_column is None:
            row = [find(plan.asset, label) for label in plan.labels]
            self._found(row, plan.labels)
            return np.broadcast_to(np.array(row, np.int32), (n, len(row)))
        assets = _texts(chunk, plan.asset_column, plan.asset)
        if plan.label_column is not None:
            labels = _texts(chunk, plan.label_column, "")
            pairs = list(zip(assets, labels, strict=True))
            indexes = {pair: find(*pair) for pair in dict.fromkeys(pairs)}
            self._found(indexes.values(), [label for _, label in indexes])
            return np.array([[indexes[pair]] for pair in pairs], np.int32).reshape(n, 1)
        rows = {asset: [find(asset, label) for label in plan.labels] for asset in set(assets)}
        for found in rows.values():
            self._found(found, plan.labels)
        return np.array([rows[asset] for asset in assets], np.int32).reshape(n, len(plan.labels))

    def _found(self, signals: Iterable[int], labels: Iterable[str]) -> None:
        pairs = zip(signals, labels, strict=True)
        self.columns.update((index, label) for index, label in pairs if index >= 0)

    def _values(
        self, chunk: Chunk, signal: NDArray[np.int32]
    ) -> tuple[NDArray[np.float64], NDArray[np.uint32], NDArray[np.bool_]]:
        """Values, statuses and a mask of the usable ones, each [rows, value columns]."""
        wanted = signal >= 0
        value = np.empty(wanted.shape)
        status = np.full(wanted.shape, GOOD, np.uint32)
        keep = wanted.copy()
        for n, column in enumerate(self.plan.values):
            value[:, n], wrong = numbers(chunk.cells[column], self.numbers[n])
            self._read_texts(chunk.cells[column], n, signal[:, n], value[:, n], wrong)
            self._count_wrong(wrong & wanted[:, n], chunk, n)
            self._count("empty", np.isnan(value[:, n]) & ~wrong & wanted[:, n], chunk, column)
            outside = self.places.is_outside(signal[:, n], value[:, n])
            self._count("out_of_range", outside & ~wrong, chunk, column)
            quality = self.plan.qualities[n]
            if quality is not None:
                classic = self.plan.classic
                status[:, n], unclear = qualities(chunk.cells[quality], classic=classic)
                self._count("quality", unclear & wanted[:, n], chunk, quality)
                wrong |= unclear
            keep[:, n] &= ~wrong
        blank = np.isnan(value)
        if self.config.blank == "bad":
            status[blank & (status < BAD)] = BAD_NO_DATA
        return value, status, keep & (~blank | (status >= BAD))

    def _read_texts(
        self,
        cells: Sequence[str],
        n: int,
        signal: NDArray[np.int32],
        value: NDArray[np.float64],
        wrong: NDArray[np.bool_],
    ) -> None:
        """Read cells that are not numbers, but words of a signal's `map`, or have a unit."""
        known: dict[tuple[int, str], float] = {}
        for row in np.flatnonzero(wrong & (signal >= 0)).tolist():
            key = int(signal[row]), cells[row]
            if key not in known:
                known[key] = self.places.number(*key, self.numbers[n].decimal)
            if math.isfinite(known[key]):
                value[row], wrong[row] = known[key], False

    def _count_unknown(self, rows: NDArray[np.bool_], chunk: Chunk) -> None:
        """Report rows without a signal: of assets that are not in the plant, and others."""
        column = self.plan.asset_column
        if column is not None and rows.any():
            names = _texts(chunk, column, "")
            strange = {name for name in set(names) if not self.places.knows(name)}
            other = rows & np.array([name in strange for name in names])
            self._count("other_asset", other, chunk, column)
            rows &= ~other
        self._count("unknown", rows, chunk, self.plan.naming_column)

    def _count_wrong(self, wrong: NDArray[np.bool_], chunk: Chunk, n: int) -> None:
        """Report the cells of a value column that are no numbers, by their cause."""
        if not wrong.any():
            return
        column, how = self.plan.values[n], self.numbers[n]
        known: dict[str, str] = {}
        cause = np.full(len(wrong), "", object)
        for row in np.flatnonzero(wrong).tolist():
            cell = chunk.cells[column][row]
            if cell not in known:
                known[cell] = problem_of(cell, how)
            cause[row] = known[cell]
        for each in sorted(set(known.values())):
            self._count(each, cause == each, chunk, column)

    def _count(
        self,
        reason: str,
        rows: NDArray[np.bool_],
        chunk: Chunk,
        column: int,
        cells: Sequence[str] | None = None,
    ) -> None:
        """Report how many of the rows were refused, with the first of them."""
        if rows.any():
            first = int(rows.argmax())
            text = (cells or chunk.cells[column])[first]
            self.reject(reason, int(rows.sum()), chunk.lines[first], self.names[column], text)


def _texts(chunk: Chunk, column: int | None, default: str) -> list[str]:
    if column is None:
        return [default] * len(chunk.lines)
    return [cell.strip() for cell in chunk.cells[column]]
