"""The daemon's pipeline on recorded data: no network, no store, the recording's own time."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

from edge_agent.alarms import load_texts
from edge_agent.clock import FakeClock
from edge_agent.config.schema import ModelUse
from edge_agent.daemon.runtime import RuntimeBuilder
from edge_agent.errors import NotFoundError
from edge_agent.models import ModelRepository, VerifiedBundles
from edge_agent.ops.metrics import Metrics
from edge_agent.values import parted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from edge_agent.config.schema import Config
    from edge_agent.daemon.runtime import Runtime
    from edge_agent.models import Model, Ref
    from edge_agent.pipeline import Step
    from edge_agent.plant import Plant, PlantAsset
    from edge_agent.serving import Deployments, Scored, WindowBatch
    from edge_agent.values import Columns, TensorBlock

log = logging.getLogger("edge_agent.models")


class Replay:
    """A runtime without sources, ready to walk through recordings.

    A recording has no gateway clock: shelving does not end, and no time is too far ahead.
    scored: the windows of the last step.
    """

    def __init__(self, builder: RuntimeBuilder, runtime: Runtime) -> None:
        self.runtime = runtime
        self.metrics = builder.metrics
        self.texts = load_texts(runtime.config.alarms)
        self.scored: Sequence[Scored] = ()
        self._builder = builder
        self._candidate: str | None = None
        self._uses: dict[str, ModelUse] = {}  # of a candidate without an active version

    @classmethod
    async def load(
        cls,
        config: Config,
        candidate: Ref | None = None,
        *,
        verified: VerifiedBundles | None = None,
        asset: str = "",
        remote: bool = False,
    ) -> Replay:
        """Load and activate the models; candidate: a version to compare with the active one.

        verified: bundles that need not be tried again. asset: as in `ModelManager`. remote: as in
        `RuntimeBuilder`.
        """
        loading = ThreadPoolExecutor(1, thread_name_prefix="loading")
        known = verified or VerifiedBundles()
        builder = RuntimeBuilder(
            Metrics(),
            FakeClock(),
            loading,
            {},
            lambda: None,
            live=False,
            verified=known,
            remote=remote,
        )
        models = await builder.load_models(config, asset=asset)
        replay = cls(builder, builder.build(config, models))
        if candidate is not None:
            await replay._load_candidate(candidate)
        return replay

    async def _load_candidate(self, ref: Ref) -> None:
        runtime, deployments = self.runtime, self.runtime.pipeline.deployments
        repository = ModelRepository(runtime.config.models_dir)
        folder = repository.folder(ref.name, ref.version or _newest(repository, ref.name))
        model = await runtime.models.load_model(ref.name, folder)
        self._candidate = ref.name
        if deployments.latest(ref.name) is not None:
            deployments.set_shadow(ref.name, model)
            return
        for asset in runtime.plant.assets.values():
            self._try_alone(model, asset)
        runtime.plant.on_asset(partial(self._try_alone, model))

    @property
    def plant(self) -> Plant:
        """The assets of the config."""
        return self.runtime.plant

    @property
    def deployments(self) -> Deployments:
        """The models that score them."""
        return self.runtime.pipeline.deployments

    @property
    def without(self) -> Mapping[str, str]:
        """By asset, why no model scores it."""
        return self.runtime.models.without

    def walk(self, readings: Iterable[Columns | TensorBlock]) -> Iterator[Step]:
        """Process values and blocks in the order of time; the last step closes open windows."""
        pipeline = self.runtime.pipeline
        for one in readings:
            yield self._step(pipeline.close_windows(*parted(one)))
        yield self._step(pipeline.close_open_windows())

    def _step(self, due: list[WindowBatch]) -> Step:
        pipeline = self.runtime.pipeline
        self.scored = pipeline.score_windows(due)
        step = pipeline.update_alarms(self.scored)
        step.shadow = pipeline.run_shadows()
        return step

    def report(self) -> dict[str, Any] | None:
        """The comparison of the candidate; None if no asset has its inputs."""
        if self._candidate is None:
            return None
        return self.runtime.pipeline.deployments.reports.shadow_report(self._candidate)

    def close(self) -> None:
        """Close the models."""
        self.runtime.models.close()
        self._builder.close()

    def _try_alone(self, model: Model, asset: PlantAsset) -> None:
        """No model of that name is active: the candidate scores all assets with its inputs."""
        name, template = model.manifest.name, asset.template_name
        named = [use for use in asset.template.models if use.bundle == name]
        use = self._uses.setdefault(template, named[0] if named else ModelUse(name))
        why = self.runtime.pipeline.deployments.try_shadow(model, use, asset)
        if why:
            log.info("candidate not suitable", extra={"asset": asset.id, "reason": why})


def _newest(repository: ModelRepository, name: str) -> str:
    """The last installed version that is not active; else the active one."""
    active = repository.active(name)
    found = [version for version in repository.versions(name) if version != active]
    version = found[-1] if found else active
    if version is None:
        raise NotFoundError("there is no such model", where=name, hint="edge-agent models list")
    return version
