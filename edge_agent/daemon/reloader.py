"""SIGHUP: the config is read again, and what it changes comes into force."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from edge_agent.alarms import load_texts
from edge_agent.daemon.config_changes import rebuilds
from edge_agent.daemon.runtime import labels_of
from edge_agent.daemon.tables import load_config
from edge_agent.delivery import Memory
from edge_agent.errors import ConfigError, EdgeAgentError
from edge_agent.messages import Detail, Fault
from edge_agent.ops import notify

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from edge_agent.config.schema import Config
    from edge_agent.daemon.daemon import Daemon
    from edge_agent.daemon.model_manager import ModelManager

log = logging.getLogger("edge_agent.daemon")


class Reloader:
    """Exchanges the parts of a running daemon. busy: held while it does so."""

    def __init__(self, daemon: Daemon, path: Path | None) -> None:
        self.busy = asyncio.Lock()
        self._daemon = daemon
        self._path = path
        self._tasks: list[asyncio.Task[None]] = []
        self._refused = ""

    def faults(self) -> list[Fault]:
        """The config on disk was refused: what it changes does not hold, no restart takes it."""
        if not self._refused:
            return []
        text = f"the changed config is refused, the old one holds: {self._refused}"
        return [Fault("config", text, Detail("config_refused", {"reason": self._refused}))]

    def hang_up(self) -> None:
        """SIGHUP came."""
        self._tasks = [task for task in self._tasks if not task.done()]
        self._tasks.append(asyncio.get_running_loop().create_task(self.reload()))

    async def stop(self) -> None:
        """Give up what has begun."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def reload(self) -> None:
        """Read the config again; a bad one changes nothing."""
        async with self.busy:
            notify.reloading()
            await self._daemon.error_boundary.guard("reload", self._read_again())
            notify.ready()

    async def _read_again(self) -> None:
        reloads = self._daemon.metrics.config_reloads
        try:
            if self._path is None:
                raise ConfigError("there is no config file to read again")
            await self.adopt(await asyncio.to_thread(load_config, self._path))
        except EdgeAgentError as error:
            reloads.labels("refused").inc()
            self._refused = str(error).partition("\n")[0]
            log.error("config refused, the old one stays", extra={"reason": str(error)})
            return
        self._refused = ""
        reloads.labels("ok").inc()
        log.info("config reloaded", extra={"path": str(self._path)})

    async def adopt(self, config: Config) -> None:
        """Let a config come into force; an error leaves what is in force as it was."""
        daemon = self._daemon
        is_new = rebuilds(daemon.runtime.config, config)
        before = labels_of(daemon.runtime, daemon.publisher.sinks)
        load_texts(config.alarms)  # what is wrong with them is said before anything has changed
        # Loading models takes seconds, in which the old ones serve.
        models = await daemon.builder.load_models(config) if is_new else None
        async with daemon.turning:
            if models is not None:
                await self._exchange_runtime(config, models)
            else:
                daemon.adopt_rules(config)
            daemon.runtime.alarms.adopt(config.alarms)
            await daemon.publisher.replace_config(config)
        after = labels_of(daemon.runtime, daemon.publisher.sinks)
        for label, names in before.items():
            daemon.metrics.forget(label, names - after[label])
        await daemon.reconciler.refresh()

    async def leave_out(self, assets: Collection[str]) -> None:
        """Build plant and pipeline anew without these assets, which had announced themselves."""
        async with self.busy:
            daemon = self._daemon
            config = daemon.runtime.config
            models = await daemon.builder.load_models(config)
            async with daemon.turning:
                await self._exchange_runtime(config, models, assets)
            daemon.metrics.forget("asset", assets)
            await daemon.reconciler.refresh()

    async def _exchange_runtime(
        self, config: Config, models: ModelManager, gone: Collection[str] = ()
    ) -> None:
        """What the old sources brought goes down the old path; only then the new ones begin.

        gone: discovered assets that are to be forgotten.
        """
        daemon = self._daemon
        old = daemon.runtime
        for source in old.sources.values():
            await source.stop()
        try:
            await daemon.turn()
            known = Memory.of(old.plant).without(gone)
            new = daemon.builder.build(config, models, old.alarms.all(), known)
            new.pipeline.take_over(old.pipeline)
            await daemon.replace_runtime(new, known)
        finally:  # these are the old ones still if the new could not be made
            for source in daemon.runtime.sources.values():
                await source.start()
        old.models.close()
