"""The models at work and the shelf on disk, kept in step: activation, standby, shadow, rollback."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

from edge_agent.clock import US_PER_S
from edge_agent.errors import EdgeAgentError, ModelError
from edge_agent.messages import Detail, Fault
from edge_agent.models import REPOSITORY_DIR, ModelRepository

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edge_agent.clock import Clock
    from edge_agent.daemon.runtime import Runtime
    from edge_agent.models import Model
    from edge_agent.ops.metrics import Metrics
    from edge_agent.serving import Rollback

T = TypeVar("T")

log = logging.getLogger("edge_agent.models")

EVERY_S: Final = 1.0
_ALARM_S: Final = 600.0  # what has happened stands for so long; then it waits for its operator
_SELF_TEST: Final = "self_test"

# Of the files behind a model's name: any change of them changes it, for the price of some stat().
Signature: TypeAlias = tuple[tuple[str, int, int, int], ...]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A version that should be at work and is not; good: the one that it gave way to."""

    version: str
    text: str
    at_us: int
    good: str = ""


class Reconciler:
    """Looks after the models of a running daemon.

    A change on disk is taken up once it has stood still from one look to the next, so that nobody
    is read half copied. refused: by name, the version that gave way or failed its tests; turning:
    held while the pipeline works.
    """

    def __init__(
        self,
        runtime: Callable[[], Runtime],
        turning: asyncio.Lock,
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self.refused: dict[str, Refusal] = {}
        self._runtime = runtime
        self._turning = turning
        self._metrics = metrics
        self._clock = clock
        self._seen: dict[str, Signature] = {}
        self._done: dict[str, Signature] = {}
        self._passed_over: dict[str, Signature] = {}
        self._busy = asyncio.Lock()

    async def reconcile(self) -> None:
        """Follow what happened to the models at work and on disk since the last look."""
        await self._settle()
        seen = await asyncio.to_thread(self._look)
        is_still = seen == self._seen
        self._seen = seen
        if is_still and seen != self._done:
            await self.refresh()

    async def refresh(self) -> None:
        """Take up what lies on disk now: versions activated, the one before them, the shadow."""
        async with self._busy:
            self._done = self._seen = await asyncio.to_thread(self._look)
            over = {n for n, s in self._passed_over.items() if self._done.get(n) == s}
            before = {str(model.manifest.name): model for model in self._runtime().models.active}
            runtime = self._runtime()
            refused = await runtime.models.refresh(runtime.pipeline, self._turning, over)
            for name, error in refused.items():
                active = before[name].manifest.version if name in before else None
                await self._refuse(name, str(error), active)
            for model in self._runtime().models.active:
                if model is not before.get(model.manifest.name):
                    self._forgive(model)
                await self._stand_by(model)

    def _forgive(self, active: Model) -> None:
        """Another version went to work: what was refused before it is history."""
        refusal = self.refused.get(active.manifest.name)
        if refusal is not None and refusal.good != active.manifest.version:
            del self.refused[active.manifest.name]

    # -- what went wrong ----------------------------------------------------------------------

    async def _settle(self) -> None:
        """Versions that gave way while they ran: on disk, too."""
        rollbacks = self._runtime().pipeline.versions.rollbacks
        while rollbacks:
            one = rollbacks.pop(0)
            await self._put_back(one)
            bad, good = one.bad.manifest.version, one.good.manifest.version
            await self._roll_back(one.name, bad, good, one.trouble, one.text)

    async def _put_back(self, one: Rollback) -> None:
        """A reload may have loaded the bad one again, from the disk, before this was settled."""
        self._runtime().models.put_back(one.good)
        async with self._turning:
            runtime = self._runtime()
            if any(group.model.sha256 == one.bad.sha256 for group in runtime.pipeline.groups):
                runtime.pipeline.exchange(one.good)
                runtime.pipeline.versions.drop(one.name)

    async def _refuse(self, name: str, text: str, active: str | None) -> None:
        """What lies on disk fails its tests. What it replaced comes back, if it was activated."""
        bad = await asyncio.to_thread(self._shelf.active, name) or ""
        previous = await asyncio.to_thread(self._shelf.previous, name)
        if previous is not None and previous != bad and active in {None, previous}:
            await self._roll_back(name, bad, previous, _SELF_TEST, text)
        else:
            self._passed_over[name] = self._done.get(name, ())
            self.refused[name] = Refusal(bad, text, self._clock.now_us())

    async def _roll_back(self, name: str, bad: str, good: str, reason: str, text: str) -> None:
        """Put `good` back in the place of `bad` on disk, and tell everybody."""
        self._metrics.model_rollbacks.labels(name, reason).inc()
        self.refused[name] = Refusal(bad, text, self._clock.now_us(), good)
        extra = {"model": name, "version": bad, "to": good, "reason": text}
        log.error("model rolled back", extra=extra)
        self._passed_over[name] = (await asyncio.to_thread(self._look)).get(name, ())
        try:
            await asyncio.to_thread(_roll_back_on_disk, self._shelf, name, bad, good)
        except (EdgeAgentError, OSError) as error:  # in memory it is done; a restart tries again
            extra = {"model": name, "reason": str(error)}
            log.error("rollback not on disk", extra=extra)

    def faults(self) -> list[Fault]:
        """What is wrong with the models now: those that fail, else the latest that gave way."""
        now_us = self._clock.now_us()
        failing = self._runtime().pipeline.versions.failing
        recent = [
            (one.at_us, name, one)
            for name, one in self.refused.items()
            if one.good and now_us - one.at_us < _ALARM_S * US_PER_S
        ]
        if failing:
            name, (model, text) = next(iter(failing.items()))
            args = {"model": name, "version": model.manifest.version, "reason": text}
            texts = "; ".join(f"model {name}: {text}" for name, (_, text) in failing.items())
            return [Fault("model", texts, Detail("model_failed", args))]
        if recent:
            _, name, one = max(recent)
            reason = f"{one.version}: {one.text}"
            args = {"model": name, "version": one.good, "reason": reason}
            text = f"model {name} rolled back to {one.good}: {reason}"
            return [Fault("model", text, Detail("model_rolled_back", args))]
        return []

    # -- what stands beside -------------------------------------------------------------------

    async def _stand_by(self, active: Model) -> None:
        """The version before, and the shadow, as the shelf has them."""
        name, shelf, pipeline = str(active.manifest.name), self._shelf, self._runtime().pipeline
        versions, shadows = pipeline.versions, pipeline.shadows
        there = await asyncio.to_thread(shelf.versions, name)
        previous = await asyncio.to_thread(shelf.previous, name)
        shadow = await asyncio.to_thread(shelf.shadow, name)
        have = versions.previous(name)
        if previous is None and there:  # a bundle without a shelf goes back to what is in memory
            versions.drop(name)
        elif previous is None or versions.arriving(name) is not None:
            pass  # the version at work is the one to fall back on, once the next has taken over
        elif have is None or have.manifest.version != previous:
            await self._load(name, previous, versions.keep)
        if shadow is None or shadow == active.manifest.version:
            shadows.set(name, None)
        elif not shadows.has(name, shadow):
            await self._load(name, shadow, lambda model: shadows.set(name, model))

    async def _load(self, name: str, version: str, use: Callable[[Model], None]) -> None:
        """Load a version from the shelf beside the one at work."""
        try:
            model = await self._runtime().models.candidate(name, self._shelf.folder(name, version))
        except EdgeAgentError as error:
            extra = {"model": name, "version": version, "reason": str(error)}
            log.warning("version does not stand by", extra=extra)
            self.refused[name] = Refusal(version, str(error), self._clock.now_us())
            return
        async with self._turning:
            use(model)

    # -- the disk -----------------------------------------------------------------------------

    @property
    def _shelf(self) -> ModelRepository:
        return ModelRepository(self._runtime().config.models_dir)

    def _look(self) -> dict[str, Signature]:
        """What lies on disk, by the name of the bundle."""
        models_dir = self._runtime().config.models_dir
        names = {str(model.manifest.name) for model in self._runtime().models.active}
        names.update(self._runtime().models.wanted())
        return {name: _signature(models_dir, name) for name in names}


def _signature(models_dir: Path, name: str) -> Signature:
    places = (models_dir / name, models_dir / REPOSITORY_DIR / name)
    found = [(path, path.stat()) for place in places if place.is_dir() for path in place.iterdir()]
    return tuple(sorted((str(p), s.st_mtime_ns, s.st_size, s.st_ino) for p, s in found))


def _roll_back_on_disk(shelf: ModelRepository, name: str, bad: str, good: str) -> None:
    if (shelf.active(name) or "") != bad:
        return  # somebody was quicker
    if shelf.previous(name) != good:
        raise ModelError(f"{good} is not on the shelf", where=f"model {name}")
    shelf.rollback(name)
