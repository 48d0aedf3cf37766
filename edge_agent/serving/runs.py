"""Windows to scores: which windows may be scored, and one run per model for all assets."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from edge_agent.serving.scores import Scored, health_of, levels

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from edge_agent.models import Model, Outputs
    from edge_agent.ops.metrics import Metrics
    from edge_agent.serving.deployment import WindowBatch


@dataclass(slots=True)
class Batch:
    """One run of a model over the windows of all its assets, and what came of it."""

    model: Model
    parts: list[WindowBatch]
    scored: list[Scored] = field(default_factory=list)  # one for each part, unless it failed
    seconds: float = 0.0
    error: str = ""

    @property
    def size(self) -> int:
        """Its windows."""
        return sum(part.size for part in self.parts)

    @property
    def non_finite(self) -> int:
        """How many scores are no number: NaN passes through ONNX Runtime."""
        return sum(int(np.isnan(one.outputs.score).sum()) for one in self.scored)


def batches(due: Iterable[WindowBatch], metrics: Metrics) -> list[Batch]:
    """The windows that may be scored, by model; `run` scores them."""
    by_model: dict[int, list[WindowBatch]] = defaultdict(list)
    for each in due:
        kept = usable(each)
        skipped = each.size - kept.size + each.skipped
        if skipped:
            name = each.group.model.manifest.name
            metrics.windows.labels(name, "skipped_quality").inc(skipped)
        if kept.size:
            by_model[id(each.group.model)].append(kept)
    return [Batch(parts[0].group.model, parts) for parts in by_model.values()]


def usable(due: WindowBatch) -> WindowBatch:
    """Only windows whose inputs allow inference: covered enough, and sound to the end."""
    windows = due.windows
    if windows is None:
        return due
    good = windows.ends_usable() & (windows.coverage() >= _least_coverage(due))
    return due if good.all() else some_of(due, good)


def _least_coverage(due: WindowBatch) -> float:
    """What the config asks for, or what the model itself can do with, where that is less."""
    window = due.group.model.manifest.window
    able = window.least / window.length if window.least else 1.0
    return min(due.group.use.min_coverage, able)


def some_of(due: WindowBatch, which: NDArray[np.bool_]) -> WindowBatch:
    """Only the windows for which `which` [N] is true."""
    return due.where(which)


def run(batch: Batch, limit_s: float | None = None) -> Batch:
    """Score the windows of a batch; blocking. One that fails says so in `error`.

    limit_s: a run that takes longer is ended, and has failed.
    """
    x, unit, waves = inputs_of(batch.parts)
    begin = perf_counter()
    try:
        if limit_s is None:
            outputs = batch.model.run(x, unit, waves)
        else:
            outputs = batch.model.run_terminable(limit_s, x, unit, waves)
    except Exception as error:  # noqa: BLE001 (one model that fails must not stop the others)
        batch.error = str(error) or type(error).__name__
        return batch
    finally:
        batch.seconds = perf_counter() - begin
    start = 0
    for part in batch.parts:
        stop = start + part.size
        batch.scored.append(_scored(part, outputs.rows(start, stop)))
        start = stop
    return batch


def count(batch: Batch, metrics: Metrics) -> None:
    """What became of the windows of a batch."""
    name, size, non_finite = batch.model.manifest.name, batch.size, batch.non_finite
    if batch.error:
        metrics.windows.labels(name, "failed").inc(size)
        return
    metrics.windows.labels(name, "scored").inc(size - non_finite)
    if non_finite:  # it is neither health nor fault
        metrics.windows.labels(name, "not_a_number").inc(non_finite)
    metrics.inference_seconds.labels(name).observe(batch.seconds)
    metrics.batch_size.labels(name).observe(size)


def inputs_of(
    parts: list[WindowBatch],
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


def _rows(due: WindowBatch) -> NDArray[np.intp]:
    if due.windows is not None:
        return due.windows.asset
    return np.array([wave.asset for wave in due.waves], np.intp)


def _scored(due: WindowBatch, outputs: Outputs) -> Scored:
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
            windows.last,
            outputs,
            level,
            health,
        )
    start_us = np.array([wave.start_us for wave in waves], np.int64)
    end_us = np.array([wave.end_us for wave in waves], np.int64)
    last = np.zeros((len(waves), 0), np.float32)
    full = np.ones(len(waves))
    return Scored(due.group, _rows(due), start_us, end_us, full, last, outputs, level, health)
