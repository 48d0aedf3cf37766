"""One connection to a broker, from CONNECT to its end, for source and sink."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from paho.mqtt.subscribeoptions import SubscribeOptions

from edge_agent.errors import ConnectError
from edge_agent.transport.mqtt.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from paho.mqtt.client import ConnectFlags
    from paho.mqtt.reasoncodes import ReasonCode

    from edge_agent.clock import Clock
    from edge_agent.transport.mqtt.broker import Broker
    from edge_agent.transport.mqtt.wire import BrokerClient

SUBACK_TIMEOUT_S: Final = 10.0
_UNSUPPORTED_VERSION: Final = 0x84  # MQTT 5, 3.2.2.2
_IDENTITY: Final = range(0x85, 0x88)  # bad client identifier, bad login, not authorized


class VersionError(ConnectError):
    """The broker does not seem to support this version of MQTT.

    silent: it did not answer the CONNECT; it may also be slow or going down. closed: it ended the
    connection instead of an answer.
    """

    def __init__(
        self, message: str, *, where: str, silent: bool = False, closed: bool = False
    ) -> None:
        super().__init__(message, where=where, hint="the broker may accept another version of MQTT")
        self.silent = silent
        self.closed = closed


class BrokerSession:
    """Make one, `open` it, use it until `ended`, `close` it; all on one event loop.

    session_present: the broker kept our session of the last connection. ended: its result is the
    reason why the connection ended. on_open: as of a `Wire`.
    """

    def __init__(
        self,
        broker: Broker,
        client: BrokerClient,
        clock: Clock,
        on_open: Callable[[int], None] | None = None,
    ) -> None:
        self.v5 = client.v5
        self.session_present = False
        self._broker = broker
        self._client = client
        self._wire = Wire(client, clock, on_open)
        self.ended = self._wire.ended
        self._answer: asyncio.Future[ConnectError | None] = self.ended.get_loop().create_future()
        self._granted: dict[int, asyncio.Future[list[ReasonCode]]] = {}
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe

    async def open(self, timeout_s: float) -> None:
        """Connect, waiting `timeout_s` for the CONNACK; ConnectError if that fails."""
        try:
            await self._open(timeout_s)
        except BaseException:
            self.abort("not opened")
            raise

    async def _open(self, timeout_s: float) -> None:
        await self._wire.dial(self._broker)
        if missing := await self._wire.first_of(self._answer, "CONNACK", timeout_s):
            if hint := await self._wire.loss_hint(self._broker, missing):
                raise ConnectError(missing, where=self._broker.url, hint=hint)
            closed = self.ended.done()
            raise VersionError(missing, where=self._broker.url, silent=True, closed=closed)
        if error := self._answer.result():
            raise error

    async def subscribe(
        self, topics: Sequence[tuple[str, int]], *, as_published: bool = False
    ) -> list[str]:
        """Subscribe to each (filter, QoS); returns the refused ones, each with the reason.

        as_published: keep the retain flag of live messages (MQTT 5). ConnectError without answer.
        """
        if as_published and self.v5:
            _, mid = self._client.subscribe(
                [(topic, SubscribeOptions(qos, retainAsPublished=True)) for topic, qos in topics]
            )
        else:
            _, mid = self._client.subscribe(list(topics))
        granted = asyncio.get_running_loop().create_future()
        self._granted[mid or 0] = granted
        if missing := await self._wire.first_of(granted, "SUBACK", SUBACK_TIMEOUT_S):
            raise ConnectError(missing, where=self._broker.url)
        codes = zip(topics, granted.result(), strict=False)
        return [f"{topic}: {code}" for (topic, _), code in codes if code.is_failure]

    def unsubscribe(self, topic: str) -> None:
        """Unsubscribe, without waiting for the answer."""
        if not self.ended.done():
            self._client.unsubscribe(topic)

    def close(self) -> None:
        """Send DISCONNECT, so that the will is not published, and end."""
        self._wire.close()

    def abort(self, reason: str) -> None:
        """Close without DISCONNECT."""
        self._wire.abort(reason)

    def _adopt_limits(self, given: object) -> None:
        """Apply the limits of the broker (properties of MQTT 5, 3.2.2.3)."""

    def _on_connect(
        self, _c: object, _u: object, flags: ConnectFlags, code: ReasonCode, given: object
    ) -> None:
        if not self._answer.done():
            self._answer.set_result(self._refusal_of(code))
            self.session_present = flags.session_present
            self._adopt_limits(given)

    def _refusal_of(self, code: ReasonCode) -> ConnectError | None:
        if code.value == _UNSUPPORTED_VERSION:
            return VersionError(str(code), where=self._broker.url)
        if not code.is_failure:
            return None
        hint = "see username, password and client_id" if code.value in _IDENTITY else ""
        return ConnectError(str(code), where=self._broker.url, hint=hint)

    def _on_subscribe(
        self, _c: object, _u: object, mid: int, codes: list[ReasonCode], _p: object
    ) -> None:
        granted = self._granted.pop(mid, None)
        if granted is not None and not granted.done():
            granted.set_result(codes)
