"""One connection to a broker, from its CONNECT to its loss, on the event loop."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

from paho.mqtt.enums import MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge_agent.errors import ConnectError
from edge_agent.sources.mqtt.frames import FrameCutter
from edge_agent.sources.mqtt.paho_client import Client
from edge_agent.transport import ReaderPace, dial_endpoint, dial_error, own_hint
from edge_agent.transport.mqtt import Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from paho.mqtt.client import ConnectFlags, DisconnectFlags, SocketLike
    from paho.mqtt.reasoncodes import ReasonCode

    from edge_agent.clock import Clock
    from edge_agent.sources.mqtt.config import MqttSourceConfig
    from edge_agent.sources.mqtt.frames import Messages

CONNECT_TIMEOUT_S: Final = 10.0
FIRST_TRY_TIMEOUT_S: Final = 5.0  # where another version is tried next: old brokers may just hang
CHECK_INTERVAL_S: Final = 1.0
SILENCE_KEEPALIVES: Final = 1.5
# A broker stops sending QoS 1 and 2 after its in-flight window (mosquitto: 20) until we confirm:
# with so many confirmations in one read it may be waiting for us, and we do not rest.
WINDOW_HINT: Final = 10
_UNSUPPORTED_VERSION: Final = 0x84  # MQTT 5, 3.2.2.2
_IDENTITY: Final = range(0x85, 0x88)  # bad client identifier, bad login, not authorized
_log = logging.getLogger("edge_agent.sources")


class VersionError(ConnectError):
    """The broker does not seem to speak this version.

    lasting: it said so, or said nothing; where it hung up, it may just have been going down.
    """

    def __init__(self, message: str, *, where: str, lasting: bool) -> None:
        super().__init__(message, where=where, hint="another version of MQTT may be understood")
        self.lasting = lasting


def make_client(
    config: MqttSourceConfig,
    client_id: str,
    version: Protocol,
    held: set[bytes],
    *,
    persistent: bool,
) -> Client:
    """A client of that version; ConfigError where the password cannot be read.

    held: ids of QoS 2 messages not yet released, kept from connection to connection.
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
    client.connect_async(
        config.host,
        config.port,
        round(config.keepalive),
        **(_v5_options(config, persistent=persistent) if v5 else {}),
    )
    return client


def _v5_options(config: MqttSourceConfig, *, persistent: bool) -> dict[str, Any]:
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = round(config.session_expiry) if persistent else 0
    # No MaximumPacketSize: the broker would drop what is larger without a word (3.1.2.11.4), while
    # our own cutter skips it, counts it and names its topic.
    return {"clean_start": not persistent, "properties": properties}


class Session:
    """One connection. `take` is called with what each read brought; only then is it confirmed.

    While the intake is `crowded` nothing is read, so that the broker waits instead of us losing.
    """

    def __init__(
        self,
        config: MqttSourceConfig,
        client: Client,
        take: Callable[[Messages], None],
        clock: Clock,
        backpressured: Callable[[], bool] = lambda: False,
    ) -> None:
        self._config = config
        self._client = client
        self._take = take
        self._crowded = backpressured
        self._clock = clock
        self._where = config.url
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.Handle | None = None
        self._pace = ReaderPace()
        self._last_received_s = clock.monotonic_s()
        self._opened: asyncio.Future[bool | ConnectError] = self._loop.create_future()
        self._subscribed: asyncio.Future[list[ReasonCode]] = self._loop.create_future()
        self._lost: asyncio.Future[str] = self._loop.create_future()
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_socket_close = self._on_socket_close
        client.on_socket_register_write = self._on_want_write
        client.on_socket_unregister_write = self._on_all_written

    async def open(self, timeout_s: float) -> bool:
        """Connect; True where the broker kept our session. ConnectError if it refuses us."""
        try:
            config = self._config
            tls = config.tls if config.encrypted else None
            opened = await dial_endpoint(config.host, config.port, CONNECT_TIMEOUT_S, tls)
        except OSError as error:
            raise dial_error(error, self._where) from error
        self._client.connect_over(opened)
        self._loop.add_reader(opened.fileno(), self._on_readable, opened.fileno())
        await self._first_of(self._opened, timeout_s)
        if not self._opened.done():
            message, lasting = self._loss("no CONNACK"), not self._lost.done()
            if not lasting and (hint := await self._own_hint(message)):
                raise ConnectError(message, where=self._where, hint=hint)
            raise VersionError(message, where=self._where, lasting=lasting)
        answer = self._opened.result()
        if isinstance(answer, ConnectError):
            raise answer
        return answer

    async def _own_hint(self, reason: str) -> str:
        """What the broker has against our certificate: TLS 1.3 tells it after the handshake."""
        if not self._config.encrypted:
            return ""
        return await asyncio.to_thread(own_hint, self._config.tls, reason)

    async def subscribe(self, topics: list[tuple[str, int]]) -> list[str]:
        """Subscribe (filter, QoS) each; what was refused, as readable texts."""
        self._client.subscribe(topics)
        await self._first_of(self._subscribed, CONNECT_TIMEOUT_S)
        if not self._subscribed.done():
            raise ConnectError(self._loss("no SUBACK"), where=self._where)
        codes = zip(topics, self._subscribed.result(), strict=False)
        return [f"{topic}: {code}" for (topic, _), code in codes if code.is_failure]

    def publish(self, topic: str, payload: bytes) -> None:
        """Send a message and forget it (QoS 0)."""
        self._client.publish(topic, payload)

    async def lost(self) -> str:
        """Return when the connection is over, with the reason."""
        while not self._lost.done():
            await asyncio.wait({self._lost}, timeout=CHECK_INTERVAL_S)
            self._check()
        return self._lost.result()

    def close(self) -> None:
        """Say goodbye, where there is still somebody, and close the socket."""
        if self._client.is_connected():
            self._client.disconnect()
            self._client.loop_write()
        self._client.close()

    async def _first_of(self, wanted: asyncio.Future[Any], timeout_s: float) -> None:
        """Wait for an answer or the end of the connection."""
        await asyncio.wait(
            {wanted, self._lost},
            timeout=timeout_s,
            return_when=asyncio.FIRST_COMPLETED,
        )

    def _loss(self, awaited: str) -> str:
        if self._lost.done():
            return f"{awaited}: {self._lost.result()}"
        return f"{awaited} in time"

    def _check(self) -> None:
        """Keepalive of paho, and our own: its thread once hung in TLS while 'connected'."""
        self._client.loop_misc()
        keepalive_s = self._client.keepalive
        silent_s = self._clock.monotonic_s() - self._last_received_s
        if keepalive_s and silent_s > SILENCE_KEEPALIVES * keepalive_s and not self._lost.done():
            self._client.drop(f"nothing received for {silent_s:.0f} s")

    def _on_readable(self, fd: int) -> None:
        self._loop.remove_reader(fd)
        self._pace.wake_up()
        self._turn(fd)

    def _turn(self, fd: int) -> None:
        """Read once, then rest; the loop watches the socket only while it is empty."""
        self._timer = None
        if self._crowded():
            self._last_received_s = self._clock.monotonic_s()  # it is we who are silent
            self._timer = self._loop.call_later(self._config.coalesce, self._turn, fd)
            return
        try:
            messages = self._client.receive()
            if messages is not None:
                self._accept(messages)
        except Exception as error:  # noqa: BLE001 (no defect of ours or paho's ends the source)
            _log.exception("connection dropped", extra={"where": self._where})
            self._client.drop(f"internal error: {error!r}")
            return
        if self._client.socket() is None:
            return
        if messages is None:
            self._loop.add_reader(fd, self._on_readable, fd)
        elif len(messages.acks) >= WINDOW_HINT or self._client.more:
            self._timer = self._loop.call_soon(self._turn, fd)
        else:
            rest_s = self._pace.rest_s(self._config.coalesce)
            self._timer = self._loop.call_later(rest_s, self._turn, fd)

    def _accept(self, messages: Messages) -> None:
        self._last_received_s = self._clock.monotonic_s()
        if messages.topics or messages.too_large:
            self._take(messages)
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

    def _on_disconnect(
        self, _c: object, _u: object, _flags: DisconnectFlags, code: ReasonCode, _p: object
    ) -> None:
        if not self._lost.done():
            self._lost.set_result(self._client.loss or str(code))

    def _on_subscribe(
        self, _c: object, _u: object, _mid: int, codes: list[ReasonCode], _p: object
    ) -> None:
        if not self._subscribed.done():
            self._subscribed.set_result(codes)

    def _on_socket_close(self, _c: object, _u: object, closed: SocketLike) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._loop.remove_reader(closed.fileno())
        self._loop.remove_writer(closed.fileno())

    def _on_want_write(self, _c: object, _u: object, waiting: SocketLike) -> None:
        self._loop.add_writer(waiting.fileno(), self._client.loop_write)

    def _on_all_written(self, _c: object, _u: object, waiting: SocketLike) -> None:
        self._loop.remove_writer(waiting.fileno())
