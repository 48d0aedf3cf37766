"""Event-time windows of one model over all its assets: values find their cell, windows close."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edge_agent.clock import NEVER
from edge_agent.config.schema import Resample
from edge_agent.signals.rings import NO_END, Rings
from edge_agent.signals.window_set import BAD, GOOD, MISSING, UNCERTAIN
from edge_agent.status_codes import Severity, is_lost, severity_of
from edge_agent.tables import Table, column

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edge_agent.signals.block_rows import BlockRows
    from edge_agent.signals.window_set import Reads, WindowSet
    from edge_agent.values import Columns, TensorBlock


@dataclass(slots=True)
class Values:
    """Values to be written into the rings, ordered by time."""

    asset: NDArray[np.integer]
    channel: NDArray[np.integer]
    time_us: NDArray[np.int64]
    value: NDArray[np.floating]
    mark: NDArray[np.uint8]

    def where(self, mask: NDArray[np.bool_]) -> Values:
        """Only the values for which `mask` [n] is true."""
        return Values(
            self.asset[mask],
            self.channel[mask],
            self.time_us[mask],
            self.value[mask],
            self.mark[mask],
        )


class Router(Table):
    """Sends each value to its row and input; -1 for a signal that nobody here wants."""

    _row = column(np.int32, -1)
    _channel = column(np.int32, -1)
    _uncertain = column(np.uint8, UNCERTAIN)

    def add(self, signal: int, row: int, channel: int, uncertain: int = UNCERTAIN) -> None:
        """Use `signal` as input `channel` of asset row `row` from now on."""
        self.cover(signal + 1)
        self._row[signal], self._channel[signal] = row, channel
        self._uncertain[signal] = uncertain

    def remove(self, signal: int) -> None:
        """Remove `signal`; no input uses it any more."""
        self._row[signal] = -1

    def place(self, signal: int) -> tuple[int, int]:
        """Row and input of one signal."""
        if signal >= len(self._row):
            return -1, -1
        return int(self._row[signal]), int(self._channel[signal])

    def is_usable(self, block: TensorBlock) -> bool:
        """True if the quality of a block allows inference."""
        severity = severity_of(np.array([block.status], np.uint32))[0]
        if severity == Severity.UNCERTAIN:
            return bool(self._uncertain[block.signal] == UNCERTAIN)
        return bool(severity == Severity.GOOD)

    def spoiled(self, values: Columns) -> list[int]:
        """Rows with a bad input, by separate values in addition to the blocks."""
        bad = values.signal[severity_of(values.status) == Severity.BAD]
        return [row for row, _ in map(self.place, bad.tolist()) if row >= 0]

    def placed(
        self, values: Columns
    ) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.uint8]]:
        """Row, input and mark of each value [n]; row -1: not wanted."""
        if values.signal.size:
            self.cover(int(values.signal.max()) + 1)
        row = self._row[values.signal].astype(np.intp)
        mark = marks(values, self._uncertain)
        row[mark == MISSING] = -1
        return row, self._channel[values.signal].astype(np.intp), mark

    def write_values(self, windows: Windows | BlockRows, values: Columns) -> list[WindowSet]:
        """Write the values of this model into `windows`; returns the windows that close."""
        if not values.signal.size:
            return []
        if values.signal.max() >= self._row.size:
            self.cover(int(values.signal.max()) + 1)
        row = self._row[values.signal]
        mark = marks(values, self._uncertain)
        mine = (row >= 0) & (mark != MISSING)
        if values.status.any() and isinstance(windows, Windows):
            mine &= ~self._cut_lost(windows, values, mine)
        if not mine.any():
            return []
        if mine.all():
            signal, time_us, value = values.signal, values.time_us, values.value
        else:
            row, mark = row[mine], mark[mine]
            signal, time_us, value = values.signal[mine], values.time_us[mine], values.value[mine]
        return windows.write_values(row, self._channel[signal], time_us, value, mark)

    def _cut_lost(
        self, windows: Windows, values: Columns, mine: NDArray[np.bool_]
    ) -> NDArray[np.bool_]:
        """Cut the inputs with a lost path: no value of theirs is known from then on; which [n]."""
        lost = mine & is_lost(values.status)
        for at in np.flatnonzero(lost).tolist():
            windows.cut(*self.place(int(values.signal[at])), int(values.time_us[at]))
        return lost


class Windows(Rings):
    """The windows of all assets that share one model; see `rings`."""

    def add_asset(
        self, hold_us: list[int | None], group: list[int], reads: Reads | None = None
    ) -> int:
        """Add an asset; returns its row.

        hold_us: how long each input's last value replaces a new one (None: without end).
        group: inputs of one group (> 0) share their progress, because one subscription reports
        only changes; 0: an input that reports every sample. reads: of a precise layout.
        """
        row = self.grow()
        self._hold_us[row] = [NO_END if hold is None else hold for hold in hold_us]
        self._group[row] = group
        if reads is not None:
            self._offset[row], self._counts[row] = reads.offset, reads.counts
        return row

    def sampled(self, asset: NDArray[np.intp]) -> NDArray[np.bool_]:
        """True for inputs of these assets that report every sample, not only changes: [n, C]."""
        found: NDArray[np.bool_] = self._group[asset] == 0
        return found

    def set_hold(self, row: int, channel: int, hold_us: int, gap_us: int = NO_END) -> None:
        """The last value of an input replaces a new one for another time from now on.

        gap_us: a pause of an input that reports every sample is longer than usual from then on.
        """
        self._hold_us[row, channel] = hold_us
        if not self._group[row, channel]:
            self._gap_us[row, channel] = gap_us

    def write_values(
        self,
        asset: NDArray[np.integer],
        channel: NDArray[np.integer],
        time_us: NDArray[np.int64],
        value: NDArray[np.floating],
        mark: NDArray[np.uint8],
    ) -> list[WindowSet]:
        """Write values (columns of equal length, ordered by time); returns the windows that close.

        Values beyond the ring wait until the rows before them are closed; `late` counts those
        whose row was closed already.
        """
        values = Values(asset, channel, time_us, value, mark)
        found: list[WindowSet] = []
        while len(values.asset):
            row = self._rows_of(values)
            if self._in_doubt[values.asset].any():
                self._resolve(values, row)
            fits = row <= self._first_kept(values.asset) + (self._ring - self.layout.length)
            if not fits.any():
                found += self._restart(values)
                continue
            now = values if fits.all() else values.where(fits)
            self._write(now, row if now is values else row[fits])
            touched = np.flatnonzero(np.bincount(now.asset, minlength=self._head.size))
            found += self._close(touched, self._watermark(touched), self._doubtful(touched))
            if now is values:
                break
            values = values.where(~fits)
        return found

    def _first_kept(self, asset: NDArray[np.integer]) -> NDArray[np.int64]:
        """The newest closed row of assets [n] that may no longer change."""
        done: NDArray[np.int64] = self._done[asset]
        if not self._in_doubt[asset].any():
            return done
        return np.where(self._in_doubt[asset], self._sure_done[asset], done)

    def _resolve(self, values: Values, row: NDArray[np.int64]) -> None:
        """Open rows in doubt for which values [n] come late, or decide that nothing came late."""
        doubted = self._in_doubt[values.asset] & (row > self._sure_done[values.asset])
        asset, row = values.asset[doubted], row[doubted]
        first = np.full(self._head.size, NO_END)
        last = np.full(self._head.size, -1)
        np.minimum.at(first, asset, row)
        np.maximum.at(last, asset, row)
        touched = np.flatnonzero(last >= 0)
        late = first[touched] <= self._done[touched]
        for one in touched[late].tolist():
            self._reopen(one, int(first[one]))
        rest = touched[~late]
        room = self._sure_done[rest] + (self._ring - self.layout.length) - last[rest]
        self._settle(rest[~self._waits(rest) | (room < 0)])

    def close_by_clock(self, asset: NDArray[np.intp], to_us: NDArray[np.int64]) -> list[WindowSet]:
        """Close the rows of `asset` [n] up to `to_us` [n] without a new value."""
        if not self.layout.step_us:
            return []
        begun = self._started[asset]
        asset, to_us = asset[begun], to_us[begun]
        last_us = self._last_us[asset]
        unknown = to_us[:, None] - last_us > self._hold_us[asset]
        if self._is_cut:
            unknown |= (self._cut_us[asset] > NEVER) & (last_us <= self._cut_us[asset])
        silent = unknown.all(axis=1)
        asset, to_us = asset[~silent], to_us[~silent]
        room = self._ring - self.layout.length
        limit_us = (self._done[asset] + room) * self.layout.step_us
        return self._close(asset, np.minimum(to_us, limit_us), np.ones(len(asset), np.bool_))

    def close_all(self) -> list[WindowSet]:
        """Close all rows with a value; the recording has ended."""
        asset = np.flatnonzero(self._started)
        return self._close(asset, self._head_us(asset))

    # -- rows ---------------------------------------------------------------------------------

    def _rows_of(self, values: Values) -> NDArray[np.int64]:
        """The row of each value, [n]."""
        asset, time_us = values.asset, values.time_us
        if self.layout.step_us:
            step: NDArray[np.int64] = -(-time_us // self.layout.step_us)
            self._start(asset, step)
            return step
        self._start(asset, np.zeros(len(asset), np.int64))
        head_us = self._row_us[asset, self._head[asset] % self._ring]
        row: NDArray[np.int64] = self._head[asset]
        ahead = time_us > head_us
        if ahead.any():
            row[ahead] += rank_times(asset[ahead], time_us[ahead])
        behind = time_us < head_us
        if behind.any():
            at_or_after = self._row_us[asset[behind]] >= time_us[behind, None]
            row[behind] += 1 - at_or_after.sum(axis=1)
        late = time_us <= self._done_us[asset]
        row[late] = self._done[asset[late]]
        return row

    def _start(self, asset: NDArray[np.integer], row: NDArray[np.int64]) -> None:
        fresh = ~self._started[asset]
        if not fresh.any():
            return
        # Reversed, so that an asset's first (oldest) value sets the start of its rows.
        new, first = asset[fresh][::-1], row[fresh][::-1]
        self._head[new] = first - 1
        self._done[new] = first - 1
        self._next_end[new] = first + (self.layout.least or self.layout.length) - 1
        self._started[new] = True

    def _restart(self, values: Values) -> list[WindowSet]:
        """Close all rows and start again after a gap that is longer than the ring."""
        asset = np.unique(values.asset)
        found = self._close(asset, self._head_us(asset))
        self._empty(asset)
        return found

    def _write(self, values: Values, row: NDArray[np.int64]) -> None:
        asset, channel, time_us = values.asset, values.channel, values.time_us
        late = row <= self._done[asset]
        if late.any():
            self._take_late(values.where(late))
            keep = ~late
            values, row = values.where(keep), row[keep]
            asset, channel, time_us = values.asset, values.channel, values.time_us
        slot = row % self._ring
        # Ordered by time, so of several values for one cell the newest is written last.
        self._head[asset] = np.maximum(self._head[asset], row)
        if not self.layout.step_us:
            new = self._row_us[asset, slot] == NEVER
            self._row_us[asset[new], slot[new]] = time_us[new]
        if self._count.size:
            aggregate(self._x, self._count, self.layout.resample, values, slot)
        else:
            self._x[asset, slot, channel] = values.value
        self._mark[asset, slot, channel] = values.mark
        self._last_us[asset, channel] = np.maximum(self._last_us[asset, channel], time_us)

    def _take_late(self, values: Values) -> None:
        """Keep a value too late for its row for later rows, if it is the newest."""
        self.late += len(values.asset)
        newer = values.time_us >= self._last_us[values.asset, values.channel]
        values = values.where(newer)
        at = (values.asset, values.channel)
        self._last_us[at] = values.time_us
        good = values.mark != BAD
        self._carry_us[at], self._carry_mark[at] = values.time_us, values.mark
        self._carry[at[0][good], at[1][good]] = values.value[good]


def marks(values: Columns, uncertain: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The mark of each value [n]; uncertain: that of an uncertain value, by signal."""
    if not values.status.any() and not np.isnan(values.value).any():
        return np.full(values.signal.size, GOOD, np.uint8)
    severity = severity_of(values.status)
    mark = np.where(severity == Severity.UNCERTAIN, uncertain[values.signal], GOOD)
    return np.where((severity == Severity.BAD) | np.isnan(values.value), BAD, mark).astype(np.uint8)


def rank_times(asset: NDArray[np.intp], time_us: NDArray[np.int64]) -> NDArray[np.int64]:
    """1 for an asset's first distinct time, 2 for its second, ...; in the order given."""
    order = np.lexsort((time_us, asset))
    a, t = asset[order], time_us[order]
    new_asset = np.append(True, a[1:] != a[:-1])
    step = np.append(True, t[1:] != t[:-1]) | new_asset
    total = np.cumsum(step)
    begin = np.maximum.accumulate(np.where(new_asset, total - 1, 0))
    rank = np.empty(len(a), np.int64)
    rank[order] = total - begin
    return rank


def aggregate(
    x: NDArray[np.floating],
    count: NDArray[np.uint32],
    resample: Sequence[Resample],
    values: Values,
    slot: NDArray[np.int64],
) -> None:
    """Write values into the cells of x and count [A, ring, C]; each input's `resample` decides.

    count: number of values in the mean of a cell. Bad values are left out.
    """
    for channel, how in enumerate(resample):
        mine = (values.channel == channel) & (values.mark != BAD)
        at = (values.asset[mine], slot[mine], np.full(int(mine.sum()), channel))
        value = values.value[mine].astype(x.dtype)
        if how is Resample.LAST:
            x[at] = value
        elif how is Resample.MEAN:
            _mean(x, count, at, value)
        else:
            empty = np.isnan(x[at])
            x[tuple(index[empty] for index in at)] = value[empty]
            (np.minimum if how is Resample.MIN else np.maximum).at(x, at, value)


def _mean(
    x: NDArray[np.floating],
    count: NDArray[np.uint32],
    at: tuple[NDArray[np.integer], ...],
    value: NDArray[np.floating],
) -> None:
    """Add values to the mean that is already in a cell."""
    empty = np.isnan(x[at])
    x[tuple(index[empty] for index in at)] = 0.0
    x[at] = x[at] * count[at]
    np.add.at(x, at, value)
    np.add.at(count, at, 1)
    cells = tuple(np.unique(np.stack(at), axis=1))
    x[cells] /= count[cells]
