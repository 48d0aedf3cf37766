"""Small faults that are injected into healthy windows, and the share that a baseline detects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.learning.statistics import window_deviations

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_agent.learning.statistics import Baseline, Floats, Mask

_INPUTS: Final = 12  # that get faults, at most
_OFFSETS: Final = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)  # of an input's healthy deviation
_NOISES: Final = (0.1, 0.5, 2.0)


def moving_inputs(deviation: Floats, modes: tuple[bool, ...]) -> NDArray[np.intp]:
    """The inputs that move, by their deviations [C], and are no conditions."""
    return np.flatnonzero((deviation > 0) & ~np.array(modes or (False,) * len(deviation), bool))


def detected_share(
    model: Baseline,
    windows: Floats,
    hour: Floats | None,
    moving: NDArray[np.intp],
    deviation: Floats,
) -> float:
    """The share of faults, injected into `moving` inputs of windows [n, W, C], that are detected.

    hour: of the week, of their ends; deviation: [C], the unit of the faults.
    """
    if not len(windows):
        return 0.0
    random = np.random.default_rng(0)
    chosen = random.permutation(moving)[:_INPUTS].tolist()
    noise = random.standard_normal(windows.shape[:2])
    offset = np.resize([1.0, -1.0], len(windows))[:, None] + 0 * noise
    found = [
        _is_over(model, _changed(windows, channel, size * deviation[channel] * kind), hour)
        for channel in chosen
        for sizes, kind in ((_OFFSETS, offset), (_NOISES, noise))
        for size in sizes
    ]
    return float(np.mean(found)) if found else 0.0


def _changed(windows: Floats, channel: int, by: Floats) -> Floats:
    found = windows.copy()
    found[:, :, channel] += by
    return found


def _is_over(model: Baseline, windows: Floats, hour: Floats | None) -> Mask:
    """True for windows [n, W, C] that reach a limit."""
    return np.asarray((model.charts(window_deviations(model, windows, hour)) >= 1.0).any(axis=1))
