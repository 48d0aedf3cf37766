"""Records what passes the pipeline in the trends: once a second, on a thread of its own.

The path of a value only keeps references. When the thread does not follow (a disk that hangs), what
passes meanwhile is not recorded; nothing waits for it.
"""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edge_agent.clock import US_PER_S
from edge_agent.daemon.trend_gaps import LateValues
from edge_agent.daemon.trend_series import SeriesNumbers
from edge_agent.messages import Detail, Fault, LinkState
from edge_agent.pipeline import Recent
from edge_agent.signals import Problem
from edge_agent.trends import (
    BAD,
    HELD,
    OVER,
    REPLAYED,
    UNCERTAIN,
    Rows,
    joined,
    marks_of,
    missing_rows,
    rows_of,
)
from edge_agent.values import SEVERITY_SHIFT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from edge_agent.clock import Clock
    from edge_agent.daemon.runtime import Runtime
    from edge_agent.plant import PlantSignal
    from edge_agent.trends import Trends
    from edge_agent.values import Columns

CLOSE_S: Final = 5.0
_GRACE_S: Final = 2  # after the end of a bucket, values of it still arrive
_OLDEST_S: Final = 92 * 86_400  # an older value tells when a node changed last, not of a trend
_CONNECTED: Final = frozenset({LinkState.UP, LinkState.DEGRADED})

log = logging.getLogger("edge_agent.daemon")


@dataclass(frozen=True, slots=True)
class Held:
    """The newest value of every signal at the end of a bucket, with those that are valid [S]."""

    bucket_s: int
    value: NDArray[np.float64]
    is_valid: NDArray[np.bool_]
    is_uncertain: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Sample:
    """What passed in one second: for the thread, which reads nothing else of the pipeline.

    back_us: by plant asset, until when values are replayed [A]; asset_of: of each signal [S];
    stale_us: for how long its value is valid [S].
    """

    now_s: int
    monotonic_s: float
    signals: Sequence[PlantSignal]
    values: list[Columns]
    scores: list[tuple[Any, ...]]
    back_us: NDArray[np.int64]
    asset_of: NDArray[np.intp]
    stale_us: NDArray[np.int64]
    held: Held | None


class TrendRecorder:
    """Takes a sample of the present pipeline once a second, and adds it to the trends."""

    def __init__(self, runtime: Callable[[], Runtime], trends: Trends, clock: Clock) -> None:
        self.trends = trends
        self.missed = 0  # seconds in which the thread was still busy
        self._runtime = runtime
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="trends")
        self._work: asyncio.Future[None] | None = None
        self._numbers = SeriesNumbers(trends)
        self._bucket_s = 0
        self._before: Held | None = None
        self._late = LateValues()

    def faults(self) -> list[Fault]:
        """The fault of the file, if it cannot be used."""
        text = self.trends.trouble
        return [Fault("trends", text, Detail("trends_trouble", {"reason": text}))] if text else []

    async def record(self) -> None:
        """Take a sample; returns at once."""
        recent = self._runtime().pipeline.recent
        if recent is None:
            self._runtime().pipeline.recent = Recent()
            return
        if self._work is not None and not self._work.done():
            self.missed += 1
            recent.values.clear()
            recent.scores.clear()
            return
        if self._work is not None:
            self._work.result()  # an error of the last sample is reported now
        self._work = asyncio.get_running_loop().run_in_executor(
            self._thread, self._add, self._sample(recent)
        )

    async def stop(self) -> None:
        """Record the rest and close the file, within CLOSE_S; safe when repeated."""
        if self._work is not None:
            _, stuck = await asyncio.wait([self._work], timeout=CLOSE_S)
            if stuck:  # in a disk that does not answer
                return
            await self.record()
        loop, now_s = asyncio.get_running_loop(), self._clock.now_us() // US_PER_S
        closing = loop.run_in_executor(self._thread, self.trends.close, now_s)
        await asyncio.wait([closing], timeout=CLOSE_S)
        self._thread.shutdown(wait=False)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="trends")
        self._work = None

    # -- on the event loop --------------------------------------------------------------------

    def _sample(self, recent: Recent) -> Sample:
        runtime, now_s = self._runtime(), self._clock.now_us() // US_PER_S
        values, scores = list(recent.values), list(recent.scores)
        recent.values.clear()
        recent.scores.clear()
        acceptance = runtime.pipeline.signals
        return Sample(
            now_s,
            self._clock.monotonic_s(),
            runtime.plant.signals,
            values,
            scores,
            acceptance.time.back_us.copy(),
            acceptance.asset_of,
            acceptance.watch.silence.stale_us,
            self._held(runtime, now_s),
        )

    def _held(self, runtime: Runtime, now_s: int) -> Held | None:
        """The newest values, if a bucket has ended."""
        resolution_s = self.trends.resolution_s
        bucket_s = (now_s - _GRACE_S) // resolution_s * resolution_s - resolution_s
        if bucket_s == self._bucket_s:
            return None
        self._bucket_s = bucket_s
        watch = runtime.pipeline.watch
        is_valid = np.equal(watch.problem, Problem.NONE) & ~watch.unseen()
        is_valid &= _connected(runtime)[: len(is_valid)]
        uncertain = (watch.status >> SEVERITY_SHIFT) == 1
        return Held(bucket_s, watch.value.copy(), is_valid, uncertain)

    # -- on the thread ------------------------------------------------------------------------

    def _add(self, sample: Sample) -> None:
        trends = self.trends
        trends.tend(sample.now_s, sample.monotonic_s)
        if self._numbers.follow(sample.signals):
            self._late = LateValues()  # their numbers are those of another plant
        parts = [rows for one in sample.values if len(one) for rows in self._of_values(sample, one)]
        parts += [rows for one in sample.scores for rows in self._rows_of_scores(one)]
        if parts:
            trends.add(joined(parts))
        if sample.held is not None:
            self._add_held(sample.held)

    def _of_values(self, sample: Sample, values: Columns) -> list[Rows]:
        """A row for each value; of late ones also for the buckets in which they were valid."""
        time_s = values.time_us // US_PER_S
        severity = values.status >> SEVERITY_SHIFT
        late = values.time_us <= sample.back_us[sample.asset_of[values.signal]]
        marks = marks_of((severity == 1, UNCERTAIN), (severity > 1, BAD), (late, REPLAYED))
        series = np.where(
            time_s > sample.now_s - _OLDEST_S, self._numbers.of_signals[values.signal], -1
        )
        found = [rows_of(series, time_s, values.value, good=severity == 0, marks=marks)]
        if late.any() or self._late.is_pending:
            numbers, resolution_s = self._numbers.of_signals, self.trends.resolution_s
            found.append(self._late.bridge(values, late, sample.stale_us, numbers, resolution_s))
        return found

    def _rows_of_scores(self, scored: tuple[Any, ...]) -> list[Rows]:
        """The scores of some windows, their limits, and what contributed most.

        scored: as in `Recent`.
        """
        deployment, row, end_us, outputs, limit, outside, late = scored
        numbers = self._numbers.of_deployment(deployment)
        limits = limit * deployment.margin[row].astype(np.float64)
        nothing = np.zeros(len(row), np.bool_)
        uncertain = nothing if outside is None else np.asarray(outside.any(axis=1))
        time_s, score = end_us // US_PER_S, outputs.score.astype(np.float64)
        late = nothing if late is None else late
        marks = marks_of((uncertain, UNCERTAIN), (score >= limits, OVER), (late, REPLAYED))
        good = ~uncertain
        found = [
            rows_of(numbers[row, 0], time_s, score, good=good, marks=marks),
            rows_of(numbers[row, 1], time_s, limits, good=good, marks=marks & np.uint8(REPLAYED)),
        ]
        if outputs.contributions is not None:
            top = self._numbers.top_contributions(deployment, row, outputs.contributions)
            at, series, weight = top
            marked = marks[at] & np.uint8(REPLAYED)
            found.append(rows_of(series, time_s[at], weight, good=good[at], marks=marked))
        return found

    def _add_held(self, held: Held) -> None:
        """In the bucket that has ended: signals without a new value whose last one was valid.

        It must have been valid when the bucket began, and at its end.
        """
        before, self._before = self._before, held
        if before is None or before.bucket_s >= held.bucket_s:
            return
        n = min(len(before.value), len(held.value), len(self._numbers.of_signals))
        series = self._numbers.of_signals[:n]
        rows = before.is_valid[:n] & held.is_valid[:n] & np.isfinite(before.value[:n])
        rows &= missing_rows(self.trends.rows, series, held.bucket_s)
        chosen = np.flatnonzero(rows)
        uncertain = before.is_uncertain[chosen]
        marks = marks_of((uncertain, UNCERTAIN)) | np.uint8(HELD)
        time_s = np.full(len(chosen), held.bucket_s)
        value = before.value[chosen]
        self.trends.add(rows_of(series[chosen], time_s, value, good=~uncertain, marks=marks))


def _connected(runtime: Runtime) -> NDArray[np.bool_]:
    """True for the signals [S] whose source is connected."""
    up = {name for name, one in runtime.sources.items() if one.link.state in _CONNECTED}
    if len(up) == len(runtime.sources):
        return np.ones(len(runtime.plant.signals), np.bool_)
    return np.array([one.source in up for one in runtime.plant.signals], np.bool_)
