"""The version of MQTT: 5, and 3.1.1 only if a broker does not support 5."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, TypeVar

from edge_agent.errors import EdgeAgentError
from edge_agent.transport.mqtt.broker import Protocol
from edge_agent.transport.mqtt.session import BrokerSession, VersionError

if TYPE_CHECKING:
    from collections.abc import Callable

S = TypeVar("S", bound=BrokerSession)

CONNACK_TIMEOUT_S: Final = 10.0
FIRST_TRY_TIMEOUT_S: Final = 5.0  # if 3.1.1 is tried next: old brokers may just hang
ENOUGH_SILENCES: Final = 3  # in a row, from a broker that has never used 5
ASK_AGAIN_S: Final = 600.0


class VersionChoice:
    """The version of one broker.

    wary: 3.1.1 must never be used by mistake, because a broker also confirms with it what it
    refuses (the version has no code for it): silence alone is not a proof, and 5 is tried first for
    each connection. Otherwise the first silence is enough, and a broker that answered to 3.1.1
    but not to 5 gets 3.1.1 from then on.
    silences: how often in a row it did not answer a CONNECT of MQTT 5.
    guessed: 3.1.1 is used only because of its silence.
    """

    def __init__(self, protocol: Protocol, silences: int = 0, *, wary: bool = True) -> None:
        self._protocol = protocol
        self._wary = wary
        self.silences = silences
        self.has_spoken_5 = False
        self.guessed = False

    async def connect(self, make: Callable[[Protocol], S]) -> S:
        """Return an open connection of the best version; EdgeAgentError."""
        if self._protocol is Protocol.V311:
            return await _opened(make(Protocol.V311))
        quick = not self._wary and self._protocol is Protocol.AUTO
        try:
            session = await _opened(
                make(Protocol.V5), FIRST_TRY_TIMEOUT_S if quick else CONNACK_TIMEOUT_S
            )
        except VersionError as refused:
            if not self._may_fall_back(refused):
                raise
            return await self._fall_back(make, refused)
        self.has_spoken_5, self.silences, self.guessed = True, 0, False
        return session

    def _may_fall_back(self, refused: VersionError) -> bool:
        if self._protocol is Protocol.V5:
            return False
        if not refused.silent:
            return True  # it reported so
        self.silences += 1
        return not self._wary or (self.silences >= ENOUGH_SILENCES and not self.has_spoken_5)

    async def _fall_back(self, make: Callable[[Protocol], S], refused: VersionError) -> S:
        try:
            session = await _opened(make(Protocol.V311))
        except VersionError:
            raise refused from None
        self.guessed = refused.silent
        if not self._wary and not refused.closed:  # a broker that is going down closes, too
            self._protocol = Protocol.V311
        return session

    async def ask_for_5(self, make: Callable[[Protocol], S]) -> None:
        """Return once the broker supports 5 after all; tested every ten minutes."""
        while not self.has_spoken_5:
            await asyncio.sleep(ASK_AGAIN_S)
            try:
                session = await _opened(make(Protocol.V5))
            except EdgeAgentError:
                continue
            session.close()
            self.has_spoken_5 = True


async def _opened(session: S, timeout_s: float | None = None) -> S:
    await session.open(timeout_s or CONNACK_TIMEOUT_S)
    return session
