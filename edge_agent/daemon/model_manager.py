"""Models at work: those the config names, those learned on the box, and the learning itself."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from edge_agent.alarms import BASELINE, use_name_of
from edge_agent.config.schema import Learn, ModelUse
from edge_agent.errors import EdgeAgentError, ModelError
from edge_agent.learning import (
    LEARNED,
    LEFT_OUT,
    learned_prefix,
    learned_us,
    train_baseline,
    write_problem,
)
from edge_agent.models import SessionRegistry
from edge_agent.serving import Deployment

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from concurrent.futures import ThreadPoolExecutor
    from pathlib import Path

    from edge_agent.clock import Clock
    from edge_agent.config.schema import Config
    from edge_agent.learning import Learning, TrainingSet
    from edge_agent.models import Model
    from edge_agent.ops.metrics import Metrics
    from edge_agent.pipeline import Pipeline
    from edge_agent.plant import PlantAsset

P = ParamSpec("P")
T = TypeVar("T")

log = logging.getLogger("edge_agent.models")


class ModelManager:
    """Which bundle works on which asset.

    A bundle that is refused is reported, and its assets are watched without it: one bad model
    must not stop a line's other alarms.
    """

    def __init__(
        self, config: Config, metrics: Metrics, thread: ThreadPoolExecutor, clock: Clock
    ) -> None:
        self._config = config
        self._clock = clock
        self._thread = thread
        self._registry = SessionRegistry(config.models_dir, config.runtime, metrics, config.trust)
        self._loaded: dict[str, Model] = {}
        self._assets: list[PlantAsset] = []
        self.refused: dict[str, str] = {}
        self.without: dict[str, str] = {}  # asset -> why it has no model
        self.forgotten: dict[str, int] = {}  # asset -> what was learned before then is void
        self.relearned: set[str] = set()  # assets whose baseline was exchanged for another
        self.write_problem = ""  # why nothing can be learned into models_dir
        self._baselines: dict[str, str] = {}  # asset -> the learned bundle at work on it

    async def load(self) -> None:
        """Load what the config names and what was learned before; `bind` puts it to work."""
        for name in self.wanted():
            await self._load(name)

    def bind(self, pipeline: Pipeline, asset: PlantAsset) -> None:
        """Give an asset its models; one that has none learns, where its template says so."""
        self._assets.append(asset)
        reasons = [self._use(pipeline, asset, use) for use in asset.template.models]
        if self._use_learned(pipeline, asset):
            reasons.append("")
            provisional_s = self._provisional_s(asset.id)
            if provisional_s and self._learns(asset):
                pipeline.learn(asset, asset.template.learn or Learn(), provisional_s)
        elif self._learns(asset):
            reasons.append(pipeline.learn(asset, asset.template.learn or Learn()) or "learning")
        if all(reasons):
            self.without[asset.id] = "; ".join(reasons) or _nothing(asset)
        elif any(reasons):
            log.error("asset lacks a model", extra={"asset": asset.id, "reason": max(reasons)})

    async def learn_what_is_ready(self, pipeline: Pipeline) -> None:
        """Learn for the assets that have enough healthy rows, and put the result to work."""
        for learning in tuple(pipeline.learning.values()):
            for training in learning.ready(self._clock.monotonic_s()):
                await self._learn_from(pipeline, learning, training)

    async def _learn_from(
        self, pipeline: Pipeline, learning: Learning, training: TrainingSet
    ) -> None:
        try:
            taught = await train_baseline(self._config, learning, training, self._clock.now_us())
            if taught.name not in self._loaded:  # else it is exchanged like any other version
                await self._load(taught.name)
        except (EdgeAgentError, OSError) as error:  # a disk that is full, or read-only
            text, assets = str(error), list(training.rows)
            log.error("learning failed", extra={"reason": text, "assets": len(assets)})
            learning.failed(assets, text, self._clock.monotonic_s())
            return
        for asset, reason in taught.refused.items():
            log.warning("cannot learn yet", extra={"asset": asset, "reason": reason})
            learning.failed([asset], reason, self._clock.monotonic_s())
        self._take_up(pipeline, learning.assets)
        learning.learned(taught.manifest.units)
        extra = {"model": taught.name, "assets": len(taught.manifest.units)}
        if training.provisional_s:
            extra["provisional_min"] = round(training.provisional_s / 60)
        log.info("learned", extra=extra)

    async def probe_disk(self) -> None:
        """Find out at the start, and not after a day, that nothing can be written."""
        problem = await asyncio.to_thread(write_problem, self._config.models_dir)
        if problem and problem != self.write_problem:
            log.error("cannot learn", extra={"reason": problem})
        self.write_problem = problem

    def provisional(self) -> dict[str, float]:
        """The assets of a provisional baseline, and the seconds of data it rests on."""
        found = {asset: self._provisional_s(asset) for asset in self._baselines}
        return {asset: seconds for asset, seconds in found.items() if seconds}

    def _provisional_s(self, asset: str) -> float:
        model = self._loaded.get(self._baselines.get(asset, ""))
        return model.manifest.provisional_s if model is not None else 0.0

    def left_out(self) -> dict[str, str]:
        """The assets of a baseline that does without some inputs, and their names."""
        deployments = {asset: self._loaded.get(name) for asset, name in self._baselines.items()}
        found = {a: m.manifest.training.get(LEFT_OUT, "") for a, m in deployments.items() if m}
        return {asset: names for asset, names in found.items() if names}

    def _take_up(self, pipeline: Pipeline, assets: Iterable[PlantAsset]) -> None:
        """Put what was learned to work on assets that have nothing yet, or something older."""
        for asset in assets:
            if self._use_learned(pipeline, asset):
                self.without.pop(asset.id, None)
                if not self._provisional_s(asset.id):
                    pipeline.learned_elsewhere(asset)

    def forget(self, pipeline: Pipeline, asset: PlantAsset, now_us: int) -> str:
        """What was learned of an asset is void, and it learns anew; gives what is in the way."""
        reason = pipeline.learn(asset, asset.template.learn or Learn())
        if reason:
            return reason
        self.forgotten[asset.id] = now_us
        pipeline.rest(asset, self._baselines.pop(asset.id, ""))
        if not asset.template.models:
            self.without[asset.id] = "learning"
        return ""

    def _learns(self, asset: PlantAsset) -> bool:
        learn = asset.template.learn
        return asset.id in self.forgotten or (learn is not None and learn.by_itself)

    async def refresh(
        self, pipeline: Pipeline, turning: asyncio.Lock, passed_over: Collection[str] = ()
    ) -> dict[str, ModelError]:
        """Exchange the bundles that changed on disk; one that is refused leaves the old at work.

        The windows of its assets stay as they are, so that none is lost. turning: held while a
        model is exchanged, not while it is loaded; passed_over: not even looked at. Gives what was
        refused.
        """
        refused: dict[str, ModelError] = {}
        for name, old in [one for one in self._loaded.items() if one[0] not in passed_over]:
            try:
                new = await self._on_thread(self._registry.swap, name)
            except ModelError as error:  # said by the registry
                refused[name] = error
                continue
            async with turning:
                if new is not old and self._loaded[name] is old:  # else it gave way meanwhile
                    self._loaded[name] = new
                    self._lost(pipeline.exchange(new))
                    self.relearned |= {
                        a for a, deployments in self._baselines.items() if deployments == name
                    }
        found = set(self._loaded) | set(passed_over)
        missing = [name for name in self.wanted() if name not in found]
        for name in missing:
            problem = await self._load(name)
            refused |= {name: problem} if problem else {}
        async with turning:
            for name in missing:
                self._use_at_last(pipeline, name)
            self._take_up(pipeline, self._assets)
        await self._on_thread(self._registry.trim)
        return refused

    async def candidate(self, name: str, folder: Path) -> Model:
        """A version of a bundle, verified and loaded, but not at work; ModelError if refused."""
        return await self._on_thread(self._registry.candidate, name, folder)

    def put_back(self, model: Model) -> None:
        """This version is at work again in place of a later one."""
        self._loaded[model.manifest.name] = model
        self._registry.put_back(model)

    def _lost(self, reasons: dict[str, str]) -> None:
        self.without |= reasons
        for asset, reason in reasons.items():
            log.error("asset lacks a model", extra={"asset": asset, "reason": reason})

    def show(self) -> None:
        """Say again which models are at work."""
        self._registry.show()

    def close(self) -> None:
        """Let the sessions go."""
        self._registry.close()

    @property
    def active(self) -> list[Model]:
        """The models at work."""
        return list(self._loaded.values())

    # -- parts --------------------------------------------------------------------------------

    async def _load(self, name: str) -> ModelError | None:
        try:
            self._loaded[name] = await self._on_thread(self._registry.load, name)
        except ModelError as error:
            if self._config.runtime.required and error.where == "runtime.providers":
                raise
            self.refused[name] = str(error)
            return error
        self.refused.pop(name, None)
        return None

    async def _on_thread(self, call: Callable[P, T], *args: P.args, **more: P.kwargs) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, partial(call, *args, **more))

    def wanted(self) -> list[str]:
        """Bundles that the config names, then those that were learned, the oldest first."""
        named = {use.bundle for t in self._config.templates.values() for use in t.models}
        return [*sorted(named), *(name for name in self._learned_names() if name not in named)]

    def _use_at_last(self, pipeline: Pipeline, name: str) -> None:
        """Put a bundle to work that was refused before."""
        for asset in self._assets:
            uses = [use for use in asset.template.models if use.bundle == name]
            if not all(self._use(pipeline, asset, use) for use in uses):
                self.without.pop(asset.id, None)

    def _use(self, pipeline: Pipeline, asset: PlantAsset, use: ModelUse) -> str:
        model = self._loaded.get(use.bundle)
        if model is None:
            return f"model {use.bundle} is refused"
        place = use_name_of(use)
        return pipeline.use_model(asset, place, lambda: Deployment(place, use, model))

    def _use_learned(self, pipeline: Pipeline, asset: PlantAsset) -> bool:
        """Put the newest bundle that was learned for this asset to work, if it is not yet."""
        learn = asset.template.learn or Learn()
        for model in self._learned_for(asset):
            name = model.manifest.name
            if self._baselines.get(asset.id) == name:
                self._rest_others(pipeline, asset, name)
                return True
            use = ModelUse(
                name,
                min_coverage=learn.min_coverage,
                lateness=learn.lateness,
                when=learn.when,
                alarm=learn.alarm,
            )
            missing = pipeline.use_model(asset, name, partial(Deployment, BASELINE, use, model))
            if not missing:
                self._succeed(pipeline, asset, name)
                return True
            extra = {"asset": asset.id, "model": name, "reason": missing}
            log.warning("learned model does not fit", extra=extra)
        return False

    def _succeed(self, pipeline: Pipeline, asset: PlantAsset, name: str) -> None:
        """Another learned bundle is at work on an asset."""
        old = self._baselines.get(asset.id)
        self._baselines[asset.id] = name
        if asset.id in self.forgotten or old is not None:
            self.relearned.add(asset.id)
        if not self._provisional_s(asset.id):  # else it goes on learning, over a restart too
            self.forgotten.pop(asset.id, None)
        self._rest_others(pipeline, asset, name)

    def _rest_others(self, pipeline: Pipeline, asset: PlantAsset, name: str) -> None:
        """Only one learned bundle judges an asset."""
        prefix = learned_prefix(asset.template_name)
        for other in [other for other in self._loaded if other.startswith(prefix)]:
            if other != name:
                pipeline.rest(asset, other)

    def _learned_for(self, asset: PlantAsset) -> list[Model]:
        """The bundles that were learned for an asset and are not void, the newest first."""
        prefix, void_us = learned_prefix(asset.template_name), self.forgotten.get(asset.id)
        mine = [
            model
            for name, model in self._loaded.items()
            if name.startswith(prefix) and asset.id in model.manifest.units
        ]
        valid = [m for m in mine if void_us is None or learned_us(m.manifest.version) > void_us]
        return sorted(valid, key=lambda model: learned_us(model.manifest.version), reverse=True)

    def _learned_names(self) -> list[str]:
        """Learned bundles on disk, the oldest first."""
        found = self._config.models_dir.glob(f"{LEARNED}-*/model.yaml")
        return [path.parent.name for path in sorted(found, key=lambda p: p.stat().st_mtime)]


def _nothing(asset: PlantAsset) -> str:
    """Why an asset without any model has none."""
    if asset.template.learn is None:
        return "no model configured"
    return "no model configured, and `learn` has no `auto: true`"
