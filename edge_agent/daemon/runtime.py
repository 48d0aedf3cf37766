"""The objects of one config: built together, and replaced as one reference.

`monitor_plant` is shared by the daemon, by `replay` and by `learn`; `RuntimeBuilder` by the daemon
and by `replay`. So a recording passes through what the daemon runs.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from edge_agent.alarms import AlarmCatalogue, AlarmTable
from edge_agent.config.schema import Shard
from edge_agent.config.structs import kind_of
from edge_agent.config.types import Name
from edge_agent.daemon.model_manager import ModelManager
from edge_agent.models import RemoteAccess, SessionRegistry, VerifiedBundles
from edge_agent.pipeline import Pipeline
from edge_agent.plant import Plant
from edge_agent.signals import INPUT_KINDS
from edge_agent.sources import SOURCES
from edge_agent.values import BoundedIntake

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from concurrent.futures import ThreadPoolExecutor

    from edge_agent.clock import Clock
    from edge_agent.config.schema import Config
    from edge_agent.delivery import Memory, Publisher
    from edge_agent.messages import Alarm, Source
    from edge_agent.models import Isolation
    from edge_agent.models.runtime.picture_engine import PictureEngines
    from edge_agent.ops.metrics import Metrics
    from edge_agent.pipeline import PictureWatch
    from edge_agent.plant import PlantAsset
    from edge_agent.serving import ModelChange
    from edge_agent.signals import EncodedPicture, InputKind

log = logging.getLogger("edge_agent.daemon")


@dataclass(frozen=True, slots=True)
class Runtime:
    """Everything that belongs to one config. `build` makes it; a reload makes a second one."""

    config: Config
    plant: Plant
    catalogue: AlarmCatalogue
    alarms: AlarmTable
    pipeline: Pipeline
    models: ModelManager
    intake: BoundedIntake
    sources: Mapping[str, Source]

    def with_rules(self, config: Config) -> Runtime:
        """This runtime with the alarm rules of `config`; windows, timers and connections stay."""
        self.plant.adopt(config)
        for asset in self.plant.assets.values():
            asset.template = config.templates[Name(asset.template_name)]
            self.catalogue.add_asset(asset)
        self.pipeline.adopt_rules(config)
        return replace(self, config=config)

    async def attach_to(self, publisher: Publisher, memory: Memory) -> None:
        """Use the alarm places of this runtime; alarms of removed assets are cleared.

        memory: of the plant before this one.
        """
        publisher.set_catalogue(self.catalogue)
        await publisher.withdraw(self.alarms.retire(), memory.beside(self.plant))
        await publisher.save_memory(self.plant)


@dataclass(frozen=True, slots=True)
class RuntimeBuilder:
    """Makes a `Runtime` from a config and from the parts that outlive it.

    loading: the thread on which models are loaded; forgotten: by asset, the time (us) before
    which baselines are void; wake: called when values arrive in an empty intake; on_model_change:
    called when another version of a model is active; last_number: as in `AlarmTable`; live: False
    for a recording, which has no sources to start; isolation: of models that are not proven;
    verified: bundles that need not be tried again. engines: of models of pictures; pictures: what
    knows these; accept_picture: takes those of the cameras. remote: False if all models run here,
    also those that have servers.
    """

    metrics: Metrics
    clock: Clock
    loading: ThreadPoolExecutor
    forgotten: dict[str, int]
    wake: Callable[[], None]
    on_model_change: Callable[[ModelChange], None] = lambda _: None
    last_number: Callable[[str], int] = lambda _: 0
    live: bool = True
    isolation: Isolation | None = None
    verified: VerifiedBundles = field(default_factory=VerifiedBundles)
    remote: bool = True
    engines: PictureEngines | None = None
    pictures: PictureWatch | None = None
    accept_picture: Callable[[EncodedPicture], None] | None = None

    async def load_models(
        self, config: Config, within_s: float = math.inf, asset: str = ""
    ) -> ModelManager:
        """The models of a config, loaded and not yet bound to assets; takes seconds.

        within_s: as in `ModelManager.load`. asset: as in `ModelManager`.
        """
        registry = SessionRegistry(
            config.models_dir,
            config.runtime,
            self.metrics,
            config.trust,
            isolation=self.isolation,
            verified=self.verified,
            remote=RemoteAccess(tuple(config.remote.values()), not self.live)
            if self.remote
            else None,
            pictures=self.engines,
        )
        models = ModelManager(config, registry, self.loading, self.clock, asset)
        await models.load(within_s)
        return models

    def build(
        self,
        config: Config,
        models: ModelManager,
        alarms: Iterable[Alarm] = (),
        memory: Memory | None = None,
    ) -> Runtime:
        """The runtime of a config with its sources not yet started.

        alarms, memory: from the previous runtime, or the last run of the service.
        """
        made = monitor_plant(
            config,
            self.metrics,
            self.clock,
            live=self.live,
            alarms=alarms,
            memory=memory,
            last_number=self.last_number,
        )
        made.pipeline.pictures = self.pictures
        made.pipeline.deployments.on_change = self.on_model_change
        made.pipeline.deployments.baselines.void_us = self.forgotten
        models.attach(made.pipeline)
        made.add_assets(models.bind)
        made.pipeline.follow_alarms(self.clock.now_us())
        intake = make_intake(config, self.wake)
        connected = config if self.live else replace(config, sources={})
        sources = make_sources(connected, made.plant, intake, self.metrics, self.clock)
        if self.live and self.accept_picture is not None and config.cameras:
            sources |= self._cameras(config, sources, made.plant, intake)
        return Runtime(
            config, made.plant, made.catalogue, made.alarms, made.pipeline, models, intake, sources
        )

    def _cameras(
        self, config: Config, sources: Mapping[str, Source], plant: Plant, intake: BoundedIntake
    ) -> dict[str, Source]:
        """The cameras of a config; a gateway without them does not import their modules."""
        from edge_agent.sources import pictures  # noqa: PLC0415

        assert self.accept_picture is not None  # noqa: S101 (see above)
        return pictures.make_cameras(
            config, sources, plant, intake, self.metrics, self.clock, self.accept_picture
        )

    def close(self) -> None:
        """End the loading thread and the processes of models."""
        self.loading.shutdown(wait=False, cancel_futures=True)
        if self.isolation is not None:
            self.isolation.close()


@dataclass(frozen=True, slots=True)
class MonitoredPlant:
    """A plant with its alarms and its pipeline; `add_assets` completes it."""

    plant: Plant
    catalogue: AlarmCatalogue
    alarms: AlarmTable
    pipeline: Pipeline
    metrics: Metrics
    clock: Clock

    def add_assets(self, bind: Callable[[PlantAsset], None]) -> None:
        """Add all assets to the pipeline, also those that are discovered later.

        bind: assigns its models to an asset.
        """
        for asset in self.plant.assets.values():
            self._add_signals(asset)
        for asset in self.plant.assets.values():
            bind(asset)

        def discovered(asset: PlantAsset) -> None:
            self.catalogue.add_asset(asset)
            self._add_signals(asset)
            bind(asset)
            self.metrics.assets.set(len(self.plant.assets))
            log.info("asset discovered", extra={"asset": asset.id, "template": asset.template_name})

        self.plant.on_asset(discovered)

    def _add_signals(self, asset: PlantAsset) -> None:
        self.pipeline.add_asset(asset, self.clock.now_us(), self.clock.monotonic_s())


def monitor_plant(  # noqa: PLR0913 (what differs between a daemon, a replay and a training)
    config: Config,
    metrics: Metrics,
    clock: Clock,
    *,
    live: bool,
    alarms: Iterable[Alarm] = (),
    memory: Memory | None = None,
    input_kinds: Mapping[str, InputKind] = INPUT_KINDS,
    last_number: Callable[[str], int] = lambda _: 0,
) -> MonitoredPlant:
    """The plant of a config, its alarms and its pipeline; the assets are not yet in the pipeline.

    alarms, memory: what is known of the plant from before. live: as in `Pipeline`. last_number: as
    in `AlarmTable`.
    """
    # A recording is judged on any gateway, whosever shard its machines are.
    plant = Plant(config if live else replace(config, shard=Shard()))
    if memory is not None:
        plant.restore(memory.discovered)
    catalogue = _catalogue_of(config, plant)
    restored = list(alarms)
    catalogue.restore(restored)
    flooded = metrics.alarms_flooded
    table = AlarmTable(
        catalogue.policy_of,
        config.alarms,
        clock,
        restored,
        on_held=lambda asset: flooded.labels(asset).inc(),
        last_number=last_number,
    )
    pipeline = Pipeline(config, plant, metrics, table, live=live, input_kinds=input_kinds)
    return MonitoredPlant(plant, catalogue, table, pipeline, metrics, clock)


def _catalogue_of(config: Config, plant: Plant) -> AlarmCatalogue:
    cycles = config.watched_cycles
    catalogue = AlarmCatalogue(config.gateway, config.drift, config.control_charts, cycles)
    for asset in plant.assets.values():
        catalogue.add_asset(asset)
    return catalogue


def make_intake(config: Config, wake: Callable[[], None]) -> BoundedIntake:
    """The intake of a config; wake: called when values arrive and it is empty."""
    if any(one.http and one.http.trigger for one in config.cameras.values()):
        from edge_agent.sources.pictures import TriggeredIntake  # noqa: PLC0415 (few have one)

        return TriggeredIntake(config.tuning.intake_values, config.tuning.intake_bytes, wake)
    return BoundedIntake(config.tuning.intake_values, config.tuning.intake_bytes, wake)


def make_sources(
    config: Config, plant: Plant, intake: BoundedIntake, metrics: Metrics, clock: Clock
) -> dict[str, Source]:
    """The sources of a config by their name, not started."""
    return {
        name: SOURCES[kind_of(SOURCES, struct)].make(
            name, struct, plant, intake, metrics, clock, config.gateway
        )
        for name, struct in config.sources.items()
    }


def labels_of(runtime: Runtime, sinks: Iterable[str]) -> dict[str, set[str]]:
    """By label of the metrics: the names in use. Not `several` and the like."""
    models = {deployment.title for deployment in runtime.pipeline.deployments}
    models |= {str(deployment.model.manifest.name) for deployment in runtime.pipeline.deployments}
    return {
        "asset": set(runtime.plant.assets),
        "source": set(runtime.sources),
        "sink": set(sinks),
        "model": models,
        "chart": {str(name) for name in runtime.config.control_charts},
    }
