"""The cycle of a machine: told as a period or by a signal at its start, or found in the rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_CYCLES: Final = 8  # seen, at least
_NEAR: Final = 0.1  # of the median distance between two starts
_REGULAR: Final = 0.8  # of the distances are near it
_LEAST_PERIOD: Final = 4  # rows
_REPEATS: Final = 0.5  # autocorrelation at the period
_DIP: Final = 0.3  # between
_AS_HIGH: Final = 0.95  # of the largest: the first peak as high is the period, not its multiple


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
    if near.mean() < _LEAST_PERIOD:
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


def find_periods(z: Floats, *longest: int) -> list[float]:
    """The periods of scaled rows [n, C] without NaN, in rows, each up to a longest one.

    0 if they do not repeat; else the first peak of an input's autocorrelation that is nearly as
    high as the highest one.
    """
    rows = [min(each, len(z) // _CYCLES) for each in longest]
    if max(rows) <= _LEAST_PERIOD:
        return [0.0] * len(rows)
    correlation = _autocorrelation(z, max(rows) + 1).T
    return [_highest([_period_of(each[: most + 2], most) for each in correlation]) for most in rows]


def _highest(found: list[tuple[float, float]]) -> float:
    height, period = max(found, default=(0.0, 0.0))
    return period if height >= _REPEATS else 0.0


def _autocorrelation(z: Floats, lags: int) -> Floats:
    """Autocorrelation of each column at lags 0 .. `lags`, [lags + 1, C]; 0 for constant ones."""
    n = len(z)
    spectrum = np.fft.rfft(z - z.mean(axis=0), 2 * n, axis=0)
    sums = np.fft.irfft(np.abs(spectrum) ** 2, axis=0)[: lags + 1]
    variance = np.where(sums[0] > np.finfo(float).eps * n, sums[0], np.inf)
    return np.asarray(sums / variance * (n / (n - np.arange(lags + 1)))[:, None])


def _period_of(correlation: Floats, longest: int) -> tuple[float, float]:
    """Height and lag of the first high peak after a dip; 0, 0 if there is none."""
    inner = correlation[1:-1]
    peaks = 1 + np.flatnonzero((inner >= correlation[:-2]) & (inner > correlation[2:]))
    lowest = np.minimum.accumulate(correlation)
    peaks = peaks[(peaks >= _LEAST_PERIOD) & (peaks <= longest)]
    peaks = peaks[(correlation[peaks] - lowest[peaks] >= _DIP) & (correlation[peaks] > 0)]
    if not len(peaks):
        return 0.0, 0.0
    high = correlation[peaks].max()
    first = int(peaks[correlation[peaks] >= _AS_HIGH * high][0])
    return float(correlation[first]), _between(correlation, first)


def _between(correlation: Floats, peak: int) -> float:
    """The place of a peak between lags, by the parabola through its neighbours."""
    left, middle, right = correlation[peak - 1 : peak + 2].tolist()
    bend = left - 2 * middle + right
    return peak + (0.5 * (left - right) / bend if bend < 0 else 0.0)
