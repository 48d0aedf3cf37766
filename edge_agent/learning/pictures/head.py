"""The head of a model of good pictures: how distances of places become a score and a map.

Three banks know what good places look like: structures of a few pixels, of some ten, and what is
around. Each distance is compared with those of good pictures at the same place, in spreads, and the
three are added; the score is the mean of the 2 % largest sums, 1 at the limit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edge_agent.learning.pictures.memory import Axes, Memory

    Floats = NDArray[np.float32]

LARGEST: Final = 0.02  # share of the places whose mean is the score
OFFSET: Final = 3.0  # spreads below the usual distance that count as nothing
_SMOOTH: Final = 3  # times: the usual distance of a place is that of its neighbourhood


@dataclass(frozen=True, slots=True)
class Bank:
    """The known places of one size of structures; usual, spread [P]: of good distances there."""

    axes: Axes
    memory: Memory
    usual: Floats
    spread: Floats

    def raised(self, away: Floats) -> Floats:
        """Distances [N, P] in spreads above OFFSET below the usual one; 0 below that."""
        return np.asarray(np.maximum(0, OFFSET + (away - self.usual) / self.spread), np.float32)


@dataclass(frozen=True, slots=True)
class Head:
    """All that a graph needs after the backbone; banks: of fine, middle and coarse structures."""

    banks: tuple[Bank, Bank, Bank]
    limit: float = 1.0

    def maps(self, away: Sequence[Floats]) -> Floats:
        """The maps [N, cells, cells] of the distances of each bank [N, P]; 1 at the limit."""
        parts = [bank.raised(each) for bank, each in zip(self.banks, away, strict=True)]
        cells = round(parts[0].shape[1] ** 0.5)
        fine, middle, coarse = (each.reshape(-1, *_square(each)) for each in parts)
        total = fine + middle + np.stack([doubled(each) for each in coarse])
        return np.asarray(total.reshape(-1, cells, cells) / self.limit, np.float32)

    def scores(self, away: Sequence[Floats]) -> Floats:
        """The scores [N] of the distances of each bank [N, P]; 1 at the limit."""
        flat = np.sort(self.maps(away).reshape(len(away[0]), -1), axis=1)
        return np.asarray(flat[:, -largest_count(flat.shape[1]) :].mean(axis=1), np.float32)


def largest_count(places: int) -> int:
    """How many places the score is the mean of."""
    return max(1, round(LARGEST * places))


def bank_of(axes: Axes, memory: Memory, away: Floats) -> Bank:
    """The bank with what is usual by the held-out distances [N, P] of good pictures."""
    usual, variance = _around(away.mean(axis=0)), _around(away.var(axis=0))
    least = 1e-3 * float(usual.mean()) + 1e-6
    return Bank(axes, memory, usual, np.maximum(np.sqrt(variance), least).astype(np.float32))


def _square(away: Floats) -> tuple[int, int]:
    cells = round(away.shape[1] ** 0.5)
    return cells, cells


def _around(values: Floats) -> Floats:
    """Values [P] of places, each the mean of its neighbourhood."""
    cells = round(len(values) ** 0.5)
    found = values.reshape(cells, cells)
    for _ in range(_SMOOTH):
        padded = np.pad(found, 1, mode="edge")
        offsets = [(row, column) for row in range(3) for column in range(3)]
        total = np.sum([padded[r : r + cells, c : c + cells] for r, c in offsets], axis=0)
        found = total / len(offsets)
    return np.asarray(found.ravel(), np.float32)


def doubled(values: Floats) -> Floats:
    """Values [n, n] as [2n, 2n], interpolated as ONNX's Resize does (linear, half_pixel)."""
    weights = doubling(len(values))
    return np.asarray(weights @ values @ weights.T, np.float32)


def doubling(size: int) -> Floats:
    """The weights [2 size, size] of linear interpolation."""
    found = np.zeros((2 * size, size), np.float32)
    centre = (np.arange(2 * size) + 0.5) / 2 - 0.5
    below = np.floor(centre).astype(int)
    rows = np.arange(2 * size)
    np.add.at(found, (rows, below.clip(0, size - 1)), 1 - (centre - below))
    np.add.at(found, (rows, (below + 1).clip(0, size - 1)), centre - below)
    return found
