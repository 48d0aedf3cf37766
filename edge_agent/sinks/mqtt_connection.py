"""A connection to the plant bus on which the broker confirms every publication."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge_agent.errors import EdgeAgentError
from edge_agent.sinks.base import DeliveryError
from edge_agent.sinks.mqtt_config import MAX_WINDOW
from edge_agent.sinks.mqtt_readback import ReadBack
from edge_agent.sinks.mqtt_scores import encode_scores
from edge_agent.transport.mqtt import BrokerClient, BrokerSession

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from paho.mqtt.client import MQTTMessage
    from paho.mqtt.reasoncodes import ReasonCode

    from edge_agent.clock import Clock
    from edge_agent.sinks.base import Reply
    from edge_agent.sinks.mqtt_config import MqttSinkConfig
    from edge_agent.transport.mqtt import Protocol

TRY_S: Final = 2.0
SESSION_EXPIRY_S: Final = 86_400
MAX_INCOMING_BYTES: Final = 16 << 10  # a command is at most 4 KiB
MAX_UNSENT_BYTES: Final = 4 << 20  # of scores
REFUSED_HOLD_S: Final = 60.0
NO_SUBSCRIBERS: Final = 0x10  # MQTT 5, 3.4.2.1
_FAILURE: Final = 0x80  # MQTT 5, 2.4: the first code of a refusal
_TOO_LARGE_GIVE_UP_S: Final = 86_400.0
_PACKET_HEAD_BYTES: Final = 64  # header, packet identifier, content type


def refusal_text(code: int) -> str:
    """Return the text of a PUBACK's reason code for log and alarm (MQTT 5, 3.4.2.1)."""
    name = _REASONS.get(code, "")
    return f"the broker refuses it: {name} (0x{code:02x})" if name else f"refused: 0x{code:02x}"


_NOT_BACK: Final = (
    "MQTT 3.1.1: not sent back to us: the broker refuses it, or its access rules hide it from us"
)
_REASONS: Final = {
    0x80: "unspecified error",
    0x83: "implementation specific error",
    0x87: "not authorized, see its access rules",
    0x90: "topic name invalid",
    0x91: "packet identifier in use",
    0x97: "quota exceeded",
    0x99: "payload format invalid",
}


class Connection(BrokerSession):
    """A session whose publications are confirmed.

    clean: the broker discards our old session. max_incoming: larger messages are not sent to us, in
    bytes. on_message: called with (topic, payload, retained,
    reply) of each message that arrives; reply sends an answer to where the message asked for it, or
    is None. may_answer: True if an answer may be sent to a topic. window: maximum of unconfirmed
    messages.
    """

    def __init__(  # noqa: PLR0913 (what differs between its users)
        self,
        config: MqttSinkConfig,
        client_id: str,
        version: Protocol,
        clock: Clock,
        *,
        clean: bool = False,
        max_incoming: int = MAX_INCOMING_BYTES,
    ) -> None:
        client = BrokerClient(
            config,
            client_id,
            version,
            expiry_s=0 if clean else SESSION_EXPIRY_S,
            max_packet_bytes=max_incoming,
        )
        super().__init__(config, client, clock)
        self.window = MAX_WINDOW
        self.readback = ReadBack(self.subscribe)
        self.on_message: Callable[[str, bytes, bool, Reply | None], None] = lambda *_: None
        self.may_answer: Callable[[str], bool] = lambda _topic: False
        self._acks: dict[int, asyncio.Future[int | None]] = {}
        self._slots = asyncio.Semaphore(MAX_WINDOW)
        self._may_retain = True
        self._max_packet_bytes = 0
        client.on_publish = self._on_publish
        client.on_message = self._on_message
        self.ended.add_done_callback(self._on_end)

    def set_will(self, topic: str, body: bytes) -> None:
        """Let the broker publish this, retained, if the connection ends without DISCONNECT."""
        self._client.will_set(topic, body, qos=1, retain=True)

    async def publish_proven(
        self, topic: str, body: bytes, *, retain: bool, on_sent: Callable[[], None]
    ) -> int:
        """As `publish`; over MQTT 3.1.1, which confirms what it refuses, it must come back, too."""
        readback = self.readback
        if self.v5 or not readback.works:
            return await self.publish(topic, body, retain=retain, on_sent=on_sent)
        echo = await readback.expect(topic, body)
        code = await self.publish(topic, body, retain=retain, on_sent=on_sent)
        if not await readback.came_back(echo, topic, body):
            raise self._refusal(_NOT_BACK, "refused", hold_s=REFUSED_HOLD_S)
        return code

    async def try_readback(self, topic: str, body: bytes) -> None:
        """Find out if the broker sends back what we publish; body: retained on `topic`."""
        readback = self.readback
        with contextlib.suppress(EdgeAgentError, TimeoutError):
            async with asyncio.timeout(TRY_S):
                echo = await readback.expect(topic, body)
                await self.publish(topic, body, retain=True)
                readback.works = await readback.came_back(echo, topic, body)

    async def publish(
        self,
        topic: str,
        body: bytes,
        *,
        retain: bool,
        on_sent: Callable[[], None] = lambda: None,
    ) -> int:
        """Publish with QoS 1 and return the reason code; DeliveryError if it is not confirmed.

        on_sent: called when it is on its way, and all that is sent later comes after it. A broker
        that neither confirms nor refuses for two keepalives counts as dead.
        """
        if len(topic) + len(body) + _PACKET_HEAD_BYTES > self._max_packet_bytes:
            text = f"larger than the broker's limit of {self._max_packet_bytes} bytes"
            give_up_s = _TOO_LARGE_GIVE_UP_S
            raise self._refusal(text, "too_large", hold_s=REFUSED_HOLD_S, give_up_s=give_up_s)
        try:
            async with asyncio.timeout(2 * self._client.keepalive or None):
                retain = retain and self._may_retain
                code = await self._publish(topic, body, on_sent, retain=retain)
        except TimeoutError:
            self.abort("no confirmation for two keepalives")
            raise self._refusal("not confirmed in time", "timeout") from None
        if code is None:
            raise self._refusal("connection lost before it was confirmed", "disconnected")
        if code >= _FAILURE:
            raise self._refusal(refusal_text(code), "refused", hold_s=REFUSED_HOLD_S)
        return code

    def publish_mark(self, topic: str, body: bytes) -> None:
        """Publish with QoS 0, retained, behind all that was sent before."""
        if self._may_retain and not self.ended.done():
            self._client.publish(topic, body, qos=0, retain=True)

    async def _publish(
        self, topic: str, body: bytes, on_sent: Callable[[], None], *, retain: bool
    ) -> int | None:
        """Return the reason code, or None if the connection ended."""
        await self._slots.acquire()
        if self.ended.done():
            self._slots.release()
            return None
        properties = _content_type() if self.v5 and body else None
        info = self._client.publish(topic, body, qos=1, retain=retain, properties=properties)
        confirmed = asyncio.get_running_loop().create_future()
        self._acks[info.mid] = confirmed
        on_sent()
        code: int | None = await confirmed
        return code

    def publish_scores(self, batch: Sequence[tuple[str, bytes]]) -> None:
        """Send with QoS 0; dropped if the socket has not accepted earlier ones."""
        if not self.ended.done() and self._wire.unsent_bytes <= MAX_UNSENT_BYTES:
            self._wire.send(encode_scores(batch, v5=self.v5))

    def _refusal(
        self,
        text: str,
        reason: str,
        *,
        hold_s: float | None = None,
        give_up_s: float | None = None,
    ) -> DeliveryError:
        return DeliveryError(
            text,
            reason=reason,
            retry=True,
            hold_s=hold_s,
            give_up_s=give_up_s,
            where=self._broker.url,
        )

    def _on_end(self, _ended: asyncio.Future[str]) -> None:
        for mid in list(self._acks):
            self._confirm(mid, None)

    def _confirm(self, mid: int, code: int | None) -> None:
        """Pass on an answer; the slot is free even if no caller waits for it any more."""
        confirmed = self._acks.pop(mid, None)
        if confirmed is None:
            return
        self._slots.release()
        if not confirmed.done():
            confirmed.set_result(code)

    def _adopt_limits(self, given: object) -> None:
        self.window = min(MAX_WINDOW, getattr(given, "ReceiveMaximum", MAX_WINDOW))
        self._slots = asyncio.Semaphore(self.window)
        self._max_packet_bytes = getattr(given, "MaximumPacketSize", 0xFFFF_FFFF)
        self._may_retain = bool(getattr(given, "RetainAvailable", 1))

    def _on_publish(self, _c: object, _u: object, mid: int, code: ReasonCode, _p: object) -> None:
        self._confirm(mid, code.value)

    def _on_message(self, _c: object, _u: object, message: MQTTMessage) -> None:
        topic, body = message.topic, bytes(message.payload)
        if not self.readback.accept(topic, body):
            self.on_message(topic, body, message.retain, self._reply_to(message))

    def _reply_to(self, message: MQTTMessage) -> Reply | None:
        """The function that answers a request (MQTT 5, 4.10), with QoS 0 so that no alarm waits."""
        topic = str(getattr(message.properties, "ResponseTopic", ""))
        if not topic:
            return None
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        correlation = getattr(message.properties, "CorrelationData", None)
        if correlation is not None:
            properties.CorrelationData = correlation

        def reply(body: bytes) -> None:
            if self.may_answer(topic) and not self.ended.done():
                self._client.publish(topic, body, qos=0, properties=properties)

        return reply


def _content_type() -> Properties:
    """CloudEvents MQTT binding, 3.2: what tells a structured event from other JSON."""
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    properties.ContentType = "application/cloudevents+json"
    return properties
