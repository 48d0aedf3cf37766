"""Windows to scores: one run per model for all assets, with its time, outcome and verdict.

This module also selects the windows to score: with enough coverage and usable to the end.
"""

from __future__ import annotations

import logging
from collections import defaultdict, deque
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from math import ceil
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edge_agent.models import (
    DEVIATION,
    FOLLOWED,
    HOUR,
    UNIT_TENSOR,
    BusyError,
    LateError,
    hours_of_week,
)
from edge_agent.serving.following import FollowedWindows
from edge_agent.serving.scored import Scored
from edge_agent.signals import KNOWN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from edge_agent.models import Model, Outputs, Tensors
    from edge_agent.ops.metrics import Metrics
    from edge_agent.serving.deployment import Deployment, WindowBatch

log = logging.getLogger("edge_agent.models")

_RUNS_KEPT: Final = 1000  # for the percentiles
_RUNS_JUDGED: Final = 50
# More than the first runs after loading, or a short load of the machine, can cause.
_SLOW_RUNS: Final = 10
_ENDLESS_TIMES: Final = 20  # a single run that exceeds the budget by this factor is ended


# -- the verdict on a version ---------------------------------------------------------------------


class Trouble(StrEnum):
    """Why a version may not stay active."""

    FAILED = "failed"
    NOT_A_NUMBER = "not_a_number"
    SLOW = "slow"


@dataclass(frozen=True, slots=True)
class Budget:
    """The time limit of a run of up to `max_batch` windows; in proportion for more.

    rest_s: from one run to the next of a model in a process of its own. Each wakes that process,
    whose memory is cold by then, so that several turns share one run.
    """

    seconds: float
    max_batch: int
    rest_s: float = 0.0

    def of(self, windows: int) -> float:
        """Seconds for this number of windows."""
        return self.seconds * max(1, ceil(windows / self.max_batch))

    def limit_s(self, windows: int) -> float:
        """The time after which a run is ended, because it might never end by itself."""
        return _ENDLESS_TIMES * self.of(windows)


@dataclass(slots=True)
class RunStats:
    """Statistics of a version's runs."""

    windows: int = 0  # with a score that is a number
    not_a_number: int = 0
    failed: int = 0
    _seconds: deque[float] = field(default_factory=lambda: deque(maxlen=_RUNS_KEPT))
    _slow: deque[bool] = field(default_factory=lambda: deque(maxlen=_RUNS_JUDGED))

    def add_run(self, run: ModelRun, budget: Budget) -> Trouble | None:
        """Count a run; returns the trouble of the version now."""
        if run.error:
            self.failed += run.size
            return Trouble.FAILED
        non_finite = run.non_finite
        self.windows += run.size - non_finite
        self.not_a_number += non_finite
        self._seconds.append(run.seconds)
        self._slow.append(run.seconds > budget.of(run.size))
        if non_finite:
            return Trouble.NOT_A_NUMBER
        return Trouble.SLOW if sum(self._slow) >= _SLOW_RUNS else None

    def forget_slow_runs(self) -> None:
        """Restart the evaluation of its latency."""
        self._slow.clear()

    def as_dict(self) -> dict[str, Any]:
        """Windows by outcome, and the latency of a run in milliseconds."""
        p50, p99 = (None, None)
        if self._seconds:
            p50, p99 = (round(float(1e3 * q), 4) for q in np.percentile(self._seconds, (50, 99)))
        return {
            "windows": self.windows,
            "not_a_number": self.not_a_number,
            "failed": self.failed,
            "latency_ms": {"p50": p50, "p99": p99},
        }


# -- a run ----------------------------------------------------------------------------------------


@dataclass(slots=True)
class ModelRun:
    """One run of a model over the windows of all its assets, and its outcome.

    size: number of its windows; non_finite: of its scores: NaN passes through ONNX Runtime.
    late: set while it goes on in the model's own process; busy: an earlier run of it is late.
    """

    model: Model
    batches: list[WindowBatch]
    scored: list[Scored] = field(default_factory=list)  # one for each batch, unless it failed
    seconds: float = 0.0
    error: str = ""
    late: LateError | None = None
    busy: bool = False
    begin_s: float = 0.0
    feeds: Tensors | None = None  # of a run that began at the model's servers
    size: int = field(init=False)
    non_finite: int = 0

    def __post_init__(self) -> None:
        self.size = sum([batch.size for batch in self.batches])

    def trouble_text(self, trouble: Trouble | None, budget: Budget) -> str:
        """The trouble in words."""
        if trouble is Trouble.FAILED:
            return self.error
        if trouble is Trouble.NOT_A_NUMBER:
            return f"{self.non_finite} of {self.size} scores are not a number"
        budget_ms = budget.of(self.size) * 1e3
        return f"{self.size} windows take {self.seconds * 1e3:.3g} ms, more than {budget_ms:g} ms"


def runs_of_models(due: Iterable[WindowBatch], metrics: Metrics) -> list[ModelRun]:
    """The windows that may be scored, one run per model; `score_windows` executes it."""
    by_model: dict[int, list[WindowBatch]] = defaultdict(list)
    for each in due:
        kept = usable(each)
        skipped = each.size - kept.size + each.skipped
        if skipped:
            name = each.deployment.model.manifest.name
            metrics.windows.labels(name, "skipped_quality").inc(skipped)
        if kept.size:
            by_model[id(each.deployment.model)].append(kept)
    return [ModelRun(batches[0].deployment.model, batches) for batches in by_model.values()]


def usable(due: WindowBatch) -> WindowBatch:
    """Only windows whose inputs allow inference: enough coverage, and usable to the end.

    If the delivery of values pauses, repeated ones would look like a sensor that is stuck.
    """
    windows, deployment = due.windows, due.deployment
    if windows is None:
        return due
    usable_share, has_gap = windows.coverage(), windows.has_gap()
    due.coverage = windows.coverage(KNOWN) if has_gap else usable_share
    good = windows.ends_usable() & (usable_share >= _least_coverage(due))
    if deployment.windows is not None and deployment.always_new.any():
        expected = deployment.windows.sampled(windows.asset) & deployment.always_new
        good &= ~windows.is_paused(expected)
    return due if good.all() else due.where(good)


def _least_coverage(due: WindowBatch) -> float:
    """The required coverage: that of the config, or of the model, if it needs less."""
    window = due.deployment.model.manifest.window
    able = window.least / window.length if window.least else 1.0
    return min(due.deployment.use.min_coverage, able)


def begin_at_servers(run: ModelRun) -> None:
    """Send the windows of a run to the servers of its model; `score_windows` has the answer."""
    if run.model.remote is not None:
        run.begin_s = perf_counter()
        run.feeds = inputs_of(run.batches)
        run.model.remote.begin(run.feeds)


def score_windows(run: ModelRun, limit_s: float | None = None, *, wait: bool = True) -> ModelRun:
    """Score the windows of a run; blocking. A failure is in `error`; see also `late`.

    limit_s: a run that takes longer is ended, and counts as failed.
    """
    feeds = inputs_of(run.batches) if run.feeds is None else run.feeds
    run.begin_s = run.begin_s or perf_counter()
    return _completed(run, partial(run.model.infer, feeds, limit_s, wait=wait))


def finish_late(run: ModelRun) -> ModelRun:
    """Score the windows of a run that was late, if it is over now; never waits."""
    return _completed(run, run.model.late_outputs)


def _completed(run: ModelRun, infer: Callable[[], Outputs]) -> ModelRun:
    run.late = None
    try:
        outputs = infer()
    except LateError as late:
        run.late = late
        return run
    except BusyError:
        run.busy = True
        return run
    except Exception as error:  # noqa: BLE001 (one model that fails must not stop the others)
        run.error = str(error) or type(error).__name__
        return run
    finally:
        run.seconds = perf_counter() - run.begin_s
    start = 0
    for batch in run.batches:
        stop = start + batch.size
        run.scored.append(_scored(batch, outputs.rows(start, stop), run.seconds / run.size))
        start = stop
    run.non_finite = sum([int(np.isnan(one.outputs.score).sum()) for one in run.scored])
    return run


def count_windows(run: ModelRun, metrics: Metrics) -> None:
    """Count the outcomes of the windows of a run."""
    name, size, non_finite = run.model.manifest.name, run.size, run.non_finite
    if run.busy:
        metrics.windows.labels(name, "busy").inc(size)
        return
    if run.error:
        metrics.windows.labels(name, "failed").inc(size)
        return
    metrics.windows.labels(name, "scored").inc(size - non_finite)
    if non_finite:  # such a window is neither healthy nor faulty
        metrics.windows.labels(name, "not_a_number").inc(non_finite)
    metrics.inference_seconds.labels(name).observe(run.seconds)
    metrics.batch_size.labels(name).observe(size)


def count_refused(one: Deployment, metrics: Metrics) -> None:
    """Count values that were too late, blocks that did not fit, and windows while stopped."""
    late, rejected = one.drain_refused()
    if late:
        metrics.values_late.labels(one.source).inc(late)
    if one.gate.dropped:
        metrics.windows.labels(one.model.manifest.name, "stopped").inc(one.gate.dropped)
        one.gate.dropped = 0
    if rejected:
        metrics.values_rejected.labels(one.source, one.own_tensors[0].kind).inc(rejected)


def inputs_of(batches: list[WindowBatch]) -> Tensors:
    """Join all batches: N rows of each input tensor of the model."""
    deployment = batches[0].deployment
    manifest = deployment.model.manifest
    feeds: Tensors = {
        spec.name: np.stack([w.samples[i] for b in batches for w in b.blocks])
        for i, spec in enumerate(deployment.own_tensors)
    }
    if deployment.scalars:
        windows = [b.windows.x for b in batches if b.windows is not None]
        feeds[manifest.window.tensor] = _finite(np.concatenate(windows))
    if manifest.units:
        feeds[UNIT_TENSOR] = np.concatenate([b.deployment.unit[b.rows] for b in batches])
    if manifest.season_zone:
        end_us = [b.windows.end_us for b in batches if b.windows is not None]
        feeds[HOUR] = hours_of_week(np.concatenate(end_us), manifest.season_zone)
    if (moved := _moved_of(batches)) is not None:
        feeds[FOLLOWED] = moved
    if manifest.constants:
        every = np.concatenate([b.deployment.constants[b.rows] for b in batches])
        ends = np.cumsum(list(manifest.constants.values()))[:-1]
        feeds |= zip(manifest.constants, np.split(every, ends, axis=1), strict=True)
    return feeds


def in_turns(batches: Sequence[WindowBatch]) -> Iterator[list[WindowBatch]]:
    """The batches in parts with few windows of each asset: what one scores, the next follows.

    Live there is one window of an asset in a turn; a recording has thousands.
    """
    turns: list[list[WindowBatch]] = [[]]
    ahead: dict[Deployment, NDArray[np.int64]] = {}
    for batch in batches:
        following = batch.deployment.following
        if following is None or not batch.size:
            turns[0].append(batch)
            continue
        queued = ahead.setdefault(batch.deployment, np.zeros(len(following), np.int64))
        turn = following.turns_of(batch.rows, queued)
        if not turn.any():
            turns[0].append(batch)
            continue
        for number in range(int(turn.max()) + 1):
            if number == len(turns):
                turns.append([])
            turns[number].append(batch.where(turn == number))
    yield from turns


def follow(scored: Scored) -> None:
    """Let the middle of each baseline follow these windows."""
    deployment, deviation = scored.deployment, scored.outputs.of(DEVIATION)
    if deployment.following is None or deviation is None:
        return

    def log_accepted(row: int) -> None:
        extra = {"asset": deployment.assets[row].id, "model": deployment.model.manifest.name}
        log.warning("a state that settled is accepted as new", extra=extra)

    windows = FollowedWindows(scored.row, scored.end_us, scored.level, deviation)
    deployment.following.follow(windows, log_accepted)


def _moved_of(batches: list[WindowBatch]) -> NDArray[np.float32] | None:
    """How far the middle of each window's asset has moved, [N, S, C]; None if none has."""
    tables = [batch.deployment.following for batch in batches]
    if not any(table is not None and table.is_moved for table in tables):
        return None
    shape = next(table.shown.shape[1:] for table in tables if table is not None)
    found = [
        np.zeros((batch.size, *shape)) if table is None else table.shown[batch.rows]
        for batch, table in zip(batches, tables, strict=True)
    ]
    return np.concatenate(found).astype(np.float32)


def _finite(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Fill cells before an input's first value with it: a usable window contains no NaN."""
    hole = np.isnan(x)
    if not hole.any():
        return x
    first = np.argmin(hole, axis=1)
    filled = np.take_along_axis(x, first[:, None, :], axis=1)
    return np.where(hole, filled, x)


def _scored(due: WindowBatch, outputs: Outputs, seconds: float) -> Scored:
    windows, blocks = due.windows, due.blocks
    task, limit = due.deployment.task, due.deployment.limit
    level = task.levels(outputs, limit) / due.deployment.margin[due.rows]
    health = task.healths(outputs, level)
    if windows is not None:
        start_us, end_us = windows.start_us, windows.end_us
        last = windows.last
    else:
        start_us = np.array([block.start_us for block in blocks], np.int64)
        end_us = np.array([block.end_us for block in blocks], np.int64)
        last = np.zeros((len(blocks), 0), np.float32)
    return Scored(
        due.deployment,
        due.rows,
        start_us,
        end_us,
        np.ones(due.size) if due.coverage is None else due.coverage,
        last,
        outputs,
        limit,
        level,
        health,
        due,
        seconds,
    )
