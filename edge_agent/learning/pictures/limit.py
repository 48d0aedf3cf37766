"""The limit of a score from good pictures that the model has not seen, and what it promises."""

from __future__ import annotations

from dataclasses import dataclass
from math import comb, floor
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.floating]

_NORMAL_TAIL: Final = {0.05: 1.645, 0.02: 2.054, 0.01: 2.326, 0.005: 2.576, 0.001: 3.090}
SHARES: Final = tuple(_NORMAL_TAIL)
_CONFIDENCE: Final = 0.95
_STEPS: Final = 60


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit, and its basis: `above` of `pictures` good ones were at or above it.

    expected: the share of good pictures above it, as wanted or as the order of the scores says.
    """

    value: float
    wanted: float
    pictures: int
    above: int

    @property
    def expected(self) -> float:
        """The share of good pictures that it will call defective, on average."""
        return max(self.wanted, (self.above + 1) / (self.pictures + 1))

    @property
    def at_most(self) -> float:
        """The largest share that these pictures do not exclude with 95 % confidence."""
        return upper_share(self.above, self.pictures)

    def facts(self) -> dict[str, str]:
        """As figures for people."""
        return {
            "false_alarms_wanted": f"{self.wanted:.1%} of good pictures",
            "held_out_pictures": str(self.pictures),
            "held_out_alarms": str(self.above),
            "false_alarms_expected": f"{self.expected:.1%} of good pictures",
            "false_alarms_at_most": f"{self.at_most:.1%} (95 % confidence)",
        }


def limit_of(scores: Floats, wanted: float) -> Limit:
    """The limit that a share `wanted` of good pictures reaches, by scores [N] of held-out ones.

    The order of the scores says it if there are enough; else the tail of their logarithms, which
    is never below the largest one.
    """
    ordered = np.sort(scores)[::-1]
    allowed = floor(wanted * (len(scores) + 1))
    if allowed >= 1:
        value = float(ordered[allowed - 1]) * (1 + 1e-6)
    else:
        value = max(float(ordered[0]) * (1 + 1e-6), _by_tail(scores, wanted))
    return Limit(value, wanted, len(scores), int(np.count_nonzero(scores >= value)))


def _by_tail(scores: Floats, wanted: float) -> float:
    logs = np.log(np.maximum(scores, 1e-12))
    nearest = min(SHARES, key=lambda share: abs(share - wanted))
    spread = float(logs.std(ddof=1)) * np.sqrt(1 + 1 / len(logs))
    return float(np.exp(logs.mean() + _NORMAL_TAIL[nearest] * spread))


def upper_share(count: int, total: int) -> float:
    """The upper end of the interval of Clopper and Pearson (one-sided, 95 %)."""
    if count >= total:
        return 1.0
    low, high = count / total, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (
            (low, middle) if _at_most(count, total, middle) < 1 - _CONFIDENCE else (middle, high)
        )
    return high


def _at_most(count: int, total: int, share: float) -> float:
    """The chance of at most `count` of `total`."""
    return sum(comb(total, k) * share**k * (1 - share) ** (total - k) for k in range(count + 1))
