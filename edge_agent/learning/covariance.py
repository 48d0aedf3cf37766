"""The covariance of healthy data, from few rows that depend on each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_MIN_SHRINKAGE: Final = 0.01  # also for much data: two sensors of a quantity differ by noise only
_BLOCKS: Final = 16  # of the whole time; slower movements are hardly known
_MIN_BLOCK: Final = 3
_MAX_CORRELATION: Final = 0.95
_FAR: Final = 3.0  # sigmas of a normal distribution
_LEAST_FREEDOM: Final = 0.7
_MAX_INFLATION: Final = 1e4


def precision(found: Floats, when: NDArray[np.intp], rows: int) -> Floats:
    """Inverse covariance of standardized windows, found [n, C]; they end at rows `when` of `rows`.

    Shrunk, since windows are few; and in each principal direction wider by as much as the tail of
    Student's distribution is heavier than the normal one's for the number of independent values
    in that direction. A direction that drifted only once or twice while learning will drift on.
    """
    correlation = found.T @ found / len(found)
    np.fill_diagonal(correlation, 1.0)  # also for a channel that never moved
    rho = max(_MIN_SHRINKAGE, oas_shrinkage(correlation, len(found)))
    shrunk = (1.0 - rho) * correlation + rho * np.eye(len(correlation))
    variances, directions = np.linalg.eigh(shrunk)
    taken = effective_number(found @ directions, when * _BLOCKS // rows)
    variances = variances * inflation(taken)
    return np.asarray((directions / variances) @ directions.T)


def effective_number(series: Floats, block: NDArray[np.intp]) -> Floats:
    """The number of independent values in series [n, C], from the means of its blocks [n]: [C].

    The variance of the means of blocks determines how many values a block holds, their correlation
    from block to block how many blocks count.
    """
    counts = np.bincount(block)
    sums = np.stack([np.bincount(block, column) for column in series.T], axis=1)
    enough = counts >= _MIN_BLOCK
    means = sums[enough] / counts[enough, None]
    means -= means.mean(axis=0)
    squares = np.maximum((means**2).sum(axis=0), np.finfo(float).tiny)
    # The correlation of a finite series with itself is too low by about one part in its length.
    next_to = (means[1:] * means[:-1]).sum(axis=0) / squares + 1 / len(means)
    next_to = np.clip(next_to, 0.0, _MAX_CORRELATION)
    within = np.maximum(series.var(axis=0) * len(means) / squares, 1.0)
    return np.asarray(within * len(means) * (1 - next_to) / (1 + next_to))


def inflation(number: Floats) -> Floats:
    """How much wider a variance from `number` values must be, so that three sigmas stay three.

    The quantile of Student's distribution by Wallace: Bounds on Normal Approximations to Student's
    and the Chi-Square Distributions, Annals of Mathematical Statistics 30, 1959; and the mean's own
    variance.
    """
    freedom = np.maximum(number - 1, _LEAST_FREEDOM)
    stretch = ((8 * freedom + 3) / (8 * freedom + 1)) ** 2 * _FAR**2 / freedom
    wider = freedom * np.expm1(np.minimum(stretch, 50.0)) / _FAR**2
    return np.asarray(np.minimum(wider, _MAX_INFLATION) * (1 + 1 / np.maximum(number, 1.0)))


def oas_shrinkage(covariance: Floats, samples: int) -> float:
    """How far to shrink a covariance of `samples` rows towards a multiple of the identity, 0..1.

    Oracle approximating shrinkage: Chen, Wiesel, Eldar, Hero: Shrinkage Algorithms for MMSE
    Covariance Estimation, IEEE Transactions on Signal Processing 58, 2010, equation 23.
    """
    size = len(covariance)
    if size == 1:  # a multiple of the identity; the quotient would be of two rounding errors
        return 1.0
    trace_of_square = float((covariance * covariance).sum())
    square_of_trace = float(np.trace(covariance)) ** 2
    above = (1 - 2 / size) * trace_of_square + square_of_trace
    below = (samples + 1 - 2 / size) * (trace_of_square - square_of_trace / size)
    return 1.0 if below <= above else above / below
