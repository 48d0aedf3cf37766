"""Constants of control charts, computed: of the range and of the standard deviation of n values.

All of normal values with standard deviation 1: d2 is the mean of their range, d3 its standard
deviation (Tippett, 1925), c4 the mean of their standard deviation. ISO 7870-2:2013, table 2, lists
the limits that follow from them for n up to 25.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np

_REACH: Final = 8.0  # standard deviations of the integrals
_STEPS: Final = 641


@dataclass(frozen=True, slots=True)
class RangeMoments:
    """Mean and standard deviation of the range of n values."""

    d2: float
    d3: float


@lru_cache(maxsize=64)
def range_moments(n: int) -> RangeMoments:
    """d2 and d3 of n >= 2 values, by integration; exact to 1e-5."""
    x = np.linspace(-_REACH, _REACH, _STEPS)
    step = float(x[1] - x[0])
    below = np.array([0.5 * math.erfc(-one / math.sqrt(2)) for one in x.tolist()])
    mean = float((1 - (1 - below) ** n - below**n).sum() * step)
    low, high = below[:, None], below[None, :]
    both = 1 - high**n - (1 - low) ** n + np.maximum(high - low, 0.0) ** n
    weight = np.triu(np.ones((_STEPS, _STEPS)), 1) + 0.5 * np.eye(_STEPS)
    square = 2 * float((both * weight).sum()) * step * step
    return RangeMoments(mean, math.sqrt(square - mean * mean))


def c4(n: int) -> float:
    """The mean of the standard deviation of n >= 2 values."""
    ratio = math.lgamma(n / 2) - math.lgamma((n - 1) / 2)
    return math.sqrt(2 / (n - 1)) * math.exp(ratio)


def range_limits(n: int, width: float = 3.0) -> tuple[float, float]:
    """D3 and D4: the limits of a range as multiples of the mean range."""
    moments = range_moments(n)
    half = width * moments.d3 / moments.d2
    return max(0.0, 1 - half), 1 + half


def deviation_limits(n: int, width: float = 3.0) -> tuple[float, float]:
    """B3 and B4: the limits of a standard deviation as multiples of the mean one."""
    mean = c4(n)
    half = width * math.sqrt(1 - mean * mean) / mean
    return max(0.0, 1 - half), 1 + half


def mean_factor(n: int, *, of_range: bool, width: float = 3.0) -> float:
    """A2 (of the mean range) or A3 (of the mean standard deviation)."""
    spread = range_moments(n).d2 if of_range else c4(n)
    return width / (spread * math.sqrt(n))
