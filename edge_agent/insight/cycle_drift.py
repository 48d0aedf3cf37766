"""A machine whose cycle becomes longer, and the signals that move with it.

The work per part (stops and waits are not in it) is compared within groups only: parts of one
product, or between two set-ups. Its trend is the median of all slopes (Theil 1950, Sen 1968);
whether it is one is told by the test of Mann and Kendall, with neighbours that resemble each other
counted less. A signal explains a drift only if it also follows the cycle where both leave their own
trend: two trends alone always resemble each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

BINS: Final = 120
LEAST_BINS: Final = 12
_PARTS_PER_BIN: Final = 5
_SURE_Z: Final = 3.5
_LEAST_RHO: Final = 0.35
_SURE_T: Final = 3.5
_SHIFT: Final = 3.0  # robust standard deviations
_MAD: Final = 1.4826
_MOST_SIGNALS: Final = 3

Kind = Literal["follows", "moved_too"]


@dataclass(frozen=True, slots=True)
class Explanation:
    """A signal beside a drift.

    follows: it moves with the cycle, also apart from its own trend (rank: partial rank
    correlation); moved_too: it only changed in the same time (rank: 0). before, after: its medians
    in the first and the last third.
    """

    signal: str
    kind: Kind
    rank: float
    before: float
    after: float


@dataclass(frozen=True, slots=True)
class CycleDrift:
    """The trend of a machine's work per part in a window.

    change: relative, over the window, with its 90 % interval; is_sure: more than chance.
    before_s, now_s: the work in the first and the last third; explained: signals, best first.
    """

    change: float
    low: float
    high: float
    is_sure: bool
    before_s: float
    now_s: float
    parts: int
    explained: tuple[Explanation, ...] = ()


def find_cycle_drift(
    at_s: Floats,
    work_s: Floats,
    group: NDArray[np.intp] | None = None,
    signals: Mapping[str, tuple[Floats, Floats]] | None = None,
) -> CycleDrift | None:
    """The trend of the work per part; None if there are too few parts.

    at_s, work_s: of each part [K], in the order of time; group: its product, or the number of
    set-ups before it. signals: times and values of each.
    """
    usable = np.isfinite(work_s) & (work_s > 0)
    at_s, work_s = at_s[usable], work_s[usable]
    group = np.zeros(len(at_s), np.intp) if group is None else group[usable]
    if len(at_s) < LEAST_BINS * _PARTS_PER_BIN:
        return None
    bins = _bins(at_s, work_s, group)
    if len(bins.at_s) < LEAST_BINS:
        return None
    slopes = _slopes(bins)
    if not len(slopes):
        return None
    span_s = at_s[-1] - at_s[0]
    low, middle, high = _interval(slopes, bins) * span_s
    third = len(work_s) // 3
    return CycleDrift(
        float(middle),
        float(low),
        float(high),
        bool(abs(_trend_z(bins)) >= _SURE_Z),
        float(np.median(work_s[:third])),
        float(np.median(work_s[-third:])),
        len(at_s),
        explain(bins, signals or {}),
    )


@dataclass(frozen=True, slots=True)
class Bins:
    """Medians of neighbouring parts of one group: time, relative work, group [B]."""

    at_s: Floats
    relative: Floats
    group: NDArray[np.intp]


def _bins(at_s: Floats, work_s: Floats, group: NDArray[np.intp]) -> Bins:
    size = max(_PARTS_PER_BIN, len(at_s) // BINS)
    found = []
    for number in np.unique(group):
        mine = np.flatnonzero(group == number)
        usual = np.median(work_s[mine])
        found += [
            (np.median(at_s[part]), np.median(work_s[part]) / usual, number)
            for part in np.array_split(mine, max(1, len(mine) // size))
            if len(part) >= _PARTS_PER_BIN
        ]
    found.sort()
    table = np.array(found).reshape(-1, 3)
    return Bins(table[:, 0], table[:, 1], table[:, 2].astype(np.intp))


def _pairs(bins: Bins) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Earlier and later bins of one group."""
    first, second = np.triu_indices(len(bins.at_s), 1)
    same = bins.group[first] == bins.group[second]
    return first[same], second[same]


def _slopes(bins: Bins) -> Floats:
    first, second = _pairs(bins)
    apart_s = bins.at_s[second] - bins.at_s[first]
    there = apart_s > 0
    return np.asarray((bins.relative[second] - bins.relative[first])[there] / apart_s[there])


def _interval(slopes: Floats, bins: Bins) -> Floats:
    """Low, median and high slope: the ranks of Sen (1968) for 90 %."""
    half = 1.645 * np.sqrt(_variance(bins)) / max(len(slopes), 1) / 2
    ranks = (max(0.0, 0.5 - half), 0.5, min(1.0, 0.5 + half))
    found: Floats = np.quantile(slopes, ranks)
    return found


def _variance(bins: Bins) -> float:
    """Of the statistic of Mann and Kendall within groups, for neighbours that resemble."""
    _, counts = np.unique(bins.group, return_counts=True)
    whole = float((counts * (counts - 1) * (2 * counts + 5)).sum() / 18)
    rest = bins.relative - _trend_of(bins)
    before, after = rest[:-1], rest[1:]
    rho = float((before * after).sum() / max((rest * rest).sum(), 1e-12))
    rho = min(max(rho, 0.0), 0.9)
    return whole * (1 + rho) / (1 - rho)


def _trend_of(bins: Bins) -> Floats:
    """The value of the trend at each bin, by group."""
    slope = float(np.median(_slopes(bins)))
    line = slope * bins.at_s
    rest = bins.relative - line
    for number in np.unique(bins.group):
        mine = bins.group == number
        line[mine] += np.median(rest[mine])
    return line


def _trend_z(bins: Bins) -> float:
    first, second = _pairs(bins)
    statistic = float(np.sign(bins.relative[second] - bins.relative[first]).sum())
    return statistic / float(np.sqrt(max(_variance(bins), 1e-9)))


def explain(bins: Bins, signals: Mapping[str, tuple[Floats, Floats]]) -> tuple[Explanation, ...]:
    """The signals that follow the cycle; without any, those that changed in the same time."""
    found = [
        one
        for name, (at_s, value) in signals.items()
        if (one := _explanation(name, bins, _at_bins(bins, at_s, value))) is not None
    ]
    follows = [one for one in found if one.kind == "follows"]
    chosen = follows or found
    return tuple(sorted(chosen, key=lambda one: -abs(one.rank))[:_MOST_SIGNALS])


def _at_bins(bins: Bins, at_s: Floats, value: Floats) -> Floats:
    """The mean of a signal in the time of each bin; NaN without a value."""
    edges = np.concatenate([[-np.inf], (bins.at_s[1:] + bins.at_s[:-1]) / 2, [np.inf]])
    good = np.isfinite(value)
    place = np.searchsorted(edges, at_s[good]) - 1
    total = np.bincount(place, value[good], len(bins.at_s))
    count = np.bincount(place, minlength=len(bins.at_s))
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _explanation(name: str, bins: Bins, value: Floats) -> Explanation | None:
    known = np.isfinite(value)
    if known.sum() < LEAST_BINS or np.ptp(value[known]) == 0:
        return None
    value, at_s, relative = value[known], bins.at_s[known], bins.relative[known]
    third = max(1, len(value) // 3)
    before, after = float(np.median(value[:third])), float(np.median(value[-third:]))
    rank = partial_rank(relative, value, at_s)
    freedom = len(value) - 3
    sure = abs(rank) * np.sqrt(freedom / max(1 - rank * rank, 1e-9)) >= _SURE_T
    if sure and abs(rank) >= _LEAST_RHO:
        return Explanation(name, "follows", rank, before, after)
    noise = _MAD * float(np.median(np.abs(np.diff(value)))) / np.sqrt(2)
    if abs(after - before) > _SHIFT * max(noise, 1e-12):
        return Explanation(name, "moved_too", 0.0, before, after)
    return None


def partial_rank(first: Floats, second: Floats, given: Floats) -> float:
    """The rank correlation of two series that is left without that of both with a third one."""
    ab, ac, bc = _rank(first, second), _rank(first, given), _rank(second, given)
    rest = np.sqrt(max((1 - ac * ac) * (1 - bc * bc), 1e-12))
    return float(np.clip((ab - ac * bc) / rest, -1, 1))


def _rank(first: Floats, second: Floats) -> float:
    """Spearman's rank correlation."""
    return float(np.corrcoef(_ranks(first), _ranks(second))[0, 1])


def _ranks(values: Floats) -> Floats:
    """Ranks; equal values have the mean of theirs."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[place.ravel()])
