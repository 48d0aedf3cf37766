"""The bundles of models_dir that other programs use: every version, loaded when it is asked for.

They are verified as the plant's own are (signature, checksums, golden vectors), by the same
registry, and always run in processes of their own. At most `inference.models` are in memory.
"""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar, cast

from edge_agent.config.settings import Isolated
from edge_agent.errors import ModelError
from edge_agent.models import (
    ModelRepository,
    ServiceIsolation,
    SessionRegistry,
)
from edge_agent.service.admission import ModelQueue, QueueLimits
from edge_agent.service.served_bundles import Bundle, find_bundle, versions_of
from edge_agent.service.served_jobs import GoneError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edge_agent.clock import Clock
    from edge_agent.config.schema import Config
    from edge_agent.models import Stamp, VerifiedBundles
    from edge_agent.ops.metrics import Metrics
    from edge_agent.service.admission import ServedEngine

P = ParamSpec("P")
T = TypeVar("T")

log = logging.getLogger("edge_agent.service")

LOOK_S: Final = 1.0  # for so long, what is known of the folder of a bundle is used again
_MAX_KNOWN: Final = 1000  # bundles whose manifests are kept
READY: Final = "READY"
UNAVAILABLE: Final = "UNAVAILABLE"
LOADING: Final = "LOADING"


class BusyError(Exception):
    """No model can leave memory now."""


@dataclass(slots=True)
class _Loaded:
    bundle: Bundle
    queue: ModelQueue
    used_s: float


class ServedModels:
    """Loads bundles for other programs, and lets them leave memory; belongs to the event loop.

    config: the present one; verified: shared with the daemon's own registry; plant_is_busy: as in
    `ModelQueue`.
    """

    def __init__(
        self,
        config: Callable[[], Config],
        verified: VerifiedBundles,
        metrics: Metrics,
        plant_is_busy: Callable[[], bool],
        clock: Clock,
    ) -> None:
        self._config = config
        self._verified = verified
        self._metrics = metrics
        self._plant_is_busy = plant_is_busy
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="served models")
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="served bundles")
        self._built: tuple[Config, ServiceIsolation, SessionRegistry] | None = None
        self._known: dict[tuple[str, str | None], tuple[float, Bundle]] = {}
        self._loaded: dict[tuple[str, str], _Loaded] = {}
        self._loading: dict[tuple[str, str], asyncio.Task[_Loaded]] = {}
        self._refused: dict[Path, tuple[Stamp, str]] = {}
        self._unloaded: set[str] = set()  # by a client, until one loads them again

    # -- what there is ------------------------------------------------------------------------

    async def names(self) -> list[str]:
        """All bundles of models_dir."""
        return await self._on_disk(self._repository().names)

    async def versions(self, name: str) -> list[str]:
        """All versions of a bundle, the active one last; empty if there is no such bundle."""
        return await self._on_disk(versions_of, self._repository(), name)

    async def bundle(self, name: str, version: str | None = None) -> Bundle:
        """A version on disk, by default the active one; NotFoundError if there is none.

        ModelError if its manifest is not valid.
        """
        key, now_s = (name, version), self._clock.monotonic_s()
        looked_s, known = self._known.get(key, (0.0, None))
        if known is None or now_s - looked_s >= LOOK_S:
            known = await self._on_disk(find_bundle, self._repository(), name, version, known)
            while len(self._known) >= _MAX_KNOWN:
                self._known.pop(next(iter(self._known)))
            self._known[key] = now_s, known
        return known

    def state(self, bundle: Bundle) -> tuple[str, str]:
        """READY, LOADING or UNAVAILABLE, with the reason; READY also if it would be loaded."""
        key = (bundle.name, bundle.version)
        if bundle.name in self._unloaded:
            return UNAVAILABLE, "unloaded"
        if key in self._loading:
            return LOADING, ""
        stamp, reason = self._refused.get(bundle.folder, ((), ""))
        return (UNAVAILABLE, reason) if reason and stamp == bundle.stamp else (READY, "")

    def is_loaded(self, bundle: Bundle) -> bool:
        """True if it is in memory."""
        return (bundle.name, bundle.version) in self._loaded

    def loaded(self) -> list[ModelQueue]:
        """All models in memory."""
        return [one.queue for one in self._loaded.values()]

    # -- loading ------------------------------------------------------------------------------

    async def queue(self, name: str, version: str | None = None) -> ModelQueue:
        """The queue of a model, which is loaded first if necessary.

        NotFoundError if there is no such bundle; ModelError if it is refused; GoneError if it was
        unloaded, or is not loaded within the deadline; BusyError if others cannot give way.
        """
        bundle = await self.bundle(name, version)
        if name in self._unloaded:
            raise GoneError(f"model {name!r} is unloaded")
        loaded = self._loaded.get((bundle.name, bundle.version))
        if loaded is None or loaded.bundle.digest != bundle.digest:
            loaded = await self._loaded_now(bundle)
        loaded.used_s = self._clock.monotonic_s()
        return loaded.queue

    async def _loaded_now(self, bundle: Bundle) -> _Loaded:
        key = (bundle.name, bundle.version)
        state, reason = self.state(bundle)
        if state == UNAVAILABLE:
            raise ModelError(reason, where=f"model {bundle.name}")
        task = self._loading.get(key)
        if task is None:
            task = self._loading[key] = asyncio.create_task(self._load(bundle))
            task.add_done_callback(partial(self._ended, key))
        try:
            async with asyncio.timeout(self._config().inference.deadline):
                return await asyncio.shield(task)
        except TimeoutError:
            raise GoneError("it is being loaded") from None

    def _ended(self, key: tuple[str, str], task: asyncio.Task[_Loaded]) -> None:
        self._loading.pop(key, None)
        if not task.cancelled():
            task.exception()  # each waiting request has it; without any, it is not reported again

    async def _load(self, bundle: Bundle) -> _Loaded:
        key = (bundle.name, bundle.version)
        await self._make_room(key)
        try:
            made = await self._on_thread(self._opened, self._config(), bundle)
        except ModelError as error:
            self._refused[bundle.folder] = bundle.stamp, error.message
            extra = {"model": bundle.name, "version": bundle.version, "reason": error.message}
            log.warning("model not served", extra=extra)
            raise
        self._refused.pop(bundle.folder, None)
        self._loaded[key] = found = _Loaded(bundle, made, self._clock.monotonic_s())
        self._metrics.served_models.set(len(self._loaded))
        log.info("model served", extra={"model": bundle.name, "version": bundle.version})
        return found

    def _opened(self, config: Config, bundle: Bundle) -> ModelQueue:
        """Verify, load and test a bundle, in the loading thread."""
        _, registry = self._registry(config)
        model = registry.load(bundle.name, bundle.folder)
        if (model.manifest.name, model.manifest.version) != (bundle.name, bundle.version):
            raise ModelError("another version has replaced it", where=f"model {bundle.name}")
        wished, max_batch = config.inference, config.runtime.max_batch
        limits = QueueLimits(wished.queue, wished.deadline, max_batch)
        return ModelQueue(model, cast("ServedEngine", model.engine), limits, self._plant_is_busy)

    def _registry(self, config: Config) -> tuple[ServiceIsolation, SessionRegistry]:
        """The registry of the present config: its keys and folder may change by a reload."""
        known = self._built
        parts = (config.models_dir, config.trust, config.runtime)
        if known is not None:
            old = known[0]
            if (old.models_dir, old.trust, old.runtime) == parts:
                return known[1:]
            known[1].close()
        deadline_s, memory = config.inference.deadline, int(config.runtime.model_memory)
        isolation = ServiceIsolation(self._metrics, deadline_s, memory)
        wished = replace(
            config.runtime, providers=("cpu",), required=False, isolation=Isolated.ALWAYS
        )
        registry = SessionRegistry(
            config.models_dir,
            wished,
            self._metrics,
            config.trust,
            isolation=isolation,
            verified=self._verified,
        )
        self._built = config, isolation, registry
        return isolation, registry

    async def _make_room(self, key: tuple[str, str]) -> None:
        """Let models leave memory until one more has room; the same one gives way to its new self.

        BusyError if all have requests.
        """
        if key in self._loaded:
            await self._drop(key)
        most = self._config().inference.models
        while len(self._loaded) + len(self._loading) > most:
            idle = [one for one, loaded in self._loaded.items() if not loaded.queue.pending]
            if not idle:
                raise BusyError(f"{most} models are in use, and no more may be in memory")
            await self._drop(min(idle, key=lambda one: self._loaded[one].used_s))

    async def _drop(self, key: tuple[str, str]) -> None:
        loaded = self._loaded.pop(key)
        self._metrics.served_models.set(len(self._loaded))
        loaded.queue.close()
        await self._on_thread(self._release, loaded.queue)

    def _release(self, queue: ModelQueue) -> None:
        queue.join()
        queue.model.engine.close()
        if self._built is not None:
            self._built[1].reap()

    # -- commands -----------------------------------------------------------------------------

    async def load(self, name: str) -> None:
        """Load the active version, also if it is unloaded or was refused; as `queue`."""
        bundle = await self.bundle(name)
        self._unloaded.discard(name)
        self._refused.pop(bundle.folder, None)
        await self.queue(name)

    async def unload(self, name: str) -> None:
        """Let all versions leave memory until `load`; NotFoundError if there is no such bundle."""
        await self.bundle(name)
        self._unloaded.add(name)
        for key in [one for one in self._loaded if one[0] == name]:
            await self._drop(key)

    async def tend(self) -> None:
        """Let unused models leave memory; call it every few seconds."""
        config, now_s = self._config(), self._clock.monotonic_s()
        for key, loaded in list(self._loaded.items()):
            is_idle = now_s - loaded.used_s >= config.inference.idle
            if is_idle and not loaded.queue.pending:
                log.info("model leaves memory", extra={"model": key[0], "version": key[1]})
                await self._drop(key)

    async def stop(self) -> None:
        """Let all models leave memory, and end all threads; it is never used again."""
        for task in list(self._loading.values()):
            task.cancel()
        for key in list(self._loaded):
            await self._drop(key)
        if self._built is not None:
            self._built[1].close()
        self._thread.shutdown(wait=False)
        self._disk.shutdown(wait=False)

    # -- parts --------------------------------------------------------------------------------

    def _repository(self) -> ModelRepository:
        return ModelRepository(self._config().models_dir)

    async def _on_thread(self, call: Callable[P, T], *args: P.args, **more: P.kwargs) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, partial(call, *args, **more))

    async def _on_disk(self, call: Callable[P, T], *args: P.args, **more: P.kwargs) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._disk, partial(call, *args, **more))
