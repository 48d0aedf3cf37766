"""What a window is made of: its layout, cells and marks, and the arithmetic of its rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.config.schema import Resample

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


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


# Marks of a cell, in the order of trust.
MISSING: Final = 0  # no value yet
GOOD: Final = 1
UNCERTAIN: Final = 2
HELD: Final = 3  # repeated from an earlier row
STALE: Final = 4  # held for longer than its input allows
BAD: Final = 5
SOUND: Final = np.array([False, True, True, False, False, False])  # a new value
USABLE: Final = np.array([False, True, True, True, False, False])


@dataclass(frozen=True, slots=True)
class Layout:
    """The layout that a model needs: C inputs, `length` rows, a window every `hop` rows.

    least: rows before the first window, 0 for `length`; cells of rows before an asset's first are
    NaN and MISSING. precise: rows are kept in double precision, for inputs whose readings float32
    cannot represent (see `Reads`).
    """

    channels: int
    length: int
    hop: int
    step_us: int
    lateness_us: int
    resample: tuple[Resample, ...]
    least: int = 0
    precise: bool = False


@dataclass(frozen=True, slots=True)
class Reads:
    """How a model reads an asset's inputs [C], before the cast to float32.

    offset: subtracted value; counts: inputs that are replaced by their steps from row to row.
    """

    offset: NDArray[np.float64]
    counts: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class WindowSet:
    """Closed windows.

    asset [N] (row of `Windows`), start_us and end_us [N], x float32 [N, W, C], mark uint8
    [N, W, C]; raw: the newest unchanged rows [N, C], if x differs from them.
    """

    asset: NDArray[np.intp]
    start_us: NDArray[np.int64]
    end_us: NDArray[np.int64]
    x: NDArray[np.float32]
    mark: NDArray[np.uint8]
    raw: NDArray[np.float64] | None = None

    @property
    def last(self) -> NDArray[np.floating]:
        """The newest unchanged values of the inputs, [N, C]."""
        return self.x[:, -1] if self.raw is None else self.raw

    def coverage(self) -> NDArray[np.float64]:
        """Share of usable cells of the worst input of each window, [N]."""
        share: NDArray[np.float64] = np.mean(USABLE[self.mark], axis=1)
        worst: NDArray[np.float64] = share.min(axis=1)
        return worst

    def where(self, mask: NDArray[np.bool_]) -> WindowSet:
        """Only the windows for which `mask` [N] is true."""
        return WindowSet(
            self.asset[mask],
            self.start_us[mask],
            self.end_us[mask],
            self.x[mask],
            self.mark[mask],
            None if self.raw is None else self.raw[mask],
        )

    def ends_usable(self) -> NDArray[np.bool_]:
        """True if every input is usable in the window's last row, [N]."""
        return _every(self.usable_inputs())

    def usable_inputs(self) -> NDArray[np.bool_]:
        """Which inputs are usable in the window's last row, [N, C]."""
        usable: NDArray[np.bool_] = USABLE[self.mark[:, -1]]
        return usable


def _every(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = np.logical_and.reduce(mask, axis=1)
    return found


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
