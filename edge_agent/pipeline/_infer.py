"""Windows to scores: which windows may be scored, and one run per model for all assets."""

from __future__ import annotations

import logging
from collections import defaultdict
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from edge_agent.pipeline._assess import Scored, health_of, levels
from edge_agent.pipeline._group import Due

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edge_agent.inference import Outputs
    from edge_agent.ops.metrics import Metrics

log = logging.getLogger("edge_agent.pipeline")


def infer(due: Sequence[Due], metrics: Metrics) -> list[Scored]:
    """One run per model over the windows of all assets; blocking."""
    by_model: dict[int, list[Due]] = defaultdict(list)
    for each in due:
        by_model[id(each.group.model)].append(_usable(each, metrics))
    return [scored for batch in by_model.values() for scored in _run(batch, metrics)]


def _usable(due: Due, metrics: Metrics) -> Due:
    """Only windows whose inputs allow inference: covered enough, and sound to the end."""
    windows = due.windows
    if windows is None:
        return due
    usable = windows.ends_usable() & (windows.coverage() >= due.group.use.min_coverage)
    name = due.group.model.manifest.name
    skipped = len(usable) - int(usable.sum()) + due.skipped
    if not skipped:
        return due
    metrics.windows.labels(name, "skipped_quality").inc(skipped)
    waves = [w for w, ok in zip(due.waves, usable, strict=False) if ok]
    return Due(due.group, windows.where(usable), waves)


def _run(batch: Sequence[Due], metrics: Metrics) -> list[Scored]:
    model = batch[0].group.model
    parts = [part for part in batch if _size(part)]
    if not parts:
        return []
    begin = perf_counter()
    try:
        outputs = model.run(*_inputs(parts))
    except Exception:
        # One model that fails must not stop the others, nor the line.
        log.exception("model run failed", extra={"model": model.manifest.name})
        metrics.windows.labels(model.manifest.name, "failed").inc(sum(map(_size, parts)))
        return []
    metrics.inference_seconds.labels(model.manifest.name).observe(perf_counter() - begin)
    return _split(parts, outputs, metrics)


def _split(parts: Sequence[Due], outputs: Outputs, metrics: Metrics) -> list[Scored]:
    found = []
    start = 0
    for part in parts:
        stop = start + _size(part)
        found.append(_scored(part, outputs.rows(start, stop)))
        start = stop
    name = parts[0].group.model.manifest.name
    nonsense = int(np.isnan(outputs.score).sum())
    metrics.windows.labels(name, "scored").inc(start - nonsense)
    if nonsense:  # NaN passes through ONNX Runtime; it is neither health nor fault
        metrics.windows.labels(name, "not_a_number").inc(nonsense)
    metrics.batch_size.labels(name).observe(start)
    return found


def _size(due: Due) -> int:
    return len(due.waves) if due.windows is None else len(due.windows.asset)


def _inputs(
    parts: list[Due],
) -> tuple[NDArray[np.float32] | None, NDArray[np.int64] | None, dict[str, NDArray[np.float32]]]:
    """Put all parts together: x [N, W, C], unit [N], and the waveforms [N, L] by input."""
    group = parts[0].group
    x = None
    if group.windows is not None:
        x = _finite(np.concatenate([p.windows.x for p in parts if p.windows is not None]))
    unit = np.concatenate([p.group.unit[_rows(p)] for p in parts])
    waves = {
        spec.name: np.stack([w.samples[i] for p in parts for w in p.waves])
        for i, spec in enumerate(group.waveforms)
    }
    return x, unit if group.model.manifest.units else None, waves


def _finite(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cells before an input's first value take that value: nothing is NaN in a usable window."""
    hole = np.isnan(x)
    if not hole.any():
        return x
    first = np.argmin(hole, axis=1)
    filled = np.take_along_axis(x, first[:, None, :], axis=1)
    return np.where(hole, filled, x)


def _rows(due: Due) -> NDArray[np.intp]:
    if due.windows is not None:
        return due.windows.asset
    return np.array([wave.asset for wave in due.waves], np.intp)


def _scored(due: Due, outputs: Outputs) -> Scored:
    windows, waves = due.windows, due.waves
    level = levels(due, outputs)
    health = health_of(outputs, level)
    if windows is not None:
        return Scored(
            due.group,
            windows.asset,
            windows.start_us,
            windows.end_us,
            windows.coverage(),
            windows.x[:, -1],
            outputs,
            level,
            health,
        )
    start_us = np.array([wave.start_us for wave in waves], np.int64)
    end_us = np.array([wave.end_us for wave in waves], np.int64)
    last = np.zeros((len(waves), 0), np.float32)
    full = np.ones(len(waves))
    return Scored(due.group, _rows(due), start_us, end_us, full, last, outputs, level, health)
