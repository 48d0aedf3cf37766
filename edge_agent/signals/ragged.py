"""Many short runs as one flat column."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
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


def take_rows(array: NDArray[np.generic], row: NDArray[np.intp]) -> NDArray[np.generic]:
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
