"""Parts of simulated machines: walks, lags, switching, instruments."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Random = np.random.Generator


def wander(random: Random, rows: int, memory: float) -> Floats:
    """A mean-reverting walk of unit deviation with a memory of about `memory` rows, [rows]."""
    keep = float(np.exp(-1.0 / memory))
    pushes = random.standard_normal(rows) * np.sqrt((1 + keep) / (1 - keep))
    pushes[0] = random.standard_normal()
    return lagged(pushes, memory)


def lagged(values: Floats, memory: float) -> Floats:
    """A first-order lag of `memory` rows, [rows]; begins at rest."""
    share = 1.0 - float(np.exp(-1.0 / memory))
    out = np.empty(len(values))
    state = float(values[0])
    for row, value in enumerate(values.tolist()):
        state += (value - state) * share
        out[row] = state
    return out


def switching(random: Random, rows: int, levels: tuple[float, ...], mean_rows: float) -> Floats:
    """Levels in random order, each held for 0.5 to 1.5 times `mean_rows`, [rows]."""
    found: list[Floats] = []
    level, total = -1, 0
    while total < rows:
        level = (level + int(random.integers(1, len(levels)))) % len(levels)
        span = int(mean_rows * random.uniform(0.5, 1.5)) + 1
        found.append(np.full(span, levels[level]))
        total += span
    return np.concatenate(found)[:rows]


def read(random: Random, columns: list[Floats], noise: list[float], steps: list[float]) -> Floats:
    """Instrument readings: adds noise (standard deviation), then resolution (0: none)."""
    true = np.column_stack(columns)
    seen = true + random.standard_normal(true.shape) * np.array(noise)
    step = np.array(steps)
    coarse = np.round(seen / np.where(step > 0, step, 1.0)) * step
    return np.asarray(np.where(step > 0, coarse, seen))


def jittered_phase(random: Random, rows: int, period: int, jitter: float) -> Floats:
    """The phase 0..1 of cycles of `period` rows that differ by a share `jitter`, [rows]."""
    spans = period * (1 + jitter * random.standard_normal(rows // period + 8))
    ends = np.cumsum(spans)
    at = np.searchsorted(ends, np.arange(rows), side="right")
    return np.asarray(np.clip((np.arange(rows) - (ends - spans)[at]) / spans[at], 0.0, 1.0))
