"""What people said of alarms, in the rows that are learned from.

Rows around an alarm that was called false are healthy: they are added where the data have none of
that time. Rows of an alarm that was true, or planned work, are not: they are left out.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.alarms import FALSE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edge_agent.labelled import LabelledWindow
    from edge_agent.learning.progress import TrainingSet

LABELLED: Final = "labelled"  # key in the manifest's `training`
_SAME_STEP: Final = 0.01  # a window of another step is not comparable


def with_labels(
    training: TrainingSet, windows: Sequence[tuple[str, LabelledWindow]], step_us: int
) -> TrainingSet:
    """The training set without faults, and with the false alarms, that people labelled.

    windows: with the verdict of each; step_us: between two rows.
    """
    rows, times = dict(training.rows), dict(training.times_us)
    added = left_out = 0
    for verdict, window in windows:
        asset = window.asset
        if asset not in rows:
            continue
        if verdict != FALSE:
            kept = _outside(window, times[asset])
            left_out += len(kept) - int(kept.sum())
            rows[asset], times[asset] = _without(rows[asset], times[asset], kept)
            continue
        more = _rows_for(window, training.inputs, step_us)
        if more is not None and not _overlaps(window, times[asset]):
            added += len(more)
            rows[asset], times[asset] = _inserted(rows[asset], times[asset], window, more)
    if not added + left_out:
        return training
    text = f"{added} rows of alarms that were called false are added"
    text += f", {left_out} rows of true alarms and planned work are left out"
    return replace(training, rows=rows, times_us=times, labelled=text)


def _outside(window: LabelledWindow, times_us: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which rows are not of the alarm; the rows before it raised it, so they belong to it."""
    last = np.flatnonzero(window.active)
    end_us = window.times_us[last[-1]] if len(last) else window.times_us[-1]
    outside: NDArray[np.bool_] = (times_us < window.times_us[0]) | (times_us > end_us)
    return outside


def _without(
    rows: NDArray[np.float64], times_us: NDArray[np.int64], kept: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The rows that are kept; the first of those that are not becomes a break, a row of NaN."""
    first = ~kept & np.concatenate(([True], kept[:-1]))
    marked = np.where(kept[:, None], rows, np.nan)
    return marked[kept | first], times_us[kept | first]


def _rows_for(
    window: LabelledWindow, inputs: Sequence[str], step_us: int
) -> NDArray[np.float64] | None:
    """The rows of a window in the order of these inputs; None if it does not fit."""
    steps = np.diff(window.times_us)
    if not set(inputs) <= set(window.inputs) or not len(steps):
        return None
    if abs(float(np.median(steps)) - step_us) > _SAME_STEP * step_us:
        return None
    columns = [window.inputs.index(one) for one in inputs]
    return window.rows[:, columns].astype(np.float64)


def _overlaps(window: LabelledWindow, times_us: NDArray[np.int64]) -> bool:
    first_us, last_us = window.times_us[0], window.times_us[-1]
    return bool(((times_us >= first_us) & (times_us <= last_us)).any())


def _inserted(
    rows: NDArray[np.float64],
    times_us: NDArray[np.int64],
    window: LabelledWindow,
    more: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The rows with those of a window at their time, and a break before and after them."""
    at = int(np.searchsorted(times_us, window.times_us[0]))
    gap = np.full((1, rows.shape[1]), np.nan)
    first_us, last_us = window.times_us[:1], window.times_us[-1:]
    joined = np.concatenate((rows[:at], gap, more, gap, rows[at:]))
    stamps = (times_us[:at], first_us, window.times_us, last_us, times_us[at:])
    return joined, np.concatenate(stamps)
