"""What healthy looks like, and how far from it is too far: the numbers of a learned baseline.

Three statistics of a window, each judged by Hotelling's T² with its own covariance over healthy
windows. Two are multivariate exponentially weighted moving averages (Lowry, Woodall, Champ, Rigdon:
A Multivariate Exponentially Weighted Moving Average Control Chart, Technometrics 34, 1992) with a
slow and a quick memory; a machine's rows depend on each other, so that theory's covariance factor
lambda / (2 - lambda) would make the limit far too tight. The third is how restless each channel is:
the logarithm of the smoothed absolute difference from row to row. It sees what no mean sees: noise,
oscillation, a sensor that stands still.
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
CLIP: Final = 30.0  # spreads; beyond it a value tells no more, and must not drown all else
STILLNESS: Final = 0.5  # of a channel's usual restlessness: what no movement at all counts as
MAX_WINDOWS: Final = 20_000  # per asset; more cost time and say nothing new
_WINSOR: Final = 4.0  # spreads; healthy data holds outliers
_STATE_ROWS: Final = 64  # what is held so long is a state of the machine and no outlier
_MIN_STATES: Final = 20  # so many are needed to tell the two apart
_STATE_SHARE: Final = 0.02
_BEYOND_STATE: Final = 1.25
_NORMAL_MAD: Final = 1.4826  # median absolute deviation of a normal distribution to its sigma
_TAIL: Final = 0.01
_TAIL_WEIGHT: Final = 0.3
_COARSE: Final = 32  # distinct values of a channel that is read in steps
_FLOAT32_NOISE: Final = 1e-6
_CONSTANT: Final = 0.01
_LEAST_RESTLESS: Final = 0.1  # spreads from row to row; a last digit may come and go
_COUNTS: Final = 8  # steps of a counter, at least, and parts of the time in which it must rise
_RISING: Final = 0.99  # of its steps: a meter may be reset
_OVER: Final = 1.5  # of the largest step: what a roll-over may count
# What counters of 16, 32 and 64 bits read: the lowest value, and how many there are.
_RANGES: Final = tuple(
    (low, 2.0**bits) for bits in (16, 32, 64) for low in (0.0, -(2.0 ** (bits - 1)))
)
_STEPS: Final = 1000  # of float32 in a spread, at least
_BLOCK: Final = 1024  # windows at a time: they stay in the cache


@dataclass(frozen=True, slots=True)
class Baseline:
    """Healthy of one asset. C channels, S statistics: slow mean, quick mean, restlessness.

    center, spread: [C]; restless: [C], mean absolute difference from row to row, in spreads;
    middle: [S, C] and precision: [S, C, C], mean and inverse covariance of the statistics. Once the
    limit is known precision is divided by it, so that 1 is the limit. counter: [C], channels that
    only count and are judged by what they count from row to row; offset: [C], what is subtracted
    before anything else, where float32 does not resolve the readings.
    """

    center: Floats
    spread: Floats
    restless: Floats
    middle: Floats
    precision: Floats
    counter: Mask
    offset: Floats

    def limited(self, limit: Floats) -> Baseline:
        """The same with limit [S] as 1."""
        return replace(self, precision=self.precision / limit[:, None, None])


def counters(rows: Floats) -> Mask:
    """Which channels of rows [T, C] only rise, all the time, as energy and hour meters do: [C]."""
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
    """A counter of 16, 32 or 64 bits as if it had more; anything else as it is.

    It rolls over where every fall is one step of the size that it takes anyway, over the end of its
    range. A small range is rolled over often: of a sawtooth that is no such range nothing is said.
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
    """Rows [..., T, C] with each counter replaced by what it counted since the row before."""
    return np.where(counter, counted(rows), rows) if counter.any() else rows


def offsets(rows: Floats) -> Floats:
    """What to subtract from rows [T, C] so that float32 resolves how they vary; mostly 0: [C]."""
    low, middle, high = np.nanquantile(rows, [_TAIL, 0.5, 1 - _TAIL], axis=0)
    spread = (high - low) / (2 * NormalDist().inv_cdf(1 - _TAIL))
    # A channel that hardly ever moves is known by the whole of its range.
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
    """T² of every window in rows [T, C] by statistic: [n, S]; NaN if a window holds NaN.

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
    """Every how many rows a window is looked at."""
    return max(1, rows // MAX_WINDOWS)


def fit(rows: Floats, used: Mask, constant: Floats, length: int) -> Baseline:
    """The baseline of rows [T, C], of which only `used` [T] may be looked at.

    rows: counters already as `rates`; constant: [C], the spread of a channel that never moves (see
    `constant_floor`).
    """
    sound = used & ~np.isnan(rows).any(axis=1)
    center, spread = _center_and_spread(rows[sound], constant)
    low, high = _reach(rows[sound], spread)
    # What is outside `used` becomes NaN, so that every window it touches falls out.
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
    """There are rows, but hardly a window of them without a gap."""
    return ModelError("too few unbroken windows", hint="learn from more time without gaps")


def constant_floor(rows: Floats, valid: list[tuple[float, float] | None]) -> Floats:
    """The spread that a channel gets which never moved while healthy, [C].

    1 % of its reading or of its valid range, whichever is more; 0.01 for a channel that always
    read 0 and states no range. A change by the last digit then stays small, a real one alarms.
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
    """What rows [T, C] are clipped to before their covariance is taken: low and high, [C].

    A machine that idles a tenth of its time is far from its middle then, and healthy all the same.
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
    """The step of channels that take few distinct values, else 0: one step is no event, [C]."""
    steps = np.zeros(rows.shape[1])
    for channel, values in enumerate(rows.T):
        distinct = np.unique(values)
        if 1 < len(distinct) <= _COARSE:
            steps[channel] = np.diff(distinct).min()
    return steps


def _smooth(scaled: Floats, length: int, stride: int) -> Floats:
    """Windows of scaled rows [T, C] to their weighted means and changes: [n, S, C]."""
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
