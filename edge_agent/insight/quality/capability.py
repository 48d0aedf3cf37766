"""Capability and performance of a process, with confidence intervals.

Cp, Cpk use the standard deviation within subgroups, Pp, Ppk the overall one (ISO 22514-2:2017).
Intervals: of Cp and Pp from the chi-square distribution (Kane, 1986), of Cpk and Ppk by Bissell
(1990). All assume independent normal values.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edge_agent.insight.quality.constants import range_moments

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_agent.config.control_charts import Specification

LEAST_VALUES: Final = 25
_SIDES: Final = 6.0  # standard deviations of the whole spread
_SMALL: Final = 1e-12
_MOST_TERMS: Final = 2000


@dataclass(frozen=True, slots=True)
class Index:
    """An index with its confidence interval; None if the specification has one side only."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Capability:
    """The indices of some values; within, overall: standard deviations.

    outside: the share of values outside of the specification. cpm: with the target (Taguchi).
    """

    n: int
    mean: float
    within: float
    overall: float
    outside: float
    cp: Index | None
    cpk: Index
    pp: Index | None
    ppk: Index
    cpm: float | None

    def as_json(self) -> dict[str, Any]:
        """The fields, an index as {value, low, high}."""
        found: dict[str, Any] = {}
        for name in self.__slots__:
            one = getattr(self, name)
            is_index = isinstance(one, Index)
            found[name] = {k: getattr(one, k) for k in Index.__slots__} if is_index else one
        return found


def capability_of(groups: Sequence[Sequence[float]], wanted: Specification) -> Capability | None:
    """The capability of subgroups of equal size; None if there is too little, or no spread."""
    values = np.array([one for group in groups for one in group], np.float64)
    if len(values) < LEAST_VALUES:
        return None
    within, freedom = within_deviation(groups)
    overall = float(values.std(ddof=1))
    if within <= 0 or overall <= 0:
        return None
    mean = float(values.mean())
    total = float(len(values) - 1)
    return Capability(
        len(values),
        mean,
        within,
        overall,
        _outside(values, wanted),
        _both_sides(wanted, within, freedom),
        _nearer_side(wanted, mean, within, freedom),
        _both_sides(wanted, overall, total),
        _nearer_side(wanted, mean, overall, total),
        _with_target(wanted, mean, overall),
    )


def within_deviation(groups: Sequence[Sequence[float]]) -> tuple[float, float]:
    """The standard deviation within subgroups, and its degrees of freedom.

    Of single values from the moving range; the freedom of that is .62 (n - 1), since its ranges
    overlap.
    """
    size = len(groups[0])
    if size == 1:
        values = np.array(groups, np.float64)[:, 0]
        spread = float(np.abs(np.diff(values)).mean()) / range_moments(2).d2
        return spread, max(1.0, 0.62 * (len(values) - 1))
    table = np.array(groups, np.float64)
    return float(math.sqrt(table.var(axis=1, ddof=1).mean())), float(len(groups) * (size - 1))


def _outside(values: np.ndarray[Any, np.dtype[np.float64]], wanted: Specification) -> float:
    low = -math.inf if wanted.low is None else wanted.low
    high = math.inf if wanted.high is None else wanted.high
    return float(((values < low) | (values > high)).mean())


def _both_sides(wanted: Specification, sigma: float, freedom: float) -> Index | None:
    if wanted.low is None or wanted.high is None:
        return None
    value = (wanted.high - wanted.low) / (_SIDES * sigma)
    tail = (1 - wanted.confidence) / 2
    low, high = (math.sqrt(chi_square(p, freedom) / freedom) for p in (tail, 1 - tail))
    return Index(value, value * low, value * high)


def _nearer_side(wanted: Specification, mean: float, sigma: float, freedom: float) -> Index:
    sides = [
        distance / (_SIDES / 2 * sigma)
        for distance in (
            math.inf if wanted.low is None else mean - wanted.low,
            math.inf if wanted.high is None else wanted.high - mean,
        )
    ]
    value = min(sides)
    z = NormalDist().inv_cdf((1 + wanted.confidence) / 2)
    half = z * math.sqrt(1 / (9 * (freedom + 1)) + value * value / (2 * freedom))
    return Index(value, value - half, value + half)


def _with_target(wanted: Specification, mean: float, sigma: float) -> float | None:
    if wanted.target is None or wanted.low is None or wanted.high is None:
        return None
    spread = math.sqrt(sigma**2 + (mean - wanted.target) ** 2)
    return (wanted.high - wanted.low) / (_SIDES * spread)


def chi_square(p: float, freedom: float) -> float:
    """The quantile of the chi-square distribution; by bisection of its distribution function."""
    low, high = 0.0, freedom + 20 * math.sqrt(2 * freedom) + 20
    for _ in range(100):
        middle = (low + high) / 2
        if _gamma_share(freedom / 2, middle / 2) < p:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _gamma_share(a: float, x: float) -> float:
    """The regularised lower incomplete gamma function P(a, x), by its series."""
    if x <= 0:
        return 0.0
    term = total = 1.0 / a
    for n in range(1, _MOST_TERMS):
        term *= x / (a + n)
        total += term
        if term < total * _SMALL:
            break
    return min(1.0, total * math.exp(a * math.log(x) - x - math.lgamma(a)))
