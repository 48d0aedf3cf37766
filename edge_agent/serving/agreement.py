"""Agreement of two versions of a model: decisions, levels and would-be alarms, counted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from edge_agent.tables import Table, column

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

WORST: Final = 5
# Of a pair of decisions: 2 * active + candidate.
OUTCOMES: Final = ("neither", "only_candidate", "only_active", "both")
_NEITHER, _ONLY_CANDIDATE, _ONLY_ACTIVE, _BOTH = range(4)


class Judged(NamedTuple):
    """Windows with the decision on each, row by row [N]; asset: number of the plant's asset."""

    asset: NDArray[np.intp]
    end_us: NDArray[np.int64]
    is_on: NDArray[np.bool_]  # whether the alarm stands after this window
    level: NDArray[np.float32]


NOTHING: Final = Judged(
    np.zeros(0, np.intp), np.zeros(0, np.int64), np.zeros(0, bool), np.zeros(0, np.float32)
)


class Last(Table):
    """What was last decided on each asset; NaN where nothing was yet."""

    is_on = column(np.bool_)
    level = column(np.float32, np.nan)


def pair(
    active: Judged, candidate: Judged, last: Last
) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """What the active version had decided as of each of the candidate's windows: (is_on, level).

    Of windows that end at the same time that is the decision on the very same window; `last` is
    what it said before these, and is brought up to date.
    """
    last.cover(1 + int(max(active.asset.max(initial=-1), candidate.asset.max(initial=-1))))
    n = len(active.asset)
    asset = np.concatenate([active.asset, candidate.asset])
    end_us = np.concatenate([active.end_us, candidate.end_us])
    kind = np.repeat((0, 1), (n, len(candidate.asset)))
    order = np.lexsort((kind, end_us, asset))
    # Carry the newest of the active version's rows on to the rows after it, asset by asset.
    newest = np.maximum.accumulate(np.where(kind[order] == 0, np.arange(len(order)), -1))
    source = np.where(newest >= 0, order[newest], 0)
    own = (newest >= 0) & (asset[source] == asset[order])
    is_on, level = last.is_on[asset], last.level[asset]
    is_on[order[own]] = active.is_on[source[own]]
    level[order[own]] = active.level[source[own]]
    by_time = np.argsort(active.end_us, kind="stable")
    last.is_on[active.asset[by_time]] = active.is_on[by_time]
    last.level[active.asset[by_time]] = active.level[by_time]
    return is_on[n:], level[n:]


@dataclass(slots=True)
class Correlation:
    """Pearson's correlation of pairs that come bit by bit (co-moments: Chan et al. 1979)."""

    n: int = 0
    _mean: NDArray[np.float64] = field(default_factory=lambda: np.zeros(2))
    _moment: NDArray[np.float64] = field(default_factory=lambda: np.zeros((2, 2)))

    def add(self, x: NDArray[np.floating], y: NDArray[np.floating]) -> None:
        """More pairs; what is not finite is left out."""
        both = np.stack([x, y]).astype(np.float64)
        both = both[:, np.isfinite(both).all(axis=0)]
        n = both.shape[1]
        if not n:
            return
        mean = both.mean(axis=1)
        centred = both - mean[:, None]
        apart = mean - self._mean
        total = self.n + n
        self._moment += centred @ centred.T + np.outer(apart, apart) * self.n * n / total
        self._mean += apart * n / total
        self.n = total

    def value(self) -> float | None:
        """-1..1; None where there is none."""
        spread = float(np.sqrt(self._moment[0, 0] * self._moment[1, 1]))
        return float(self._moment[0, 1]) / spread if spread > 0 else None


class Agreement(Table):
    """Pairs of decisions, over all assets and for each."""

    _outcomes = column(np.int64, 0, len(OUTCOMES))  # windows by asset and outcome
    _apart = column(np.float64)  # sum of the distance of the levels, by asset

    def __init__(self) -> None:
        super().__init__()
        self.correlation = Correlation()
        self.from_us = 0
        self.to_us = 0

    def add(self, active: Judged, candidate: Judged, last: Last) -> NDArray[np.int64]:
        """Compare the candidate's windows; gives how many of each outcome."""
        is_on, level = pair(active, candidate, last)
        known = ~np.isnan(level) & ~np.isnan(candidate.level)
        asset, end_us = candidate.asset[known], candidate.end_us[known]
        if not len(asset):
            return np.zeros(len(OUTCOMES), np.int64)
        self.cover(int(asset.max()) + 1)
        outcome = 2 * is_on[known] + candidate.is_on[known]
        np.add.at(self._outcomes, (asset, outcome), 1)
        apart = np.abs(level[known].astype(np.float64) - candidate.level[known])
        np.add.at(self._apart, asset, np.nan_to_num(apart))
        self.correlation.add(level[known], candidate.level[known])
        self.from_us = self.from_us or int(end_us.min())
        self.to_us = max(self.to_us, int(end_us.max()))
        return np.bincount(outcome, minlength=len(OUTCOMES))

    @property
    def compared(self) -> int:
        """Pairs of windows."""
        return int(self._outcomes.sum())

    def agreement(self) -> float | None:
        """Share of the windows on which both decide alike; None before the first."""
        total = self.compared
        alike = self._outcomes[:, [_NEITHER, _BOTH]].sum()
        return float(alike) / total if total else None

    def as_dict(self) -> dict[str, int]:
        """Windows by outcome."""
        return dict(zip(OUTCOMES, self._outcomes.sum(axis=0).tolist(), strict=True))

    def worst(self, names: Mapping[int, str]) -> list[dict[str, Any]]:
        """The assets on which they differ most; names: by number."""
        differ = self._outcomes[:, [_ONLY_ACTIVE, _ONLY_CANDIDATE]].sum(axis=1)
        seen = self._outcomes.sum(axis=1)
        apart = self._apart / np.maximum(seen, 1)
        order = np.lexsort((-apart, -differ))
        return [
            {
                "asset": names[row],
                "compared": int(seen[row]),
                **dict(zip(OUTCOMES, self._outcomes[row].tolist(), strict=True)),
                "level_apart": float(apart[row]),
            }
            for row in order[:WORST].tolist()
            if seen[row]
        ]
