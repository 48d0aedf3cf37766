"""The golden vectors of a learned baseline: windows, and what its graph must make of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.learning.statistics import has_season, window_deviations
from edge_agent.models import HOUR, WEEK_H

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from edge_agent.learning.statistics import Baseline
    from edge_agent.models import Tensors

_GOLDEN_WINDOWS: Final = 16
_GOLDEN_CELLS: Final = 1 << 18
_GOLDEN_TRIES: Final = 32
_DEVIATIONS: Final = (0.0, 1.0, 3.0, 40.0)  # spreads: at rest, normal, suspect, beyond the clip


def golden_of(baselines: Sequence[Baseline], length: int) -> tuple[Tensors, Tensors]:
    """Windows from rest to far off, and the outputs of `reference`; without plant data."""
    channels = len(baselines[0].center)
    windows = min(_GOLDEN_WINDOWS, max(len(_DEVIATIONS), _GOLDEN_CELLS // (length * channels)))
    unit = np.arange(windows, dtype=np.int64) % len(baselines)
    size = np.resize(_DEVIATIONS, windows)[:, None, None]
    center = np.stack([baselines[u].center for u in unit.tolist()])[:, None, :]
    spread = np.stack([baselines[u].spread for u in unit.tolist()])[:, None, :]
    tried = (
        (center + spread * size * noise).astype(np.float32)
        for noise in _noises(baselines, (windows, length, channels))
    )
    x = max(tried, key=lambda each: _clearness(baselines, each, unit))
    if not any(map(has_season, baselines)):
        return {"x": x, "unit": unit}, dict(reference(baselines, x, unit))
    hour = np.linspace(0, WEEK_H, windows, endpoint=False).astype(np.float32)
    return {"x": x, "unit": unit, HOUR: hour}, dict(reference(baselines, x, unit, hour))


def _noises(
    baselines: Sequence[Baseline], shape: tuple[int, int, int]
) -> Iterator[NDArray[np.float64]]:
    """Some to choose from if rows have phases: single precision must tell the nearest one."""
    tries = _GOLDEN_TRIES if any(b.form.phases for b in baselines) else 1
    return (np.random.default_rng(seed).standard_normal(shape) for seed in range(tries))


def _clearness(
    baselines: Sequence[Baseline], x: NDArray[np.float32], unit: NDArray[np.int64]
) -> float:
    """How clear the phase of each row of windows [N, W, C] is; infinite without phases."""
    pairs = [(baselines[u], window.astype(float)) for u, window in zip(unit, x, strict=True)]
    return min(
        (b.form.phases.clearness(b.in_spreads(window)) for b, window in pairs if b.form.phases),
        default=np.inf,
    )


def reference(
    baselines: Sequence[Baseline],
    x: NDArray[np.float32],
    unit: NDArray[np.int64],
    hour: NDArray[np.float32] | None = None,
) -> Tensors:
    """The result of the graph, in numpy and double precision."""
    hours = [None] * len(x) if hour is None else list(hour[:, None].astype(float))
    found = [_reference(baselines[u], each, h) for u, each, h in zip(unit, x, hours, strict=True)]
    score, contributions, deviation = (np.stack(each) for each in zip(*found, strict=True))
    outputs = {
        "score": score,
        "health": 1.0 / (1.0 + score),
        "contributions": contributions,
        "deviation": deviation,
    }
    return {name: value.astype(np.float32) for name, value in outputs.items()}


def _reference(
    baseline: Baseline, window: NDArray[np.float32], hour: NDArray[np.float64] | None
) -> tuple[np.float64, NDArray[np.float64], NDArray[np.float64]]:
    """Score, contributions [C] and deviations [S, C] of a window [W, C]."""
    deviation = window_deviations(baseline, window[None].astype(float), hour)[0]
    pull = np.einsum("sij,sj->si", baseline.precision, deviation)
    blame = baseline.blame(deviation, pull)
    weight = blame / np.maximum(blame.sum(axis=1, keepdims=True), np.finfo(np.float32).tiny)
    charts = baseline.charts(deviation[None])[0]
    worst = int(charts.argmax())
    contributions = charts[worst] * np.concatenate([weight, weight, weight[1:2]])[worst]
    return contributions.sum(), contributions, deviation
