"""The numbers of a learned baseline: the healthy state, and the distance from it that is a fault.

A window has three statistics, each with Hotelling's T² by its own covariance over healthy
windows. Two are multivariate exponentially weighted moving averages (Lowry, Woodall, Champ, Rigdon:
A Multivariate Exponentially Weighted Moving Average Control Chart, Technometrics 34, 1992) with a
slow and a quick memory; a machine's rows depend on each other, so that theory's covariance factor
lambda / (2 - lambda) would make the limit far too tight. The third is each channel's variability:
the logarithm of the smoothed absolute difference from row to row. It detects changes that no mean
shows: noise, oscillation, a sensor that is stuck.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.counting import counted, falls
from edge_agent.errors import ModelError
from edge_agent.learning.covariance import precision

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Mask = NDArray[np.bool_]

LAMBDAS: Final = (0.05, 0.2)
STATISTICS: Final = 3
CLIP: Final = 30.0  # spreads; more has no information, and must not hide other inputs
STILLNESS: Final = 0.5  # of a channel's usual variability: the value for no movement at all
MAX_WINDOWS: Final = 20_000  # per asset; more cost time and add no information
_WINSOR: Final = 4.0  # spreads; healthy data contains outliers
_STATE_ROWS: Final = 64  # values held this long are a state of the machine, not outliers
_MIN_STATES: Final = 20  # the number needed to separate the two
_STATE_SHARE: Final = 0.02
_BEYOND_STATE: Final = 1.25
_NORMAL_MAD: Final = 1.4826  # median absolute deviation of a normal distribution to its sigma
_TAIL: Final = 0.01
_TAIL_WEIGHT: Final = 0.3
_COARSE: Final = 32  # distinct values of a channel that is read in steps
_FLOAT32_NOISE: Final = 1e-6
_CONSTANT: Final = 0.01
_LEAST_RESTLESS: Final = 0.1  # spreads from row to row; a last digit may toggle
_COUNTS: Final = 8  # steps of a counter, at least, and parts of the time in which it must rise
_RISING: Final = 0.99  # of its steps: a meter may be reset
_OVER: Final = 1.5  # times the largest step: the maximum step at a roll-over
# Ranges of counters of 16, 32 and 64 bits: the lowest value, and the number of values.
_RANGES: Final = tuple(
    (low, 2.0**bits) for bits in (16, 32, 64) for low in (0.0, -(2.0 ** (bits - 1)))
)
_STEPS: Final = 1000  # of float32 in a spread, at least
_BLOCK: Final = 1024  # windows at a time: they stay in the cache


@dataclass(frozen=True, slots=True)
class Baseline:
    """The healthy state of an asset. C channels, S statistics: slow mean, quick mean, variability.

    center, spread: [C]; restless: [C], mean absolute difference from row to row, in spreads;
    middle: [S, C] and precision: [S, C, C], mean and inverse covariance of the statistics. Once the
    limit is known precision is divided by it, so that 1 is the limit. counter: [C], channels that
    only count and are scored by their increments from row to row; offset: [C], subtracted before
    all else, if float32 does not resolve the readings.
    """

    center: Floats
    spread: Floats
    restless: Floats
    middle: Floats
    precision: Floats
    counter: Mask
    offset: Floats

    def limited(self, limit: Floats) -> Baseline:
        """The same baseline, scaled so that limit [S] is 1."""
        return replace(self, precision=self.precision / limit[:, None, None])


def counters(rows: Floats) -> Mask:
    """True for channels of rows [T, C] that only rise, as energy and hour meters do: [C]."""
    return np.array([_counts(values[~np.isnan(values)]) for values in rows.T], bool)


def _counts(values: Floats) -> bool:
    values = _unrolled(values)
    steps = np.diff(values)
    steps = steps[steps != 0]
    if len(steps) < _COUNTS or (steps > 0).mean() < _RISING:
        return False
    parts = values[np.linspace(0, len(values) - 1, _COUNTS + 1).astype(int)]
    return bool((np.diff(parts) > 0).sum() >= _COUNTS - 1)


def _unrolled(values: Floats) -> Floats:
    """A counter of 16, 32 or 64 bits without its roll-overs; other values unchanged.

    It rolls over if every fall is one step of the usual size, over the end of its range. A small
    range rolls over often: a sawtooth with another range is not changed.
    """
    steps = np.diff(values)
    fell = falls(values[:, None])[:, 0]
    largest = steps.max(initial=0.0)
    for low, size in _RANGES if fell.any() and largest > 0 else ():
        over = steps[fell] + size
        if values.min() >= low and values.max() < low + size and _fits(over, _OVER * largest):
            return np.asarray(values + np.append(0.0, np.cumsum(fell)) * size)
    return values


def _fits(steps: Floats, most: float) -> bool:
    return bool(((steps >= 0) & (steps <= most)).all())


def rates(rows: Floats, counter: Mask) -> Floats:
    """Rows [..., T, C] with each counter replaced by its increment since the row before."""
    return np.where(counter, counted(rows), rows) if counter.any() else rows


def offsets(rows: Floats) -> Floats:
    """The values to subtract from rows [T, C] so that float32 resolves them; usually 0: [C]."""
    low, middle, high = np.nanquantile(rows, [_TAIL, 0.5, 1 - _TAIL], axis=0)
    spread = (high - low) / (2 * NormalDist().inv_cdf(1 - _TAIL))
    # The spread of a channel that hardly ever moves is its whole range.
    spread = np.where(spread > 0, spread, np.nanmax(rows, axis=0) - np.nanmin(rows, axis=0))
    largest = np.nanmax(np.abs(rows), axis=0).astype(np.float32)
    return np.where((spread > 0) & (np.spacing(largest) > spread / _STEPS), middle, 0.0)


def memory_weights(length: int) -> Floats:
    """EWMA weights over a window, newest last, each memory summing to 1: [S, length]."""
    age = np.arange(length - 1, -1, -1)
    weights = np.array([(1.0 - factor) ** age for factor in LAMBDAS])
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def change_weights(length: int) -> Floats:
    """The slow memory's weights for the differences between a window's rows: [length - 1]."""
    weights = memory_weights(length)[0, 1:]
    return np.asarray(weights / weights.sum())


def distances(baseline: Baseline, rows: Floats, length: int, stride: int = 1) -> Floats:
    """T² of every window in rows [T, C] by statistic: [n, S]; NaN if a window contains NaN.

    rows: counters already as `rates`.
    """
    scaled = np.clip((rows - baseline.center) / baseline.spread, -CLIP, CLIP)
    found = _smooth(scaled, length, stride)
    found[:, -1] = variability(found[:, -1], baseline.restless)
    found -= baseline.middle
    pull = np.einsum("nsi,sij->nsj", found, baseline.precision, optimize=True)
    return np.asarray((found * pull).sum(axis=2))


def variability(changes: Floats, usual: Floats) -> Floats:
    """The logarithm that makes smoothed absolute differences [..., C] comparable."""
    return np.asarray(np.log(changes / usual + STILLNESS))


def window_ends(rows: int, length: int, stride: int = 1) -> NDArray[np.intp]:
    """The last row of every window, [n]."""
    return np.arange(length - 1, rows, stride)


def stride_of(rows: int) -> int:
    """The step between evaluated windows, in rows."""
    return max(1, rows // MAX_WINDOWS)


def fit(rows: Floats, used: Mask, constant: Floats, length: int) -> Baseline:
    """The baseline of rows [T, C], of which only `used` [T] may be read.

    rows: counters already as `rates`; constant: [C], the spread of a channel that never moves (see
    `constant_floor`).
    """
    sound = used & ~np.isnan(rows).any(axis=1)
    center, spread = _center_and_spread(rows[sound], constant)
    low, high = _reach(rows[sound], spread)
    # Rows outside `used` become NaN, so that every window that contains one is left out.
    scaled = np.where(sound[:, None], (np.clip(rows, low, high) - center) / spread, np.nan)
    stride = stride_of(len(rows))
    found = _smooth(np.clip(scaled, -CLIP, CLIP), length, stride)
    whole = ~np.isnan(found).any(axis=(1, 2))
    found, ends = found[whole], window_ends(len(rows), length, stride)[whole]
    if len(found) < 2:  # noqa: PLR2004
        raise too_few_windows()
    restless = np.maximum(found[:, -1].mean(axis=0), _LEAST_RESTLESS)
    found[:, -1] = variability(found[:, -1], restless)
    inverse = np.array([precision(each, ends, len(rows)) for each in found.transpose(1, 0, 2)])
    none = np.zeros(rows.shape[1])
    mean = found.mean(axis=0)
    return Baseline(center, spread, restless, mean, inverse, none.astype(bool), none)


def too_few_windows() -> ModelError:
    """The error if there are rows, but hardly a window of them without a gap."""
    return ModelError("too few unbroken windows", hint="learn from more time without gaps")


def constant_floor(rows: Floats, valid: list[tuple[float, float] | None]) -> Floats:
    """The spread of a channel that never moved while healthy, [C].

    1 % of its reading or of its valid range, whichever is more; 0.01 for a channel that always
    read 0 and has no range. A change by the last digit then stays small, a real one alarms.
    """
    reading = np.abs(np.nanmedian(rows, axis=0))
    span = np.array([0.0 if limits is None else limits[1] - limits[0] for limits in valid])
    largest = np.maximum(reading, span)
    return np.where(largest > 0, _CONSTANT * largest, _CONSTANT)


def _center_and_spread(rows: Floats, constant: Floats) -> tuple[Floats, Floats]:
    """Winsorised mean and robust spread of rows [T, C]."""
    still = rows.min(axis=0) == rows.max(axis=0)
    rows = rows[:: stride_of(len(rows))]
    middle = np.median(rows, axis=0)
    spread = _NORMAL_MAD * np.median(np.abs(rows - middle), axis=0)
    low, high = np.quantile(rows, [_TAIL, 1 - _TAIL], axis=0)
    tails = (high - low) / (2 * NormalDist().inv_cdf(1 - _TAIL))
    # A channel that rests most of the time has no median deviation at all, yet it moves.
    spread = np.maximum(spread, _TAIL_WEIGHT * tails)
    spread = np.maximum(spread, _resolution(rows))
    spread = np.maximum(spread, _FLOAT32_NOISE * np.abs(middle))
    spread = np.where(still, constant, np.maximum(spread, np.finfo(np.float32).tiny))
    reach = _WINSOR * spread
    return np.clip(rows, middle - reach, middle + reach).mean(axis=0), spread


def _reach(rows: Floats, spread: Floats) -> tuple[Floats, Floats]:
    """The limits to which rows [T, C] are clipped before their covariance: low and high, [C].

    A machine that idles a tenth of its time is far from its middle then, and still healthy.
    """
    middle = np.median(rows[:: stride_of(len(rows))], axis=0)
    low, high = middle - _WINSOR * spread, middle + _WINSOR * spread
    blocks = len(rows) // _STATE_ROWS
    if blocks < _MIN_STATES:
        return low, high
    states = np.median(rows[: blocks * _STATE_ROWS].reshape(blocks, _STATE_ROWS, -1), axis=1)
    lowest, highest = np.quantile(states, [_STATE_SHARE, 1 - _STATE_SHARE], axis=0)
    return (
        np.minimum(low, middle + _BEYOND_STATE * (lowest - middle)),
        np.maximum(high, middle + _BEYOND_STATE * (highest - middle)),
    )


def _resolution(rows: Floats) -> Floats:
    """The step of channels with few distinct values, else 0: one step is not an event, [C]."""
    steps = np.zeros(rows.shape[1])
    for channel, values in enumerate(rows.T):
        distinct = np.unique(values)
        if 1 < len(distinct) <= _COARSE:
            steps[channel] = np.diff(distinct).min()
    return steps


def _smooth(scaled: Floats, length: int, stride: int) -> Floats:
    """Weighted means and changes of the windows of scaled rows [T, C]: [n, S, C]."""
    changes = np.abs(np.diff(scaled, axis=0))
    kernels = [*((scaled, weights) for weights in memory_weights(length))]
    kernels.append((changes, change_weights(length)))
    return np.stack([_weighted(values, kernel, stride) for values, kernel in kernels], axis=1)


def _weighted(values: Floats, weights: Floats, stride: int) -> Floats:
    """The weighted mean of every `stride`-th window of values [T, C], newest last: [n, C]."""
    windows = np.lib.stride_tricks.sliding_window_view(values, len(weights), axis=0)[::stride]
    found = np.empty(windows.shape[:2])
    for begin in range(0, len(windows), _BLOCK):
        found[begin : begin + _BLOCK] = windows[begin : begin + _BLOCK] @ weights
    return found
