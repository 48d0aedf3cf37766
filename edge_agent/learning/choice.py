"""The choice of an asset's form, by the faults that it would find in time that was held out.

Each quarter of the time is held out in turn and judged by a baseline of the other three. That gives
the limits, and with them the share of small faults, injected into held-out windows, that each form
detects. A form whose relations do not last has high limits, and finds little.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from math import sqrt
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.errors import ModelError
from edge_agent.learning.cycles import find_periods
from edge_agent.learning.estimation import fit, too_few_windows
from edge_agent.learning.forms import (
    CLIP,
    Plan,
    judged_by,
    may_explain,
    number_of_states,
)
from edge_agent.learning.injection import detected_share, moving_inputs
from edge_agent.learning.networks import least_rows, taps_for
from edge_agent.learning.phases import most_phases
from edge_agent.learning.scaling import center_and_spread, stride_of
from edge_agent.learning.season import seasons_in
from edge_agent.learning.statistics import (
    Baseline,
    deviations_of,
    judge,
    window_ends,
)
from edge_agent.learning.threshold import Limits, limits_of, own_factor

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from edge_agent.learning.networks import Student
    from edge_agent.learning.statistics import Floats

_FOLDS: Final = 4
_WINDOWS: Final = 24  # of each held-out quarter that get faults
_GAIN: Final = 0.02  # of the detected share: a form with more parts must earn them
_DOUBT: Final = 0.5  # more for relations and cycles: their numbers are estimated from the data
_TOLD: Final = 0.15  # of the detected share: prior knowledge of conditions counts as much
_SEASON: Final = 0.04  # of the detected share: that a period is a day or a week counts as much
_S_PER_HOUR: Final = 3600.0
_PHASES: Final = 96
_PHASE_GAIN: Final = 0.05  # of the detected share: a form of so many parts must earn more
_LEAST_PHASES: Final = 16
_PHASE_INPUTS: Final = 3  # at least: what a single input does is its own phase
_PHASE_MARGIN: Final = 2.0
_SAMPLE: Final = 50_000  # rows in which a period is sought


@dataclass(frozen=True, slots=True)
class Rivals:
    """Students that are tried beside the forms of numbers; alone: the best of them is chosen."""

    students: tuple[Student, ...] = ()
    alone: bool = False


NO_RIVALS: Final = Rivals()


@dataclass(frozen=True, slots=True)
class Fitting:
    """What every fit of an asset uses.

    rows: [T, C], counters already as `rates`; constant: see `constant_floor`; alarm_rows: rows
    between two alarms at least; hour: [T], since a Monday at midnight, None if it is not known.
    """

    rows: Floats
    constant: Floats
    length: int
    interval_s: float
    alarm_rows: int
    false_alarms_per_day: float
    rivals: Rivals = NO_RIVALS
    hour: Floats | None = None

    def hours(self, rows: slice) -> Floats | None:
        """The hours of some rows."""
        return None if self.hour is None else self.hour[rows]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A plan that was tried. detected: the share of the injected faults, 0..1."""

    plan: Plan
    limits: Limits
    detected: float


def choose(
    fitting: Fitting, modes: tuple[bool, ...], period: float | None, longest: int
) -> tuple[list[Candidate], float]:
    """The tried plans, the best one first, and the machine's period of up to `longest` rows.

    modes: see `Plan`. period: of the machine's cycle in rows; None: find it, 0: none.
    """
    z = _scaled(fitting)
    rows, long_rows = (period, period) if period is not None else _periods(z, fitting, longest)
    tried = [_try(fitting, plan) for plan in _plans(z, modes)]
    best = _best(tried, fitting)
    if rows:
        tried.append(_try(fitting, replace(best.plan, period=rows, excursions=True)))
        best = _best([best, tried[-1]], fitting)
    if by_phase := [_try(fitting, each) for each in _phased(z, modes)]:
        best = _best([best, *by_phase], fitting)
        tried += by_phase
    if seasons := _try_all(fitting, _with_season(fitting, best.plan)):
        tried += seasons
        season = _best(seasons, fitting)
        best = season if season.detected >= best.detected - _SEASON else best
    students = _taught(best.plan, fitting)
    if taught := _try_all(fitting, students, is_required=fitting.rivals.alone):
        best = _best(taught if fitting.rivals.alone else [best, *taught], fitting)
        tried += taught
    return [best, *(each for each in tried if each is not best)], long_rows


def _with_season(fitting: Fitting, plan: Plan) -> list[Plan]:
    """The plan with each season that the rows show; without states, which may be day and night."""
    hour = fitting.hour
    if hour is None:
        return []
    model = fit(fitting.rows, np.ones(len(hour), bool), fitting.constant, fitting.length, plan)
    stride = stride_of(len(hour))
    deviations = deviations_of(model, fitting.rows, stride)
    known = ~np.isnan(deviations).any(axis=(1, 2))
    ends = hour[window_ends(len(hour), fitting.length, stride)]
    rows_h = len(hour) * fitting.interval_s / _S_PER_HOUR
    span_h = min(float(hour.max() - hour.min()), rows_h)
    seasons = seasons_in(deviations[known], ends[known], span_h)
    plans = [plan, replace(plan, states=1)] if plan.states > 1 and not any(plan.modes) else [plan]
    return [replace(each, season=season) for each in plans for season in seasons]


def _scaled(fitting: Fitting) -> Floats:
    rows = fitting.rows[~np.isnan(fitting.rows).any(axis=1)]
    center, spread = center_and_spread(rows, fitting.constant)
    return np.asarray(np.clip((rows - center) / spread, -CLIP, CLIP))


def _plans(z: Floats, modes: tuple[bool, ...]) -> Iterator[Plan]:
    """Plans without a cycle, the simplest first."""
    judged = ~np.array(modes or (False,) * z.shape[1], bool)
    states = number_of_states(z, judged_by(judged))
    others = may_explain(len(z), z.shape[1])
    plain = Plan(modes=modes)
    yield plain
    yield replace(plain, excursions=True)
    if states > 1:
        yield replace(plain, states=states)
        if others:
            yield replace(plain, states=states, others=True)
    if others:
        yield replace(plain, others=True)


def _try_all(
    fitting: Fitting, plans: Iterable[Plan], *, is_required: bool = False
) -> list[Candidate]:
    """The candidates of plans; none of one to which the gaps leave too few windows."""
    found = []
    for plan in plans:
        try:
            found.append(_try(fitting, plan))
        except ModelError:
            if is_required:
                raise
    return found


def _taught(plan: Plan, fitting: Fitting) -> Iterator[Plan]:
    """The plan with the network of each student in place of the regression on other inputs.

    A cycle that is no longer whole in the rows that a network leaves of a window is given up. None
    if the rows are too few for a network; ModelError if only a network is wanted.
    """
    seen, needed = len(fitting.rows), least_rows(fitting.rows.shape[1], fitting.length)
    if seen < needed:
        if fitting.rivals.alone:
            hint = "record more, or let the chart be a candidate"
            raise ModelError(f"{seen} rows of the {needed} that a network needs", hint=hint)
        return
    left = fitting.length - taps_for(fitting.length).shape[1] + 1
    period = plan.period if plan.period <= left else 0.0
    for student in fitting.rivals.students:
        yield replace(plan, others=False, period=period, phases=0, student=student)


def _phased(z: Floats, modes: tuple[bool, ...]) -> Iterator[Plan]:
    """The plan by phases, if enough inputs move to tell them."""
    phases = most_phases(len(z), _PHASES)
    moving = int((z.max(axis=0) > z.min(axis=0)).sum())
    if moving >= _PHASE_INPUTS and phases >= _LEAST_PHASES:
        yield Plan(modes=modes, phases=phases, excursions=True)


def _periods(z: Floats, fitting: Fitting, longest: int) -> list[float]:
    """The period that fits into windows of this length, and the one of at most `longest` rows."""
    return find_periods(z[:_SAMPLE], 4 * fitting.length, longest)


def _best(tried: list[Candidate], fitting: Fitting) -> Candidate:
    """The candidate that detects most; a later one must be better, the more the fewer the data."""
    independent = len(fitting.rows) / fitting.alarm_rows
    best = tried[0]
    for each in tried[1:]:
        plan = each.plan
        is_doubtful = plan.period or plan.excursions
        is_doubtful = is_doubtful or (_relates(plan) and not any(plan.modes))
        gain = _PHASE_GAIN if plan.phases else _GAIN
        gain += _DOUBT / sqrt(independent) if is_doubtful else 0.0
        if _credit(each) > _credit(best) + gain:
            best = each
    return best


def _credit(candidate: Candidate) -> float:
    """The detected share, and more for a form that uses the conditions that were told."""
    plan = candidate.plan
    return candidate.detected + (_TOLD if _relates(plan) and any(plan.modes) else 0.0)


def _relates(plan: Plan) -> bool:
    return plan.others or plan.student is not None


# -- one plan -------------------------------------------------------------------------------------


def _try(fitting: Fitting, plan: Plan) -> Candidate:
    folds = [(part, _without(fitting, plan, part)) for part in _parts(len(fitting.rows))]
    held_out = [(part, model, _held_out(fitting, model, part)) for part, model in folds if model]
    held_out = [each for each in held_out if len(each[2])]
    if len(held_out) < _FOLDS:
        raise too_few_windows()
    scores = [each for _, _, each in held_out]
    limits = limits_of(
        scores,
        stride_of(len(fitting.rows)),
        fitting.alarm_rows,
        fitting.interval_s,
        fitting.false_alarms_per_day,
    )
    if plan.phases:
        limits = _for_phases(fitting, plan, limits)
    deviation = np.nanstd(fitting.rows, axis=0)
    moving = moving_inputs(deviation, plan.modes)
    shares = [
        detected_share(model.limited(limits.limit), *_windows(fitting, part), moving, deviation)
        for part, model, _ in held_out
    ]
    return Candidate(plan, limits, float(np.mean(shares)))


def _for_phases(fitting: Fitting, plan: Plan, limits: Limits) -> Limits:
    """The limits of phases: wider, since cycles are fewer than rows, and what its own rows need."""
    used = np.ones(len(fitting.rows), bool)
    whole = fit(fitting.rows, used, fitting.constant, fitting.length, plan, hour=fitting.hour)
    wider = limits.limit * _PHASE_MARGIN
    stride = stride_of(len(fitting.rows))
    own = judge(whole.limited(wider), fitting.rows, stride, fitting.hour).max(axis=1)
    return replace(limits, limit=wider * own_factor(own[~np.isnan(own)]))


def _parts(rows: int) -> list[slice]:
    edges = np.linspace(0, rows, _FOLDS + 1).astype(int).tolist()
    return [slice(a, b) for a, b in pairwise(edges)]


def _without(fitting: Fitting, plan: Plan, part: slice) -> Baseline | None:
    """The baseline of the rows outside `part`; None if they contain too few windows."""
    used = np.ones(len(fitting.rows), bool)
    used[part] = False
    try:
        return fit(fitting.rows, used, fitting.constant, fitting.length, plan, hour=fitting.hour)
    except ModelError:
        return None


def _held_out(fitting: Fitting, model: Baseline, part: slice) -> Floats:
    """The charts [n, CHARTS] of the windows that end in `part`."""
    rows = slice(max(0, part.start - fitting.length + 1), part.stop)
    stride = stride_of(len(fitting.rows))
    found = judge(model, fitting.rows[rows], stride, fitting.hours(rows))
    return np.asarray(found[~np.isnan(found).any(axis=1)])


def _windows(fitting: Fitting, part: slice) -> tuple[Floats, Floats | None]:
    """Some windows [n, W, C] that end in `part`, without gaps, and the hours of their ends."""
    ends = window_ends(len(fitting.rows), fitting.length)
    ends = ends[(ends >= part.start) & (ends < part.stop)]
    ends = ends[np.linspace(0, len(ends) - 1, min(_WINDOWS, len(ends))).astype(int)]
    found = np.array([fitting.rows[end - fitting.length + 1 : end + 1] for end in ends.tolist()])
    if len(found):
        whole = ~np.isnan(found).any(axis=(1, 2))
        found, ends = found[whole], ends[whole]
    return found, None if fitting.hour is None else fitting.hour[ends]
