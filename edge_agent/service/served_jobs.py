"""Requests that wait for a model: what each is, how it is answered, and what is counted of it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from edge_agent.models import Tensors


class OverloadedError(Exception):
    """Too many requests wait already; try again in `retry_s`."""

    def __init__(self, retry_s: int) -> None:
        super().__init__("too many requests wait for this model")
        self.retry_s = retry_s


class DeadlineError(Exception):
    """The request was not answered in time."""


class GoneError(Exception):
    """The model left memory, or its process is lost; the same request may work later."""


@dataclass(slots=True, eq=False)
class Job:
    """A request that waits. Times are monotonic seconds; timings: of its run, for statistics."""

    feeds: Mapping[str, NDArray[Any]]
    rows: int
    arrived_s: float
    until_s: float
    done: asyncio.Future[Tensors]
    started_s: float = 0.0
    ended_s: float = 0.0


@dataclass(slots=True)
class RunCounts:
    """What a model has answered since it was loaded. Times are nanoseconds."""

    requests: int = 0
    rows: int = 0
    runs: int = 0
    failed: int = 0
    queue_ns: int = 0
    infer_ns: int = 0
    failed_ns: int = 0
    last_ms: int = 0
    by_batch: dict[int, tuple[int, int]] = field(default_factory=dict)  # rows -> runs, ns

    def add(self, jobs: Sequence[Job]) -> None:
        """Count one run that answered these requests."""
        ran_ns = round((jobs[0].ended_s - jobs[0].started_s) * 1e9)
        rows = sum(job.rows for job in jobs)
        runs, ns = self.by_batch.get(rows, (0, 0))
        if rows in self.by_batch or len(self.by_batch) < _MAX_SIZES:
            self.by_batch[rows] = runs + 1, ns + ran_ns
        self.requests += len(jobs)
        self.rows += rows
        self.runs += 1
        self.queue_ns += round(sum(job.started_s - job.arrived_s for job in jobs) * 1e9)
        self.infer_ns += ran_ns * len(jobs)
        self.last_ms = time.time_ns() // 1_000_000


_MAX_SIZES: Final = 256  # of batches in the statistics


def joined(jobs: Sequence[Job]) -> dict[str, NDArray[Any]]:
    """The inputs of all jobs, one after the other."""
    return {name: np.concatenate([job.feeds[name] for job in jobs]) for name in jobs[0].feeds}


def answer_jobs(jobs: Sequence[Job], found: Tensors) -> None:
    """Give each request its rows, with one call of the event loop."""
    parts, start = [], 0
    for job in jobs:
        parts.append({name: array[start : start + job.rows] for name, array in found.items()})
        start += job.rows

    def answer() -> None:
        for job, part in zip(jobs, parts, strict=True):
            if not job.done.done():
                job.done.set_result(part)

    _on_loop(jobs, answer)


def fail_jobs(jobs: Sequence[Job], error: Exception) -> None:
    """Give each request this error."""

    def fail() -> None:
        for job in jobs:
            if not job.done.done():
                job.done.set_exception(error)

    if jobs:
        _on_loop(jobs, fail)


def _on_loop(jobs: Sequence[Job], call: Callable[[], object]) -> None:
    try:
        jobs[0].done.get_loop().call_soon_threadsafe(call)
    except RuntimeError:  # the loop is closed: nobody waits any longer
        return
