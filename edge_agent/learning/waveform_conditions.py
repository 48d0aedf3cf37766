"""What the conditions of a machine, its speed and load, explain of the features of its waveforms.

Level and bands depend on them. Each condition explains a part of each feature: a broken line over
the condition, with bends where the machine was while it learned. The rest is judged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

CLIP: Final = 1000.0  # spreads: the loudest of many loud features is still named
BENDS: Final = 5
_RIDGE: Final = 1e-6
_TINY: Final = 1e-12
_ROUNDS: Final = 3
_OUTLIER: Final = 4.0  # spreads; a start-up must not bend the line
_ROOM: Final = 0.05  # of the range of a condition, or
_NEAR: Final = 0.02  # of its value: so far beyond the range its line is drawn out


@dataclass(frozen=True, slots=True)
class Given:
    """What conditions [K] explain of the features [F].

    low, scale: [K], the range of each becomes 0 .. 1; bends: [K, BENDS], there; weights:
    [K * BENDS, F].
    """

    low: Floats
    scale: Floats
    bends: Floats
    weights: Floats

    def basis(self, conditions: Floats) -> Floats:
        """The broken lines [n, K * BENDS] of conditions [n, K]; beyond the range they are level."""
        within = np.clip((conditions - self.low) * self.scale, 0.0, 1.0)
        lines = np.maximum(within[:, :, None] - self.bends, 0.0)
        return lines.reshape(len(conditions), -1)

    def only(self, kept: Sequence[int]) -> Given:
        """The same of some of the conditions; the others explain nothing."""
        size = self.weights.shape[1]
        weights = self.weights.reshape(len(self.low), BENDS, size)[kept]
        parts = self.low[kept], self.scale[kept], self.bends[kept]
        return Given(*parts, weights.reshape(len(kept) * BENDS, size))

    def explained(self, conditions: Floats) -> Floats:
        """What is explained of each feature, [n, F]."""
        return np.asarray(self.basis(conditions) @ self.weights)


def given_of(features: Floats, conditions: Floats, used: tuple[int, ...]) -> Given:
    """What the used ones of the conditions [n, K] explain of the features [n, F]."""
    count, size = conditions.shape[1], features.shape[1]
    found = Given(
        np.zeros(count), np.zeros(count), np.zeros((count, BENDS)), np.zeros((count * BENDS, size))
    )
    if not used:
        return found
    low, high = range_of(conditions)
    within = (conditions - low) / np.where(high > low, high - low, 1.0)
    for k in used:
        found.low[k], found.scale[k] = low[k], 1.0 / max(high[k] - low[k], _TINY)
        found.bends[k, 1:] = _bends(within[:, k])
    found.weights[:] = _weights(found.basis(conditions), features)
    return found


def range_of(conditions: Floats) -> Floats:
    """The range of conditions [n, K] and a little more, [2, K]; beyond it nothing is judged."""
    low, high = conditions.min(axis=0), conditions.max(axis=0)
    room = np.maximum(_ROOM * (high - low), _NEAR * np.maximum(np.abs(low), np.abs(high)))
    return np.stack([low - room, high + room])


def _bends(within: Floats) -> Floats:
    """Where the line of a condition bends: at its states, if they are few, else evenly by rank."""
    states = np.unique(np.round(within, 2))
    if len(states) <= BENDS + 1:
        return np.resize(np.append(states[1:-1], 0.0), BENDS - 1)
    return np.asarray(np.quantile(within, np.arange(1, BENDS) / BENDS))


def _weights(basis: Floats, features: Floats) -> Floats:
    """Robust ridge regression: rows that are far off count as if they were at the edge."""
    x = basis - basis.mean(axis=0)
    inverse = np.linalg.inv(x.T @ x + _RIDGE * len(x) * np.eye(x.shape[1]))
    target = features
    for _ in range(_ROUNDS):
        weights = inverse @ (x.T @ (target - target.mean(axis=0)))
        fitted = x @ weights
        rest = features - fitted
        middle = np.median(rest, axis=0)
        reach = _OUTLIER * 1.4826 * np.median(np.abs(rest - middle), axis=0)
        target = fitted + np.clip(rest, middle - reach, middle + reach)
    return np.asarray(weights)


@dataclass(frozen=True, slots=True)
class WaveBaseline:
    """The healthy state of one asset's features: center, spread, middle [F], precision [F, F].

    given: what conditions explain, which is subtracted first. limits: of T² and of the largest
    squared deviation of a single feature.
    """

    center: Floats
    spread: Floats
    middle: Floats
    precision: Floats
    given: Given
    limits: tuple[float, float] = (1.0, 1.0)

    def scaled(self, features: Floats, conditions: Floats) -> Floats:
        """Features [n, F] in spreads from the center, given the conditions [n, K]."""
        rest = features - self.given.explained(conditions)
        return np.clip((rest - self.center) / self.spread, -CLIP, CLIP)

    def distances(self, features: Floats, conditions: Floats) -> Floats:
        """T², and the largest squared deviation, of each row: [n, 2]."""
        z = self.scaled(features, conditions)
        e = z - self.middle
        together = np.einsum("ni,ij,nj->n", e, self.precision, e)
        return np.stack([together, (z * z).max(axis=1)], axis=1)

    def shares(self, z: Floats) -> Floats:
        """The share of each feature [F] in the score of one scaled window, which they sum to."""
        e = z - self.middle
        together = e * (self.precision @ e) / self.limits[0]
        alone = z * z / self.limits[1]
        if alone.max() <= together.sum():
            return np.asarray(together)
        return np.asarray(alone * alone.max() / alone.sum())
