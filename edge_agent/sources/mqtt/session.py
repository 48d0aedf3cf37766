"""One connection to a broker, from its CONNECT to its loss, on the event loop."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

from paho.mqtt.enums import MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge_agent.errors import ConnectError
from edge_agent.sources.mqtt.paho_client import Client, FrameCutter
from edge_agent.transport import ReaderPace
from edge_agent.transport.mqtt import Protocol, Wire

if TYPE_CHECKING:
    from collections.abc import Callable

    from paho.mqtt.client import ConnectFlags
    from paho.mqtt.reasoncodes import ReasonCode

    from edge_agent.clock import Clock
    from edge_agent.sources.mqtt.config import MqttSourceConfig
    from edge_agent.sources.mqtt.paho_client import Messages

CONNECT_TIMEOUT_S: Final = 10.0
FIRST_TRY_TIMEOUT_S: Final = 5.0  # if another version is tried next: old brokers may just hang
# A broker stops sending QoS 1 and 2 after its in-flight window (mosquitto: 20) until we confirm:
# after so many confirmations in one read it may be waiting for us, so we do not pause.
WINDOW_HINT: Final = 10
_UNSUPPORTED_VERSION: Final = 0x84  # MQTT 5, 3.2.2.2
_IDENTITY: Final = range(0x85, 0x88)  # bad client identifier, bad login, not authorized
_log = logging.getLogger("edge_agent.sources")


class VersionError(ConnectError):
    """The broker does not seem to support this version.

    lasting: True if it refused explicitly or did not answer; if it closed the connection, it may
    only have been shutting down.
    """

    def __init__(self, message: str, *, where: str, lasting: bool) -> None:
        super().__init__(message, where=where, hint="the broker may accept another version of MQTT")
        self.lasting = lasting


def make_client(
    config: MqttSourceConfig,
    client_id: str,
    version: Protocol,
    held: set[bytes],
    *,
    persistent: bool,
) -> Client:
    """A client of that version; ConfigError if the password cannot be read.

    held: ids of QoS 2 messages not yet released, kept across connections.
    """
    v5 = version is Protocol.V5
    cutter = FrameCutter(config.max_packet_bytes, v5=v5, held=held)
    client = Client(
        client_id,
        MQTTProtocolVersion.MQTTv5 if v5 else MQTTProtocolVersion.MQTTv311,
        cutter,
        clean_session=None if v5 else not persistent,
    )
    if config.username:
        client.username_pw_set(
            config.username, config.password.reveal() if config.password else None
        )
    client.options["keepalive"] = round(config.keepalive)
    if v5:
        client.options |= _v5_options(config, persistent=persistent)
    return client


def _v5_options(config: MqttSourceConfig, *, persistent: bool) -> dict[str, Any]:
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = round(config.session_expiry) if persistent else 0
    # No MaximumPacketSize: the broker would drop larger packets silently (3.1.2.11.4), while our
    # own cutter skips them, counts them and names their topic.
    return {"clean_start": not persistent, "properties": properties}


class Session:
    """One connection. `on_messages` gets the messages of each read; only then are they confirmed.

    While `backpressured` is True nothing is read, so that the broker waits and nothing is lost.
    """

    def __init__(
        self,
        config: MqttSourceConfig,
        client: Client,
        on_messages: Callable[[Messages], None],
        clock: Clock,
        backpressured: Callable[[], bool] = lambda: False,
    ) -> None:
        self._config = config
        self._client = client
        self._clock = clock
        self._on_messages = on_messages
        self._backpressured = backpressured
        self._where = config.url
        self._loop = asyncio.get_running_loop()
        self._pace = ReaderPace()
        self._wire = Wire(client, clock, self._watch)
        self._opened: asyncio.Future[bool | ConnectError] = self._loop.create_future()
        self._subscribed: asyncio.Future[list[ReasonCode]] = self._loop.create_future()
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe

    async def open(self, timeout_s: float) -> bool:
        """Connect; True if the broker kept our session. ConnectError if it refuses us."""
        await self._wire.dial(self._config, self._client.options)
        missing = await self._wire.first_of(self._opened, "CONNACK", timeout_s)
        if missing:
            if hint := await self._wire.loss_hint(self._config, missing):
                raise ConnectError(missing, where=self._where, hint=hint)
            lasting = not self._wire.ended.done()
            raise VersionError(missing, where=self._where, lasting=lasting)
        answer = self._opened.result()
        if isinstance(answer, ConnectError):
            raise answer
        return answer

    async def subscribe(self, topics: list[tuple[str, int]]) -> list[str]:
        """Subscribe to each (filter, QoS); returns the refused ones as readable texts."""
        self._client.subscribe(topics)
        if missing := await self._wire.first_of(self._subscribed, "SUBACK", CONNECT_TIMEOUT_S):
            raise ConnectError(missing, where=self._where)
        codes = zip(topics, self._subscribed.result(), strict=False)
        return [f"{topic}: {code}" for (topic, _), code in codes if code.is_failure]

    def publish(self, topic: str, payload: bytes) -> None:
        """Send a message without confirmation (QoS 0)."""
        self._client.publish(topic, payload)

    @property
    def ended(self) -> asyncio.Future[str]:
        """Its result is the reason why the connection ended."""
        return self._wire.ended

    def close(self) -> None:
        """Send DISCONNECT if still connected, and close the socket."""
        self._wire.close()

    def _watch(self, fd: int) -> None:
        self._loop.add_reader(fd, self._on_readable, fd)

    def _on_readable(self, fd: int) -> None:
        self._loop.remove_reader(fd)
        self._pace.wake_up()
        self._read_once(fd)

    def _read_once(self, fd: int) -> None:
        """Read once, then pause; the loop watches the socket only while it is empty."""
        if self._wire.ended.done():
            return
        if self._backpressured():
            # The silence is ours, not the broker's.
            self._wire.received_s = self._clock.monotonic_s()
            self._loop.call_later(self._config.coalesce, self._read_once, fd)
            return
        try:
            messages = self._client.receive()
            if messages is not None:
                self._accept(messages)
        except Exception as error:  # noqa: BLE001 (no defect, ours or paho's, may end the source)
            _log.exception("connection dropped", extra={"where": self._where})
            self._client.drop(f"internal error: {error!r}")
            return
        if self._wire.ended.done():
            return
        if messages is None:
            self._loop.add_reader(fd, self._on_readable, fd)
        elif len(messages.acks) >= WINDOW_HINT or self._client.more:
            self._loop.call_soon(self._read_once, fd)
        else:
            rest_s = self._pace.pause_s(self._config.coalesce)
            self._loop.call_later(rest_s, self._read_once, fd)

    def _accept(self, messages: Messages) -> None:
        self._wire.received_s = self._clock.monotonic_s()
        if messages.topics or messages.too_large:
            self._on_messages(messages)
        if messages.acks and not messages.malformed:
            self._client.acknowledge(messages.acks)

    def _on_connect(
        self, _c: object, _u: object, flags: ConnectFlags, code: ReasonCode, _p: object
    ) -> None:
        if self._opened.done():
            return
        if code.value == _UNSUPPORTED_VERSION:
            self._opened.set_result(VersionError(str(code), where=self._where, lasting=True))
        elif code.is_failure:
            hint = "see username, password and client_id" if code.value in _IDENTITY else ""
            self._opened.set_result(ConnectError(str(code), where=self._where, hint=hint))
        else:
            self._opened.set_result(flags.session_present)

    def _on_subscribe(
        self, _c: object, _u: object, _mid: int, codes: list[ReasonCode], _p: object
    ) -> None:
        if not self._subscribed.done():
            self._subscribed.set_result(codes)
