"""Phases of a machine that repeats itself: cycles, batches, moves; each row is judged in its own.

A phase is a typical course of the newest rows, told by the means (`taps`) of all inputs together.
The phase of a row is the nearest one, so it needs no clock: cycles may differ in length, stop and
begin anywhere. What is left of a row is its distance from the mean of its phase in the spreads of
that phase, so that a fault in a short part of a cycle is not averaged with the rest of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.learning.networks import features, taps_for

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Mask = NDArray[np.bool_]

FARTHEST: Final = 6.0  # spreads that count in the distance to a phase
_SAMPLE: Final = 3000  # rows that determine the phases
_ROUNDS: Final = 12
_BLOCK: Final = 2048  # rows at a time
_LEAST_SHARE: Final = 0.3  # of the spread of all that is left: the least one of a phase
_LEAST_SPREAD: Final = 0.01  # of a spread: less is rounding, or an input that phases determine
_FEW: Final = 20.0  # rows of a phase whose spread is half that of all
_ROWS_PER_PHASE: Final = 30


@dataclass(frozen=True, slots=True)
class Phases:
    """Numbers of B phases.

    taps: [M, K], see `networks`; courses: [B, M C], the features of each; weight: [M C], of the
    features in the distance to a phase; means, scales: [B, C], what is subtracted from a row in it,
    and the factor after that.
    """

    taps: Floats
    courses: Floats
    weight: Floats
    means: Floats
    scales: Floats

    @property
    def context(self) -> int:
        """Rows at the begin of a window whose phase lacks rows."""
        return int(self.taps.shape[1]) - 1

    def prepare(self, z: Floats) -> Floats:
        """What is left of rows [..., T, C] of one stretch, in spreads of their phases."""
        found = np.empty_like(z)
        for begin in range(0, z.shape[-2], _BLOCK):
            end = begin + _BLOCK
            part = z[..., max(0, begin - self.context) : end, :]
            which = nearest(features(part, self.taps), self.courses, self.weight)
            which = which[..., min(begin, self.context) :]
            left = z[..., begin:end, :] - self.means[which]
            found[..., begin:end, :] = left * self.scales[which]
        return found

    def clearness(self, z: Floats) -> float:
        """By how much the nearest phase of any row [..., T, C] is nearer than the next one."""
        distances = _distances(features(z, self.taps), self.courses, self.weight)
        nearest_two = np.partition(distances, 1, axis=-1)[..., :2]
        return float(np.diff(nearest_two, axis=-1).min())


def nearest(given: Floats, courses: Floats, weight: Floats) -> NDArray[np.intp]:
    """The index of the nearest of courses [B, M C] to features [..., M C]."""
    return np.asarray(_distances(given, courses, weight).argmin(axis=-1))


def _distances(given: Floats, courses: Floats, weight: Floats) -> Floats:
    """Squared distances [..., B], less what is the same for all courses."""
    clipped = np.clip(np.nan_to_num(given), -FARTHEST, FARTHEST)
    size = (courses**2 * weight).sum(axis=1)
    return np.asarray(size - 2 * clipped @ (courses * weight).T)


def most_phases(rows: int, wanted: int) -> int:
    """The number of phases that so many rows can tell, at most `wanted`."""
    return min(wanted, rows // _ROWS_PER_PHASE)


def find_phases(z: Floats, count: int, length: int) -> Phases:
    """The phases of scaled healthy rows [T, C], for windows of `length` rows; NaN is a gap."""
    taps = taps_for(length)
    known = ~np.isnan(z).any(axis=1)
    given = features(z, taps)
    known &= ~np.isnan(given).any(axis=1)
    given = np.clip(given[known], -FARTHEST, FARTHEST)
    weight = np.tile(_quickness(z, taps.shape[1]), len(taps))
    root = np.sqrt(weight)
    courses = _k_means(given[:: max(1, len(given) // _SAMPLE)] * root, count)
    courses = np.divide(courses, root, out=np.zeros_like(courses), where=root > 0)
    blocks = range(0, len(given), _BLOCK)
    which = np.concatenate([nearest(given[at : at + _BLOCK], courses, weight) for at in blocks])
    means, scales = _moments(z[known], which, count)
    return Phases(taps, courses, weight, means, scales)


def _quickness(z: Floats, rows: int) -> Floats:
    """How much of its variance each input shows within so many rows, 0..1: [C].

    What is slow, such as the temperature of the oil, tells no phase.
    """
    variance = np.nanvar(z, axis=0)
    within = np.nanmean((z[rows:] - z[:-rows]) ** 2, axis=0) / 2
    share = np.divide(within, variance, out=np.zeros_like(variance), where=variance > 0)
    return np.asarray(np.clip(share, 0.0, 1.0) ** 2)


def _moments(z: Floats, which: NDArray[np.intp], count: int) -> tuple[Floats, Floats]:
    """Means and factors of rows [n, C] by their phase: [B, C] each."""
    rows = np.bincount(which, minlength=count)[:, None]
    means = _by_phase(z, which, count) / np.maximum(rows, 1)
    squares = _by_phase((z - means[which]) ** 2, which, count)
    overall = squares.sum(axis=0) / len(z)
    spread = np.sqrt((squares + _FEW * overall) / (rows + _FEW))
    least = np.maximum(_LEAST_SHARE * np.sqrt(overall), _LEAST_SPREAD)
    return means, 1 / np.maximum(spread, least)


def _by_phase(values: Floats, which: NDArray[np.intp], count: int) -> Floats:
    return np.stack([np.bincount(which, column, count) for column in values.T], axis=1)


def _k_means(given: Floats, count: int) -> Floats:
    """The centres of `count` clusters of features [n, F] (k-means++, Lloyd)."""
    random = np.random.default_rng(0)
    chosen = [int(random.integers(len(given)))]
    distance = ((given - given[chosen[0]]) ** 2).sum(axis=1)
    while len(chosen) < count:
        total = distance.sum()
        chosen.append(int(random.choice(len(given), p=distance / total if total > 0 else None)))
        distance = np.minimum(distance, ((given - given[chosen[-1]]) ** 2).sum(axis=1))
    courses = given[chosen]
    for _ in range(_ROUNDS):
        which = nearest(given, courses, np.ones(given.shape[1]))
        sizes = np.bincount(which, minlength=count)[:, None]
        sums = np.zeros_like(courses)
        np.add.at(sums, which, given)
        courses = np.where(sizes > 0, sums / np.maximum(sizes, 1), courses)
    return courses
