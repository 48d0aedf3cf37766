"""Start, run, reload and stop of the whole service, in the order of the house.

Start: store -> sinks -> models -> sources; stop in reverse. Outside trouble (broker, server, disk)
never ends the service: it is retried, shown as a metric and, where it lasts, as an alarm.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Final

from edge_agent import __version__
from edge_agent.clock import SystemClock
from edge_agent.daemon.asset_removal import AssetRemoval
from edge_agent.daemon.baseline_reset import BaselineReset
from edge_agent.daemon.build import RuntimeBuilder
from edge_agent.daemon.certificates import Certificates
from edge_agent.daemon.commands import Commands
from edge_agent.daemon.error_boundary import ErrorBoundary
from edge_agent.daemon.gateway_clock import GatewayClock
from edge_agent.daemon.health import LogHealth
from edge_agent.daemon.links import Links
from edge_agent.daemon.node_faults import NodeFaults
from edge_agent.daemon.reloader import Reloader
from edge_agent.daemon.resolution import ResolutionWatch
from edge_agent.daemon.rul_store import RulStore
from edge_agent.daemon.status import Status
from edge_agent.daemon.supervisor import Supervisor
from edge_agent.delivery import Publisher
from edge_agent.ops import notify
from edge_agent.ops.http import HttpServer
from edge_agent.ops.metrics import Metrics
from edge_agent.service import status_routes
from edge_agent.serving import RECONCILE_EVERY_S, Reconciler
from edge_agent.transport import FollowerPace

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence
    from pathlib import Path

    from edge_agent.clock import Clock
    from edge_agent.config.schema import Config
    from edge_agent.daemon.runtime import Runtime
    from edge_agent.delivery import Memory
    from edge_agent.messages import Alarm
    from edge_agent.serving import Scored
    from edge_agent.values import Columns, TensorBlock

log = logging.getLogger("edge_agent.daemon")

_IDLE_S: Final = 0.25  # the pipeline turns over so often when nothing comes
_CHUNK: Final = 16_384  # values in one walk down the path: bounds its memory
_STALLED_S: Final = 30.0  # a pipeline that stands still for so long is not alive
_LEARN_EVERY_S: Final = 1.0
_LOOK_EVERY_S: Final = 5.0
_PROBE_EVERY_S: Final = 60.0


class Daemon:
    """The service; `run` returns when it was told to stop."""

    def __init__(
        self, config: Config, *, path: Path | None = None, clock: Clock | None = None
    ) -> None:
        self._config = config  # to start with
        self._runtime: Runtime | None = None
        self.clock = clock or SystemClock()
        self.metrics = Metrics()
        self.metrics.build_info.labels(__version__).set(1)
        self.started_us = self.clock.now_us()
        self._wake = asyncio.Event()
        self._stop = asyncio.Event()
        self.turning = asyncio.Lock()  # held while the pipeline works, and while it is exchanged
        self.is_ready = False
        self._turned_s = self.clock.monotonic_s()
        self.error_boundary = ErrorBoundary(self.metrics, self.clock)
        self._model_thread = ThreadPoolExecutor(1, thread_name_prefix="models")
        # Not on the same thread: loading takes seconds, in which the models at work go on.
        self.loading_thread = ThreadPoolExecutor(1, thread_name_prefix="loading")
        self.reloader = Reloader(self, path)
        self.reconciler = Reconciler(
            lambda: self.runtime.models, self.turning, self.metrics, self.clock
        )
        self.log_health = LogHealth(self.metrics, self.clock)
        self.gateway_clock = GatewayClock(self.clock)
        self.links = Links(self)
        self.asset_removal = AssetRemoval(self)
        self.nodes = NodeFaults(self)
        self.certificates = Certificates(self)
        self.supervisor = Supervisor(self)
        self.resolution = ResolutionWatch()
        self.lives = RulStore(self)
        self.baseline_reset = BaselineReset(self)
        self.builder = RuntimeBuilder(
            self.metrics,
            self.clock,
            self.loading_thread,
            self.baseline_reset.since,
            self._wake.set,
        )
        self.commands = Commands(self)
        self.publisher = Publisher(config, self.metrics, self.clock, self.commands.from_bus)
        self.status = Status(self)
        self.http = HttpServer(config.http, status_routes(self.status, self.metrics))

    async def run(self, *, on_ready: asyncio.Event | None = None) -> None:
        """Start everything, serve until `stop`, then let go of everything in reverse."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        loop.add_signal_handler(signal.SIGHUP, self.reloader.hang_up)
        try:
            async with self.reloader.busy:  # a SIGHUP waits until there is something to exchange
                await self.startup()
            notify.ready()
            if on_ready is not None:
                on_ready.set()
            log.info(
                "ready", extra={"version": __version__, "gateway": self.runtime.config.gateway.id}
            )
            await self._serve()
        finally:
            notify.stopping()
            await self.shutdown()
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                loop.remove_signal_handler(number)

    def stop(self) -> None:
        """Ask `run` to end; safe from a signal handler and when repeated."""
        self._stop.set()

    # -- start --------------------------------------------------------------------------------

    async def startup(self) -> None:
        """Store, sinks, models and sources, in this order; nothing waits for the other side."""
        restored = await self.publisher.start()
        memory = await self.publisher.load_memory()
        await self.baseline_reset.recall()
        await self.asset_removal.recall()
        models = await self.builder.load_models(self._config)
        await self.replace_runtime(
            self.builder.build(self._config, models, restored, memory), memory
        )
        await self.lives.recall()
        await self.http.start()
        for source in self.runtime.sources.values():
            await source.start()
        self.is_ready = True

    @property
    def runtime(self) -> Runtime:
        """What the config in force made."""
        if self._runtime is None:
            raise RuntimeError("the daemon has not started")
        return self._runtime

    async def replace_runtime(self, runtime: Runtime, memory: Memory) -> None:
        """Let another runtime serve; memory: of the plant before it, whose alarms may have to go.

        Call it while nothing else walks down the pipeline.
        """
        self._runtime = runtime
        self.publisher.set_catalogue(runtime.catalogue)
        await self.publisher.withdraw(runtime.alarms.retire(), memory)
        await self.publisher.save_memory(runtime.plant)
        self.metrics.assets.set(len(runtime.plant.assets))

    def adopt_rules(self, config: Config) -> None:
        """Let new alarm rules hold; all else is as it was."""
        self._runtime = self.runtime.with_rules(config)

    # -- serve --------------------------------------------------------------------------------

    async def _serve(self) -> None:
        async with asyncio.TaskGroup() as group:
            work = [
                group.create_task(self._walk(), name="pipeline"),
                group.create_task(self.supervisor.watch(), name="watch"),
                group.create_task(self._learn(), name="learn"),
                group.create_task(self._tend(), name="upkeep"),
                group.create_task(self.certificates.watch(), name="certificates"),
            ]
            await self._stop.wait()
            await _within(self.runtime.config.tuning.drain_deadline, self.turning.acquire())
            for task in work:  # none of them is on its way down the path now
                task.cancel()

    async def _walk(self) -> None:
        """The path of a value, again and again: as soon as values come, by batches under load."""
        loop, pace = asyncio.get_running_loop(), FollowerPace()
        while True:
            async with self.turning:
                await self.turn()
            rested_s = loop.time() + pace.rest_s(self.runtime.config.tuning.tick)
            await _within(_IDLE_S, self._wake.wait())
            await asyncio.sleep(max(0.0, rested_s - loop.time()))

    async def turn(self) -> None:
        """All that waits, down the path; what cannot be digested is lost, and only that."""
        self._wake.clear()
        values, blocks = self.runtime.intake.drain()
        self._count_drops()
        arrived_us = self.clock.now_us()
        # A server that was held up sends node by node: cut like that, the last would be late.
        for chunk in values.sorted_by_time().chunks(_CHUNK):
            work = self._walk_down(chunk, blocks, arrived_us)
            if await self.error_boundary.guard("pipeline", work):
                self._turned_s = self.clock.monotonic_s()
            blocks = []

    async def _walk_down(
        self, values: Columns, blocks: Sequence[TensorBlock], arrived_us: int
    ) -> None:
        pipeline, monotonic_s = self.runtime.pipeline, self.clock.monotonic_s()
        due = pipeline.close_windows(values, blocks, now_us=arrived_us, monotonic_s=monotonic_s)
        self.links.look()
        scored: Sequence[Scored] = ()
        if due:
            loop = asyncio.get_running_loop()
            scored = await loop.run_in_executor(self._model_thread, pipeline.score_windows, due)
        step = pipeline.update_alarms(scored)
        if step.transitions:  # an alarm of an asset that a restart would not know is lost by it
            await self.publisher.save_memory(self.runtime.plant)
        await self.publisher.send(step.transitions, arrived_us)
        self.publisher.send_scores(step.scores)
        if pipeline.deployments.has_shadows():  # after all that matters
            shadow = partial(pipeline.run_shadows, busy=self.runtime.intake.backpressured())
            await asyncio.get_running_loop().run_in_executor(self._model_thread, shadow)

    def _count_drops(self) -> None:
        for index, n in self.runtime.intake.take_stats().dropped.items():
            source = self.runtime.plant.signals[index].source
            self.metrics.values_dropped.labels(source).inc(n)

    async def _learn(self) -> None:
        probed_s = looked_s = -_PROBE_EVERY_S
        while True:
            await asyncio.sleep(_LEARN_EVERY_S)
            pipeline = self.runtime.pipeline
            if self.clock.monotonic_s() - looked_s >= _LOOK_EVERY_S:
                looked_s = self.clock.monotonic_s()
                pipeline.learning.check_inputs()
                self.resolution.look(pipeline)
            if pipeline.learning and self.clock.monotonic_s() - probed_s > _PROBE_EVERY_S:
                probed_s = self.clock.monotonic_s()
                await self.error_boundary.guard("learn", self.runtime.models.probe_disk())
            await self.error_boundary.guard("learn", self.runtime.models.learn_what_is_ready())
            if (
                pipeline is not self.runtime.pipeline
            ):  # exchanged meanwhile: what was learned is on disk
                await self.error_boundary.guard("learn", self.reconciler.refresh())

    async def _tend(self) -> None:
        while True:
            await asyncio.sleep(RECONCILE_EVERY_S)
            await self.error_boundary.guard("upkeep", self.reconciler.reconcile())
            await self.error_boundary.guard("forget", self.asset_removal.look())

    def alive(self) -> bool:
        """Whether the pipeline turns over.

        It does so with values, and without them through a known outage, but not when something
        holds it.
        """
        return self.clock.monotonic_s() - self._turned_s < _STALLED_S

    def troubles(self) -> list[str]:
        """What keeps the service from doing all it should."""
        return self.supervisor.troubles()

    async def reload(self) -> None:
        """Read the config again; a bad one changes nothing."""
        await self.reloader.reload()

    async def command(
        self, kind: str, alarm_id: str, actor: str, duration_s: float | None = None
    ) -> Alarm:
        """Acknowledge, shelve, ... an alarm; EdgeAgentError where it does not fit."""
        return await self.commands.one(kind, alarm_id, actor, duration_s)

    # -- stop ---------------------------------------------------------------------------------

    async def shutdown(self) -> None:
        """Stop the sources, drain the pipeline and the outbox, close; safe after a failed start."""
        self.is_ready = False
        deadline_s, guard = self._config.tuning.drain_deadline, self.error_boundary.guard
        await self.reloader.stop()
        runtime = self._runtime
        if runtime is not None:
            for source in reversed(list(runtime.sources.values())):
                await guard("stop", source.stop())
            await _within(deadline_s, self.turn())
            await guard("stop", self.publisher.save_memory(runtime.plant))
            await guard("stop", self.asset_removal.keep())
            await guard("stop", self.lives.keep(at_once=True))
        await guard("stop", self.http.stop())
        await self.publisher.stop(deadline_s)
        if runtime is not None:
            runtime.models.close()
        self._model_thread.shutdown(wait=False, cancel_futures=True)
        self.loading_thread.shutdown(wait=False, cancel_futures=True)


async def _within(timeout_s: float, work: Coroutine[object, object, object]) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await work
