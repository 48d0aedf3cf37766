"""The state of the daemon's parts over restarts, and the audit of assets and models."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from edge_agent.errors import StoreError
from edge_agent.store import Store

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable, Sequence

    from edge_agent.clock import Clock
    from edge_agent.daemon.runtime import Runtime
    from edge_agent.store import StoreWorker


class SavedValues:
    """Small values in the store, each under its key.

    report_trouble: called with the reason if the store failed. record: writes entries of the audit.
    """

    def __init__(
        self,
        store: StoreWorker,
        report_trouble: Callable[[str], None],
        record: Callable[[Sequence[tuple[str, str, str, str]]], Awaitable[None]],
    ) -> None:
        self._store = store
        self._report_trouble = report_trouble
        self._record = record

    async def load(self, key: str) -> bytes | None:
        """The value under a key; None if there is none, StoreError if it cannot be read."""
        return await self._store.run(Store.load_value, key)

    async def save(self, key: str, value: bytes) -> bool:
        """Store a value; False if the store failed."""
        try:
            await self._store.run(Store.save_value, key, value)
        except StoreError as error:
            self._report_trouble(str(error))
            return False
        return True

    async def audit(
        self, actor: str, action: str, subjects: Sequence[str], detail: str = ""
    ) -> None:
        """Record what was done to assets or models in the audit."""
        await self._record([(actor, action, one, detail) for one in subjects])


class SavedState:
    """A part of the pipeline's state that outlives it, and the commands that change it.

    turning: held while the pipeline works.
    """

    save_every_s: ClassVar[float] = 3600.0  # the longest loss by a crash

    def __init__(
        self,
        runtime: Callable[[], Runtime],
        turning: asyncio.Lock,
        values: SavedValues,
        clock: Clock,
    ) -> None:
        self._runtime = runtime
        self._turning = turning
        self._values = values
        self._clock = clock
        self._saved_s = clock.monotonic_s()

    def _is_due(self, *, at_once: bool) -> bool:
        """True if the state is to be saved now: `at_once`, or because it is time."""
        now_s = self._clock.monotonic_s()
        if not (at_once or now_s - self._saved_s >= self.save_every_s):
            return False
        self._saved_s = now_s
        return True
