"""The limits of a learned baseline above observed scores, and what they promise."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.learning.scaling import stride_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_agent.learning.choice import Fitting

    Floats = NDArray[np.float64]

# Exponent of the assumed power law of T² beyond observed scores. Minimum: far heavier than a
# normal distribution's, because machines drift; tuned on SKAB's valve1 alone. Maximum: a start-up
# among the healthy rows looks like an endless tail, and would hide the rest.
_TAIL_INDEX: Final = 0.25
_MAX_TAIL_INDEX: Final = 0.5
_TAIL_SHARE: Final = 0.01  # of the peaks, and
_TAIL_PEAKS: Final = 20  # at least so many, of ten times as many, make a measurable tail
_CONFIDENCE: Final = 0.95
_DAY_S: Final = 86_400.0
_QUANTILE: Final = 0.999
_MIN_MARGIN: Final = 2.0  # from observed scores to the limit: later data always differs
_MAX_MARGIN: Final = 6.0
_ENOUGH: Final = 1000  # independent windows
_GROWTH: Final = 0.25
_LEAST_SEEN: Final = 1.0  # T² if nothing ever moved: one `constant_floor` off counts as seen
OWN_SHARE: Final = 0.001  # of its own healthy windows a baseline may be over its limit
_OWN_MARGIN: Final = 1.05


@dataclass(frozen=True, slots=True)
class Limits:
    """limit: [CHARTS]. days: held out; alarms: that the limits would have raised in them."""

    limit: Floats
    days: float
    alarms: int


def limits_of(held_out: list[Floats], fitting: Fitting) -> Limits:
    """The limits of charts from the scores of each held-out quarter, [n, CHARTS] each.

    Up to the 99.9 % quantile a limit is based on observed scores, beyond on the power law.
    """
    # The median, so that one unusual quarter, such as a cold start, cannot set the limit.
    quantiles = [np.maximum(np.quantile(s, _QUANTILE, axis=0), _LEAST_SEEN) for s in held_out]
    seen = np.exp(np.median(np.log(quantiles), axis=0))
    stride = stride_of(len(fitting.rows))
    apart = max(1, fitting.alarm_rows // stride)
    windows = sum(map(len, held_out))
    independent = windows * stride / fitting.alarm_rows
    margin = _MIN_MARGIN * max(1.0, _ENOUGH / independent) ** _GROWTH
    limit = seen * min(margin, _MAX_MARGIN)
    alarms = sum(alarms_of((s >= limit).any(axis=1), apart) for s in held_out)
    return Limits(limit, windows * stride * fitting.interval_s / _DAY_S, alarms)


def own_factor(scores: Floats) -> float:
    """The factor for limits so that the promised share of a baseline's own windows stays below.

    scores: the largest chart of each window that was learned, relative to the limits [n].
    """
    return max(1.0, _OWN_MARGIN * float(np.quantile(scores, 1 - OWN_SHARE)))


def peaks_of(scores: Floats, apart: int) -> Floats:
    """The largest score of every `apart` windows: neighbours share their rows."""
    whole = len(scores) // apart * apart
    return np.asarray(scores[:whole].reshape(-1, apart).max(axis=1))


def tail_index(peaks: Floats) -> float:
    """Exponent of the power law that the largest peaks follow, between 0.25 and 0.5.

    Hill: A Simple General Approach to Inference About the Tail of a Distribution, Annals of
    Statistics 3, 1975. If there are too few peaks to measure a tail it is 0.25.
    """
    count = max(_TAIL_PEAKS, int(_TAIL_SHARE * len(peaks)))
    if len(peaks) < 10 * count:
        return _TAIL_INDEX
    largest = np.sort(peaks)[-count - 1 :]
    if largest[0] <= 0:  # no channel ever moved
        return _TAIL_INDEX
    measured = float(np.mean(np.log(largest[1:] / largest[0])))
    return min(max(measured, _TAIL_INDEX), _MAX_TAIL_INDEX)


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
