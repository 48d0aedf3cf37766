"""What the parts of the daemon do when the store's file can be read at last, or is a new one."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    from edge_agent.clock import Clock
    from edge_agent.daemon.runtime import Runtime
    from edge_agent.delivery import Publisher
    from edge_agent.messages import Alarm

log = logging.getLogger("edge_agent.daemon")


class StoredPart(Protocol):
    """A part whose state is kept over restarts."""

    async def restore(self) -> None:
        """Restore the state of the last run of the service."""

    async def save(self, *, at_once: bool) -> None:
        """Save the present state."""


class StoreRecovery:
    """Restores what a start without the store's file could not, and fills a new file.

    turning: held while the pipeline works.
    """

    def __init__(
        self,
        runtime: Callable[[], Runtime],
        turning: asyncio.Lock,
        publisher: Publisher,
        parts: Sequence[StoredPart],
        clock: Clock,
    ) -> None:
        self._runtime = runtime
        self._turning = turning
        self._publisher = publisher
        self._parts = parts
        self._clock = clock
        publisher.on_recovered = self.restore
        publisher.on_replaced = self.save

    async def restore(self, alarms: Sequence[Alarm]) -> None:
        """Add the assets, alarms and states that are only in the file."""
        memory = await self._publisher.load_memory()
        async with self._turning:
            runtime = self._runtime()
            runtime.plant.restore(memory.discovered)
            runtime.catalogue.restore(alarms)
            runtime.alarms.add_restored(alarms)
            now_us = self._clock.now_us()
            runtime.pipeline.follow_alarms(now_us, [one.alarm_id for one in alarms])
            gone = [one for one in alarms if runtime.catalogue.policy_of(one.alarm_id) is None]
            for part in self._parts:
                await part.restore()
        await self._publisher.withdraw(gone, memory)
        self._publisher.saved_assets = -1  # what was saved is in memory: the file keeps its own
        await self._publisher.save_memory(runtime.plant)
        log.info("state of the last run restored", extra={"alarms": len(alarms)})

    async def save(self) -> None:
        """Write the present state of all parts."""
        for part in self._parts:
            await part.save(at_once=True)
