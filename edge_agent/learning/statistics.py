"""The numbers of a learned baseline: the healthy state, and the distance from it that is a fault.

A window has three statistics of each input. Two are exponentially weighted moving averages with a
slow and a quick memory (Lowry, Woodall, Champ, Rigdon: A Multivariate Exponentially Weighted Moving
Average Control Chart, Technometrics 34, 1992); a machine's rows depend on each other, so that
theory's covariance factor lambda / (2 - lambda) would make the limit far too tight. The third is
variability: the logarithm of the smoothed absolute difference from row to row. It detects changes
that no mean shows: noise, oscillation, a sensor that is stuck.

Each statistic is judged twice: by Hotelling's T² over all inputs, and by the input whose shift
alone explains most of the deviation d, (v' P d)² / (v' P v), its likelihood ratio, with v the
deviation that a shift of this input causes. T² finds faults that spread over many inputs, the other
a fault of one input among many. The same ratios say which input raised the score: in a form that
judges each input given the others, a faulty input moves the deviations of all that it explains.

The last chart is the largest event: how far the quick mean of an input leaves the range that it
had while healthy. It needs no distribution, so it also holds for inputs that are on or off, or that
move all the time, whose T² has such a tail that an event of 20 rows drowns in it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.learning.forms import CLIP
from edge_agent.learning.season import season_at

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_agent.learning.forms import Form

    Floats = NDArray[np.float64]
    Mask = NDArray[np.bool_]

STATISTICS: Final = 3
# T² of each statistic, the largest single input of each, and the largest event.
CHARTS: Final = 2 * STATISTICS + 1
USUAL_EVENT: Final = 0.8  # of the healthy range: less does not count, and
MOST_BEYOND: Final = 3.2  # more says nothing more
STILLNESS: Final = 0.5  # of a channel's usual variability: the value for no movement at all
_BLOCK: Final = 1024  # windows at a time: they stay in the cache


@dataclass(frozen=True, slots=True)
class Baseline:
    """The healthy state of an asset. C channels, S statistics: slow mean, quick mean, variability.

    center, spread: [C]; form: what is removed from the readings. restless: [C], mean absolute
    difference from row to row, in spreads; middle, sigma: [S, C], mean and deviation of the
    statistics; precision: [S, C, C], inverse covariance of statistics in sigmas; causes: [S, C, C],
    a row for each input, the deviation that its shift causes (0: it is not judged); events: [S, C]
    and usual: [C], the weights and the offset that turn the deviations of each input into the place
    of its quick mean in its healthy range, -1..1 (weight 0: it is not judged); limit: [CHARTS].
    counter: [C], channels that only count and are judged by their increments from row to row;
    offset: [C], subtracted before all else, if float32 does not resolve the readings.
    season: [B, S, C], by how many sigmas the middle is higher in each part of a day or week that
    begins on Monday; B is 1 if there is none.
    """

    center: Floats
    spread: Floats
    form: Form
    restless: Floats
    middle: Floats
    sigma: Floats
    precision: Floats
    causes: Floats
    events: Floats
    usual: Floats
    limit: Floats
    counter: Mask
    offset: Floats
    season: Floats

    def limited(self, limit: Floats) -> Baseline:
        """The same baseline with limits [CHARTS]."""
        return replace(self, limit=limit)

    def scaled(self, rows: Floats) -> Floats:
        """Rows [..., C] as the charts take them; counters already as `rates`."""
        return self.form.prepare(self.in_spreads(rows))

    def in_spreads(self, rows: Floats) -> Floats:
        """Rows [..., C] in spreads from their middle; counters already as `rates`."""
        return np.asarray(np.clip((rows - self.center) / self.spread, -CLIP, CLIP))

    def deviations(self, statistics: Floats, hour: Floats | None = None) -> Floats:
        """Statistics [n, S, C], smoothed changes last, in sigmas from their middle.

        hour: [n], of the week; None: the middle without its season.
        """
        found = statistics.copy()
        found[:, -1] = variability(found[:, -1], self.restless)
        season = 0.0 if hour is None else season_at(self.season, hour)
        return np.asarray((found - self.middle) / self.sigma - season)

    def charts(self, deviations: Floats) -> Floats:
        """The charts of deviations [n, S, C], relative to their limits: [n, CHARTS]."""
        pull = np.einsum("nsi,sij->nsj", deviations, self.precision, optimize=True)
        total, alone = (deviations * pull).sum(axis=2), self.alone(pull).max(axis=2)
        event = self.event_squares(deviations).max(axis=1, keepdims=True)
        return np.concatenate([total, alone, event], axis=1) / self.limit

    def event_squares(self, deviations: Floats) -> Floats:
        """How far each input is outside most of its healthy range, squared, [n, C]."""
        place = np.einsum("nsi,si->ni", deviations, self.events) - self.usual
        return np.asarray(np.clip(np.abs(place) - USUAL_EVENT, 0.0, MOST_BEYOND) ** 2)

    def alone(self, pull: Floats) -> Floats:
        """The likelihood ratio of a shift of each input alone, from P d [..., S, C]: the same."""
        return np.asarray(
            np.einsum("ski,...si->...sk", self.causes, pull, optimize=True) ** 2 * self.alone_scale
        )

    @property
    def alone_scale(self) -> Floats:
        """1 / (v' P v) of each input, 0 of one that is not judged: [S, C]."""
        size = np.einsum("ski,sij,skj->sk", self.causes, self.precision, self.causes)
        return np.asarray(np.divide(1.0, size, out=np.zeros_like(size), where=size > 0))

    def blame(self, deviations: Floats, pull: Floats) -> Floats:
        """What of T² is due to each input, from deviations and P d [..., S, C]: the same.

        Its part of d' P d. Where inputs explain each other, d is of what is left over: then the
        likelihood ratio of its shift.
        """
        cause = np.einsum("ski,...si->...sk", self.causes, pull, optimize=True)
        own, related = self.sizes
        return np.asarray(np.maximum(cause * (deviations * own + cause * related), 0.0))

    @property
    def sizes(self) -> tuple[Floats, Floats]:
        """The shift of an input is d times the first plus v' P d times the second, [S, C] each."""
        size = np.einsum("skk->sk", self.causes)
        if np.count_nonzero(self.causes) > np.count_nonzero(size):  # inputs explain each other
            return np.zeros_like(size), self.alone_scale
        return np.divide(1.0, size, out=np.zeros_like(size), where=size > 0), np.zeros_like(size)


def has_season(baseline: Baseline) -> bool:
    """True if its middle moves with the hour of the day or the week."""
    return len(baseline.season) > 1


def judge(baseline: Baseline, rows: Floats, stride: int = 1, hour: Floats | None = None) -> Floats:
    """The charts of every window in rows [T, C]: [n, CHARTS]; NaN if a window contains NaN.

    rows: counters already as `rates`; hour: [T], of the week.
    """
    return baseline.charts(deviations_of(baseline, rows, stride, hour))


def deviations_of(
    baseline: Baseline, rows: Floats, stride: int = 1, hour: Floats | None = None
) -> Floats:
    """The deviations of every window in rows [T, C]: [n, S, C]; see `judge`."""
    ends = None if hour is None else hour[baseline.form.means.shape[1] - 1 :: stride]
    return baseline.deviations(smoothed(baseline.scaled(rows), baseline.form, stride), ends)


def window_deviations(baseline: Baseline, windows: Floats, hour: Floats | None = None) -> Floats:
    """The deviations of windows [n, W, C]: [n, S, C]; counters already as `rates`.

    hour: of the week, at their ends [n].
    """
    prepared, form = baseline.scaled(windows), baseline.form
    means = np.einsum("sw,nwc->nsc", form.means, prepared, optimize=True)
    steps = np.abs(np.diff(prepared, axis=1))
    change = np.einsum("w,nwc->nc", form.changes, steps)[:, None]
    return baseline.deviations(np.concatenate([means, change], axis=1), hour)


def variability(changes: Floats, usual: Floats) -> Floats:
    """The logarithm that makes smoothed absolute differences [..., C] comparable."""
    return np.asarray(np.log(changes / usual + STILLNESS))


def window_ends(rows: int, length: int, stride: int = 1) -> NDArray[np.intp]:
    """The last row of every window, [n]."""
    return np.arange(length - 1, rows, stride)


def smoothed(prepared: Floats, form: Form, stride: int) -> Floats:
    """Weighted means and changes of the windows of prepared rows [T, C]: [n, S, C]."""
    steps = np.abs(np.diff(prepared, axis=0))
    kernels = [*((prepared, weights) for weights in form.means), (steps, form.changes)]
    return np.stack([weighted(values, kernel, stride) for values, kernel in kernels], axis=1)


def weighted(values: Floats, weights: Floats, stride: int) -> Floats:
    """The weighted mean of every `stride`-th window of values [T, C], newest last: [n, C]."""
    windows = np.lib.stride_tricks.sliding_window_view(values, len(weights), axis=0)[::stride]
    found = np.empty(windows.shape[:2])
    for begin in range(0, len(windows), _BLOCK):
        found[begin : begin + _BLOCK] = windows[begin : begin + _BLOCK] @ weights
    return found
