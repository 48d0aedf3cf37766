"""What float32 cannot hold, taken in double precision: large readings and what counters count."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


def as_read(
    x: NDArray[np.floating], offset: Floats, counts: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Windows [N, W, C] as a model reads them, in float32.

    offset: what is subtracted first; counts: inputs of which it gets the steps from row to row.
    Both broadcast to [N, 1, C].
    """
    found = x - offset
    if counts.any():
        found = np.where(counts, counted(x), found)
    return found.astype(np.float32)


def counted(rows: NDArray[np.floating]) -> Floats:
    """Steps of counters, rows [..., T, C] of what they read, by row: the first has the second's.

    A fall by more than half of what was read is a roll-over (UInt16, UInt32, a meter of six digits)
    or a reset, and no step: it takes the step before it, or the next one where none is before.
    A small fall stays one: a meter that runs backwards is a fact. NaN stays NaN.
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
    """Where counters [..., T, C] rolled over or were reset, by step: [..., T - 1, C]."""
    size = np.maximum(np.abs(rows[..., 1:, :]), np.abs(rows[..., :-1, :]))
    return np.asarray(rows[..., :-1, :] - rows[..., 1:, :] > size / 2)


def _held(steps: Floats, fell: NDArray[np.bool_]) -> Floats:
    """Steps [..., T, C] where `fell` by the previous one, or by the first sound one."""
    index = np.arange(steps.shape[-2])[:, None]
    last = np.maximum.accumulate(np.where(fell, -1, index), axis=-2)
    first = np.argmin(fell, axis=-2)[..., None, :]
    held = np.take_along_axis(steps, np.where(last < 0, first, last), axis=-2)
    return np.where(fell.all(axis=-2, keepdims=True), 0.0, held)
