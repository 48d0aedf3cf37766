"""Assigns bundles to assets: those of the config and those learned on the gateway; learns."""

from __future__ import annotations

import asyncio
import logging
import math
from functools import partial
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar

from edge_agent.alarms import WAVEFORMS, baselines_of
from edge_agent.config.schema import Learn, ModelUse
from edge_agent.config.types import Name
from edge_agent.errors import EdgeAgentError, ModelError
from edge_agent.learning import train_baseline, train_waves, write_problem
from edge_agent.models import LEARNED, PROVIDERS_KEY
from edge_agent.serving import AUTOMATIC
from edge_agent.signals import PICTURE_INPUT

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
    from concurrent.futures import ThreadPoolExecutor
    from pathlib import Path

    from edge_agent.clock import Clock
    from edge_agent.config.schema import Config
    from edge_agent.learning import (
        Learning,
        TrainedBaseline,
        TrainingSet,
        WaveLearning,
        WaveTrainingSet,
    )
    from edge_agent.models import Model, SessionRegistry
    from edge_agent.pipeline import Pipeline
    from edge_agent.plant import PlantAsset
    from edge_agent.serving import Deployments

AT_LEAST: Final = 4  # so many bundles a start waits for

P = ParamSpec("P")
T = TypeVar("T")

log = logging.getLogger("edge_agent.models")


class ModelManager:
    """Loads bundles from disk, and assigns them to the assets that they score.

    A refused bundle is reported, and its assets are monitored without it: one bad model
    must not stop a line's other alarms. asset: only learned bundles that name it are loaded; empty:
    all.
    """

    def __init__(
        self,
        config: Config,
        registry: SessionRegistry,
        thread: ThreadPoolExecutor,
        clock: Clock,
        asset: str = "",
    ) -> None:
        self.models_dir = config.models_dir
        self._config = config
        self._clock = clock
        self._asset = asset.encode()
        self._thread = thread
        self._registry = registry
        self._loaded: list[Model] = []  # until `attach`
        self._later: list[str] = []  # bundles that are loaded after the start
        self._not_loaded: dict[str, ModelError] = {}
        self._pipeline: Pipeline
        self.deployments: Deployments
        self._assets: list[PlantAsset] = []
        self.without: dict[str, str] = {}  # asset -> why it has no model
        self.write_problem = ""  # why nothing can be learned into models_dir

    async def load(self, within_s: float = math.inf) -> None:
        """Load the bundles of the config and the learned ones; `attach` puts them in service.

        within_s: after this time no further one is begun, except the first few. What is left is
        loaded by the reconciler, while limits and the models in service work.
        """
        until_s = self._clock.monotonic_s() + within_s
        for number, name in enumerate(self.bundle_names()):
            if number >= AT_LEAST and self._clock.monotonic_s() >= until_s:
                self._later.append(name)
                continue
            try:
                self._loaded.append(await self.load_model(name))
            except ModelError as error:
                if self._config.runtime.required and error.where == PROVIDERS_KEY:
                    raise
                self._not_loaded[name] = error

    async def load_model(self, name: str, folder: Path | None = None) -> Model:
        """Verify and load a bundle from its folder or from `folder`; ModelError if refused."""
        return await self._on_thread(self._registry.load, name, folder)

    async def tend_processes(self, turning: asyncio.Lock) -> None:
        """Look after the processes of isolated models; proven ones move into this process.

        turning: held while a model moves.
        """
        for model, engine in await self._on_thread(self._registry.tend):
            async with turning:
                model.replace_engine(engine)

    def attach(self, pipeline: Pipeline) -> None:
        """Pass the loaded models to the deployments of a pipeline, which then own them."""
        self._pipeline = pipeline
        self.deployments = pipeline.deployments
        for model in self._loaded:
            self.deployments.add_model(model)
        for name, error in self._not_loaded.items():
            self.deployments.reports.add_not_loaded(name, error)
        self.deployments.reports.awaited.update(self._later)
        if self._later:
            log.info("models are loaded after the start", extra={"models": len(self._later)})
        self._loaded.clear()

    def bind(self, asset: PlantAsset) -> None:
        """Assign an asset its models; an asset without one learns, if its template says so."""
        self._assets.append(asset)
        pipeline = self._pipeline
        reasons = [pipeline.use_model(asset, use) for use in asset.template.models]
        reasons += [self._use_camera(asset, use) for use in camera_uses(asset)]
        for name in baselines_of(asset):
            if pipeline.use_baseline(asset, name):
                reasons.append("")
                provisional_s = self.deployments.baselines.provisional_s(asset.id, name)
                if provisional_s and self._learns(asset):
                    self._learn(asset, name, provisional_s)
            elif self._learns(asset):
                reasons.append(self._learn(asset, name) or "learning")
        if all(reasons):
            self.without[asset.id] = "; ".join(reasons) or _nothing(asset)
        elif missing := [reason for reason in reasons if reason not in {"", "learning"}]:
            log.error("asset has no model", extra={"asset": asset.id, "reason": max(missing)})

    def _use_camera(self, asset: PlantAsset, use: ModelUse) -> str:
        """Let a model judge the pictures of a camera; returns why none does."""
        camera = asset.cameras[use.name]
        if camera.bundle or self.deployments.latest(use.bundle) is not None:
            return self._pipeline.use_model(asset, use)
        if camera.learn is not None and camera.learn.auto:
            return "learning"
        return f"camera {use.name} has no model: neither `bundle` nor `learn`"

    def _learn(self, asset: PlantAsset, name: str, provisional_s: float = 0.0) -> str:
        """Let an asset learn a baseline; returns what is missing, or an empty text."""
        learn, pipeline = asset.template.learn or Learn(), self._pipeline
        if name == WAVEFORMS:
            return pipeline.waves.learn_asset(asset, learn, provisional_s)
        step_s = self.deployments.baselines.step_s(asset.id) if provisional_s else None
        return pipeline.learning.learn_asset(asset, learn, provisional_s, step_s)

    async def learn_what_is_ready(self) -> None:
        """Learn for assets that have enough healthy rows, and put the result in service."""
        now_s = self._clock.monotonic_s()
        for learning in tuple(self._pipeline.learning.values()):
            for training in learning.ready(now_s):
                run = train_baseline(self._config, learning, training, self._clock.now_us())
                await self._learn_from(learning, training, run)
        for waves in tuple(self._pipeline.waves.values()):
            for heard in waves.ready(now_s):
                run = train_waves(self._config, waves, heard, self._clock.now_us())
                await self._learn_from(waves, heard, run)

    async def _learn_from(
        self,
        learning: Learning | WaveLearning,
        training: TrainingSet | WaveTrainingSet,
        run: Awaitable[TrainedBaseline],
    ) -> None:
        try:
            trained = await run
            await self._add_learned(trained.name)
        except (EdgeAgentError, OSError) as error:  # a full or read-only disk
            text, assets = str(error), list(training.rows)
            log.error("learning failed", extra={"reason": text, "assets": len(assets)})
            learning.failed(assets, text, self._clock.monotonic_s())
            return
        for asset, reason in trained.refused.items():
            log.warning("cannot learn yet", extra={"asset": asset, "reason": reason})
            learning.failed([asset], reason, self._clock.monotonic_s())
        self._use_learned_bundles(learning.assets)
        learning.learned(trained.manifest.units)
        extra = {"model": trained.name, "assets": len(trained.manifest.units)}
        if training.provisional_s:
            extra["provisional_min"] = round(training.provisional_s / 60)
        log.info("learned", extra=extra)
        unusual = trained.manifest.calibration.get("unusual")
        if unusual:
            log.warning("learned from unusual time", extra={**extra, "detail": unusual})

    async def _add_learned(self, name: str) -> None:
        """Add a learned bundle; a further version replaces the active one like any version."""
        if self.deployments.latest(name) is None:
            try:
                self.deployments.add_model(await self.load_model(name), AUTOMATIC)
            except ModelError as error:
                self.deployments.reports.add_not_loaded(name, error)

    async def probe_disk(self) -> None:
        """Check at the start, and not after a day of learning, that bundles can be written."""
        problem = await asyncio.to_thread(write_problem, self._config.models_dir)
        if problem and problem != self.write_problem:
            log.error("cannot learn", extra={"reason": problem})
        self.write_problem = problem

    def _use_learned_bundles(self, assets: Iterable[PlantAsset]) -> None:
        """Let a learned bundle score assets that have no baseline yet, or an older one."""
        for asset in assets:
            for name in baselines_of(asset):
                if self._pipeline.use_baseline(asset, name):
                    self.without.pop(asset.id, None)
                    if not self.deployments.baselines.provisional_s(asset.id, name):
                        self._end_learning(asset, name)

    def _end_learning(self, asset: PlantAsset, name: str) -> None:
        if name == WAVEFORMS:
            self._pipeline.waves.end_asset(asset)
        else:
            self._pipeline.learning.end_asset(asset)

    def forget(self, asset: PlantAsset, now_us: int) -> str:
        """Make the baseline of an asset void, and learn again; returns why this is impossible."""
        reasons = [self._learn(asset, name) for name in baselines_of(asset)]
        if all(reasons):
            return reasons[0]
        self.deployments.baselines.reset(asset, now_us)
        if not asset.template.models:
            self.without[asset.id] = "learning"
        return ""

    def _learns(self, asset: PlantAsset) -> bool:
        learn, is_void = asset.template.learn, asset.id in self.deployments.baselines.void_us
        return is_void or (learn is not None and learn.by_itself)

    def use_models(self, added: Sequence[str], replaced: Mapping[str, dict[str, str]]) -> None:
        """Let assets be scored by the models that came into service; see `ModelLoader`."""
        for name, lost in replaced.items():
            self.without |= lost
            for asset_id, reason in lost.items():
                log.error("asset has no model", extra={"asset": asset_id, "reason": reason})
            self.deployments.baselines.follow_version(name)
        for asset in self._assets:
            every = (*asset.template.models, *camera_uses(asset))
            uses = [use for use in every if use.bundle in added]
            if not all(self._pipeline.use_model(asset, use) for use in uses):
                self.without.pop(asset.id, None)
        self._use_learned_bundles(self._assets)

    async def trim(self) -> None:
        """Return the memory of removed versions to the system."""
        await self._on_thread(self._registry.trim)

    def close(self) -> None:
        """Return the memory of the sessions, when nothing uses them any longer."""
        self._registry.trim()

    # -- parts --------------------------------------------------------------------------------

    async def _on_thread(self, call: Callable[P, T], *args: P.args, **more: P.kwargs) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, partial(call, *args, **more))

    def bundle_names(self) -> list[str]:
        """Bundles that the config names, then the learned ones, the oldest first."""
        named = {use.bundle for t in self._config.templates.values() for use in t.models}
        named |= {one.bundle for one in self._config.cameras.values() if one.bundle}
        return [*sorted(named), *(name for name in self._learned_names() if name not in named)]

    def _learned_names(self) -> list[str]:
        """Learned bundles on disk, the oldest first."""
        every = self._config.models_dir.glob(f"{LEARNED}-*/model.yaml")
        found = [path for path in every if not self._asset or self._asset in path.read_bytes()]
        return [path.parent.name for path in sorted(found, key=lambda p: p.stat().st_mtime)]


def camera_uses(asset: PlantAsset) -> list[ModelUse]:
    """The uses of models by the cameras of an asset; each has the camera's name."""
    return [
        ModelUse(
            camera.judged_by,
            Name(name),
            inputs={PICTURE_INPUT: name},
            min_coverage=0.0,
            alarm=camera.alarm,
        )
        for name, camera in asset.cameras.items()
    ]


def _nothing(asset: PlantAsset) -> str:
    """Why an asset without any model has none."""
    if asset.template.learn is None:
        return "no model configured"
    return "no model configured, and `learn` has no `auto: true`"
