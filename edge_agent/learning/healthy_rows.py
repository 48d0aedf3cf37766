"""The healthy rows of one asset, within a bound of memory."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from edge_agent.values import Columns

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

BLOCK_ROWS: Final = 256


class Row(NamedTuple):
    """A row [C], NaN if an input was not usable; breaks: time is missing before it."""

    end_us: int
    values: NDArray[np.float64]
    breaks: bool = False


@dataclass(frozen=True, slots=True)
class Block:
    """Rows [n, C] as differences from `base` [C], with the ends of their time [n]."""

    base: NDArray[np.float64]
    above: NDArray[np.float32]
    end_us: NDArray[np.int64]

    @classmethod
    def of(cls, rows: NDArray[np.float64], end_us: NDArray[np.int64]) -> Block:
        """The same rows in half of the memory, with all digits that a model can use."""
        known = ~np.isnan(rows)
        first = np.take_along_axis(rows, np.argmax(known, axis=0)[None], axis=0)[0]
        base = np.where(known.any(axis=0), first, 0.0)
        return cls(base, (rows - base).astype(np.float32), end_us)

    def rows(self) -> NDArray[np.float64]:
        """The original rows."""
        return self.base + self.above


@dataclass(slots=True)
class HealthyRows:
    """Rows in blocks; the newest can be taken back: `keep` rows and those in no block yet.

    If the blocks are too many, every other one is dropped, so that the rest spans the whole time
    and each block is unbroken. A block is float32, less the values of its first whole row: so a
    meter of billions keeps its last digits. has_moved: some input had two different values.
    """

    keep: int = 0
    blocks: list[Block] = field(default_factory=list)
    open: list[Row] = field(default_factory=list)
    newest: deque[Row] = field(default_factory=deque)
    stride: int = 1
    seen_blocks: int = 0
    has_moved: bool = False
    _first: NDArray[np.float64] | None = None  # the first value of each input

    def add(self, row: Row, max_blocks: int) -> None:
        """Add a row."""
        if not self.has_moved:
            self._compare(row.values)
        self.newest.append(row)
        while len(self.newest) > self.keep:
            self._settle(self.newest.popleft(), max_blocks)

    def _compare(self, values: NDArray[np.float64]) -> None:
        first = values if self._first is None else self._first
        first = np.where(np.isnan(first), values, first)
        self._first, self.has_moved = first, bool(((values - first) != 0)[~np.isnan(values)].any())

    def take_back(self, since_us: int) -> list[Row]:
        """Remove rows that end after `since_us`, which are not healthy; returns them."""
        found: list[Row] = []
        for rows in (self.newest, self.open):
            while rows and rows[-1].end_us > since_us:
                found.append(rows.pop())
        return found

    def newest_values(self, signals: Sequence[int]) -> Columns:
        """The newest rows, at least one, as values of these signals [C]."""
        rows = np.stack([row.values for row in self.newest])
        index = np.array(signals, np.int32)
        time_us = np.repeat([row.end_us for row in self.newest], len(index))
        known = ~np.isnan(rows.ravel())
        signal = np.tile(index, len(rows))[known]
        status = np.zeros(len(signal), np.uint32)
        return Columns(signal, time_us[known], rows.ravel()[known], status)

    def shift_clock(self, step_us: int) -> None:
        """Shift the times of the rows that can be taken back; the clock was moved."""
        self.newest = deque(row._replace(end_us=row.end_us + step_us) for row in self.newest)
        self.open = [row._replace(end_us=row.end_us + step_us) for row in self.open]

    def _settle(self, row: Row, max_blocks: int) -> None:
        if row.breaks:
            self._append(Row(row.end_us, np.full_like(row.values, np.nan)), max_blocks)
        self._append(row, max_blocks)

    def _append(self, row: Row, max_blocks: int) -> None:
        self.open.append(row)
        if len(self.open) < BLOCK_ROWS:
            return
        if self.seen_blocks % self.stride == 0:
            rows = np.stack([each.values for each in self.open])
            ends = np.array([each.end_us for each in self.open], np.int64)
            self.blocks.append(Block.of(rows, ends))
        self.seen_blocks += 1
        self.open = []
        if len(self.blocks) > max_blocks:
            self.blocks = self.blocks[::2]
            self.stride *= 2

    def all(self, channels: int) -> NDArray[np.float64]:
        """[T, C], blocks separated by one row of NaN if time is missing between them."""
        last = [row.values for row in (*self.open, *self._unsettled())]
        whole = [*(block.rows() for block in self.blocks), *([np.stack(last)] if last else [])]
        if self.stride == 1:
            return np.concatenate(whole) if whole else np.empty((0, channels))
        gap = np.full((1, channels), np.nan)
        return np.concatenate([part for block in whole for part in (block, gap)])

    def times_us(self) -> NDArray[np.int64]:
        """The ends of the rows of `all` [T]."""
        last = np.array([row.end_us for row in (*self.open, *self._unsettled())], np.int64)
        whole = [*(block.end_us for block in self.blocks), *([last] if len(last) else [])]
        if self.stride == 1:
            return np.concatenate(whole) if whole else np.zeros(0, np.int64)
        return np.concatenate([part for block in whole for part in (block, block[-1:])])

    def _unsettled(self) -> Iterator[Row]:
        for row in self.newest:
            if row.breaks:
                yield Row(row.end_us, np.full_like(row.values, np.nan))
            yield row
