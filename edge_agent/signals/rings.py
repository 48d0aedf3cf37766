"""Rings of rows: what is kept of the inputs of a model, and when a window of it closes.

A row is one step of the model's grid (`step_us` > 0: all values in (t - step, t]) or one distinct
time stamp of the asset (`step_us` = 0). A row is closed when every input has reached it, or when
some input is `lateness_us` past it; an empty cell then repeats the row before, for at most
`hold_us` since the repeated value, and is marked. Closed rows never change, so that a recording
produces the same windows for every division of its values into batches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.clock import NEVER
from edge_agent.config.schema import Resample
from edge_agent.counting import as_read
from edge_agent.signals.window_set import BAD, HELD, MISSING, SOUND, STALE, Layout, WindowSet
from edge_agent.tables import Table, column

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SLACK_ROWS: Final = 256
NO_END: Final = int(np.iinfo(np.int64).max)


class Rings(Table):
    """The rings of all assets that share one model; `Windows` writes them."""

    _x: NDArray[np.floating] = column(np.float32, np.nan, "ring", "channels")
    _mark = column(np.uint8, 0, "ring", "channels")
    _count = column(np.uint32, 0, "ring", "aggregated")
    _row_us = column(np.int64, NEVER, "times")
    _head = column(np.int64, -1)  # newest row with a value
    _done = column(np.int64, -1)  # newest closed row
    _done_us = column(np.int64, NEVER)  # its time; kept over a restart of the rows
    _next_end = column(np.int64, -1)  # last row of the next window
    _started = column(np.bool_)
    _last_us = column(np.int64, NEVER, "channels")
    _carry: NDArray[np.floating] = column(np.float32, np.nan, "channels")
    _carry_us = column(np.int64, NEVER, "channels")
    _carry_mark = column(np.uint8, 0, "channels")
    _hold_us = column(np.int64, NO_END, "channels")
    _group = column(np.int16, 0, "channels")
    _offset = column(np.float64, 0, "channels")
    _counts = column(np.bool_, 0, "channels")

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        lateness_rows = layout.lateness_us // layout.step_us if layout.step_us else 0
        self._ring = layout.length + max(_SLACK_ROWS, 2 * layout.hop, 2 * lateness_rows)
        self._aggregated = np.array([r is not Resample.LAST for r in layout.resample])
        self.late = 0
        exact = np.float64 if layout.precise else np.float32
        sizes = {
            "ring": self._ring,
            "channels": layout.channels,
            "aggregated": layout.channels if self._aggregated.any() else 0,
            "times": 0 if layout.step_us else self._ring,
        }
        super().__init__(sizes, {"_x": exact, "_carry": exact})

    def reset_clock(self, asset: NDArray[np.intp]) -> None:
        """Start again with the next value of any time; the clock of these assets was set back."""
        self._empty(asset)
        self._done_us[asset] = NEVER
        self._last_us[asset] = self._carry_us[asset] = NEVER

    def filled(self, asset: int) -> tuple[int, int]:
        """Rows in an asset's first window, and how many it needs."""
        needed = self.layout.least or self.layout.length
        open_rows = int(self._next_end[asset] - self._done[asset])
        return (max(0, needed - open_rows) if self._started[asset] else 0), needed

    def shift_clock(self, row: NDArray[np.intp], step_us: int) -> None:
        """Shift all stored times of these rows; the gateway's clock was moved.

        By whole steps of the grid; the rest is less than half a step.
        """
        rows = round(step_us / self.layout.step_us) if self.layout.step_us else 0
        moved_us = rows * self.layout.step_us if self.layout.step_us else step_us
        for name in ("_done_us", "_last_us", "_carry_us", "_row_us"):
            times = getattr(self, name)[row]
            getattr(self, name)[row] = np.where(times > NEVER, times + moved_us, times)
        for numbers in (self._head, self._done, self._next_end):
            numbers[row] += rows
        for ring in (self._x, self._mark, self._count):
            if ring.size:
                ring[row] = np.roll(ring[row], rows % self._ring, axis=1)

    def _empty(self, asset: NDArray[np.intp]) -> None:
        self._x[asset], self._mark[asset] = np.nan, MISSING
        if not self.layout.step_us:
            self._row_us[asset] = NEVER
        if self._count.size:
            self._count[asset] = 0
        self._started[asset] = False

    # -- closing ------------------------------------------------------------------------------

    def _head_us(self, asset: NDArray[np.intp]) -> NDArray[np.int64]:
        if self.layout.step_us:
            return self._head[asset] * self.layout.step_us
        return self._row_us[asset, self._head[asset] % self._ring]

    def _watermark(self, asset: NDArray[np.intp]) -> NDArray[np.int64]:
        """Time up to which each asset's rows are complete."""
        last = self._last_us[asset]
        newest = last.max(axis=1)
        reach = last
        group = self._group[asset]
        for number in range(1, int(group.max(initial=0)) + 1):
            member = group == number
            # Excluding that time: the next packet may report another change at the same time.
            shared = np.where(member, last, NEVER).max(axis=1) - 1
            reach = np.where(member, np.maximum(last, shared[:, None]), reach)
        watermark: NDArray[np.int64] = np.maximum(
            reach.min(axis=1), newest - self.layout.lateness_us
        )
        return watermark

    def _close(self, asset: NDArray[np.intp], watermark_us: NDArray[np.int64]) -> list[WindowSet]:
        n = self._closable(asset, watermark_us)
        if not n.any():
            return []
        asset, n = asset[n > 0], n[n > 0]
        owner, offset = ragged(n)
        rows = self._done[asset][owner] + 1 + offset
        self._fill(asset, owner, offset, rows)
        self._done[asset] += n
        self._done_us[asset] = self._row_times(asset, self._done[asset])
        due = self._due(asset)
        self._forget(asset[owner], rows - self.layout.length)
        return [] if due is None else [due]

    def _closable(
        self, asset: NDArray[np.intp], watermark_us: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Number of rows of each asset that end at or before its watermark, [n]."""
        if self.layout.step_us:
            rows = watermark_us // self.layout.step_us
        else:
            done, head = self._done[asset], self._head[asset]
            ahead = np.arange(1, int((head - done).max(initial=0)) + 1)
            times = self._row_us[asset[:, None], (done[:, None] + ahead) % self._ring]
            is_open = times > self._done_us[asset][:, None]
            closing: NDArray[np.bool_] = is_open & (times <= watermark_us[:, None])
            rows = done + closing.sum(axis=1)
        open_rows: NDArray[np.int64] = np.maximum(rows - self._done[asset], 0)
        return open_rows

    def _row_times(self, asset: NDArray[np.intp], rows: NDArray[np.int64]) -> NDArray[np.int64]:
        if self.layout.step_us:
            return rows * self.layout.step_us
        return self._row_us[asset, rows % self._ring]

    def _fill(
        self,
        asset: NDArray[np.intp],
        owner: NDArray[np.intp],
        offset: NDArray[np.int64],
        rows: NDArray[np.int64],
    ) -> None:
        """Fill the gaps of closing rows [T] from the row before, and mark them."""
        of = asset[owner]
        at = (of, rows % self._ring)
        x, mark = self._x[at], self._mark[at]
        time_us = self._row_times(of, rows)
        last = np.append(np.flatnonzero(offset == 0)[1:], len(rows)) - 1
        if SOUND[mark].all():
            self._carry_us[asset] = time_us[last, None]
            self._carry[asset], self._carry_mark[asset] = x[last], mark[last]
            return
        first = (np.arange(len(rows)) - offset)[:, None]  # the start of each asset's rows
        seen = mark != MISSING
        source = last_true(seen)
        carried = source < first
        source_us = np.where(carried, self._carry_us[of], time_us[np.maximum(source, 0)])
        source_mark = np.where(carried, self._carry_mark[of], rows_of_columns(mark, source))
        aged = time_us[:, None] - source_us > self._hold_us[of]
        held = np.where(source_mark == MISSING, MISSING, np.where(aged, STALE, HELD))
        mark = np.where(seen, mark, np.where(source_mark == BAD, BAD, held)).astype(np.uint8)
        good = last_true(seen & (mark != BAD))
        x = np.where(good < first, self._carry[of], rows_of_columns(x, good))
        self._x[at], self._mark[at] = x, mark
        self._carry[asset], self._carry_us[asset] = x[last], source_us[last]
        self._carry_mark[asset] = source_mark[last]

    def _due(self, asset: NDArray[np.intp]) -> WindowSet | None:
        layout = self.layout
        n = (self._done[asset] - self._next_end[asset]) // layout.hop + 1
        n = np.maximum(n, 0)
        if not n.any():
            return None
        owner, offset = ragged(n)
        of = asset[owner]
        end = self._next_end[of] + offset * layout.hop
        self._next_end[asset] += n * layout.hop
        rows = end[:, None] + np.arange(1 - layout.length, 1)
        at = (of[:, None], rows % self._ring)
        start_us = self._row_times(of, self._first_rows(of, rows))
        end_us, x, mark = self._row_times(of, end), self._x[at], self._mark[at]
        if not layout.precise:
            return WindowSet(of, start_us, end_us, x, mark)
        read = as_read(x, self._offset[of][:, None], self._counts[of][:, None])
        return WindowSet(of, start_us, end_us, read, mark, x[:, -1])

    def _first_rows(self, asset: NDArray[np.intp], rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """The first of the rows [N, W] of each window, [N]; short windows start without rows."""
        if not self.layout.least:
            return rows[:, 0]
        seen = (self._mark[asset[:, None], rows % self._ring] != MISSING).any(axis=2)
        first: NDArray[np.int64] = rows[np.arange(len(rows)), np.argmax(seen, axis=1)]
        return first

    def _forget(self, asset: NDArray[np.intp], rows: NDArray[np.int64]) -> None:
        slot = rows % self._ring
        self._x[asset, slot], self._mark[asset, slot] = np.nan, MISSING
        if self._count.size:
            self._count[asset, slot] = 0
        if not self.layout.step_us:
            self._row_us[asset, slot] = NEVER


def ragged(n: NDArray[np.int64]) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
    """For runs of n [k] items: the run of each item and its index in the run, both [sum n]."""
    owner = np.repeat(np.arange(len(n)), n)
    start = np.cumsum(n) - n
    return owner, np.arange(len(owner)) - start[owner]


def last_true(mask: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Index of the newest True at or above each cell of [T, C]; -1 if there is none."""
    index = np.where(mask, np.arange(len(mask))[:, None], -1)
    return np.maximum.accumulate(index, axis=0)


def rows_of_columns(array: NDArray[np.generic], row: NDArray[np.intp]) -> NDArray[np.generic]:
    """The cells of [T, C] in row `row` [T, C] of each column; a row below 0 counts as 0."""
    return np.take_along_axis(array, np.maximum(row, 0), axis=0)
