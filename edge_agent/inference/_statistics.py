"""What healthy looks like, and how far from it is too far: the numbers of a learned baseline.

Multivariate exponentially weighted moving averages (Lowry, Woodall, Champ, Rigdon: A Multivariate
Exponentially Weighted Moving Average Control Chart, Technometrics 34, 1992) with two memories, a
quick and a slow one. Each is judged by Hotelling's T² with the covariance of the SMOOTHED rows
themselves, because a machine's rows depend on each other and theory's factor lambda / (2 - lambda)
would make the limit far too tight.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.errors import ModelError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Mask = NDArray[np.bool_]

LAMBDAS: Final = (0.05, 0.2)
CLIP: Final = 30.0  # spreads; beyond it a value tells no more, and must not drown all else
MAX_WINDOWS: Final = 20_000  # per asset; more cost time and say nothing new
_WINSOR: Final = 4.0  # spreads; healthy data holds outliers
_MIN_SHRINKAGE: Final = 0.03  # also for much data: two sensors of one thing differ by noise only
_NORMAL_MAD: Final = 1.4826  # median absolute deviation of a normal distribution to its sigma
_TAIL: Final = 0.01
_TAIL_WEIGHT: Final = 0.3
_COARSE: Final = 32  # distinct values of a channel that is read in steps
_FLOAT32_NOISE: Final = 1e-6
_CONSTANT: Final = 0.01


@dataclass(frozen=True, slots=True)
class Baseline:
    """Healthy of one asset. C channels, S memories.

    center, spread: [C]; precision: [S, C, C], inverse covariance of the smoothed, scaled rows. Once
    the limit is known precision is divided by it, so that 1 is the limit.
    """

    center: Floats
    spread: Floats
    precision: Floats

    def limited(self, limit: Floats) -> Baseline:
        """The same with limit [S] as 1."""
        return Baseline(self.center, self.spread, self.precision / limit[:, None, None])


def memory_weights(length: int) -> Floats:
    """EWMA weights over a window, newest last, each memory summing to 1: [S, length]."""
    age = np.arange(length - 1, -1, -1)
    weights = np.array([(1.0 - factor) ** age for factor in LAMBDAS])
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def distances(baseline: Baseline, rows: Floats, length: int, stride: int = 1) -> Floats:
    """T² of every window in rows [T, C] by memory: [n, S]; NaN where a window holds NaN."""
    scaled = np.clip((rows - baseline.center) / baseline.spread, -CLIP, CLIP)
    smoothed = _smooth(scaled, length, stride)
    return np.asarray(np.einsum("nsi,sij,nsj->ns", smoothed, baseline.precision, smoothed))


def window_ends(rows: int, length: int, stride: int = 1) -> NDArray[np.intp]:
    """The last row of every window, [n]."""
    return np.arange(length - 1, rows, stride)


def stride_of(rows: int) -> int:
    """Every how many rows a window is looked at."""
    return max(1, rows // MAX_WINDOWS)


def fit(rows: Floats, used: Mask, constant: Floats, length: int) -> Baseline:
    """The baseline of rows [T, C], of which only `used` [T] may be looked at.

    constant: [C], the spread of a channel that never moves (see `constant_floor`).
    """
    sound = used & ~np.isnan(rows).any(axis=1)
    center, spread = _center_and_spread(rows[sound], constant)
    # What is outside `used` becomes NaN, so that every window it touches falls out.
    scaled = np.where(sound[:, None], (rows - center) / spread, np.nan)
    smoothed = _smooth(np.clip(scaled, -_WINSOR, _WINSOR), length, stride_of(len(rows)))
    smoothed = smoothed[~np.isnan(smoothed).any(axis=(1, 2))]
    if len(smoothed) < 2:  # noqa: PLR2004
        raise too_few_windows()
    precision = [_precision(smoothed[:, memory]) for memory in range(len(LAMBDAS))]
    return Baseline(center, spread, np.array(precision))


def too_few_windows() -> ModelError:
    """There are rows, but hardly a window of them without a gap."""
    return ModelError("too few unbroken windows", hint="learn from a longer time without gaps")


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
    middle = np.median(rows, axis=0)
    spread = _NORMAL_MAD * np.median(np.abs(rows - middle), axis=0)
    low, high = np.quantile(rows, [_TAIL, 1 - _TAIL], axis=0)
    tails = (high - low) / (2 * NormalDist().inv_cdf(1 - _TAIL))
    # A channel that rests most of the time has no median deviation at all, yet it moves.
    spread = np.maximum(spread, _TAIL_WEIGHT * tails)
    spread = np.maximum(spread, _resolution(rows))
    spread = np.maximum(spread, _FLOAT32_NOISE * np.abs(middle))
    still = rows.min(axis=0) == rows.max(axis=0)
    spread = np.where(still, constant, np.maximum(spread, np.finfo(np.float32).tiny))
    reach = _WINSOR * spread
    return np.clip(rows, middle - reach, middle + reach).mean(axis=0), spread


def _resolution(rows: Floats) -> Floats:
    """The step of channels that take few distinct values, else 0: one step is no event, [C]."""
    steps = np.zeros(rows.shape[1])
    for channel, values in enumerate(rows.T):
        distinct = np.unique(values)
        if 1 < len(distinct) <= _COARSE:
            steps[channel] = np.diff(distinct).min()
    return steps


def _smooth(scaled: Floats, length: int, stride: int) -> Floats:
    """Windows of scaled rows [T, C] to their weighted means: [n, S, C]."""
    kernels = memory_weights(length)[:, ::-1]
    columns = [
        [np.convolve(channel, kernel, "valid")[::stride] for channel in scaled.T]
        for kernel in kernels
    ]
    return np.array(columns).transpose(2, 0, 1)


def _precision(smoothed: Floats) -> Floats:
    """Inverse of the shrunk covariance of smoothed [n, C]."""
    centered = smoothed - smoothed.mean(axis=0)
    covariance = centered.T @ centered / len(centered)
    deviation = np.sqrt(np.diag(covariance))
    # A channel that never moved has no covariance: its spread already says what counts as far.
    deviation = np.where(deviation > 0, deviation, 1.0)
    scale = np.outer(deviation, deviation)
    correlation = covariance / scale
    np.fill_diagonal(correlation, 1.0)
    rho = max(_MIN_SHRINKAGE, oas_shrinkage(correlation, len(centered)))
    shrunk = (1.0 - rho) * correlation + rho * np.eye(len(correlation))
    return np.asarray(np.linalg.inv(shrunk) / scale)


def oas_shrinkage(covariance: Floats, samples: int) -> float:
    """How far to shrink a covariance of `samples` rows towards a multiple of the identity, 0..1.

    Oracle approximating shrinkage: Chen, Wiesel, Eldar, Hero: Shrinkage Algorithms for MMSE
    Covariance Estimation, IEEE Transactions on Signal Processing 58, 2010, equation 23.
    """
    size = len(covariance)
    trace_of_square = float((covariance * covariance).sum())
    square_of_trace = float(np.trace(covariance)) ** 2
    above = (1 - 2 / size) * trace_of_square + square_of_trace
    below = (samples + 1 - 2 / size) * (trace_of_square - square_of_trace / size)
    return 1.0 if below <= above else above / below
