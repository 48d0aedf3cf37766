"""Combines several values in one row of the grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edge_agent.config.schema import Resample
from edge_agent.signals.window_set import BAD

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


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
