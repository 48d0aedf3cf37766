"""A paho client on the asyncio loop, for source and sink: its socket, its keepalive, its end.

paho's own thread is not used: a TLS error can hang it while its state is connected. A client is
never used again after its end, because paho's queue would send everything twice.
Written against paho-mqtt 2.2, whose private methods it replaces: `_create_socket`, `_sock_recv` and
`_sock_send`.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import TYPE_CHECKING, Any, Final

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge_agent.transport.dialling import dial_endpoint, dial_error
from edge_agent.transport.mqtt.broker import Protocol
from edge_agent.transport.tls import own_hint

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from paho.mqtt.client import DisconnectFlags, SocketLike
    from paho.mqtt.enums import MQTTErrorCode
    from paho.mqtt.reasoncodes import ReasonCode

    from edge_agent.clock import Clock
    from edge_agent.transport.mqtt.broker import Broker

DIAL_TIMEOUT_S: Final = 10.0
CHECK_EVERY_S: Final = 1.0
SILENCE_KEEPALIVES: Final = 1.5  # the broker answers a ping in each
_PUBLISH_QOS_0: Final = 0x30
OWN_END: Final = "closed"  # the reason of a connection that we closed


class BrokerClient(Client):
    """A paho client over an open socket, and what its CONNECT contains.

    expiry_s: how long the broker keeps our session without a connection; 0: it discards an old one
    too. max_packet_bytes: larger packets are not sent to us (MQTT 5); 0: no limit.
    loss: why its connection ended, which is only in paho's log. ConfigError for the password.
    """

    opened: socket.socket | None = None
    loss = ""

    def __init__(
        self,
        broker: Broker,
        client_id: str,
        version: Protocol,
        *,
        expiry_s: float = 0,
        max_packet_bytes: int = 0,
    ) -> None:
        self.v5 = version is Protocol.V5
        super().__init__(
            CallbackAPIVersion.VERSION2,
            client_id,
            protocol=MQTTProtocolVersion.MQTTv5 if self.v5 else MQTTProtocolVersion.MQTTv311,
            clean_session=None if self.v5 else not expiry_s,
            reconnect_on_failure=False,
        )
        if broker.username:
            password = broker.password.reveal() if broker.password else None
            self.username_pw_set(broker.username, password)
        self.options: dict[str, Any] = {"keepalive": round(broker.keepalive)}
        if self.v5:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.SessionExpiryInterval = round(expiry_s)
            if max_packet_bytes:
                properties.MaximumPacketSize = max_packet_bytes
            self.options |= {"clean_start": not expiry_s, "properties": properties}

    def _create_socket(self) -> socket.socket:
        opened, self.opened = self.opened, None
        if opened is None:
            raise ConnectionError("no socket was opened")
        return opened

    def _sock_recv(self, bufsize: int) -> bytes:
        return self._receive(bufsize)

    def _receive(self, bufsize: int) -> bytes:
        try:
            data = super()._sock_recv(bufsize)
        except BlockingIOError:
            raise
        except OSError as error:
            self.loss = self.loss or str(error)
            raise
        if not data:
            self.loss = self.loss or "closed by the broker"
        return data

    def _sock_send(self, buf: bytes | bytearray) -> int:
        try:
            return super()._sock_send(buf)
        except BlockingIOError:
            raise
        except OSError as error:
            self._read_last_alert()
            self.loss = self.loss or str(error)
            raise

    def _read_last_alert(self) -> None:
        """Read a waiting TLS alert: it is more specific than the error of the write after it."""
        with contextlib.suppress(OSError):
            self._receive(1)


class Wire:
    """Serves `client` from `dial` until `ended`, whose result is the reason; all on one event loop.

    on_open: called with the open socket's number, to read it in place of paho; it sets
    `received_s`, by the monotonic clock, at each sign of life. unsent_bytes: of blocks that wait
    for the socket.
    """

    def __init__(
        self, client: BrokerClient, clock: Clock, on_open: Callable[[int], None] | None = None
    ) -> None:
        self._client = client
        self._clock = clock
        self._on_open = on_open or self._read_by_paho
        self._loop = asyncio.get_running_loop()
        self.received_s = clock.monotonic_s()
        self._timer: asyncio.TimerHandle | None = None
        self.ended: asyncio.Future[str] = self._loop.create_future()
        self.unsent_bytes = 0
        client.on_disconnect = self._on_disconnect

    async def dial(self, config: Broker) -> None:
        """Resolve, connect, TLS handshake, CONNECT; ConnectError."""
        tls = config.tls if config.encrypted else None
        try:
            opened = await dial_endpoint(config.host, config.port, DIAL_TIMEOUT_S, tls)
            self._client.opened = opened
            self._client.connect(config.host, config.port, **self._client.options)
        except (OSError, ValueError) as error:
            raise dial_error(error, config.url) from error
        self.received_s = self._clock.monotonic_s()
        self._attach()

    async def loss_hint(self, config: Broker, reason: str) -> str:
        """The broker's problem with our certificate: TLS 1.3 reports it after the handshake."""
        if not config.encrypted or not self.ended.done():
            return ""
        return await asyncio.to_thread(own_hint, config.tls, reason)

    async def first_of(self, wanted: asyncio.Future[Any], name: str, timeout_s: float) -> str:
        """Wait for an answer; returns why there is none, or an empty text."""
        await asyncio.wait(
            {wanted, self.ended}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED
        )
        if wanted.done():
            return ""
        if self.ended.done():
            return f"no {name}: {self.ended.result()}"
        return f"no {name} within {timeout_s:g} s"

    def send(self, block: bytes) -> None:
        """Queue whole packets that need no answer, as one write."""
        self.unsent_bytes += len(block)
        # Sent as one packet of QoS 1: for each packet of QoS 0 paho makes a callback.
        self._client._packet_queue(_PUBLISH_QOS_0, block, 0, 1)  # noqa: SLF001

    def close(self) -> None:
        """Send DISCONNECT, so that the will is not published, and end."""
        if not self.ended.done() and self._client.is_connected():
            self._client.disconnect()
            self._serve(self._client.loop_write)
        self.abort(OWN_END)

    def abort(self, reason: str) -> None:
        """Close without DISCONNECT."""
        self._end(reason)
        sock = self._client.socket()
        if sock is not None and sock.fileno() >= 0:
            self._detach(sock)
            self._client.on_socket_close = None
            self._client.on_socket_unregister_write = None
            sock.close()

    def _attach(self) -> None:
        sock = self._client.socket()
        if sock is None or sock.fileno() < 0:
            self._end("closed at once")
            return
        self._client.on_socket_close = self._on_socket_close
        self._client.on_socket_register_write = self._on_unsent
        self._client.on_socket_unregister_write = self._on_all_sent
        self._on_open(sock.fileno())
        if self._client.want_write():
            self._on_unsent(self._client, None, sock)
        self._timer = self._loop.call_later(CHECK_EVERY_S, self._check)

    def _detach(self, sock: SocketLike) -> None:
        self._loop.remove_reader(sock.fileno())
        self._loop.remove_writer(sock.fileno())

    def _read_by_paho(self, number: int) -> None:
        self._loop.add_reader(number, self._on_readable)

    def _on_readable(self) -> None:
        self.received_s = self._clock.monotonic_s()
        self._serve(self._client.loop_read)
        sock = self._client.socket()
        while isinstance(sock, ssl.SSLSocket) and sock.fileno() >= 0 and sock.pending():
            self._serve(self._client.loop_read)
            sock = self._client.socket()

    def _serve(self, step: Callable[[], MQTTErrorCode]) -> None:
        try:
            step()
        except Exception as error:  # noqa: BLE001 (no defect of paho's may reach the event loop)
            self.abort(f"{type(error).__name__}: {error}")

    def _check(self) -> None:
        """Keepalive: paho's, and our own because paho's can be wrong."""
        self._timer = self._loop.call_later(CHECK_EVERY_S, self._check)
        self._serve(self._client.loop_misc)
        keepalive_s = self._client.keepalive
        silent_s = self._clock.monotonic_s() - self.received_s
        if keepalive_s and silent_s > SILENCE_KEEPALIVES * keepalive_s + CHECK_EVERY_S:
            self.abort(f"nothing received for {silent_s:.0f} s")

    def _end(self, reason: str) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self.ended.done():
            self.ended.set_result(reason)

    def _on_disconnect(
        self, _c: object, _u: object, flags: DisconnectFlags, code: ReasonCode, _p: object
    ) -> None:
        said = flags.is_disconnect_packet_from_server
        self._end(
            f"the broker's reason: {code}" if said else self._client.loss or "connection lost"
        )

    def _on_socket_close(self, _c: object, _u: object, sock: SocketLike) -> None:
        self._detach(sock)

    def _on_unsent(self, _c: object, _u: object, sock: SocketLike) -> None:
        self._loop.add_writer(sock.fileno(), self._serve, self._client.loop_write)

    def _on_all_sent(self, _c: object, _u: object, sock: SocketLike) -> None:
        self.unsent_bytes = 0
        self._loop.remove_writer(sock.fileno())
