"""SIGHUP: the config is read again, and its changes are applied while everything runs.

With the smallest effect: new alarm rules are applied in place, and windows, timers and connections
stay; changed sinks are replaced one by one; only changed sources, assets or models need another
runtime, which is built in parallel with the present one.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from edge_agent.alarms import load_texts
from edge_agent.config.schema import AlarmRule, LearnedAlarm
from edge_agent.daemon.runtime import labels_of
from edge_agent.daemon.source_positions import hand_over
from edge_agent.daemon.tables import load_config
from edge_agent.delivery import Memory
from edge_agent.errors import ConfigError, EdgeAgentError
from edge_agent.messages import Detail, Fault
from edge_agent.ops import notify

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
    from pathlib import Path

    from edge_agent.config.schema import Config, Template
    from edge_agent.daemon.error_boundary import ErrorBoundary
    from edge_agent.daemon.model_manager import ModelManager
    from edge_agent.daemon.pipeline_loop import PipelineLoop
    from edge_agent.daemon.runtime import Runtime
    from edge_agent.delivery import Publisher
    from edge_agent.messages import Alarm
    from edge_agent.ops.metrics import Metrics

    Audit = Callable[[Sequence[tuple[str, str, str, str]]], Awaitable[None]]

log = logging.getLogger("edge_agent.daemon")

_FIXED: Final = (
    "gateway",
    "topic_root",
    "standby",
    "store",
    "labelled",
    "trends",
    "part_records",
    "pictures",
    "http",
    "inference",
    "language",
    "log",
)
_REBUILT: Final = (
    "sources",
    "assets",
    "cameras",
    "discovery",
    "models_dir",
    "runtime",
    "trust",
    "tuning",
    "drift",
    "control_charts",
)


@dataclass(frozen=True, slots=True)
class RuntimeReplacer:
    """Replaces the runtime of a running daemon.

    busy: held during a replacement; replace_runtime: replaces the present runtime by
    another; load_models, build: of a config, as in `RuntimeBuilder`; refresh: updates the models
    to the bundles on disk.
    """

    runtime: Callable[[], Runtime]
    replace_runtime: Callable[[Runtime], None]
    load_models: Callable[[Config], Awaitable[ModelManager]]
    build: Callable[[Config, ModelManager, Iterable[Alarm], Memory], Runtime]
    loop: PipelineLoop
    publisher: Publisher
    refresh: Callable[[], Awaitable[None]]
    metrics: Metrics
    busy: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def adopt(self, config: Config) -> None:
        """Apply a config; after an error the present one stays."""
        old, sinks = self.runtime(), self.publisher.sinks
        is_new, before = _rebuilds(old.config, config), labels_of(old, sinks)
        load_texts(config.alarms)  # their errors are raised before anything has changed
        # Loading models takes seconds; the old ones are used meanwhile.
        models = await self.load_models(config) if is_new else None
        async with self.loop.turning:
            if models is not None:
                await self._rebuild(config, models)
            else:
                self.replace_runtime(old.with_rules(config))
            self.runtime().alarms.adopt(config.alarms)
            await self.publisher.replace_config(config)
        after = labels_of(self.runtime(), sinks)
        for label, names in before.items():
            self.metrics.forget(label, names - after[label])
        await self.refresh()

    async def leave_out(self, assets: Collection[str]) -> None:
        """Build the runtime again without these discovered assets."""
        async with self.busy:
            config = self.runtime().config
            models = await self.load_models(config)
            async with self.loop.turning:
                await self._rebuild(config, models, assets)
            self.metrics.forget("asset", assets)
            await self.refresh()

    async def _rebuild(
        self, config: Config, models: ModelManager, gone: Collection[str] = ()
    ) -> None:
        """Process the values of the old sources with the old pipeline, then start the new ones.

        gone: discovered assets to remove.
        """
        old = self.runtime()
        for source in old.sources.values():
            await source.stop()
        try:
            await self.loop.run_last_turn()
            known = Memory.of(old.plant).without(gone)
            new = self.build(config, models, old.alarms.all(), known)
            new.pipeline.adopt_state(old.pipeline)
            hand_over(old.sources, new.sources)
            self.replace_runtime(new)
            await new.attach_to(self.publisher, known)
        finally:  # these are still the old ones if the new ones failed
            for source in self.runtime().sources.values():
                await source.start()
        old.models.close()


class Reloader:
    """Reads the config again after SIGHUP. A bad one changes nothing.

    audit: of the publisher.
    """

    def __init__(
        self,
        path: Path | None,
        replacer: RuntimeReplacer,
        boundary: ErrorBoundary,
        metrics: Metrics,
        audit: Audit,
    ) -> None:
        self._path = path
        self._replacer = replacer
        self._boundary = boundary
        self._metrics = metrics
        self._audit = audit
        self._tasks: list[asyncio.Task[None]] = []
        self._refused = ""

    def faults(self) -> list[Fault]:
        """The config on disk was refused: it is not applied, and a restart would fail."""
        if not self._refused:
            return []
        text = f"the changed config is refused, the old one stays active: {self._refused}"
        return [Fault("config", text, Detail("config_refused", {"reason": self._refused}))]

    def hang_up(self) -> None:
        """Handle SIGHUP."""
        self._tasks = [task for task in self._tasks if not task.done()]
        self._tasks.append(asyncio.get_running_loop().create_task(self.reload()))

    async def stop(self) -> None:
        """Cancel a reload in progress."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def reload(self) -> None:
        """Read the config again; a bad one changes nothing."""
        async with self._replacer.busy:
            notify.reloading()
            await self._boundary.guard("reload", self._read_again())
            notify.ready()

    async def _read_again(self) -> None:
        reloads = self._metrics.config_reloads
        try:
            if self._path is None:
                raise ConfigError("there is no config file to read again")
            await self._replacer.adopt(await asyncio.to_thread(load_config, self._path))
        except EdgeAgentError as error:
            reloads.labels("refused").inc()
            self._refused = str(error).partition("\n")[0]
            log.error("config refused, the old one stays", extra={"reason": str(error)})
            await self._record("refused", f"reload: {self._refused}")
            return
        self._refused = ""
        reloads.labels("ok").inc()
        log.info("config reloaded", extra={"path": str(self._path)})
        await self._record("reload")

    async def _record(self, action: str, detail: str = "") -> None:
        await self._audit([("SIGHUP", action, str(self._path), detail)])


def _rebuilds(old: Config, new: Config) -> bool:
    """True if a change needs another runtime; ConfigError for what only a restart can change."""
    fixed = [name for name in _FIXED if getattr(old, name) != getattr(new, name)]
    fixed += ["cameras"] * (bool(old.cameras) != bool(new.cameras))  # their process is not there
    fixed += ["maintenance"] if (old.maintenance is None) != (new.maintenance is None) else []
    if fixed:
        raise ConfigError(
            f"{', '.join(fixed)} cannot change while running", hint="restart the service"
        )
    bare_old = {name: _without_rules(t) for name, t in old.templates.items()}
    bare_new = {name: _without_rules(t) for name, t in new.templates.items()}
    return bare_old != bare_new or any(getattr(old, n) != getattr(new, n) for n in _REBUILT)


def _without_rules(template: Template) -> Template:
    """A template without the rules that can change in place."""
    none = AlarmRule()
    learn = None if template.learn is None else replace(template.learn, alarm=LearnedAlarm())
    models = tuple(replace(use, alarm=none) for use in template.models)
    return replace(template, models=models, learn=learn, quality_alarm=none)
