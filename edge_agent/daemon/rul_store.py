"""Remaining lives over restarts, and what is said of their end."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from edge_agent.clock import US_PER_S
from edge_agent.errors import NotFoundError, StoreError, UsageError
from edge_agent.store import Store

if TYPE_CHECKING:
    from edge_agent.daemon.daemon import Daemon
    from edge_agent.diagnostics import Outcome, RulTracker

log = logging.getLogger("edge_agent.daemon")

_KEY: Final = "lives"
_SAVE_EVERY_S: Final = 3600.0  # a crash loses this much of lives that last weeks


class RulStore:
    """Keeps what was told of remaining lives in the store, and takes word of their end."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._saved_s = daemon.clock.monotonic_s()

    @property
    def _lives(self) -> RulTracker:
        return self._daemon.runtime.pipeline.diagnostics.lives

    async def recall(self) -> None:
        """Go on where the last run of the service was."""
        self._lives.restore(await self._daemon.publisher.store.run(Store.load_value, _KEY))

    async def keep(self, *, at_once: bool = False) -> None:
        """Save what has changed, now and then or `at_once`."""
        now_s = self._daemon.clock.monotonic_s()
        if not self._lives.changed or not (at_once or now_s - self._saved_s >= _SAVE_EVERY_S):
            return
        self._saved_s = now_s
        lives = self._lives
        try:
            await self._daemon.publisher.store.run(Store.save_value, _KEY, lives.dump())
        except StoreError as error:
            lives.changed = True
            self._daemon.publisher.health.note_trouble(str(error))

    async def end(self, asset: str, at_us: int, actor: str, *, failed: bool) -> list[Outcome]:
        """A life of `asset` ended; EdgeAgentError where that cannot be, or nothing was told."""
        daemon = self._daemon
        if asset not in daemon.runtime.plant.assets:
            raise NotFoundError("no such asset", where=repr(asset[:200]))
        latest_us = daemon.clock.now_us() + round(
            daemon.runtime.config.tuning.max_future * US_PER_S
        )
        if not 0 < at_us <= latest_us:
            raise UsageError("a time that is not yet", where=asset, hint="--at is when it ended")
        async with daemon.turning:
            found = self._lives.end(asset, at_us, failed=failed)
        action = "failed" if failed else "overhauled"
        log.info("life ended", extra={"asset": asset, "how": action, "models": len(found)})
        await self.keep(at_once=True)
        await daemon.publisher.audit([(actor, action, asset, "")])
        return found
