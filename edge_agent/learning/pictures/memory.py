"""What good pictures look like, place by place: features, whitened, and the nearest known ones.

A picture has side / 8 squared places; each is described by features of the backbone. Distances are
those of Roth et al. 2022 (PatchCore), of whitened features; all in numpy, as the graph computes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

_SAMPLE: Final = 40_000  # places from which the axes are estimated
_CANDIDATES: Final = 20_000  # places of which the known ones are chosen
_TINY: Final = 1e-6


@dataclass(frozen=True, slots=True)
class Axes:
    """Principal axes of features [.., C]: (x - middle) @ matrix has variance 1 in every column."""

    middle: Floats
    matrix: Floats

    def whitened(self, features: NDArray[np.floating]) -> Floats:
        """Features [.., C] along the axes [.., D]."""
        return np.asarray((features.astype(np.float32) - self.middle) @ self.matrix)


@dataclass(frozen=True, slots=True)
class Memory:
    """Known places [M, D], and the number of the picture that each is from [M]."""

    places: Floats
    picture: NDArray[np.intp]


def axes_of(features: NDArray[np.floating], count: int, random: np.random.Generator) -> Axes:
    """The `count` axes of the largest variance of features [N, P, C]."""
    flat = features.reshape(-1, features.shape[-1])
    chosen = random.choice(len(flat), min(_SAMPLE, len(flat)), replace=False)
    sample = flat[chosen].astype(np.float64)
    middle, spread = sample.mean(axis=0), sample.std(axis=0) + _TINY
    variance, axes = np.linalg.eigh(np.cov(((sample - middle) / spread).T))
    order = np.argsort(variance)[::-1][:count]
    scale = np.sqrt(np.maximum(variance[order], _TINY))
    matrix = axes[:, order] / scale / spread[:, None]
    return Axes(middle.astype(np.float32), matrix.astype(np.float32))


def memory_of(whitened: Floats, size: int, random: np.random.Generator) -> Memory:
    """`size` places of [N, P, D] that are far from each other (greedy k-center)."""
    count = whitened.shape[1]
    flat = whitened.reshape(-1, whitened.shape[-1])
    tried = random.choice(len(flat), min(_CANDIDATES, len(flat)), replace=False)
    places = flat[tried]
    chosen = _far_apart(places, min(size, len(places)))
    return Memory(places[chosen], tried[chosen] // count)


def _far_apart(places: Floats, size: int) -> NDArray[np.intp]:
    squares = np.square(places).sum(axis=1)
    chosen = np.zeros(size, np.intp)
    nearest = np.full(len(places), np.inf, np.float32)
    for number in range(1, size):
        last = chosen[number - 1]
        away = squares - 2.0 * (places @ places[last]) + squares[last]
        np.minimum(nearest, away, out=nearest)
        chosen[number] = nearest.argmax()
    return chosen


def distances(
    whitened: Floats, memory: Memory, left_out: NDArray[np.bool_] | None = None
) -> Floats:
    """Distances of places [N, P, D] to the nearest known ones, [N, P].

    left_out [N, M]: known places that do not count for a picture.
    """
    squares = np.square(memory.places).sum(axis=1)
    found = np.empty(whitened.shape[:2], np.float32)
    for number, places in enumerate(whitened):
        away = squares - 2.0 * (places @ memory.places.T)
        if left_out is not None:
            away[:, left_out[number]] = np.inf
        found[number] = away.min(axis=1) + np.square(places).sum(axis=1)
    return np.sqrt(np.maximum(found, 0.0))
