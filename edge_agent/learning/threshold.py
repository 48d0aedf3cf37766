"""The margin of a learned baseline's limit above observed scores, and the basis of that margin."""

from __future__ import annotations

from math import sqrt
from statistics import NormalDist
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

# Exponent of the assumed power law of T² beyond observed scores. Minimum: far heavier than a
# normal distribution's, because machines drift; tuned on SKAB's valve1 alone. Maximum: a start-up
# among the healthy rows looks like an endless tail, and would hide the rest.
_TAIL_INDEX: Final = 0.25
_MAX_TAIL_INDEX: Final = 0.5
_TAIL_SHARE: Final = 0.01  # of the peaks, and
_TAIL_PEAKS: Final = 20  # at least so many, of ten times as many, make a measurable tail
_CONFIDENCE: Final = 0.95


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
