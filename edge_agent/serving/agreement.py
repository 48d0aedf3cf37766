"""Two versions of a model compared: their decisions, their levels, and the alarms each would raise.

Each version has its own alarm table, with the same rules, which starts empty.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from edge_agent.alarms import AlarmPolicy, AlarmTable
from edge_agent.clock import FakeClock
from edge_agent.messages import TransitionKind
from edge_agent.serving.evaluation import alarm_id, observation, reportable
from edge_agent.tables import Table, column

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from edge_agent.config.schema import Alarms
    from edge_agent.messages import Observation, Transition
    from edge_agent.plant import PlantAsset
    from edge_agent.serving.deployment import Deployment
    from edge_agent.serving.scored import Scored

WORST: Final = 5
# Index of a pair of decisions: 2 * active + candidate.
OUTCOMES: Final = ("neither", "only_candidate", "only_active", "both")
_NEITHER, _ONLY_CANDIDATE, _ONLY_ACTIVE, _BOTH = range(4)


class Judged(NamedTuple):
    """Windows with their decisions, row by row [N]; asset: number of the plant's asset."""

    asset: NDArray[np.intp]
    end_us: NDArray[np.int64]
    is_on: NDArray[np.bool_]  # True if the alarm is active after this window
    level: NDArray[np.float32]


NOTHING: Final = Judged(
    np.zeros(0, np.intp), np.zeros(0, np.int64), np.zeros(0, bool), np.zeros(0, np.float32)
)


class Last(Table):
    """The last decision for each asset; NaN if there was none."""

    is_on = column(np.bool_)
    level = column(np.float32, np.nan)


def pair(
    active: Judged, candidate: Judged, last: Last
) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """The active version's decision as of each of the candidate's windows: (is_on, level).

    For windows that end at the same time it is the decision on the same window; `last` contains
    the active version's decisions before these windows, and is updated.
    """
    last.cover(1 + int(max(active.asset.max(initial=-1), candidate.asset.max(initial=-1))))
    n = len(active.asset)
    asset = np.concatenate([active.asset, candidate.asset])
    end_us = np.concatenate([active.end_us, candidate.end_us])
    kind = np.repeat((0, 1), (n, len(candidate.asset)))
    order = np.lexsort((kind, end_us, asset))
    # Copy the newest of the active version's rows to later rows, asset by asset.
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
    """Pearson's correlation of pairs, updated in batches (co-moments: Chan et al. 1979)."""

    n: int = 0
    _mean: NDArray[np.float64] = field(default_factory=lambda: np.zeros(2))
    _moment: NDArray[np.float64] = field(default_factory=lambda: np.zeros((2, 2)))

    def add(self, x: NDArray[np.floating], y: NDArray[np.floating]) -> None:
        """Add pairs; values that are not finite are left out."""
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
        """The coefficient, -1..1; None if it is undefined."""
        spread = float(np.sqrt(self._moment[0, 0] * self._moment[1, 1]))
        return float(self._moment[0, 1]) / spread if spread > 0 else None


class Agreement(Table):
    """Counts pairs of decisions, over all assets and for each."""

    _outcomes = column(np.int64, 0, len(OUTCOMES))  # windows by asset and outcome
    _apart = column(np.float64)  # sum of the distance of the levels, by asset

    def __init__(self) -> None:
        super().__init__()
        self.correlation = Correlation()
        self.from_us = 0
        self.to_us = 0

    def add(self, active: Judged, candidate: Judged, last: Last) -> NDArray[np.int64]:
        """Compare the candidate's windows; returns the number of each outcome."""
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
        """The number of pairs of windows."""
        return int(self._outcomes.sum())

    def agreement(self) -> float | None:
        """Fraction of windows with the same decision of both; None before the first."""
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


class ShadowAlarms:
    """Evaluates the windows of one version with an alarm table that starts empty.

    mode: the mode in its alarms; rules: the active ones by alarm id, or, if there are none, those
    of the version's own use; replayed: the stream is a recording. raises: alarms so far.
    """

    def __init__(
        self,
        mode: str,
        rules: Callable[[str], AlarmPolicy | None],
        limits: Alarms,
        *,
        replayed: bool,
    ) -> None:
        self.raises = 0
        self._mode = mode
        self._rules = rules
        self._uses: dict[str, tuple[PlantAsset, Deployment]] = {}  # by alarm id
        self._replayed = replayed
        self._table = AlarmTable(self._policy, limits, FakeClock())

    def judge(self, found: Sequence[Scored]) -> tuple[list[Judged], list[Transition]]:
        """The decision on each window, in their order, and the transitions of the table."""
        judged = [_undecided(scored) for scored in found]
        seen = [
            (self._observation_of(scored, i), one, i)
            for scored, one in zip(found, judged, strict=True)
            for i in reportable(scored, self._alarm_open(scored.deployment)).tolist()
        ]
        seen.sort(key=lambda each: (each[0].at_us, each[0].alarm_id))
        transitions: list[Transition] = []
        for observed, one, i in seen:
            transitions += self._table.accept_observation(observed)
            alarm = self._table.get(observed.alarm_id)
            one.is_on[i] = alarm is not None and alarm.active
        for asset in tuple(self._table.flooded) if found else ():
            transitions += self._table.advance(asset, max(int(one.end_us.max()) for one in judged))
        self.raises += sum(one.kind is TransitionKind.RAISE for one in transitions)
        return judged, transitions

    def _observation_of(self, scored: Scored, i: int) -> Observation:
        observed = observation(scored, i, replayed=self._replayed)
        if observed.detail.model is None:
            return observed
        model = replace(observed.detail.model, mode=self._mode)
        return replace(observed, detail=replace(observed.detail, model=model))

    def _alarm_open(self, deployment: Deployment) -> NDArray[np.bool_]:
        """Assets whose alarm is not normal."""
        ids = [alarm_id(asset, deployment) for asset in deployment.assets]
        for one, asset in zip(ids, deployment.assets, strict=True):
            self._uses[one] = asset, deployment
        return np.array([one in self._table.watched for one in ids], bool)

    def _policy(self, wanted: str) -> AlarmPolicy | None:
        policy = self._rules(wanted)
        if policy is None and wanted in self._uses:
            asset, deployment = self._uses[wanted]
            policy = AlarmPolicy(asset.id, asset.path, deployment.use.alarm)
        return policy


def _undecided(scored: Scored) -> Judged:
    number = np.array([asset.index for asset in scored.deployment.assets], np.intp)
    rest = np.zeros(len(scored.row), bool)
    return Judged(number[scored.row], scored.end_us, rest, scored.level)
