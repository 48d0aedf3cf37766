"""The daemon's pipeline on recorded data: no network, no store, the recording's own time."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from edge_agent.alarms import AlarmCatalogue, AlarmTable, load_texts
from edge_agent.clock import FakeClock
from edge_agent.config.schema import ModelUse
from edge_agent.daemon.model_manager import ModelManager
from edge_agent.errors import NotFoundError
from edge_agent.models import ModelRepository
from edge_agent.ops.metrics import Metrics
from edge_agent.pipeline import Pipeline
from edge_agent.plant import Plant

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from edge_agent.config.schema import Config
    from edge_agent.models import Model, Ref
    from edge_agent.pipeline import Step
    from edge_agent.plant import PlantAsset
    from edge_agent.serving import WindowBatch
    from edge_agent.values import Columns

log = logging.getLogger("edge_agent.models")


class Replay:
    """A plant, its models and alarms, ready to walk through recordings.

    A recording has no gateway clock: shelving does not end, and no time is too far ahead.
    """

    def __init__(self, config: Config, metrics: Metrics | None = None) -> None:
        self.config = config
        self.plant = Plant(config)
        self.metrics = metrics or Metrics()
        self.policies = AlarmCatalogue(config.gateway, config.drift)
        self.texts = load_texts(config.alarms)
        clock = FakeClock()
        self.alarms = AlarmTable(self.policies.policy_of, config.alarms, clock)
        self.pipeline = Pipeline(config, self.plant, self.metrics, self.alarms, live=False)
        self._thread = ThreadPoolExecutor(1)
        self._candidate: str | None = None
        self._alone: Model | None = None  # a candidate without an active version
        self._uses: dict[str, ModelUse] = {}  # of the candidate, by template
        self.models = ModelManager(config, self.metrics, self._thread, clock)

    async def prepare(self, ref: Ref | None = None) -> None:
        """Load and activate the models; ref: a version to compare with the active one."""
        await self.models.load()
        self.models.attach(self.pipeline)
        if ref is not None:
            await self._load_candidate(ref)
        for asset in self.plant.assets.values():
            self._discovered(asset)
        self.plant.on_asset(self._discovered)

    async def _load_candidate(self, ref: Ref) -> None:
        shelf = ModelRepository(self.config.models_dir)
        folder = shelf.folder(ref.name, ref.version or _newest(shelf, ref.name))
        model = await self.models.load_model(ref.name, folder)
        self._candidate = ref.name
        if self.pipeline.deployments.latest(ref.name) is not None:
            self.pipeline.deployments.set_shadow(ref.name, model)
        else:
            self._alone = model

    def walk(self, blocks: Iterable[Columns]) -> Iterator[Step]:
        """Process blocks of values in the order of time; the last step closes open windows."""
        for values in blocks:
            yield self._step(self.pipeline.close_windows(values))
        yield self._step(self.pipeline.close_open_windows())

    def _step(self, due: list[WindowBatch]) -> Step:
        step = self.pipeline.update_alarms(self.pipeline.score_windows(due))
        step.shadow = self.pipeline.run_shadows()
        return step

    def report(self) -> dict[str, Any] | None:
        """The comparison of the candidate; None if no asset has its inputs."""
        return (
            None if self._candidate is None else self.pipeline.deployments.report(self._candidate)
        )

    def close(self) -> None:
        """Close the models."""
        self.models.close()
        self._thread.shutdown(wait=False)

    def _discovered(self, asset: PlantAsset) -> None:
        self.policies.add_asset(asset)
        self.pipeline.add_asset(asset)
        self.models.bind(asset)
        if self._alone is not None:
            self._try_alone(self._alone, asset)

    def _try_alone(self, model: Model, asset: PlantAsset) -> None:
        """No model of that name is active: the candidate scores all assets with its inputs."""
        name, template = model.manifest.name, asset.template_name
        named = [use for use in asset.template.models if use.bundle == name]
        use = self._uses.setdefault(template, named[0] if named else ModelUse(name))
        why = self.pipeline.deployments.try_shadow(model, use, asset)
        if why:
            log.info("candidate not suitable", extra={"asset": asset.id, "reason": why})


def _newest(shelf: ModelRepository, name: str) -> str:
    """The last installed version that is not active; else the active one."""
    active = shelf.active(name)
    found = [version for version in shelf.versions(name) if version != active]
    version = found[-1] if found else active
    if version is None:
        raise NotFoundError("there is no such model", where=name, hint="edge-agent models list")
    return version
