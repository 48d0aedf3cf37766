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
from edge_agent.alarms import AlarmCatalogue, AlarmTable
from edge_agent.clock import SystemClock
from edge_agent.config.structs import kind_of
from edge_agent.daemon.asset_removal import AssetRemoval
from edge_agent.daemon.baseline_reset import BaselineReset
from edge_agent.daemon.certificates import Certificates
from edge_agent.daemon.commands import Commands
from edge_agent.daemon.error_boundary import ErrorBoundary
from edge_agent.daemon.gateway_clock import GatewayClock
from edge_agent.daemon.health import LogHealth
from edge_agent.daemon.links import Links
from edge_agent.daemon.model_manager import ModelManager
from edge_agent.daemon.node_faults import NodeFaults
from edge_agent.daemon.reconciler import EVERY_S as RECONCILE_EVERY_S
from edge_agent.daemon.reconciler import Reconciler
from edge_agent.daemon.reloader import Reloader
from edge_agent.daemon.resolution import ResolutionWatch
from edge_agent.daemon.rul_store import RulStore
from edge_agent.daemon.status import Status
from edge_agent.daemon.supervisor import Supervisor
from edge_agent.delivery import Publisher
from edge_agent.ops import notify
from edge_agent.ops.http import HttpServer
from edge_agent.ops.metrics import Metrics
from edge_agent.pipeline import Pipeline
from edge_agent.plant import Plant
from edge_agent.signals import Intake
from edge_agent.sources import SOURCES

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable, Sequence
    from pathlib import Path

    from edge_agent.clock import Clock
    from edge_agent.config.schema import Config
    from edge_agent.delivery import Memory
    from edge_agent.messages import Alarm, Source
    from edge_agent.plant import PlantAsset
    from edge_agent.serving import Scored
    from edge_agent.values import Columns, WaveBlock

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
        self.config = config
        self.clock = clock or SystemClock()
        self.metrics = Metrics()
        self.metrics.build_info.labels(__version__).set(1)
        self.started_us = self.clock.now_us()
        self._wake = asyncio.Event()
        self._stop = asyncio.Event()
        self.turning = asyncio.Lock()  # held while the pipeline works, and while it is exchanged
        self.started = False
        self._turned_s = self.clock.monotonic_s()
        self.error_boundary = ErrorBoundary(self.metrics, self.clock)
        self._model_thread = ThreadPoolExecutor(1, thread_name_prefix="models")
        # Not on the same thread: loading takes seconds, in which the models at work go on.
        self.loading_thread = ThreadPoolExecutor(1, thread_name_prefix="loading")
        self.sources: dict[str, Source] = {}
        self.reloader = Reloader(self, path)
        self.reconciler = Reconciler(self)
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
        self.commands = Commands(self)
        self.publisher = Publisher(config, self.metrics, self.clock, self.commands.from_bus)
        self.http = HttpServer(config.http, Status(self), self.metrics)

    async def run(self, *, on_ready: asyncio.Event | None = None) -> None:
        """Start everything, serve until `stop`, then let go of everything in reverse."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        loop.add_signal_handler(signal.SIGHUP, self.reloader.hang_up)
        try:
            async with self.reloader.busy:  # a SIGHUP waits until there is something to exchange
                await self._start()
            notify.ready()
            if on_ready is not None:
                on_ready.set()
            log.info("ready", extra={"version": __version__, "gateway": self.config.gateway.id})
            await self._serve()
        finally:
            notify.stopping()
            await self._shut_down()
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                loop.remove_signal_handler(number)

    def stop(self) -> None:
        """Ask `run` to end; safe from a signal handler and when repeated."""
        self._stop.set()

    # -- start --------------------------------------------------------------------------------

    async def _start(self) -> None:
        restored = await self.publisher.start()
        memory = await self.publisher.recall()
        await self.baseline_reset.recall()
        models = await self.load_models(self.config)
        await self.build_intake(self.config, models, restored, memory)
        await self.lives.recall()
        await self.asset_removal.recall()
        await self.http.start()
        for source in self.sources.values():
            await source.start()
        self.started = True

    async def load_models(self, config: Config) -> ModelManager:
        """The models of a config, none of them at work yet."""
        models = ModelManager(config, self.metrics, self.loading_thread, self.clock)
        models.forgotten = self.baseline_reset.since
        await models.load()
        return models

    async def build_intake(
        self, config: Config, models: ModelManager, alarms: Iterable[Alarm], memory: Memory
    ) -> None:
        """Plant, alarms, pipeline and sources, built together and exchanged together."""
        plant, policies = Plant(config), AlarmCatalogue(config.gateway, config.drift)
        plant.restore(memory.discovered)
        for asset in plant.assets.values():
            policies.add_asset(asset)
        alarms = list(alarms)
        policies.restore(alarms)
        table = self._alarm_table(config, policies, alarms)
        pipeline = Pipeline(config, plant, self.metrics, table, live=True)
        for asset in plant.assets.values():
            pipeline.add_asset(asset, self.clock.now_us(), self.clock.monotonic_s())
        for asset in plant.assets.values():
            models.bind(pipeline, asset)
        pipeline.restored(self.clock.now_us())
        intake = Intake(config.tuning.intake_values, config.tuning.intake_bytes, self._wake.set)
        plant.on_asset(self._discovered)
        sources: dict[str, Source] = {
            name: SOURCES[kind_of(SOURCES, struct)].make(
                name, struct, plant, intake, self.metrics, self.clock, config.gateway
            )
            for name, struct in config.sources.items()
        }
        self.config, self.plant, self.policies, self.alarms = config, plant, policies, table
        self.pipeline, self.models, self.intake, self.sources = pipeline, models, intake, sources
        self.publisher.attach(policies)
        await self.publisher.withdraw(table.retire(), memory)
        await self.publisher.remember(plant)
        self.metrics.assets.set(len(plant.assets))

    def _alarm_table(
        self, config: Config, policies: AlarmCatalogue, alarms: Iterable[Alarm]
    ) -> AlarmTable:
        return AlarmTable(
            policies,
            config.alarms,
            self.clock,
            alarms,
            on_held=lambda asset: self.metrics.alarms_flooded.labels(asset).inc(),
        )

    def _discovered(self, asset: PlantAsset) -> None:
        self.policies.add_asset(asset)
        self.pipeline.add_asset(asset, self.clock.now_us(), self.clock.monotonic_s())
        self.models.bind(self.pipeline, asset)
        self.metrics.assets.set(len(self.plant.assets))
        log.info("asset discovered", extra={"asset": asset.id, "template": asset.template_name})

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
            await _within(self.config.tuning.drain_deadline, self.turning.acquire())
            for task in work:  # none of them is on its way down the path now
                task.cancel()

    async def _walk(self) -> None:
        """The path of a value, again and again: as soon as values come, at the latest each tick."""
        while True:
            async with self.turning:
                await self.turn()
            await asyncio.sleep(self.config.tuning.tick)
            await _within(_IDLE_S, self._wake.wait())

    async def turn(self) -> None:
        """All that waits, down the path; what cannot be digested is lost, and only that."""
        self._wake.clear()
        values, blocks = self.intake.drain()
        self._count_drops()
        arrived_us = self.clock.now_us()
        # A server that was held up sends node by node: cut like that, the last would be late.
        for chunk in values.sorted_by_time().chunks(_CHUNK):
            work = self._walk_down(chunk, blocks, arrived_us)
            if await self.error_boundary.guard("pipeline", work):
                self._turned_s = self.clock.monotonic_s()
            blocks = []

    async def _walk_down(
        self, values: Columns, blocks: Sequence[WaveBlock], arrived_us: int
    ) -> None:
        pipeline, monotonic_s = self.pipeline, self.clock.monotonic_s()
        due = pipeline.take(values, blocks, now_us=arrived_us, monotonic_s=monotonic_s)
        self.links.look()
        scored: Sequence[Scored] = ()
        if due:
            loop = asyncio.get_running_loop()
            scored = await loop.run_in_executor(self._model_thread, pipeline.infer, due)
        step = pipeline.conclude(scored)
        if step.transitions:  # an alarm of an asset that a restart would not know is lost by it
            await self.publisher.remember(self.plant)
        await self.publisher.send(step.transitions, arrived_us)
        self.publisher.send_scores(step.scores)
        if pipeline.shadows.running:  # after all that matters
            shadow = partial(pipeline.shadow, busy=self.intake.backpressured())
            await asyncio.get_running_loop().run_in_executor(self._model_thread, shadow)

    def _count_drops(self) -> None:
        for index, n in self.intake.take_stats().dropped.items():
            source = self.plant.signals[index].source
            self.metrics.values_dropped.labels(source).inc(n)

    async def _learn(self) -> None:
        probed_s = looked_s = -_PROBE_EVERY_S
        while True:
            await asyncio.sleep(_LEARN_EVERY_S)
            pipeline = self.pipeline
            if self.clock.monotonic_s() - looked_s >= _LOOK_EVERY_S:
                looked_s = self.clock.monotonic_s()
                pipeline.look_at_learning()
                self.resolution.look(pipeline)
            if pipeline.learning and self.clock.monotonic_s() - probed_s > _PROBE_EVERY_S:
                probed_s = self.clock.monotonic_s()
                await self.error_boundary.guard("learn", self.models.probe_disk())
            await self.error_boundary.guard("learn", self.models.learn_what_is_ready(pipeline))
            if pipeline is not self.pipeline:  # exchanged meanwhile: what was learned is on disk
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

    async def _shut_down(self) -> None:
        deadline_s = self.config.tuning.drain_deadline
        await self.reloader.stop()
        for source in reversed(list(self.sources.values())):
            await self.error_boundary.guard("stop", source.stop())
        if self.started:
            await _within(deadline_s, self.turn())
            await self.error_boundary.guard("stop", self.publisher.remember(self.plant))
            await self.error_boundary.guard("stop", self.asset_removal.keep())
            await self.error_boundary.guard("stop", self.lives.keep(at_once=True))
        await self.error_boundary.guard("stop", self.http.stop())
        await self.publisher.stop(deadline_s)
        if self.started:
            self.models.close()
        self._model_thread.shutdown(wait=False, cancel_futures=True)
        self.loading_thread.shutdown(wait=False, cancel_futures=True)


async def _within(timeout_s: float, work: Coroutine[object, object, object]) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await work
