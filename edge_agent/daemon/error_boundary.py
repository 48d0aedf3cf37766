"""Unexpected errors: they are reported and do not end the service."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from edge_agent.clock import Clock
    from edge_agent.ops.metrics import Metrics

log = logging.getLogger("edge_agent.daemon")

_REPORT_EVERY_S: Final = 60.0  # a traceback for each bad value would hide other messages


class ErrorBoundary:
    """Counts unexpected errors of a part of the service, and reports them periodically."""

    def __init__(self, metrics: Metrics, clock: Clock) -> None:
        self._metrics = metrics
        self._clock = clock
        self._reported_s: dict[str, float] = {}

    async def guard(self, part: str, work: Awaitable[object]) -> bool:
        """Run `work`; True if it raised no error."""
        try:
            await work
        except Exception as error:  # noqa: BLE001 (this is the place for them)
            self.report_error(part, error)
            return False
        return True

    async def repeat(
        self,
        part: str,
        every_s: float,
        work: Callable[[], Awaitable[object]],
        first_s: float | None = None,
    ) -> None:
        """Run `work` every `seconds`, for ever; the first time after `first_s`, if given."""
        await asyncio.sleep(every_s if first_s is None else first_s)
        while True:
            await self.guard(part, work())
            await asyncio.sleep(every_s)

    def report_error(self, part: str, error: Exception) -> None:
        """Count an error of a part, and report it unless one was just reported."""
        self._metrics.error_boundary.labels(part).inc()
        now_s = self._clock.monotonic_s()
        if now_s - self._reported_s.get(part, -_REPORT_EVERY_S) >= _REPORT_EVERY_S:
            self._reported_s[part] = now_s
            log.error("unexpected error", extra={"part": part}, exc_info=error)
