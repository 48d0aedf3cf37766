"""paho-mqtt with our own reader, on an external event loop.

paho's reader rebuilds every property and costs 40 to 80 µs per message. Here paho manages the
connection (CONNECT, SUBSCRIBE, PINGREQ, the send queue), while `FrameCutter` cuts the received
bytes; only packets other than PUBLISH and PUBREL are passed to paho. Written against paho-mqtt 2.2;
it replaces its private method `_sock_recv`.
"""

from __future__ import annotations

import ssl
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from paho.mqtt.enums import MQTTErrorCode

from edge_agent.transport.mqtt import BrokerClient

if TYPE_CHECKING:
    from edge_agent.sources.mqtt.config import MqttSourceConfig
    from edge_agent.transport.mqtt import Protocol

READ_BYTES: Final = 1 << 18
_PUBACK: Final = 0x40


class Client(BrokerClient):
    """The client of one connection. It belongs to the event loop's thread.

    expiry_s: see `BrokerClient`. held: ids of QoS 2 messages not yet released, kept across
    connections.
    """

    def __init__(
        self,
        config: MqttSourceConfig,
        client_id: str,
        version: Protocol,
        expiry_s: float,
        held: set[bytes],
    ) -> None:
        # No max_packet_bytes: the broker would drop larger packets silently (MQTT 5, 3.1.2.11.4),
        # while our own cutter skips them, counts them and names their topic.
        super().__init__(config, client_id, version, expiry_s=expiry_s)
        self._cutter = FrameCutter(config.max_packet_bytes, v5=self.v5, held=held)
        self._served = b""
        self.more = False  # the latest read was limited by its size

    def receive(self) -> Messages | None:
        """The messages that one read completes; None if there was nothing to read."""
        data = self._read()
        if data is None or self._sock is None:
            return None
        self._last_bytes_received = time.monotonic()
        self._ping_t = 0  # any data proves life; a PINGRESP may wait behind a long queue
        messages = self._cutter.cut(data)
        for packet in messages.control:
            self._serve(packet)
        if messages.malformed:
            self.drop(f"malformed packet: {messages.malformed}")
        return messages

    def acknowledge(self, acks: list[bytes]) -> None:
        """Send many small packets in one write; paho queues what the socket does not accept."""
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
        """End the connection without a DISCONNECT to the broker."""
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


PUBLISH: Final = 3
PUBREL: Final = 6
RETAIN: Final = 0x01
QOS_BITS: Final = 0x06
QOS_1: Final = 0x02
QOS_2: Final = 0x04
ACK: Final = b"\x40\x02"  # PUBACK, PUBREC, PUBCOMP without properties: success (MQTT 5, 3.4.2.1)
RECEIVED: Final = b"\x50\x02"
COMPLETE: Final = b"\x70\x02"
_LONG: Final = 127  # a length byte above it is followed by another
_MAX_LENGTH_BYTES: Final = 4


class MalformedError(Exception):
    """The stream is not MQTT; nothing after this byte can be trusted."""


@dataclass(slots=True)
class Messages:
    """The content of one read, in order of arrival.

    topics and payloads have the same length; retained holds indexes into them; acks are the packets
    to send once the messages are safe; control are whole packets of other types; too_large are the
    topics of messages that were skipped; malformed is the reason why the connection must end, or
    empty.
    """

    topics: list[bytes] = field(default_factory=list)
    payloads: list[bytes] = field(default_factory=list)
    retained: list[int] = field(default_factory=list)
    acks: list[bytes] = field(default_factory=list)
    control: list[bytes] = field(default_factory=list)
    too_large: list[bytes] = field(default_factory=list)
    malformed: str = ""


class FrameCutter:
    """Keeps incomplete packets between reads.

    held: packet ids of QoS 2 messages that are accepted but not yet released; they outlive a
    connection. A message whose id is held is a repetition (MQTT 5, 4.3.3).
    """

    def __init__(self, max_packet_bytes: int, *, v5: bool, held: set[bytes]) -> None:
        self._limit = max(max_packet_bytes, _LONG)
        self._v5 = v5
        self._held = held
        self._waiting: list[bytes] = []
        self._have = 0
        self._need = 0
        self._skip = 0

    def cut(self, data: bytes) -> Messages:
        """All messages and packets that `data` completes."""
        out = Messages()
        if self._skip:
            skipped = min(self._skip, len(data))
            self._skip -= skipped
            data = data[skipped:]
        if self._waiting:
            self._waiting.append(data)
            self._have += len(data)
            if self._have < self._need:
                return out
            data = b"".join(self._waiting)
        try:
            self._keep(data, *self._cut(data, out))
        except MalformedError as error:
            out.malformed = str(error)
        except IndexError:
            out.malformed = "a packet is cut short"
        return out

    def _keep(self, data: bytes, used: int, need: int) -> None:
        rest = data[used:]
        self._waiting = [rest] if rest else []
        self._have = len(rest)
        self._need = need

    def _cut(self, data: bytes, out: Messages) -> tuple[int, int]:  # noqa: C901, PLR0912 (hot)
        """Bytes used, and bytes that the next packet needs before it can be cut."""
        size, at, v5 = len(data), 0, self._v5
        add_topic, add_payload, add_ack = out.topics.append, out.payloads.append, out.acks.append
        while at + 1 < size:  # once per message: speed counts more than readability here
            first, length, start = data[at], data[at + 1], at + 2
            if length > _LONG:
                length, start = _long_length(data, at + 1)
                if start == 0:
                    return at, size - at + 1
                if length > self._limit:
                    at, need = self._oversized(data, at, start, length, out)
                    if need:
                        return at, need
                    continue
            end = start + length
            if end > size:
                return at, end - at
            if first >> 4 != PUBLISH:
                self._other(data, at, start, end, out)
                at = end
                continue
            at, body = end, start + 2 + (data[start] << 8) + data[start + 1]
            topic = data[start + 2 : body]
            if first & QOS_BITS:
                body += 2
                if first & QOS_BITS == QOS_1:
                    add_ack(ACK + data[body - 2 : body])
                elif not self._accept_qos2(first, data[body - 2 : body], out):
                    continue
            if v5:
                body += 1 + data[body] if data[body] <= _LONG else _long_properties(data, body)
            if body > end:
                raise MalformedError("the head of a PUBLISH is longer than the packet")
            if first & RETAIN:
                out.retained.append(len(out.topics))
            add_topic(topic)
            add_payload(data[body:end])
        return at, 2

    def _accept_qos2(self, first: int, packet_id: bytes, out: Messages) -> bool:
        """True if the message is new."""
        if first & QOS_BITS != QOS_2:
            raise MalformedError("a PUBLISH of QoS 3")
        out.acks.append(RECEIVED + packet_id)
        if packet_id in self._held:
            return False
        self._held.add(packet_id)
        return True

    def _other(self, data: bytes, at: int, start: int, end: int, out: Messages) -> None:
        if data[at] >> 4 != PUBREL:
            out.control.append(data[at:end])
            return
        if end - start < 2:  # noqa: PLR2004 (a packet id)
            raise MalformedError("a PUBREL without packet id")
        packet_id = data[start : start + 2]
        self._held.discard(packet_id)
        out.acks.append(COMPLETE + packet_id)

    def _oversized(
        self, data: bytes, at: int, start: int, length: int, out: Messages
    ) -> tuple[int, int]:
        """Skip a PUBLISH that is too large, but confirm it: bytes used, or bytes needed."""
        first = data[at]
        if first >> 4 != PUBLISH:
            raise MalformedError(f"a control packet of {length} bytes")
        if start + 2 > len(data):
            return at, start + 2 - at
        body = start + 2 + (data[start] << 8) + data[start + 1]
        head = body + (2 if first & QOS_BITS else 0)
        if head > start + length:
            raise MalformedError("the head of a PUBLISH is longer than the packet")
        if head > len(data):
            return at, head - at
        out.too_large.append(data[start + 2 : body])
        if first & QOS_BITS == QOS_1:
            out.acks.append(ACK + data[body:head])
        elif first & QOS_BITS:
            self._accept_qos2(first, data[body:head], out)
        end = start + length
        self._skip = max(0, end - len(data))
        return min(end, len(data)), 0


def _long_length(data: bytes, at: int) -> tuple[int, int]:
    """A remaining length of several bytes and the position after it; (0, 0) if incomplete."""
    if at + 1 < len(data) and data[at + 1] <= _LONG:
        return data[at] & _LONG | data[at + 1] << 7, at + 2
    length = 0
    for n, byte in enumerate(data[at : at + _MAX_LENGTH_BYTES]):
        length |= (byte & _LONG) << (7 * n)
        if byte <= _LONG:
            return length, at + n + 1
    if len(data) - at >= _MAX_LENGTH_BYTES:
        raise MalformedError("a remaining length of more than four bytes")
    return 0, 0


def _long_properties(data: bytes, at: int) -> int:
    """Bytes to the end of the properties whose length begins at `at`."""
    length, after = _long_length(data, at)
    if after == 0:
        raise MalformedError("the properties are cut short")
    return after - at + length
