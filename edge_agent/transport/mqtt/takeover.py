"""Two clients of one id: a broker accepts one and disconnects the other, alternately, for ever."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from edge_agent.messages import Detail, Fault
from edge_agent.transport.dialling import answers
from edge_agent.transport.mqtt.wire import OWN_END

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.messages import Link

SHORT_S: Final = 12.0
STEADY_S: Final = 90.0  # longer than the longest wait of the other client between two attempts
_SETTLE_S: Final = 0.5  # a broker that stops may end connections first, and listening afterwards
_ANSWER_S: Final = 2.0
_ENOUGH: Final = 3
_SHUTS_DOWN: Final = "shutting down"  # MQTT 5, 0x8B
_TAKEN_OVER: Final = "taken over"  # MQTT 5, 0x8E: Session accepted


class Takeovers:
    """Detects from the duration of connections that another client uses the client id."""

    def __init__(self, name: str, client_id: str, link: Link) -> None:
        self._name = name
        self._client_id = client_id
        self._link = link
        self._short = 0

    def count_end(self, reason: str, lived_s: float) -> str:
        """The broker ended a connection after `lived_s`; returns the reason with the suspicion.

        Do not call it for connections that we ended, or for brokers that were not reached.
        """
        said_so = _TAKEN_OVER in reason.lower()
        if _SHUTS_DOWN in reason.lower():
            self._short = 0
            return reason
        self._short = self._short + 1 if said_so or lived_s < SHORT_S else 0
        if not said_so and self._short < _ENOUGH:
            return reason
        question = f"does another client use client_id {self._client_id}?"
        text = f"{self._name}: connections end within seconds: {question}"
        args = {"link": self._name, "client_id": self._client_id}
        fault = Fault(f"client_id.{self._name}", text, Detail("client_id_taken", args))
        self._link.faults[fault.what] = fault
        return f"{reason} ({question})"

    async def end_of(
        self, ended: asyncio.Future[str], lived_s: Callable[[], float], host: str, port: int
    ) -> str:
        """Wait for the end of a connection; returns the reason and the suspicion.

        lived_s: how long it has been connected; host, port: of the broker.
        """
        loop = asyncio.get_running_loop()
        steady = loop.call_later(STEADY_S, self.clear_suspicion)
        try:
            reason = await asyncio.shield(ended)
        finally:
            steady.cancel()
        return reason if reason == OWN_END else await self.check_end(reason, lived_s(), host, port)

    async def check_end(self, reason: str, lived_s: float, host: str, port: int) -> str:
        """As `note_end`, but a suspicion is raised only while the broker accepts connections.

        A stopped broker or a broken network also ends connections, without another client.
        """
        said_so = _TAKEN_OVER in reason.lower()
        if not said_so and lived_s < SHORT_S and self._short + 1 >= _ENOUGH:
            await asyncio.sleep(_SETTLE_S)
            if not await answers(host, port, _ANSWER_S):
                self.forget_short_connections()
                return reason
        return self.count_end(reason, lived_s)

    def forget_short_connections(self) -> None:
        """The broker was not reached: it or the network failed, not the client id."""
        self._short = 0

    def clear_suspicion(self) -> None:
        """A connection has lasted for `STEADY_S`: no other client uses the id."""
        self._short = 0
        self._link.faults.pop(f"client_id.{self._name}", None)
