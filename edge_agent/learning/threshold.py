"""The limits of a learned baseline above observed scores, and what they promise."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.learning.statistics import USUAL_EVENT

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_CONFIDENCE: Final = 0.95
_DAY_S: Final = 86_400.0
_QUANTILE: Final = 0.999
# From observed scores to the limit: later data always differs, and the more so the fewer
# independent windows were seen. Tuned on SKAB's valve1 and on simulated machines (seeds 1 and 2).
_MIN_MARGIN: Final = 2.0
_MAX_MARGIN: Final = 6.0
_ENOUGH: Final = 1000  # independent windows
_GROWTH: Final = 0.25
_USUAL_WANTED: Final = 0.1  # false alarms a day
_TAIL_INDEX: Final = 0.25  # of the power law of T²; far heavier than a normal distribution's
_LEAST_SEEN: Final = 1.0  # T² if nothing ever moved: one `constant_floor` off counts as seen
_OWN_SHARE: Final = 0.005  # of its own healthy windows a baseline may be over its limit
_OWN_MARGIN: Final = 1.05
_OWN_MOST: Final = 2.0  # limits are raised so far for the rest of them; what is farther is told
_RANGE_MARGIN: Final = 0.15  # beyond the range that was seen, from enough independent windows
_RANGE_GROWTH: Final = 0.5
_RANGE_TAIL: Final = 3.0  # times the distance from the 99 % to the 99.9 % quantile


@dataclass(frozen=True, slots=True)
class Limits:
    """limit: [CHARTS]. days: held out, in `scores` [n] of each quarter, relative to the limit.

    apart: windows of them between two alarms, at least.
    """

    limit: Floats
    days: float
    scores: tuple[Floats, ...]
    apart: int

    def alarms(self, factor: float) -> int:
        """The alarms that limits so many times as high would have raised in the held-out time."""
        return sum(alarms_of(each >= factor, self.apart) for each in self.scores)


def limits_of(
    held_out: list[Floats], stride: int, alarm_rows: int, interval_s: float, wanted: float
) -> Limits:
    """The limits of charts from the scores of each held-out quarter, [n, CHARTS] each.

    stride: rows between two of the windows; alarm_rows: between two alarms, at least; interval_s:
    between two rows; wanted: false alarms a day. The 99.9 % quantile of what was seen, times a
    margin that fits how much was seen.
    """
    # The median, so that one unusual quarter, such as a cold start, cannot set the limit.
    quantiles = [np.maximum(np.quantile(s, _QUANTILE, axis=0), _LEAST_SEEN) for s in held_out]
    seen = np.exp(np.median(np.log(quantiles), axis=0))
    apart = max(1, alarm_rows // stride)
    windows = sum(map(len, held_out))
    independent = windows * stride / alarm_rows
    margin = _MIN_MARGIN * max(1.0, _ENOUGH / independent) ** _GROWTH
    stricter = (_USUAL_WANTED / wanted) ** _TAIL_INDEX
    limit = seen * max(1.0, min(margin, _MAX_MARGIN) * stricter)
    limit[-1] = _event_limit([scores[:, -1] for scores in held_out], independent) * stricter
    scores = tuple((each / limit).max(axis=1) for each in held_out)
    return Limits(limit, windows * stride * interval_s / _DAY_S, scores, apart)


def _event_limit(held_out: list[Floats], independent: float) -> float:
    """The limit of events [n] by quarter, squared as they are.

    What has ends, such as an input that is on or off, hardly ever leaves its range; otherwise the
    tail from 99 to 99.9 % goes on for three such steps.
    """
    least = 1 + _RANGE_MARGIN * max(1.0, _ENOUGH / independent) ** _RANGE_GROWTH
    places = [USUAL_EVENT + np.sqrt(np.quantile(each, [0.99, _QUANTILE])) for each in held_out]
    limits = [max(least, far + _RANGE_TAIL * (far - usual)) for usual, far in places]
    return float(np.exp(np.median(np.log(limits))) - USUAL_EVENT) ** 2


def own_factor(scores: Floats) -> float:
    """The factor for limits so that the promised share of a baseline's own windows stays below.

    scores: the largest chart of each window that was learned, relative to the limits [n]. All of
    them stay below if that takes a small factor: a warm-up in the rows is no alarm when they are
    replayed, and a fault in them does not blind the baseline.
    """
    usual = _OWN_MARGIN * float(np.quantile(scores, 1 - _OWN_SHARE))
    farthest = _OWN_MARGIN * float(scores.max())
    return max(1.0, usual, farthest if farthest <= _OWN_MOST else 0.0)


def alarms_of(over: NDArray[np.bool_], apart: int) -> int:
    """The number of alarms that these windows raise: those within `apart` windows are one."""
    at = np.flatnonzero(over)
    return int(len(at) > 0) + int((np.diff(at) > apart).sum())


def poisson_upper(count: int) -> float:
    """The largest Poisson mean that `count` events still allow at 95 %: 3.0 for none seen.

    Wilson, Hilferty: The Distribution of Chi-Square, PNAS 17, 1931; 1 % off at most.
    """
    more = count + 1
    return float(
        more * (1 - 1 / (9 * more) + NormalDist().inv_cdf(_CONFIDENCE) / (3 * sqrt(more))) ** 3
    )
