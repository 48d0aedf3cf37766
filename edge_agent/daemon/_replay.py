"""The same pipeline over recorded data: no network, no store, the recording's own time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from edge_agent.alarms import AlarmTable, load_texts
from edge_agent.clock import FakeClock
from edge_agent.config import Plant
from edge_agent.daemon._models import Models
from edge_agent.ops.metrics import Metrics
from edge_agent.pipeline import Pipeline, Policies

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from edge_agent.config import Config
    from edge_agent.config.plant import PlantAsset
    from edge_agent.pipeline import Step
    from edge_agent.records import Columns


class Replay:
    """A plant, its models and alarms, ready to walk through recordings.

    A recording has no gateway clock: shelving does not end in it, and nothing is too far ahead.
    """

    def __init__(self, config: Config, metrics: Metrics | None = None) -> None:
        self.config = config
        self.plant = Plant(config)
        self.metrics = metrics or Metrics()
        self.policies = Policies(config.gateway, config.drift)
        self.texts = load_texts(config.alarms)
        clock = FakeClock()
        self.alarms = AlarmTable(self.policies, config.alarms, clock)
        self.pipeline = Pipeline(config, self.plant, self.metrics, self.alarms, live=False)
        self._thread = ThreadPoolExecutor(1)
        self.models = Models(config, self.metrics, self._thread, clock)

    async def prepare(self) -> None:
        """Load the models and put them to work."""
        await self.models.load()
        for asset in self.plant.assets.values():
            self._discovered(asset)
        self.plant.on_asset(self._discovered)

    def walk(self, blocks: Iterable[Columns]) -> Iterator[Step]:
        """Walk blocks of values in the order of time; the last step closes what is open."""
        pipeline = self.pipeline
        for values in blocks:
            yield pipeline.conclude(pipeline.infer(pipeline.take(values)))
        yield pipeline.conclude(pipeline.infer(pipeline.flush()))

    def close(self) -> None:
        """Let the models go."""
        self.models.close()
        self._thread.shutdown(wait=False)

    def _discovered(self, asset: PlantAsset) -> None:
        self.policies.add_asset(asset)
        self.pipeline.add_asset(asset)
        self.models.bind(self.pipeline, asset)
