"""The cycle of a machine, as the config tells it: a period, or a signal that rises at its start."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_CYCLES: Final = 8  # seen, at least
_LEAST_ROWS: Final = 4  # of a cycle
_NEAR: Final = 0.1  # of the median distance between two starts
_REGULAR: Final = 0.8  # of the distances are near it


def told_period(
    start: Floats | None, period: float | None, *, counts: bool
) -> tuple[float | None, str]:
    """The period in rows (None: find it, 0: none), and what the card says about it.

    start: values [T] of the start signal, if there is one; period: as told; counts: the start
    signal is a counter of cycles, which rises with each.
    """
    if start is None:
        return period, "" if period is None else f"told, {period:.4g} rows" if period else "none"
    distances = np.diff(_starts(start, counts=counts))
    if len(distances) < _CYCLES:
        return 0.0, f"none, the start signal rose {len(distances) + 1} times, too rarely"
    near = distances[np.abs(distances / np.median(distances) - 1) <= _NEAR]
    if len(near) < _REGULAR * len(distances):
        low, high = np.quantile(distances, [0.1, 0.9])
        return 0.0, f"varies from {low:.4g} to {high:.4g} rows, no form of whole cycles is used"
    if near.mean() < _LEAST_ROWS:
        return 0.0, f"none, {near.mean():.2g} rows are too few"
    return float(near.mean()), f"{near.mean():.4g} rows, by its start signal"


def _starts(values: Floats, *, counts: bool) -> NDArray[np.intp]:
    """The rows at which a start signal [T] rises; NaN is a gap."""
    known = values[~np.isnan(values)]
    if not len(known):
        return np.zeros(0, np.intp)
    middle = (known.max() + known.min()) / 2
    before, after = values[:-1], values[1:]
    return 1 + np.flatnonzero(after > before if counts else (before <= middle) & (after > middle))
