"""The estimation of a baseline from healthy rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from edge_agent.errors import ModelError
from edge_agent.learning.covariance import precision
from edge_agent.learning.forms import CLIP, Form, form_of
from edge_agent.learning.scaling import center_and_spread, reach_of, stride_of
from edge_agent.learning.season import learn_season
from edge_agent.learning.statistics import (
    CHARTS,
    Baseline,
    smoothed,
    variability,
    weighted,
    window_ends,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_agent.learning.forms import Plan

    Floats = NDArray[np.float64]
    Mask = NDArray[np.bool_]

_LEAST_RESTLESS: Final = 0.1  # spreads from row to row; a last digit may toggle
_STILL: Final = 1e-6  # of a spread: smaller changes are rounding
_LEAST_DIFFERENCE: Final = 0.025  # spreads; two sensors of one thing drift apart by that much
_LEAST_WINDOWS: Final = 33  # fewer may leave no block of time with a covariance
_LEAST_RANGE: Final = 0.5  # spreads, to either side, of a level: a last digit may toggle
_SIGMAS: Final = 4.0  # to either side, of the range of what varies least
_QUARTERS: Final = 4
_DRIFTS: Final = 0.1  # of its range: by so much the ranges of quarters differ


class _Seen(NamedTuple):
    """What the windows of healthy rows show. C channels, S statistics.

    statistics: [n, S, C] of the windows that end at rows `ends` [n], less `season` [B, S, C], the
    profile of their middle; means: [2, n, C], both means likewise, of rows without outliers taken
    in; restless: [C], see `Baseline`.
    """

    statistics: Floats
    means: Floats
    ends: NDArray[np.intp]
    restless: Floats
    season: Floats


def fit(  # noqa: PLR0913 (what a baseline is learned from)
    rows: Floats,
    used: Mask,
    constant: Floats,
    length: int,
    plan: Plan,
    *,
    hour: Floats | None = None,
) -> Baseline:
    """The baseline of rows [T, C], of which only `used` [T] may be read; its limits are 1.

    rows: counters already as `rates`; constant: [C], the spread of a channel that never moves (see
    `constant_floor`); hour: [T], since a Monday at midnight, if the plan has a season.
    """
    sound = used & ~np.isnan(rows).any(axis=1)
    center, spread = center_and_spread(rows[sound], constant)
    scaled = np.clip((rows - center) / spread, -CLIP, CLIP)
    form = form_of(plan, scaled[sound], np.flatnonzero(sound), length)
    # Rows outside `used` become NaN, so that every window that contains one is left out.
    prepared = np.where(sound[:, None], form.prepare(scaled), np.nan)
    seen = _windows_of(prepared, form, plan, length, hour)
    middle, sigma = seen.statistics.mean(axis=0), _sigma_of(seen.statistics, form, plan)
    found = ((seen.statistics - middle) / sigma).transpose(1, 0, 2)
    events, usual = _events((seen.means - middle[:2, None]) / sigma[:2, None], form, sigma)
    none = np.zeros(rows.shape[1])
    return Baseline(
        center,
        spread,
        form,
        seen.restless,
        middle,
        sigma,
        precision=np.array([precision(each, seen.ends, len(rows)) for each in found]),
        causes=_causes(form, sigma),
        events=events,
        usual=usual,
        limit=np.ones(CHARTS),
        counter=none.astype(bool),
        offset=none,
        season=seen.season / sigma,
    )


def _windows_of(
    prepared: Floats, form: Form, plan: Plan, length: int, hour: Floats | None
) -> _Seen:
    """The windows without a gap in prepared rows [T, C]; ModelError if they are too few."""
    known = prepared[~np.isnan(prepared).any(axis=1)]  # a network knows less after a gap
    if not len(known):
        raise too_few_windows()
    reach = reach_of(known, np.ones(prepared.shape[1]), keep_rare=plan.excursions)
    stride = stride_of(len(prepared))
    found = smoothed(np.clip(prepared, *reach), form, stride)
    means = np.stack([weighted(prepared, weights, stride) for weights in form.means])
    ends = window_ends(len(prepared), length, stride)
    whole = ~np.isnan(found).any(axis=(1, 2))
    found, means, ends = found[whole], means[:, whole], ends[whole]
    if len(found) < _LEAST_WINDOWS:
        raise too_few_windows()
    restless = np.maximum(found[:, -1].mean(axis=0), _LEAST_RESTLESS)
    found[:, -1] = variability(found[:, -1], restless)
    seen = _Seen(found, means, ends, restless, np.zeros((1, *found.shape[1:])))
    return seen if hour is None or not plan.season else _without_season(seen, plan, hour[ends])


def _without_season(seen: _Seen, plan: Plan, hour: Floats) -> _Seen:
    """The windows less their season; without those of which it is not known."""
    season, removed, _ = learn_season(seen.statistics, hour, plan.season)
    known = ~np.isnan(removed).any(axis=(1, 2))
    if known.sum() < _LEAST_WINDOWS:
        raise too_few_windows()
    means = seen.means[:, known] - removed[known, :2].transpose(1, 0, 2)
    statistics = seen.statistics[known] - removed[known]
    return _Seen(statistics, means, seen.ends[known], seen.restless, season)


def _sigma_of(statistics: Floats, form: Form, plan: Plan) -> Floats:
    """The deviation of each statistic, [S, C]."""
    sigma = statistics.std(axis=0)
    # A channel that never moved has no covariance: its spread already defines its distance.
    sigma = np.where(sigma > _STILL, sigma, 1.0)
    if plan.others or plan.student:
        sigma[:-1] = np.maximum(sigma[:-1], _LEAST_DIFFERENCE * np.diag(form.mixing))
    return np.asarray(sigma)


def _causes(form: Form, sigma: Floats) -> Floats:
    """The deviation that a shift of each input causes, [S, C, C]: of all that it explains.

    More variability of an input is told by its own alone: that of others is no linear function.
    """
    judged = np.diag(form.mixing) > 0
    shift = form.response * judged[:, None]
    return np.stack([shift / sigma[0], shift / sigma[1], np.diag(judged / sigma[2])])


def _events(means: Floats, form: Form, sigma: Floats) -> tuple[Floats, Floats]:
    """The events [S, C] and usual [C] of a baseline, from deviations of both means [2, n, C].

    An input whose range moves from quarter to quarter, such as one that drifts, is judged by how
    far its quick mean leaves its slow one.
    """
    level = means[1] * sigma[1]
    local = np.where(_drifts(level), 1.0, 0.0)
    least = _SIGMAS * _LEAST_DIFFERENCE * np.abs(np.diag(form.mixing))
    least = np.maximum(least, np.where(local > 0, 0.0, _LEAST_RANGE))
    event = level - local * means[0] * sigma[0]
    low, high = event.min(axis=0), event.max(axis=0)
    judged = np.diag(form.mixing) > 0
    scale = np.where(judged, 1 / np.maximum((high - low) / 2, least), 0.0)
    weights = np.stack([-local * sigma[0], sigma[1], np.zeros_like(scale)]) * scale
    return weights, scale * (low + high) / 2


def _drifts(level: Floats) -> Mask:
    """True for inputs whose range in two of the quarters of levels [n, C] is not the whole: [C]."""
    parts = np.array_split(level, min(_QUARTERS, len(level)))
    low = np.sort([part.min(axis=0) for part in parts], axis=0)
    high = np.sort([-part.max(axis=0) for part in parts], axis=0)
    least = max(0, len(parts) - 2)
    missed = np.maximum(low[least] - low[0], high[least] - high[0])
    return np.asarray(missed > _DRIFTS * -(low[0] + high[0]))


def too_few_windows() -> ModelError:
    """The error if there are rows, but hardly a window of them without a gap."""
    return ModelError("too few unbroken windows", hint="learn from more time without gaps")
