"""Requests of other programs wait here for their model, and run on it in batches.

Each served model has one queue and one thread. A thread takes everything that waits, up to a batch,
as soon as the run before is over: no request waits for others to come. Before each run it lets the
plant's own windows pass.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from edge_agent.clock import APART
from edge_agent.errors import ModelError
from edge_agent.models import Engine, signature_of
from edge_agent.ops.service_loop import name_thread
from edge_agent.service.served_jobs import (
    DeadlineError,
    GoneError,
    Job,
    OverloadedError,
    RunCounts,
    answer_jobs,
    fail_jobs,
    joined,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from edge_agent.models import Model, Tensors

MAX_ENDS: Final = 3  # of its process, before a model is refused until it is loaded again
_LOOK_S: Final = 0.001  # how often a thread looks whether the plant's turn is over


class ServedEngine(Engine, Protocol):
    """An engine in a process of its own, as `ServiceIsolation` opens it."""

    reason: str

    @property
    def is_running(self) -> bool:
        """True if it has a process."""

    @property
    def needs_restart(self) -> bool:
        """True if its process has died and the pause before the next one is over."""

    def restart(self) -> None:
        """Start it again; ModelError if that fails."""

    def drain_deaths(self) -> list[str]:
        """Why its process ended, for each time since the last call."""


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """waiting: requests; deadline_s: from the arrival of one; max_batch: rows of one run."""

    waiting: int
    deadline_s: float
    max_batch: int


class ModelQueue:
    """The queue and the thread of one loaded model. `infer` and `close` belong to the event loop.

    plant_is_busy: True while the plant's own windows are scored; safe in any thread.
    """

    def __init__(
        self,
        model: Model,
        engine: ServedEngine,
        limits: QueueLimits,
        plant_is_busy: Callable[[], bool],
    ) -> None:
        self.counts = RunCounts()
        self.model = model
        self.signature = signature_of(model.manifest)
        self._engine = engine
        self.ends = 0  # of its process
        self._limits = limits
        self._plant_is_busy = plant_is_busy
        self._names = tuple(model.manifest.outputs.named().values())
        self._jobs: deque[Job] = deque()
        self._running = 0
        self._waiting = threading.Condition()
        self._is_closed = False
        self._run_s = 0.01  # of a run, smoothed
        self._thread = threading.Thread(target=self._work, name="inference", daemon=True)
        self._thread.start()

    @property
    def pending(self) -> int:
        """Requests that are not answered yet."""
        return len(self._jobs) + self._running

    async def infer(self, feeds: Mapping[str, NDArray[Any]], rows: int) -> Tensors:
        """The outputs of N rows, by tensor.

        OverloadedError if too many wait, DeadlineError if it takes too long, GoneError if the
        model is lost meanwhile, ModelError if the run fails.
        """
        now_s = time.monotonic()
        loop = asyncio.get_running_loop()
        job = Job(feeds, rows, now_s, now_s + self._limits.deadline_s, loop.create_future())
        with self._waiting:
            if self._is_closed:
                raise GoneError("the model has left memory")
            if len(self._jobs) >= self._limits.waiting:
                raise OverloadedError(self._retry_s())
            self._jobs.append(job)
            self._waiting.notify()
        try:
            async with asyncio.timeout(self._limits.deadline_s):
                return await job.done
        except TimeoutError:
            raise DeadlineError(f"no answer within {self._limits.deadline_s:g} s") from None
        finally:
            self._forget(job)

    def _forget(self, job: Job) -> None:
        """A request that nobody waits for any longer gives its place to another one."""
        if self._jobs:
            with self._waiting, suppress(ValueError):
                self._jobs.remove(job)

    def close(self) -> None:
        """End the thread after its present run; requests that wait get GoneError."""
        with self._waiting:
            self._is_closed = True
            jobs, self._jobs = list(self._jobs), deque()
            self._waiting.notify()
        fail_jobs(jobs, GoneError("the model has left memory"))

    def join(self) -> None:
        """Wait for the end of the thread; blocking."""
        self._thread.join()

    def _retry_s(self) -> int:
        waiting_rows = sum(job.rows for job in self._jobs)
        return max(1, ceil(waiting_rows / self._limits.max_batch * self._run_s))

    # -- the thread ---------------------------------------------------------------------------

    def _work(self) -> None:
        name_thread()
        while jobs := self._next_batch():
            try:
                self._run(jobs)
            finally:
                self._running = 0
                APART.count_thread()

    def _next_batch(self) -> list[Job]:
        """What waits, up to a batch; empty at the end."""
        jobs: list[Job] = []
        while not jobs and not self._is_closed:
            with self._waiting:
                while not self._jobs and not self._is_closed:
                    self._waiting.wait()
            self._let_plant_pass()
            with self._waiting:
                jobs = self._taken()
                self._running = len(jobs)
        return jobs

    def _taken(self) -> list[Job]:
        """Take what waits, up to a batch, except the requests that are too late already."""
        jobs: list[Job] = []
        rows, now_s = 0, time.monotonic()
        while self._jobs and (not jobs or rows + self._jobs[0].rows <= self._limits.max_batch):
            job = self._jobs.popleft()
            if job.until_s > now_s and not job.done.done():
                rows += job.rows
                jobs.append(job)
        return jobs

    def _let_plant_pass(self) -> None:
        """Wait while the plant's windows are scored; without end, for requests have a deadline."""
        while self._plant_is_busy() and not self._is_closed:
            time.sleep(_LOOK_S)

    def _run(self, jobs: Sequence[Job]) -> None:
        """Answer these requests with one run; if it fails, each by itself: one may be the cause."""
        feeds = jobs[0].feeds if len(jobs) == 1 else joined(jobs)
        begin_s = time.monotonic()
        try:
            self._restart_process()
            found = self._outputs(feeds, max(job.until_s for job in jobs) - begin_s)
        except GoneError as error:
            fail_jobs(jobs, error)
        except ModelError as error:
            self._failed(jobs, error, begin_s)
        else:
            end_s = time.monotonic()
            self._run_s += 0.2 * (end_s - begin_s - self._run_s)
            for job in jobs:
                job.started_s, job.ended_s = begin_s, end_s
            self.counts.add(jobs)
            answer_jobs(jobs, found)

    def _failed(self, jobs: Sequence[Job], error: ModelError, begin_s: float) -> None:
        if len(jobs) > 1:
            for job in jobs:
                self._run([job])
            return
        now_s = time.monotonic()
        self.counts.failed += 1
        self.counts.failed_ns += round((now_s - begin_s) * 1e9)
        if now_s >= jobs[0].until_s:
            fail_jobs(jobs, DeadlineError(error.message))
        else:
            fail_jobs(jobs, error if self._engine.is_running else GoneError(error.message))

    def _outputs(self, feeds: Mapping[str, NDArray[Any]], budget_s: float) -> Tensors:
        manifest = self.model.manifest
        found = self._engine.infer(feeds, self._names, max(budget_s, 0.001))
        return {
            tensor: np.asarray(found[tensor]).reshape(-1, *manifest.output_shape(role))
            for role, tensor in manifest.outputs.named().items()
        }

    def _restart_process(self) -> None:
        """Start a process that has ended again, after a pause; GoneError if that is not allowed."""
        engine = self._engine
        self.ends += len(engine.drain_deaths())
        if self.ends >= MAX_ENDS:
            raise GoneError(f"its runs ended {MAX_ENDS} processes")
        if engine.needs_restart:
            try:
                engine.restart()
            except ModelError as error:
                raise GoneError(error.message) from error
        elif not engine.is_running:
            raise GoneError(f"its process is started again soon: {engine.reason}")
