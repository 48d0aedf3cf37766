"""Rings of rows: what is kept of the inputs of a model, and when a window of it closes.

A row is one step of the model's grid (`step_us` > 0: all values in (t - step, t]) or one distinct
time stamp of the asset (`step_us` = 0). A row is closed when every input has reached it, or when
some input is `lateness_us` past it; an empty cell then repeats the row before, for at most
`hold_us` since the repeated value, and is marked. Closed rows never change, so that a recording
produces the same windows for every division of its values into batches.

Only rows in doubt may change: those that were closed without a usable value of every input because
time passed or a link broke. If their values come late, the rows are opened again, and their windows
close again. The state before the first of them is kept for this; so are the rows of its window.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.clock import NEVER
from edge_agent.config.schema import Resample
from edge_agent.counting import as_read
from edge_agent.signals.window_set import (
    BAD,
    GAP,
    HELD,
    MISSING,
    SOUND,
    STALE,
    Layout,
    WindowSet,
)
from edge_agent.tables import Table, column

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SLACK_ROWS: Final = 256
_MOST_SLACK: Final = 2048
_SLACK_US: Final = 60_000_000  # a broken link that nobody notices: what comes late finds its row
NO_END: Final = int(np.iinfo(np.int64).max)
_TIMES: Final = (
    "_row_us",
    "_done_us",
    "_last_us",
    "_carry_us",
    "_cut_us",
    "_until_us",
    "_sure_done_us",
    "_sure_carry_us",
)
_NUMBERS: Final = ("_head", "_done", "_next_end", "_told", "_sure_done", "_sure_next_end")
_KEPT: Final = ("_done", "_done_us", "_next_end", "_carry", "_carry_us", "_carry_mark")


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
    _gap_us = column(np.int64, NO_END, "channels")  # a longer pause of an input is not usual
    _cut_us = column(np.int64, NEVER, "channels")  # no earlier value counts after that time
    _until_us = column(np.int64, NEVER, "channels")  # values up to that time may still come late
    # Rows after `_sure_done` are in doubt; what is kept of the state before them (see `_KEPT`).
    _in_doubt = column(np.bool_)
    _told = column(np.int64, -1)  # newest row at which a window closed in doubt
    _sure_done = column(np.int64, -1)
    _sure_done_us = column(np.int64, NEVER)
    _sure_next_end = column(np.int64, -1)
    _sure_carry: NDArray[np.floating] = column(np.float32, np.nan, "channels")
    _sure_carry_us = column(np.int64, NEVER, "channels")
    _sure_carry_mark = column(np.uint8, 0, "channels")
    _group = column(np.int16, 0, "channels")
    _offset = column(np.float64, 0, "channels")
    _counts = column(np.bool_, 0, "channels")

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        lateness_rows = layout.lateness_us // layout.step_us if layout.step_us else 0
        slack_rows = min(_MOST_SLACK, _SLACK_US // layout.step_us) if layout.step_us else 0
        most = max(_SLACK_ROWS, slack_rows, 2 * layout.hop, 2 * lateness_rows)
        self._ring = layout.length + most
        self._aggregated = np.array([r is not Resample.LAST for r in layout.resample])
        self.late = 0
        self._is_cut = self._is_waiting = False  # in any row
        exact = np.float64 if layout.precise else np.float32
        sizes = {
            "ring": self._ring,
            "channels": layout.channels,
            "aggregated": layout.channels if self._aggregated.any() else 0,
            "times": 0 if layout.step_us else self._ring,
        }
        super().__init__(sizes, {"_x": exact, "_carry": exact, "_sure_carry": exact})

    def reset_clock(self, asset: NDArray[np.intp]) -> None:
        """Start again with the next value of any time; the clock of these assets was set back."""
        self._empty(asset)
        self._done_us[asset] = NEVER
        self._last_us[asset] = self._carry_us[asset] = NEVER
        self._cut_us[asset] = self._until_us[asset] = NEVER
        self._told[asset] = -1

    def filled(self, asset: int) -> tuple[int, int]:
        """Rows in an asset's first window, and how many it needs."""
        needed = self.layout.least or self.layout.length
        open_rows = int(self._next_end[asset] - self._done[asset])
        return (max(0, needed - open_rows) if self._started[asset] else 0), needed

    def newest_rows(
        self, asset: int
    ) -> tuple[NDArray[np.int64], NDArray[np.floating], NDArray[np.uint8]]:
        """The closed rows that are kept of an asset, at most a window: times, x, mark [k, C]."""
        done = int(self._done[asset])
        rows = np.arange(max(0, done - self.layout.length + 1), done + 1)
        slots = rows % self._ring
        times = rows * self.layout.step_us if self.layout.step_us else self._row_us[asset, slots]
        there = (self._mark[asset, slots] != MISSING).any(axis=1) & (times > NEVER)
        kept = slots[there]
        return times[there], self._x[asset, kept], self._mark[asset, kept]

    def shift_clock(self, row: NDArray[np.intp], step_us: int) -> None:
        """Shift all stored times of these rows; the gateway's clock was moved.

        By whole steps of the grid; the rest is less than half a step.
        """
        rows = round(step_us / self.layout.step_us) if self.layout.step_us else 0
        moved_us = rows * self.layout.step_us if self.layout.step_us else step_us
        for name in _TIMES:
            times = getattr(self, name)[row]
            is_time = (times > NEVER) & (times < NO_END)
            getattr(self, name)[row] = np.where(is_time, times + moved_us, times)
        for name in _NUMBERS:
            getattr(self, name)[row] += rows
        for ring in (self._x, self._mark, self._count):
            if ring.size:
                ring[row] = np.roll(ring[row], rows % self._ring, axis=1)

    def _empty(self, asset: NDArray[np.intp]) -> None:
        self._x[asset], self._mark[asset] = np.nan, MISSING
        if not self.layout.step_us:
            self._row_us[asset] = NEVER
        if self._count.size:
            self._count[asset] = 0
        self._started[asset] = self._in_doubt[asset] = False

    # -- doubt --------------------------------------------------------------------------------

    def cut(self, row: int, channel: int, at_us: int) -> None:
        """No value of an input up to `at_us` counts after it; NEVER: it counts again."""
        self._cut_us[row, channel] = at_us
        self._is_cut |= at_us > NEVER

    def wait_for(self, row: int, channel: int, until_us: int) -> None:
        """Values of an input up to `until_us` may come late; NEVER: none does."""
        self._until_us[row, channel] = until_us
        self._is_waiting |= until_us > NEVER

    def _waits(self, asset: NDArray[np.intp]) -> NDArray[np.bool_]:
        """True for assets [n] with an input whose values may come late."""
        late = self._last_us[asset] < self._until_us[asset]
        waits: NDArray[np.bool_] = np.logical_or.reduce(late, axis=1)
        return waits

    def _doubtful(self, touched: NDArray[np.intp]) -> NDArray[np.bool_] | None:
        """The assets [k] whose rows close in doubt now, because values may come late."""
        return self._waits(touched) if self._is_waiting and self.layout.step_us else None

    def _doubt(self, asset: NDArray[np.intp], rows: NDArray[np.int64]) -> None:
        """Keep the state of these assets [k] before they close so many rows [k] in doubt."""
        ahead = self._done[asset] + rows - self._sure_done[asset]
        self._settle(asset[self._in_doubt[asset] & (ahead > self._ring - self.layout.length)])
        new = asset[~self._in_doubt[asset]]
        for name in _KEPT:
            getattr(self, f"_sure{name}")[new] = getattr(self, name)[new]
        self._in_doubt[new] = True

    def _settle(self, asset: NDArray[np.intp]) -> None:
        """Nothing comes late for these assets [k] any more: their closed rows stay as they are."""
        asset = asset[self._in_doubt[asset]]
        if not len(asset):
            return
        owner, offset = ragged(self._done[asset] - self._sure_done[asset])
        rows = self._sure_done[asset][owner] + 1 + offset
        self._forget(asset[owner], rows - self.layout.length)
        self._in_doubt[asset] = False

    def _reopen(self, asset: int, row: int) -> None:
        """Open the rows in doubt of an asset again; windows that end before `row` do not change."""
        sure, done = int(self._sure_done[asset]), int(self._done[asset])
        slots = np.arange(sure + 1, done + 1) % self._ring
        mark = self._mark[asset, slots]
        repeated = (mark == HELD) | (mark == GAP) | (mark == STALE)
        self._mark[asset, slots] = np.where(repeated, MISSING, mark)
        self._x[asset, slots] = np.where(repeated, np.nan, self._x[asset, slots])
        for name in _KEPT:
            getattr(self, name)[asset] = getattr(self, f"_sure{name}")[asset]
        passed = max(0, -(-(row - int(self._next_end[asset])) // self.layout.hop))
        self._next_end[asset] += passed * self.layout.hop
        self._in_doubt[asset] = False

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

    def _close(
        self,
        asset: NDArray[np.intp],
        watermark_us: NDArray[np.int64],
        doubtful: NDArray[np.bool_] | None = None,
    ) -> list[WindowSet]:
        """Close the rows of assets [n] up to their watermarks [n]; doubtful: in doubt [n]."""
        n = self._closable(asset, watermark_us)
        if not n.any():
            return []
        closing = n > 0
        if doubtful is not None:
            doubtful = doubtful[closing]
        asset, n = asset[closing], n[closing]
        if doubtful is not None:
            self._doubt(asset[doubtful], n[doubtful])
        owner, offset = ragged(n)
        rows = self._done[asset][owner] + 1 + offset
        self._fill(asset, owner, offset, rows)
        self._done[asset] += n
        self._done_us[asset] = self._row_times(asset, self._done[asset])
        due = self._due(asset)
        kept = self._in_doubt[asset]
        if kept.any():
            told = asset[kept]
            self._told[told] = np.maximum(self._told[told], self._done[told])
            forgotten = ~kept[owner]
            owner, rows = owner[forgotten], rows[forgotten]
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
        age_us = time_us[:, None] - source_us
        aged = age_us > self._hold_us[of]
        if self._is_cut:
            cut_us = self._cut_us[of]
            aged |= (source_us <= cut_us) & (cut_us < time_us[:, None])
        held = np.where(age_us > self._gap_us[of], GAP, HELD)
        held = np.where(source_mark == MISSING, MISSING, np.where(aged, STALE, held))
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
        again = end <= self._told[of] if (self._told[asset] >= 0).any() else None
        if not layout.precise:
            return WindowSet(of, start_us, end_us, x, mark, again=again)
        read = as_read(x, self._offset[of][:, None], self._counts[of][:, None])
        return WindowSet(of, start_us, end_us, read, mark, x[:, -1], again)

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
