"""Synchronises the models in service and the repository on disk, in both directions.

Versions that the operator activates or makes the shadow on disk are loaded; a rollback in service
is saved on disk.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

from edge_agent.errors import EdgeAgentError, ModelError
from edge_agent.models import REPOSITORY_DIR, ModelRepository
from edge_agent.serving.lifecycle import AUTOMATIC, COMMAND, Event, ModelChange
from edge_agent.serving.reports import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from edge_agent.clock import Clock
    from edge_agent.models import Model
    from edge_agent.ops.metrics import Metrics
    from edge_agent.serving.deployments import Deployments
    from edge_agent.serving.versions import Rollback

log = logging.getLogger("edge_agent.models")

RECONCILE_EVERY_S: Final = 1.0
USE_EVERY_S: Final = 1.0
_SELF_TEST: Final = "self_test"

# A stamp of a model's files: it changes with any of them, at the cost of some stat() calls.
Signature: TypeAlias = tuple[tuple[str, int, int, int], ...]


class ModelLoader(Protocol):
    """Loads bundles for the deployments of one config."""

    @property
    def deployments(self) -> Deployments:
        """The deployments."""

    @property
    def models_dir(self) -> Path:
        """The folder of the bundles."""

    def bundle_names(self) -> list[str]:
        """Bundles that should be in service."""

    async def load_model(self, name: str, folder: Path | None = None) -> Model:
        """Verify and load a bundle from its folder, or another one; ModelError if refused."""

    def use_models(self, added: Sequence[str], replaced: Mapping[str, dict[str, str]]) -> None:
        """Let new models score assets.

        added: bundles that were not in service; replaced: bundles with another version, each with
        the assets that it cannot serve and the reason.
        """

    async def trim(self) -> None:
        """Return the memory of removed versions to the system."""


class Reconciler:
    """Follows the disk and the models in service of a running daemon, over its reloads.

    A change on disk is loaded once two checks in a row see the same files, so that no bundle is
    read half copied. loader: returns the present one; turning: held while a version is
    replaced, not while it is loaded. on_added: called when bundles that were not in service are.
    """

    def __init__(
        self,
        loader: Callable[[], ModelLoader],
        turning: asyncio.Lock,
        metrics: Metrics,
        clock: Clock,
        on_added: Callable[[], None] = lambda: None,
    ) -> None:
        self._loader = loader
        self._turning = turning
        self._on_added = on_added
        self._metrics = metrics
        self._clock = clock
        self._seen: dict[str, Signature] = {}
        self._done: dict[str, Signature] = {}
        self._passed_over: dict[str, Signature] = {}
        self._busy = asyncio.Lock()

    @property
    def _deployments(self) -> Deployments:
        return self._loader().deployments

    @property
    def _repository(self) -> ModelRepository:
        return ModelRepository(self._loader().models_dir)

    async def reconcile(self) -> None:
        """Follow changes in service and on disk since the last check."""
        async with self._busy:
            await self._save_rollbacks()
        seen = await asyncio.to_thread(self._signatures)
        is_still = seen == self._seen
        self._seen = seen
        if is_still and seen != self._done:
            await self.refresh()

    async def refresh(self) -> None:
        """Load the versions on disk: the one to be active, its standby and its shadow."""
        async with self._busy:
            await self._save_rollbacks()
            self._done = self._seen = await asyncio.to_thread(self._signatures)
            loader = self._loader()
            over = {n for n, s in self._passed_over.items() if self._done.get(n) == s}
            added: list[str] = []
            replaced: dict[str, dict[str, str]] = {}
            shown_s = self._clock.monotonic_s()
            for name in _names(loader):
                if name not in over:
                    await self._load_from_disk(loader, name, added, replaced)
                # Hundreds of bundles take minutes after a start: each is at work when it is loaded.
                if (added or replaced) and self._clock.monotonic_s() - shown_s >= USE_EVERY_S:
                    await self._use(loader, added, replaced)
                    shown_s = self._clock.monotonic_s()
            await self._use(loader, added, replaced)
            for name in _names(loader):
                if self._deployments.latest(name) is not None:
                    await self._load_beside(name)
            await loader.trim()

    async def _use(
        self, loader: ModelLoader, added: list[str], replaced: dict[str, dict[str, str]]
    ) -> None:
        """Let the models that came into service score assets; empties both."""
        async with self._turning:
            loader.use_models(added, replaced)
            if added:
                self._on_added()
        added.clear()
        replaced.clear()
        await self._save_rollbacks()

    # -- the active version -------------------------------------------------------------------

    async def _load_from_disk(
        self,
        loader: ModelLoader,
        name: str,
        added: list[str],
        replaced: dict[str, dict[str, str]],
    ) -> None:
        deployments = loader.deployments
        before = deployments.latest(name)
        try:
            model = await loader.load_model(name)
        except ModelError as error:  # logged by the registry
            if before is None:
                deployments.reports.add_not_loaded(name, error)
            await self._refuse(
                name, str(error), None if before is None else before.manifest.version
            )
            return
        async with self._turning:
            if deployments.latest(name) is not before:
                return  # it was rolled back meanwhile
            if before is None:
                deployments.add_model(model, COMMAND)
                added.append(name)
            elif model.sha256 != before.sha256:
                replaced[name] = deployments.replace_version(model, COMMAND)
            else:
                return
        refusal = deployments.reports.refused.get(name)
        if refusal is not None and refusal.good != model.manifest.version:
            del deployments.reports.refused[name]  # earlier refusals no longer matter

    async def _refuse(self, name: str, text: str, active: str | None) -> None:
        """The version on disk fails its tests: restore the previous one if it was activated."""
        bad = await asyncio.to_thread(self._repository.active, name) or ""
        previous = await asyncio.to_thread(self._repository.previous, name)
        if previous is not None and previous != bad and active in {None, previous}:
            await self._roll_back(name, bad, previous, _SELF_TEST, text)
        else:
            self._passed_over[name] = self._done.get(name, ())
            self._deployments.reports.refused[name] = Refusal(bad, text, self._clock.now_us())

    async def _save_rollbacks(self) -> None:
        """Save rollbacks in service on disk as well."""
        while found := self._deployments.rollbacks:
            one = found[0]
            if await self._roll_back_version(one):
                one.bad.apply(Event.SAVE_ROLLBACK, one.bad.reason)
            if one in self._deployments.rollbacks:
                self._deployments.rollbacks.remove(one)

    async def _roll_back_version(self, one: Rollback) -> bool:
        bad, good = one.bad.number, one.good.manifest.version
        return await self._roll_back(one.name, bad, good, one.trouble, one.bad.reason)

    async def _roll_back(self, name: str, bad: str, good: str, reason: str, text: str) -> bool:
        """Replace `bad` by `good` on disk, and log it; False if that fails."""
        self._metrics.model_rollbacks.labels(name, reason).inc()
        self._deployments.reports.refused[name] = Refusal(bad, text, self._clock.now_us(), good)
        extra = {"model": name, "version": bad, "to": good, "reason": text}
        log.error("model rolled back", extra=extra)
        self._deployments.on_change(ModelChange("rollback", name, good, bad, AUTOMATIC, text))
        self._passed_over[name] = (await asyncio.to_thread(self._signatures)).get(name, ())
        try:
            await asyncio.to_thread(_roll_back_on_disk, self._repository, name, bad, good)
        except (EdgeAgentError, OSError) as error:  # in memory it is done; a restart tries again
            extra = {"model": name, "reason": str(error)}
            log.error("rollback not on disk", extra=extra)
            return False
        return True

    # -- standby and shadow -------------------------------------------------------------------

    async def _load_beside(self, name: str) -> None:
        """Load the standby and the shadow of the repository."""
        repository, deployments = self._repository, self._deployments
        there = await asyncio.to_thread(repository.versions, name)
        previous = await asyncio.to_thread(repository.previous, name)
        shadow = await asyncio.to_thread(repository.shadow, name)
        standby, latest = deployments.standby(name), deployments.latest(name)
        if (
            previous is None and there
        ):  # a bundle without a shelf is rolled back to the version in memory
            deployments.set_standby(name, None)
        elif previous is None or deployments.warming(name) is not None:
            pass  # the active version becomes the standby once the next one is active
        elif standby is None or standby.manifest.version != previous:
            await self._load_version(name, previous, as_shadow=False)
        if shadow is None or (latest is not None and shadow == latest.manifest.version):
            deployments.set_shadow(name, None)
        elif not deployments.has_shadow(name, shadow):
            await self._load_version(name, shadow, as_shadow=True)

    async def _load_version(self, name: str, version: str, *, as_shadow: bool) -> None:
        """Load a version from the repository in addition to the active one."""
        try:
            folder = self._repository.folder(name, version)
            model = await self._loader().load_model(name, folder)
        except EdgeAgentError as error:
            extra = {"model": name, "version": version, "reason": str(error)}
            log.warning("version cannot be the standby", extra=extra)
            refusal = Refusal(version, str(error), self._clock.now_us())
            self._deployments.reports.refused[name] = refusal
            return
        async with self._turning:
            if as_shadow:
                self._deployments.set_shadow(name, model)
            else:
                self._deployments.set_standby(name, model)

    # -- the disk -----------------------------------------------------------------------------

    def _signatures(self) -> dict[str, Signature]:
        """The files on disk, by the name of the bundle."""
        loader = self._loader()
        return {name: _signature(loader.models_dir, name) for name in _names(loader)}


def _names(loader: ModelLoader) -> list[str]:
    """The bundles in service, and those that should be."""
    names = [str(model.manifest.name) for model in loader.deployments.models()]
    return [*names, *(name for name in loader.bundle_names() if name not in names)]


def _signature(models_dir: Path, name: str) -> Signature:
    places = (models_dir / name, models_dir / REPOSITORY_DIR / name)
    found = [(path, path.stat()) for place in places if place.is_dir() for path in place.iterdir()]
    return tuple(sorted((str(p), s.st_mtime_ns, s.st_size, s.st_ino) for p, s in found))


def _roll_back_on_disk(repository: ModelRepository, name: str, bad: str, good: str) -> None:
    if (repository.active(name) or "") != bad:
        return  # another process was faster
    if repository.previous(name) != good:
        raise ModelError(f"{good} is not installed", where=f"model {name}")
    repository.rollback(name)
