"""The loop of the path of a value: from the intake through the pipeline to the publisher."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Final

from edge_agent.clock import APART

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from edge_agent.clock import Clock
    from edge_agent.daemon.error_boundary import ErrorBoundary
    from edge_agent.daemon.runtime import Runtime
    from edge_agent.delivery import Publisher
    from edge_agent.ops.metrics import Metrics
    from edge_agent.serving import Scored
    from edge_agent.values import Columns, TensorBlock

_LINKS_EVERY_S: Final = 0.25
_IDLE_S: Final = 0.25  # time between two turns without values
_CHUNK: Final = 16_384  # maximum of values in one turn: limits its memory
_STALLED_S: Final = 30.0  # a pipeline that is stopped for this long is not alive
FREE: Final = 0.2  # share of a core up to which the pipeline follows its sources without a pause
BUSY: Final = 0.3  # and from which the pause is at its limit
_LOAD_MEMORY_S: Final = 0.5


class FollowerPace:
    """The pauses between two turns, so that under load more values share the cost of a turn.

    There is none while there is spare time. cpu_s: processor time of this process, of which that of
    other programs does not count; monotonic_s: time that passes; both in seconds.
    """

    def __init__(
        self,
        cpu_s: Callable[[], float] = time.process_time,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cpu_s, self._monotonic_s = cpu_s, monotonic_s
        self._since = cpu_s() - APART.s, monotonic_s()
        self._load = 0.0  # share of a core

    def pause_s(self, longest_s: float) -> float:
        """Return the pause now, from the load of the last half second."""
        before, self._since = self._since, (self._cpu_s() - APART.s, self._monotonic_s())
        work_s, passed_s = self._since[0] - before[0], self._since[1] - before[1]
        if passed_s > 0:
            weight = min(1.0, passed_s / _LOAD_MEMORY_S)
            self._load += weight * (work_s / passed_s - self._load)
        return longest_s * min(1.0, max(0.0, (self._load - FREE) / (BUSY - FREE)))


class PipelineLoop:
    """Runs the turns of the present pipeline.

    runtime: of the present config, the only reference to it; None before the start.
    turning: held while the pipeline works, and while it is replaced. follow_links: called every
    `_LINKS_EVERY_S`, and in each turn in which the quality of a signal changes, so that signals of
    sources that are away are held back.
    """

    def __init__(
        self,
        publisher: Publisher,
        follow_links: Callable[[], None],
        boundary: ErrorBoundary,
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self.turning = asyncio.Lock()
        self.runtime: Runtime | None = None
        self._publisher = publisher
        self._follow_links = follow_links
        self._boundary = boundary
        self._metrics = metrics
        self._clock = clock
        self._wake = asyncio.Event()
        self._turned_s = clock.monotonic_s()
        self._linked_s = -math.inf
        self._waking: asyncio.TimerHandle | None = None
        self._model_thread = ThreadPoolExecutor(1, thread_name_prefix="models")

    def wake(self) -> None:
        """Signal that values have arrived."""
        self._wake.set()

    async def run(self) -> None:
        """Run a turn when values arrive, in batches under load, at the latest after `_IDLE_S`."""
        idle = asyncio.create_task(self._wake_when_idle())
        try:
            await self._run_turns()
        finally:
            idle.cancel()

    async def _run_turns(self) -> None:
        loop = asyncio.get_running_loop()
        pace = FollowerPace()
        while True:
            async with self.turning:
                await self.run_turn()
                longest_s = self.runtime.config.tuning.tick if self.runtime else _IDLE_S
            rested_s = loop.time() + pace.pause_s(longest_s)
            # Only code that runs on the loop wakes us, so this gives way to it in each turn.
            await self._wake.wait()
            if (rest_s := rested_s - loop.time()) > 0:
                await asyncio.sleep(rest_s)

    async def _wake_when_idle(self) -> None:
        """One timer for all turns: a time limit for each turn costs more than the wait itself."""
        while True:
            await asyncio.sleep(_IDLE_S)
            self._wake.set()

    async def run_turn(self) -> None:
        """Process all waiting values; only values that cause an error are lost.

        Hold `turning`, unless nothing else can use the pipeline.
        """
        self._wake.clear()
        runtime = self.runtime
        if runtime is None:
            return
        arrived_us = self._clock.now_us()
        values, blocks = runtime.intake.drain()
        if runtime.intake.dropped:
            self._count_drops(runtime)
        # A delayed server sends node by node: if the batch is cut there, the last nodes are late.
        for chunk in values.sorted_by_time().chunks(_CHUNK):
            try:
                await self._process_chunk(runtime, chunk, blocks, arrived_us)
            except Exception as error:  # noqa: BLE001 (only what cannot be digested is lost)
                self._boundary.report_error("pipeline", error)
            else:
                self._turned_s = self._clock.monotonic_s()
            blocks = []

    async def run_last_turn(self) -> None:
        """`run_turn`, and another one for windows that wait for a process."""
        await self.run_turn()
        if self.runtime is None:
            return
        rest_s = self.runtime.pipeline.deployments.due_s - self._clock.monotonic_s()
        if rest_s < _IDLE_S:
            await asyncio.sleep(max(0.0, rest_s))
            await self.run_turn()

    async def _process_chunk(
        self, runtime: Runtime, values: Columns, blocks: Sequence[TensorBlock], arrived_us: int
    ) -> None:
        pipeline, publisher = runtime.pipeline, self._publisher
        monotonic_s = self._clock.monotonic_s()
        due = pipeline.close_windows(values, blocks, now_us=arrived_us, monotonic_s=monotonic_s)
        # The values themselves show a lost link: check the links in the same turn.
        if pipeline.detection.episodes or monotonic_s - self._linked_s >= _LINKS_EVERY_S:
            self._linked_s = monotonic_s
            self._follow_links()
        loop = asyncio.get_running_loop()
        scored: Sequence[Scored] = ()
        deployments = pipeline.deployments
        if monotonic_s < deployments.rest_until_s and deployments.is_resting(due):
            scored = pipeline.score_windows(due) if due else ()  # they wait: no thread is needed
        elif due or deployments.due_s <= monotonic_s:
            scored = await loop.run_in_executor(self._model_thread, pipeline.score_windows, due)
        step = pipeline.update_alarms(scored)
        # A restart would lose an alarm of an asset that is not stored.
        if step.transitions and publisher.saved_assets != len(runtime.plant.assets):
            await publisher.save_memory(runtime.plant)
        if step.transitions or publisher.unsaved:
            await publisher.send(step.transitions, arrived_us)
        if step.scores:
            publisher.send_scores(step.scores)
        self._wake_for_waiting(pipeline.deployments.due_s)
        if pipeline.deployments.has_shadows():  # after everything important
            shadow = partial(pipeline.run_shadows, busy=runtime.intake.backpressured())
            await loop.run_in_executor(self._model_thread, shadow)

    def _wake_for_waiting(self, due_s: float) -> None:
        """Run a turn at this time, for windows that wait for a process, although no value comes."""
        rest_s = due_s - self._clock.monotonic_s()
        if self._waking is None and 0 < rest_s < _IDLE_S:
            self._waking = asyncio.get_running_loop().call_later(rest_s, self._wake_due)

    def _wake_due(self) -> None:
        self._waking = None
        self._wake.set()

    def _count_drops(self, runtime: Runtime) -> None:
        for index, n in runtime.intake.drain_dropped().items():
            source = runtime.plant.signals[index].source
            self._metrics.values_dropped.labels(source).inc(n)

    def is_alive(self) -> bool:
        """True if the pipeline runs.

        It runs with values, and without values in a known outage, but not if something blocks it.
        """
        return self._clock.monotonic_s() - self._turned_s < _STALLED_S

    def close(self) -> None:
        """End the model thread."""
        self._model_thread.shutdown(wait=False, cancel_futures=True)


async def within(timeout_s: float, work: Coroutine[object, object, object]) -> None:
    """Wait for `work`, with a time limit."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await work
