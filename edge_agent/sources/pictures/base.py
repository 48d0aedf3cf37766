"""The part that all cameras share: time and limits of a picture, and what counts as lost."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from edge_agent.config.cameras import Camera
from edge_agent.signals import EncodedPicture
from edge_agent.sources.base import ConnectedSource
from edge_agent.transport import LostError, Waits
from edge_agent.values import GOOD

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import ClassVar

_NS_PER_S: Final = 1_000_000_000
_NS_PER_US: Final = 1_000
_AHEAD_NS: Final = 2 * _NS_PER_S  # a clock may be so far ahead; a picture is not from the future
_log = logging.getLogger("edge_agent.sources")


class CameraSource(ConnectedSource[Camera]):
    """A camera as a source: `accept` gets its pictures, on the event loop of the source."""

    waits: ClassVar[Waits] = Waits(longest_s=30.0)
    accept: Callable[[EncodedPicture], None]

    def _prepare(self) -> None:
        self.accept = lambda _: None
        self._arrived = asyncio.Event()
        self._reported: set[str] = set()

    def deliver(
        self, data: bytes, at_ns: int | None = None, part: str | None = None, status: int = GOOD
    ) -> None:
        """Pass a picture on; at_ns: None, or in the future: it is from now."""
        self._metrics.values_received.labels(self.name).inc()
        self._arrived.set()
        now_ns = self._clock.now_us() * _NS_PER_US
        if at_ns is None or at_ns > now_ns + _AHEAD_NS:
            at_ns = now_ns
        if now_ns - at_ns > self._config.max_age * _NS_PER_S:
            self.refuse("old", "a picture is older than max_age")
        elif len(data) > self._config.max_bytes:
            self.refuse("too_large", f"a picture of {len(data)} bytes: more than max_bytes")
        else:
            data = data if status >> 31 == 0 else b""
            self.accept(EncodedPicture(self.name, data, at_ns, now_ns, part, status))

    def refuse(self, reason: str, text: str) -> None:
        """Count a picture that is not passed on; the first of each reason is logged."""
        self._metrics.values_rejected.labels(self.name, reason).inc()
        if reason not in self._reported:
            self._reported.add(reason)
            _log.warning("picture refused", extra={"source": self.name, "reason": text})

    async def _follow_arrivals(self) -> None:
        """Connected while pictures arrive; LostError without one for `silence_s`, if it is told."""
        silence_s = self._config.silence_s
        if silence_s is None:
            self._reconnector.set_connected()
            await asyncio.Event().wait()
        while True:
            self._arrived.clear()
            try:
                async with asyncio.timeout(silence_s):
                    await self._arrived.wait()
            except TimeoutError:
                raise LostError(f"no picture for {silence_s:g} s", where=self.target) from None
            self._reconnector.set_connected()
