"""paho-mqtt with a reader of our own, on an event loop that is not its own.

paho's reader rebuilds every property and costs 40 to 80 µs a message. Here paho keeps the
connection (CONNECT, SUBSCRIBE, PINGREQ, the queue of what is to be sent), while what arrives is cut
by `FrameCutter`; only packets other than PUBLISH and PUBREL are served to paho. Written against
paho-mqtt 2.2, whose private method `_sock_recv` it replaces.
"""

from __future__ import annotations

import ssl
import time
from typing import TYPE_CHECKING, Any, Final

from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion

from edge_agent.transport.mqtt import BrokerClient

if TYPE_CHECKING:
    from edge_agent.sources.mqtt.frames import FrameCutter, Messages

READ_BYTES: Final = 1 << 18
_PUBACK: Final = 0x40


class Client(BrokerClient):
    """One connection's client. It belongs to the event loop's thread."""

    def __init__(
        self,
        client_id: str,
        protocol: MQTTProtocolVersion,
        cutter: FrameCutter,
        *,
        clean_session: bool | None,
    ) -> None:
        super().__init__(
            CallbackAPIVersion.VERSION2,
            client_id,
            clean_session=clean_session,
            protocol=protocol,
            reconnect_on_failure=False,
        )
        self._cutter = cutter
        self.options: dict[str, Any] = {}  # of CONNECT
        self._served = b""
        self.more = False  # the latest read was ended by its size

    def receive(self) -> Messages | None:
        """What one read completes; None where nothing was there to read."""
        data = self._read()
        if data is None or self._sock is None:
            return None
        self._last_bytes_received = time.monotonic()
        self._ping_t = 0  # whatever arrives proves life; a PINGRESP may wait behind a long queue
        messages = self._cutter.cut(data)
        for packet in messages.control:
            self._serve(packet)
        if messages.malformed:
            self.drop(f"malformed packet: {messages.malformed}")
        return messages

    def acknowledge(self, acks: list[bytes]) -> None:
        """Send many small packets as one write; what the socket does not take waits in paho."""
        if self._sock is None:
            return
        packet = b"".join(acks)
        if not self._out_packet:
            try:
                packet = packet[self._sock_send(packet) :]
            except BlockingIOError:
                pass
            except OSError as error:
                self.drop(str(error))
                return
            self._last_msg_out = time.monotonic()
        if packet:
            self._packet_queue(_PUBACK, packet, 0, 1)

    def drop(self, reason: str) -> None:
        """End the connection without a word to the broker."""
        self.loss = self.loss or reason
        self._loop_rc_handle(MQTTErrorCode.MQTT_ERR_CONN_LOST)

    def _read(self) -> bytes | None:
        """Up to READ_BYTES; of an encrypted stream record by record, until none is complete."""
        sock = self._sock
        if sock is None:
            return None
        encrypted = isinstance(sock, ssl.SSLSocket)
        chunks: list[bytes] = []
        have = 0
        try:
            while have < READ_BYTES and (encrypted or not chunks):
                chunk = sock.recv(READ_BYTES)
                if not chunk:
                    break
                chunks.append(chunk)
                have += len(chunk)
            if not chunks:
                self.drop("closed by the broker")
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        except OSError as error:
            if not chunks:
                self.drop(str(error))
        self.more = have >= READ_BYTES
        return b"".join(chunks) or None

    def _serve(self, packet: bytes) -> None:
        """Let paho read one whole packet."""
        if self._sock is None:
            return
        self._served = packet
        result = self._packet_read()
        if result > 0:
            self._loop_rc_handle(result)

    def _sock_recv(self, bufsize: int) -> bytes:
        piece, self._served = self._served[:bufsize], self._served[bufsize:]
        return piece
