"""The version of MQTT: 5, and 3.1.1 only if a broker does not support 5.

With 3.1.1 a broker also confirms an alarm that it refuses (the version has no code for it), so it
must never be used by mistake: silence alone is not a proof, a broker may be slow or going down.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from edge_agent.errors import EdgeAgentError
from edge_agent.sinks.mqtt_connection import V5, V311, Connection, SilenceError, VersionError
from edge_agent.transport.mqtt import Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from paho.mqtt.enums import MQTTProtocolVersion

    Make = Callable[[MQTTProtocolVersion], Connection]

ENOUGH_SILENCES: Final = 3  # in a row, from a broker that has never used 5
ASK_AGAIN_S: Final = 600.0


class VersionChoice:
    """The version of one broker.

    silences: how often in a row it did not answer a CONNECT of MQTT 5.
    guessed: 3.1.1 is used only because of its silence.
    """

    def __init__(self, protocol: Protocol, silences: int = 0) -> None:
        self._protocol = protocol
        self.silences = silences
        self.has_spoken_5 = False
        self.guessed = False

    async def connect(self, make: Make) -> Connection:
        """Return an open connection; EdgeAgentError. 5 is tried anew for each."""
        if self._protocol is Protocol.V311:
            return await _opened(make(V311))
        try:
            connection = await _opened(make(V5))
        except VersionError as refused:
            if not self._may_fall_back(refused):
                raise
            return await self._fall_back(make, refused)
        self.has_spoken_5, self.silences, self.guessed = True, 0, False
        return connection

    def _may_fall_back(self, refused: VersionError) -> bool:
        if self._protocol is Protocol.V5:
            return False
        if not isinstance(refused, SilenceError):
            return True  # it reported so
        self.silences += 1
        return self.silences >= ENOUGH_SILENCES and not self.has_spoken_5

    async def _fall_back(self, make: Make, refused: VersionError) -> Connection:
        try:
            connection = await _opened(make(V311))
        except VersionError:
            raise refused from None
        self.guessed = isinstance(refused, SilenceError)
        return connection

    async def ask_for_5(self, make: Make) -> None:
        """Return once the broker supports 5 after all; tested every ten minutes."""
        while not self.has_spoken_5:
            await asyncio.sleep(ASK_AGAIN_S)
            try:
                connection = await _opened(make(V5))
            except EdgeAgentError:
                continue
            connection.close()
            self.has_spoken_5 = True


async def _opened(connection: Connection) -> Connection:
    await connection.open()
    return connection
