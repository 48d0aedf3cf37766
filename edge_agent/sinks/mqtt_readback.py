"""Messages of our own that the broker sends back: what it holds, and proof over MQTT 3.1.1."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    Subscribe = Callable[[Sequence[tuple[str, int]]], Awaitable[list[str]]]

RETAINED_S: Final = 1.0  # after SUBACK, until a retained message has arrived
ECHO_S: Final = 5.0
_EMPTY: Final = b""


class ReadBack:
    """Reads messages that we have published.

    subscribe: to (filter, QoS) each. works: True if a message of ours came back: then one that
    does not was refused.
    """

    def __init__(self, subscribe: Subscribe) -> None:
        self._subscribe = subscribe
        self._filters: set[str] = set()
        self._echoes: dict[tuple[str, bytes], asyncio.Future[None]] = {}
        self._retained: dict[str, asyncio.Future[bytes]] = {}
        self.works = False

    def accept(self, topic: str, body: bytes) -> bool:
        """Accept a message that arrived; False if nothing waits for it."""
        retained = self._retained.pop(topic, None)
        if retained is not None and not retained.done():
            retained.set_result(body)
            return True
        echo = self._echoes.pop((topic, body), None)
        if echo is not None and not echo.done():
            echo.set_result(None)
        return echo is not None

    async def retained(self, topic: str) -> bytes:
        """Return the retained message of a topic; empty if there is none, or it is not ours."""
        found: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._retained[topic] = found
        try:
            await self._subscribe([(topic, 0)])
            await asyncio.wait([found], timeout=RETAINED_S)
            if not found.done():  # a busy machine: a second answer comes after what is on its way
                await self._subscribe([(topic, 0)])
            return found.result() if found.done() else _EMPTY
        finally:
            self._retained.pop(topic, None)

    async def expect(self, topic: str, body: bytes) -> asyncio.Future[None]:
        """Return what is done when this message comes back; call it before it is published."""
        wanted = _filter_of(topic)
        if wanted not in self._filters:
            await self._subscribe([(wanted, 0)])  # QoS 0: nothing is kept for us while we are away
            self._filters.add(wanted)
        return self._echoes.setdefault((topic, body), asyncio.get_running_loop().create_future())

    async def came_back(self, echo: asyncio.Future[None], topic: str, body: bytes) -> bool:
        """Wait for a message that was published and confirmed."""
        await asyncio.wait([echo], timeout=ECHO_S)
        self._echoes.pop((topic, body), None)
        return echo.done()


def _filter_of(topic: str) -> str:
    """One filter for the alerts of an asset, so that there is not one for each alarm."""
    place, _, last = topic.rpartition("/")
    return f"{place}/+" if place.endswith("/alert") else f"{place}/{last}"
