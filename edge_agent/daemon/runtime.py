"""The objects of one config: built together, and replaced as one reference."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from edge_agent.config.types import Name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from edge_agent.alarms import AlarmCatalogue, AlarmTable
    from edge_agent.config.schema import Config
    from edge_agent.daemon.model_manager import ModelManager
    from edge_agent.delivery import Memory, Publisher
    from edge_agent.messages import Source
    from edge_agent.pipeline import Pipeline
    from edge_agent.plant import Plant
    from edge_agent.signals import Intake


@dataclass(frozen=True, slots=True)
class Runtime:
    """Everything that belongs to one config. `build` makes it; a reload makes a second one."""

    config: Config
    plant: Plant
    catalogue: AlarmCatalogue
    alarms: AlarmTable
    pipeline: Pipeline
    models: ModelManager
    intake: Intake
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
        await publisher.withdraw(self.alarms.retire(), memory)
        await publisher.save_memory(self.plant)


def labels_of(runtime: Runtime, sinks: Iterable[str]) -> dict[str, set[str]]:
    """By label of the metrics: the names in use. Not `several` and the like."""
    models = {deployment.title for deployment in runtime.pipeline.deployments}
    models |= {str(deployment.model.manifest.name) for deployment in runtime.pipeline.deployments}
    return {
        "asset": set(runtime.plant.assets),
        "source": set(runtime.sources),
        "sink": set(sinks),
        "model": models,
    }
