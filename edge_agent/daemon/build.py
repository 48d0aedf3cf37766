"""Composition: what a config makes is made here, in one go."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_agent.alarms import AlarmCatalogue, AlarmTable
from edge_agent.config.structs import kind_of
from edge_agent.daemon.model_manager import ModelManager
from edge_agent.daemon.runtime import Runtime
from edge_agent.pipeline import Pipeline
from edge_agent.plant import Plant
from edge_agent.signals import Intake
from edge_agent.sources import SOURCES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from concurrent.futures import ThreadPoolExecutor

    from edge_agent.clock import Clock
    from edge_agent.config.schema import Config
    from edge_agent.delivery import Memory
    from edge_agent.messages import Alarm, Source
    from edge_agent.ops.metrics import Metrics
    from edge_agent.plant import PlantAsset

log = logging.getLogger("edge_agent.daemon")


@dataclass(frozen=True, slots=True)
class RuntimeBuilder:
    """Makes a `Runtime` from a config and from what outlives it.

    loading: the thread on which models are loaded; forgotten: by asset, before when what was
    learned is void (us); wake: called when values come into an intake that was empty.
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

        alarms, memory: as the runtime before, or the last run of the service, left them.
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

    def _alarm_table(
        self, config: Config, catalogue: AlarmCatalogue, alarms: list[Alarm]
    ) -> AlarmTable:
        flooded = self.metrics.alarms_flooded
        return AlarmTable(
            catalogue,
            config.alarms,
            self.clock,
            alarms,
            on_held=lambda asset: flooded.labels(asset).inc(),
        )

    def _add_assets(
        self, plant: Plant, catalogue: AlarmCatalogue, pipeline: Pipeline, models: ModelManager
    ) -> None:
        """Give their signals and models to all assets, those too that announce themselves later."""
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
