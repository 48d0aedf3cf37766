"""Double-precision steps for values that float32 cannot hold: large readings and counters."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


def as_read(
    x: NDArray[np.floating], offset: Floats, counts: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Windows [N, W, C] as model input, in float32.

    offset: is subtracted first; counts: inputs that are converted to steps from row to row.
    Both broadcast to [N, 1, C].
    """
    found = x - offset
    if counts.any():
        found = np.where(counts, counted(x), found)
    return found.astype(np.float32)


def counted(rows: NDArray[np.floating]) -> Floats:
    """Steps of counters, from rows [..., T, C] of readings, by row: the first equals the second.

    A fall by more than half of the reading is a roll-over (UInt16, UInt32, a meter of six digits)
    or a reset, not a step: it gets the step before it, or the next one if there is none before.
    A small fall stays a step: a meter can run backwards. NaN stays NaN.
    """
    rows = np.asarray(rows, np.float64)
    if rows.shape[-2] < 2:  # noqa: PLR2004 (one row has no step)
        return np.zeros_like(rows)
    steps = np.diff(rows, axis=-2)
    fell = falls(rows)
    if fell.any():
        steps = _held(steps, fell)
    return np.concatenate([steps[..., :1, :], steps], axis=-2)


def falls(rows: NDArray[np.floating]) -> NDArray[np.bool_]:
    """True if counters [..., T, C] rolled over or were reset, by step: [..., T - 1, C]."""
    size = np.maximum(np.abs(rows[..., 1:, :]), np.abs(rows[..., :-1, :]))
    return np.asarray(rows[..., :-1, :] - rows[..., 1:, :] > size / 2)


def _held(steps: Floats, fell: NDArray[np.bool_]) -> Floats:
    """Steps [..., T, C]; those that `fell` are replaced by the previous, or first valid, one."""
    index = np.arange(steps.shape[-2])[:, None]
    last = np.maximum.accumulate(np.where(fell, -1, index), axis=-2)
    first = np.argmin(fell, axis=-2)[..., None, :]
    held = np.take_along_axis(steps, np.where(last < 0, first, last), axis=-2)
    return np.where(fell.all(axis=-2, keepdims=True), 0.0, held)
