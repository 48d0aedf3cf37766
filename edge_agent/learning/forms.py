"""The forms of a baseline: what is removed from the readings before they are judged.

Readings z are in spreads from their middle (`scaling`). A form removes the operating point of each
row (the nearest of K states), then what the other inputs explain (a linear map), and names the rows
over which means are taken: an exponential memory, or whole cycles. Every form is the same
computation with other numbers, so that assets with different forms share a graph.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.learning.networks import apart
from edge_agent.learning.phases import find_phases
from edge_agent.learning.scaling import center_and_spread, reach_of
from edge_agent.learning.season import NO_SEASON, season_name

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_agent.learning.networks import Network, Student
    from edge_agent.learning.phases import Phases

    Floats = NDArray[np.float64]
    Mask = NDArray[np.bool_]

CLIP: Final = 30.0  # spreads; more has no information, and must not hide other inputs
LAMBDAS: Final = (0.05, 0.2)
MAX_STATES: Final = 12
_SAMPLE: Final = 1500  # rows that determine the states
_STARTS: Final = 2
_ROUNDS: Final = 20
_SETTLED: Final = 1e-4  # spreads
_STATE_SHARE: Final = 0.02  # of the rows, at least in each state, and
_STATE_ROWS: Final = 4
_WITHIN: Final = 0.1  # of the variance, at most, is left within the states
_DROP: Final = 3.0  # by so much less than with one state fewer
_LEAST_SPREAD: Final = 1e-3  # of what is left; less is rounding
_LEAST_IN_PHASE: Final = 0.3  # of the spread of a phase
_RIDGE: Final = 1e-3
_EXPLAINED: Final = 0.5  # R² of held-out rows
_FOLDS: Final = 4
_ROWS_PER_INPUT: Final = 4


@dataclass(frozen=True, slots=True)
class Plan:
    """The parts of a form.

    states: their number; others: each input is judged given the others; period: of the cycle in
    rows, 0 for none; excursions: values in half a per cent of the rows or more are no outliers.
    modes: [C], true for inputs that are conditions (set points, states of the
    machine): they alone determine the state, and are not judged. student: trains the network
    that explains the inputs. season: the period, in hours, of the profile that the middle of the
    statistics has, 0 for none. phases: their number, see `phases`; 0 for none.
    """

    states: int = 1
    others: bool = False
    period: float = 0.0
    excursions: bool = False
    modes: tuple[bool, ...] = ()
    student: Student | None = None
    season: int = NO_SEASON
    phases: int = 0

    @property
    def name(self) -> str:
        """The plan in words."""
        parts = []
        if self.states > 1:
            parts.append(f"{self.states} operating points")
        if self.phases:
            parts.append(f"{self.phases} phases")
        if self.others:
            parts.append("each input given the others")
        if self.student:
            parts.append(self.student.name)
        if self.period:
            parts.append(f"whole cycles of {self.period:.4g} rows")
        if self.excursions:
            parts.append("with rare values")
        if self.season:
            parts.append(season_name(self.season))
        return ", ".join(parts) or "plain"


@dataclass(frozen=True, slots=True)
class Form:
    """Numbers of a form. C channels, K states, W rows of a window.

    states: [K, C], subtracted by the nearest of them, by `state_weight` [C]; mixing: [C, C] and
    shift: [C], z = (z - state) @ mixing + shift; means: [2, W], weights of the slow and the quick
    mean, newest row last; changes: [W - 1], those of the variability. network: predicts z - state,
    and is subtracted as well.
    """

    states: Floats
    state_weight: Floats
    mixing: Floats
    shift: Floats
    means: Floats
    changes: Floats
    network: Network | None = None
    phases: Phases | None = None

    @property
    def response(self) -> Floats:
        """The change of all prepared inputs when one shifts: a row for each, [C, C]."""
        if self.network is None:
            return self.mixing
        return np.asarray((np.eye(len(self.shift)) - self.network.response) @ self.mixing)

    def prepare(self, z: Floats) -> Floats:
        """Scaled readings [..., T, C] with what the form removes taken out; NaN stays NaN."""
        if len(self.states) > 1:
            z = z - self.states[nearest(z, self.states, self.state_weight)]
        if self.network is not None:
            z = z - self.network.predict(z)
        if self.phases is not None:
            z = self.phases.prepare(z)
        return np.clip(z @ self.mixing + self.shift, -CLIP, CLIP)


def nearest(z: Floats, states: Floats, weight: Floats) -> NDArray[np.intp]:
    """The index of the nearest of states [K, C] for rows [..., C]; rows with NaN get any."""
    distance = (states**2 * weight).sum(axis=1) - 2 * (np.nan_to_num(z) * weight) @ states.T
    return np.asarray(distance.argmin(axis=-1))


def form_of(plan: Plan, z: Floats, at: NDArray[np.intp], length: int) -> Form:
    """The form of a plan, from scaled healthy rows [n, C] without NaN; at: [n], their numbers."""
    channels = z.shape[1]
    judged = ~np.array(plan.modes or (False,) * channels, bool)
    weight = judged_by(judged)
    states = find_states(z, plan.states, weight) if plan.states > 1 else np.zeros((1, channels))
    rest = z - states[nearest(z, states, weight)] if len(states) > 1 else z
    phases = find_phases(apart(rest, at), plan.phases, length) if plan.phases else None
    if phases is not None:
        rest = phases.prepare(apart(rest, at))[at - at[0]]
    spread = center_and_spread(rest, np.ones(channels))[1]
    rest = np.clip(rest, *reach_of(rest, spread, keep_rare=plan.excursions))
    mixing = np.eye(channels)
    if plan.others:
        mixing -= explained_by_others(rest, judged)
    network = plan.student.train(apart(rest, at), judged, length) if plan.student else None
    if network is not None:
        rest = rest - network.predict(rest)
    if plan.others or plan.student or plan.phases or len(states) > 1:
        middle, spread = center_and_spread(rest @ mixing, np.ones(channels))
        spread = np.maximum(spread, _LEAST_IN_PHASE if plan.phases else _LEAST_SPREAD)
    else:
        middle, spread = np.zeros(channels), np.ones(channels)
    spread = np.where(judged, spread, np.inf)
    unused = max(each.context for each in (network, phases) if each) if network or phases else 0
    means = _means(plan, length, unused)
    changes = np.where(np.arange(length - 1) < unused, 0.0, means[0, 1:])
    changes /= changes.sum()
    return Form(states, weight, mixing / spread, -middle / spread, means, changes, network, phases)


def judged_by(judged: Mask) -> Floats:
    """Weights of the inputs in the distance to a state: the conditions alone, or all."""
    return np.where(judged, 0.0, 1.0) if not judged.all() else np.ones(len(judged))


# -- states ---------------------------------------------------------------------------------------


def number_of_states(z: Floats, weight: Floats) -> int:
    """The number of clearly separate states in scaled rows [n, C]; 1 if there are none.

    It is the number at which the variance within the states drops most, by the k-means criterion.
    """
    z = _thinned(z)
    total = float((z.var(axis=0) * weight).sum())
    if total <= 0:
        return 1
    best, most, before = 1, _DROP, 1.0
    for count in range(2, MAX_STATES + 1):
        states = find_states(z, count, weight)
        which = nearest(z, states, weight)
        within = float((((z - states[which]) ** 2) * weight).sum(axis=1).mean()) / total
        sizes = np.bincount(which, minlength=count)
        drop = before / max(within, 1e-9)
        enough = sizes.min() >= max(_STATE_ROWS, _STATE_SHARE * len(z))
        if enough and within < _WITHIN and drop > most:
            best, most = count, drop
        before = max(within, 1e-9)
    return best


def find_states(z: Floats, count: int, weight: Floats) -> Floats:
    """The centres [K, C] of `count` states of rows [n, C], by k-means from several starts."""
    z = _thinned(z)
    random = np.random.default_rng(0)
    tries = [_k_means(z, count, weight, random) for _ in range(_STARTS)]
    return min(tries, key=lambda found: found[0])[1]


def _k_means(
    z: Floats, count: int, weight: Floats, random: np.random.Generator
) -> tuple[float, Floats]:
    """The sum of squares within the states, and their centres (k-means++, Lloyd)."""
    states = z[random.integers(len(z))][None]
    while len(states) < count:
        distance = _squares(z, states, weight).min(axis=1)
        total = distance.sum()
        chance = distance / total if total > 0 else None
        states = np.vstack([states, z[random.choice(len(z), p=chance)]])
    for _ in range(_ROUNDS):
        which = nearest(z, states, weight)
        sizes = np.bincount(which, minlength=count)
        sums = np.stack([np.bincount(which, column, count) for column in z.T], axis=1)
        moved = np.where(sizes[:, None] > 0, sums / np.maximum(sizes, 1)[:, None], states)
        if np.allclose(moved, states, atol=_SETTLED):
            break
        states = moved
    return float(_squares(z, states, weight).min(axis=1).sum()), states


def _squares(z: Floats, states: Floats, weight: Floats) -> Floats:
    return np.asarray((((z[:, None] - states) ** 2) * weight).sum(axis=2))


def _thinned(z: Floats) -> Floats:
    return z[:: max(1, len(z) // _SAMPLE)]


# -- the other inputs -----------------------------------------------------------------------------


def explained_by_others(z: Floats, judged: Mask) -> Floats:
    """The map [C, C] whose z @ map is what the other inputs explain of each, by ridge regression.

    Inputs that the others explain less than half of (R² of held-out rows) keep a column of 0, as
    do those that are not judged.
    """
    edges = np.linspace(0, len(z), _FOLDS + 1).astype(int)
    left = np.empty_like(z)
    for begin, end in pairwise(edges.tolist()):
        rest = np.concatenate([z[:begin], z[end:]])
        left[begin:end] = (z[begin:end] - rest.mean(axis=0)) @ _residual_map(rest)
    variance = z.var(axis=0)
    is_explained = left.var(axis=0) < (1 - _EXPLAINED) * variance
    return np.where(is_explained & judged, np.eye(z.shape[1]) - _residual_map(z), 0.0)


def _residual_map(z: Floats) -> Floats:
    """The map to each column less its regression on all others, by the inverse covariance."""
    centered = z - z.mean(axis=0)
    covariance = centered.T @ centered / len(z) + _RIDGE * np.eye(z.shape[1])
    inverse = np.linalg.inv(covariance)
    return np.asarray(inverse / np.diag(inverse))


def may_explain(rows: int, channels: int) -> bool:
    """True if there are enough rows for a regression on the other inputs."""
    return channels > 1 and rows >= _ROWS_PER_INPUT * channels


# -- means ----------------------------------------------------------------------------------------


def _means(plan: Plan, length: int, unused: int) -> Floats:
    """Weights of both means over a window without its first `unused` rows: [2, length]."""
    weights = memory_weights(length)
    weights[:, :unused] = 0
    weights /= weights.sum(axis=1, keepdims=True)
    if plan.period:
        rows = round(plan.period * max(1, int(length / plan.period)))
        weights[0] = np.arange(length) >= length - rows
        weights[0] /= weights[0].sum()
    return weights


def memory_weights(length: int) -> Floats:
    """EWMA weights over a window, newest last, each memory summing to 1: [2, length]."""
    age = np.arange(length - 1, -1, -1)
    weights = np.array([(1.0 - factor) ** age for factor in LAMBDAS])
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))
