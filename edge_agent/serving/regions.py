"""The parts of a picture that look wrong: connected regions of a map above its limit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Map = NDArray[np.float32]

MOST: Final = 8  # regions of one picture
_NEIGHBOURS: Final = [(r, c) for r in (-1, 0, 1) for c in (-1, 0, 1) if r or c]


class Region(NamedTuple):
    """A region of a map: left, top, right and bottom as shares 0..1 of its width and height.

    share: of what all regions have above the limit, 0..1; peak: the largest value in it.
    """

    left: float
    top: float
    right: float
    bottom: float
    share: float
    peak: float


def regions_of(heat: Map, limit: float) -> list[Region]:
    """The regions of a map [h, w] at or above a limit, the largest share first, at most MOST.

    Cells that touch, also at a corner, are one region. If no cell reaches the limit although the
    score of the picture does, the cells near the largest value are shown. Values that are not
    finite are left out.
    """
    cells = np.where(np.isfinite(heat), heat, -np.inf).astype(np.float64)
    peak = float(cells.max(initial=-np.inf))
    if not np.isfinite(peak):
        return []
    if peak < limit:
        low = float(cells[np.isfinite(cells)].min())
        limit = peak - 0.1 * (peak - low)
    label = _labels(cells >= limit)
    excess = np.where(label >= 0, cells - limit, 0.0) + (label >= 0) * 1e-9 * max(1.0, abs(limit))
    found = [_region(cells, excess, label == one) for one in np.unique(label[label >= 0])]
    found.sort(key=lambda one: (-one.share, one.top, one.left))
    return found[:MOST]


def _region(
    cells: NDArray[np.float64], excess: NDArray[np.float64], mine: NDArray[np.bool_]
) -> Region:
    rows, columns = np.nonzero(mine)
    height, width = cells.shape
    return Region(
        int(columns.min()) / width,
        int(rows.min()) / height,
        (int(columns.max()) + 1) / width,
        (int(rows.max()) + 1) / height,
        float(excess[mine].sum() / excess.sum()),
        float(cells[mine].max()),
    )


def _labels(over: NDArray[np.bool_]) -> NDArray[np.intp]:
    """A number for each connected region, -1 outside, [h, w]: the largest spreads."""
    label = np.where(over, np.arange(over.size).reshape(over.shape), -1)
    while True:
        padded = np.pad(label, 1, constant_values=-1)
        near = [
            padded[1 + r : 1 + r + len(label), 1 + c : 1 + c + label.shape[1]]
            for r, c in _NEIGHBOURS
        ]
        spread = np.where(over, np.maximum(label, np.max(near, axis=0)), -1)
        if np.array_equal(spread, label):
            return label
        label = spread
