"""Composition: all parts of the daemon are made here, and nowhere else.

`RuntimeBuilder` makes the parts of one config, `build_parts` those that outlive every config.
"""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from edge_agent import __version__
from edge_agent.alarms import AlarmCatalogue, AlarmTable
from edge_agent.config.structs import kind_of
from edge_agent.daemon.asset_lives import BaselineReset, RulStore
from edge_agent.daemon.asset_removal import AssetRemoval
from edge_agent.daemon.certificates import Certificates
from edge_agent.daemon.commands import Commands
from edge_agent.daemon.error_boundary import ErrorBoundary
from edge_agent.daemon.learning_upkeep import LearningUpkeep, ResolutionWatch, learning_faults
from edge_agent.daemon.links import Links
from edge_agent.daemon.model_manager import ModelManager
from edge_agent.daemon.pipeline_loop import PipelineLoop
from edge_agent.daemon.reloader import Reloader, RuntimeReplacer
from edge_agent.daemon.runtime import Runtime
from edge_agent.daemon.saved_values import SavedValues
from edge_agent.daemon.service_faults import (
    GatewayClock,
    LogHealth,
    NodeFaults,
    discovery_faults,
)
from edge_agent.daemon.status import Lifecycle, Status
from edge_agent.daemon.supervisor import Supervisor
from edge_agent.delivery import Publisher
from edge_agent.ops.http import HttpServer
from edge_agent.ops.metrics import Metrics
from edge_agent.pipeline import Pipeline
from edge_agent.plant import Plant
from edge_agent.service import status_routes
from edge_agent.serving import Reconciler
from edge_agent.signals import Intake
from edge_agent.sources import SOURCES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from edge_agent.clock import Clock
    from edge_agent.config.schema import Config
    from edge_agent.daemon.status import AssetCommand
    from edge_agent.delivery import Memory
    from edge_agent.messages import Alarm, Fault, Source
    from edge_agent.plant import PlantAsset

log = logging.getLogger("edge_agent.daemon")


@dataclass(frozen=True, slots=True)
class RuntimeBuilder:
    """Makes a `Runtime` from a config and from the parts that outlive it.

    loading: the thread on which models are loaded; forgotten: by asset, the time (us) before
    which baselines are void; wake: called when values arrive in an empty intake.
    """

    metrics: Metrics
    clock: Clock
    loading: ThreadPoolExecutor
    forgotten: dict[str, int]
    wake: Callable[[], None]

    async def load_models(self, config: Config) -> ModelManager:
        """The models of a config, loaded and not yet bound to assets; takes seconds."""
        models = ModelManager(config, self.metrics, self.loading, self.clock)
        models.forgotten = self.forgotten
        await models.load()
        return models

    def build(
        self, config: Config, models: ModelManager, alarms: Iterable[Alarm], memory: Memory
    ) -> Runtime:
        """The runtime of a config with its sources not yet started.

        alarms, memory: from the previous runtime, or the last run of the service.
        """
        alarms = list(alarms)
        plant = Plant(config)
        plant.restore(memory.discovered)
        catalogue = _catalogue(config, plant, alarms)
        table = self._alarm_table(config, catalogue, alarms)
        pipeline = Pipeline(config, plant, self.metrics, table, live=True)
        intake = Intake(config.tuning.intake_values, config.tuning.intake_bytes, self.wake)
        self._add_assets(plant, catalogue, pipeline, models)
        sources = self._sources(config, plant, intake)
        return Runtime(config, plant, catalogue, table, pipeline, models, intake, sources)

    def close(self) -> None:
        """End the loading thread."""
        self.loading.shutdown(wait=False, cancel_futures=True)

    def _alarm_table(
        self, config: Config, catalogue: AlarmCatalogue, alarms: list[Alarm]
    ) -> AlarmTable:
        flooded = self.metrics.alarms_flooded
        return AlarmTable(
            catalogue.policy_of,
            config.alarms,
            self.clock,
            alarms,
            on_held=lambda asset: flooded.labels(asset).inc(),
        )

    def _add_assets(
        self, plant: Plant, catalogue: AlarmCatalogue, pipeline: Pipeline, models: ModelManager
    ) -> None:
        """Add signals and models of all assets, also of those that are discovered later."""
        clock = self.clock
        for asset in plant.assets.values():
            pipeline.add_asset(asset, clock.now_us(), clock.monotonic_s())
        models.attach(pipeline)
        for asset in plant.assets.values():
            models.bind(asset)
        pipeline.follow_alarms(clock.now_us())

        def discovered(asset: PlantAsset) -> None:
            catalogue.add_asset(asset)
            pipeline.add_asset(asset, clock.now_us(), clock.monotonic_s())
            models.bind(asset)
            self.metrics.assets.set(len(plant.assets))
            log.info("asset discovered", extra={"asset": asset.id, "template": asset.template_name})

        plant.on_asset(discovered)

    def _sources(self, config: Config, plant: Plant, intake: Intake) -> dict[str, Source]:
        return {
            name: SOURCES[kind_of(SOURCES, struct)].make(
                name, struct, plant, intake, self.metrics, self.clock, config.gateway
            )
            for name, struct in config.sources.items()
        }


def _catalogue(config: Config, plant: Plant, alarms: list[Alarm]) -> AlarmCatalogue:
    catalogue = AlarmCatalogue(config.gateway, config.drift)
    for asset in plant.assets.values():
        catalogue.add_asset(asset)
    catalogue.restore(alarms)
    return catalogue


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts that live as long as the process, for every config."""

    clock: Clock
    metrics: Metrics
    boundary: ErrorBoundary
    publisher: Publisher
    loop: PipelineLoop
    builder: RuntimeBuilder
    commands: Commands
    baseline_reset: BaselineReset
    removal: AssetRemoval
    lives: RulStore
    learning: LearningUpkeep
    reconciler: Reconciler
    certificates: Certificates
    replacer: RuntimeReplacer
    reloader: Reloader
    supervisor: Supervisor
    status: Status
    http: HttpServer


def build_parts(  # noqa: PLR0913, PLR0917 (the ends by which a daemon holds its parts)
    config: Config,
    path: Path | None,
    clock: Clock,
    runtime: Callable[[], Runtime],
    replace: Callable[[Runtime], None],
    is_ready: Callable[[], bool],
) -> Parts:
    """Everything but the runtime, which `runtime` returns and `replace` exchanges.

    path: of the config, to read it again; is_ready: true once everything is started.
    """
    metrics = Metrics()
    metrics.build_info.labels(__version__).set(1)
    boundary = ErrorBoundary(metrics, clock)
    publisher = Publisher(config, metrics, clock, lambda command: commands.from_bus(command))  # noqa: PLW0108 (made below)
    commands = Commands(runtime, publisher, metrics, clock)
    links = Links(runtime, publisher.sinks, clock)
    loop = PipelineLoop(publisher, links.follow_links, boundary, metrics, clock)
    values = SavedValues(publisher.store, publisher.health.note_trouble, publisher.audit)
    lives = RulStore(runtime, loop.turning, values, clock)
    reset = BaselineReset(runtime, loop.turning, values, publisher.withdraw, clock)
    # Not the model thread: loading takes seconds, and the models in service continue meanwhile.
    loading = ThreadPoolExecutor(1, thread_name_prefix="loading")
    builder = RuntimeBuilder(metrics, clock, loading, reset.since, loop.wake)
    reconciler = Reconciler(lambda: runtime().models, loop.turning, metrics, clock)
    resolution = ResolutionWatch()
    learning = LearningUpkeep(runtime, resolution, reconciler.refresh, clock)
    replacer = RuntimeReplacer(
        runtime,
        replace,
        builder.load_models,
        builder.build,
        loop,
        publisher,
        reconciler.refresh,
        metrics,
    )
    reloader = Reloader(path, replacer, boundary, metrics, publisher.audit)
    removal = AssetRemoval(runtime, replacer.leave_out, reset.since, values, clock)
    certificates = Certificates(lambda: runtime().config, metrics, clock)
    find_faults = (
        links.faults,
        NodeFaults(runtime, clock).faults,
        certificates.faults,
        publisher.health.faults,
        LogHealth(metrics, clock).faults,
        reloader.faults,
        *_faults_of_runtime(runtime, clock),
    )
    periodic_work = (lives.save, reset.withdraw_outdated)
    supervisor = Supervisor(runtime, publisher, links, find_faults, periodic_work, clock)
    status = Status(
        runtime,
        Lifecycle(clock.now_us(), loop.is_alive, is_ready, supervisor.troubles),
        publisher,
        commands,
        _asset_commands(reset, removal, lives),
        resolution.notes,
        links.reason,
        metrics,
        clock,
    )
    return Parts(
        clock=clock,
        metrics=metrics,
        boundary=boundary,
        publisher=publisher,
        loop=loop,
        builder=builder,
        commands=commands,
        baseline_reset=reset,
        removal=removal,
        lives=lives,
        learning=learning,
        reconciler=reconciler,
        certificates=certificates,
        replacer=replacer,
        reloader=reloader,
        supervisor=supervisor,
        status=status,
        http=HttpServer(config.http, status_routes(status, metrics)),
    )


def _faults_of_runtime(
    runtime: Callable[[], Runtime], clock: Clock
) -> list[Callable[[], list[Fault]]]:
    """Faults of clocks, models, learning and discovery, for the present runtime."""
    gateway_clock = GatewayClock(clock)
    return [
        lambda: gateway_clock.faults(
            {name: source.link for name, source in runtime().sources.items()},
            runtime().config.tuning.max_future,
        ),
        lambda: runtime().pipeline.deployments.faults(clock.now_us()),
        lambda: learning_faults(runtime(), clock.monotonic_s()),
        lambda: discovery_faults(runtime().plant),
    ]


def _asset_commands(
    reset: BaselineReset, removal: AssetRemoval, lives: RulStore
) -> dict[str, AssetCommand]:
    """The commands on an asset, by their name in the API."""
    return {
        "learn": lambda asset, actor, _: reset.forget_baseline(asset, actor),
        "forget": lambda asset, actor, _: removal.remove_by_hand(asset, actor),
        "failed": partial(lives.end_life, failed=True),
        "overhauled": partial(lives.end_life, failed=False),
    }
