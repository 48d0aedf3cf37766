"""One connection to a broker, from CONNECT to its end, with every publication confirmed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from edge_agent.errors import ConnectError
from edge_agent.sinks.base import DeliveryError
from edge_agent.sinks.mqtt_config import MAX_WINDOW
from edge_agent.sinks.mqtt_scores import encode_scores
from edge_agent.transport.mqtt import BrokerClient, Wire

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from paho.mqtt.client import ConnectFlags, MQTTMessage
    from paho.mqtt.reasoncodes import ReasonCode

    from edge_agent.clock import Clock
    from edge_agent.sinks.base import Reply
    from edge_agent.sinks.mqtt_config import MqttSinkConfig

V5: Final = MQTTProtocolVersion.MQTTv5
V311: Final = MQTTProtocolVersion.MQTTv311
SESSION_EXPIRY_S: Final = 86_400
MAX_INCOMING_BYTES: Final = 16 << 10  # a command is at most 4 KiB
MAX_UNSENT_BYTES: Final = 4 << 20  # of scores
REFUSED_HOLD_S: Final = 60.0
SUBACK_TIMEOUT_S: Final = 10.0
CONNACK_TIMEOUT_S: Final = 10.0
_UNSUPPORTED_VERSION: Final = 0x84  # MQTT 5, 3.2.2.2
NO_SUBSCRIBERS: Final = 0x10  # MQTT 5, 3.4.2.1
_FAILURE: Final = 0x80  # MQTT 5, 2.4: the first code of a refusal
_TOO_LARGE_GIVE_UP_S: Final = 86_400.0
_PACKET_HEAD_BYTES: Final = 64  # header, packet identifier, content type


class VersionError(ConnectError):
    """The broker does not support this version of MQTT."""


class SilenceError(VersionError):
    """No CONNACK: the broker does not support this version, is slow or is going down."""


def refusal_text(code: int) -> str:
    """Return the text of a PUBACK's reason code for log and alarm (MQTT 5, 3.4.2.1)."""
    name = _REASONS.get(code, "")
    return f"the broker refuses it: {name} (0x{code:02x})" if name else f"refused: 0x{code:02x}"


_REASONS: Final = {
    0x80: "unspecified error",
    0x83: "implementation specific error",
    0x87: "not authorized, see its access rules",
    0x90: "topic name invalid",
    0x91: "packet identifier in use",
    0x97: "quota exceeded",
    0x99: "payload format invalid",
}


class Connection:
    """Make one, `open` it, use it until `ended`, `close` it; all on one event loop.

    clean: the broker discards our old session. on_message: called with (topic, payload, retained,
    reply) of each message that arrives; reply sends an answer to where the message asked for it, or
    is None. may_answer: True if an answer may be sent to a topic. window: maximum of unconfirmed
    messages.
    """

    def __init__(
        self,
        config: MqttSinkConfig,
        client_id: str,
        version: MQTTProtocolVersion,
        clock: Clock,
        *,
        clean: bool = False,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.v5 = version is V5
        self.session_present = False
        self.window = MAX_WINDOW
        self.on_message: Callable[[str, bytes, bool, Reply | None], None] = lambda *_: None
        self._config = config
        self._clean = clean
        self._answer: asyncio.Future[ConnectError | None] = loop.create_future()
        self._granted: asyncio.Future[list[ReasonCode]] = loop.create_future()
        self._acks: dict[int, asyncio.Future[int | None]] = {}
        self._slots = asyncio.Semaphore(MAX_WINDOW)
        self._may_retain = True
        self._max_packet_bytes = 0
        self.may_answer: Callable[[str], bool] = lambda _topic: False
        self._client = self._make_client(client_id, version)
        self._wire = Wire(self._client, clock)
        self._wire.ended.add_done_callback(self._on_end)

    def _make_client(self, client_id: str, version: MQTTProtocolVersion) -> BrokerClient:
        client = BrokerClient(
            CallbackAPIVersion.VERSION2,
            client_id,
            protocol=version,
            clean_session=None if self.v5 else self._clean,
            reconnect_on_failure=False,
        )
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_publish = self._on_publish
        client.on_message = self._on_message
        return client

    @property
    def ended(self) -> asyncio.Future[str]:
        """Its result is the reason."""
        return self._wire.ended

    def set_will(self, topic: str, body: bytes) -> None:
        """Let the broker publish this, retained, if the connection ends without DISCONNECT."""
        self._client.will_set(topic, body, qos=1, retain=True)

    async def open(self) -> None:
        """Connect; EdgeAgentError if that fails."""
        try:
            await self._open()
        except BaseException:
            self.abort("not opened")
            raise

    async def _open(self) -> None:
        config = self._config
        if config.username:
            password = config.password.reveal() if config.password else None
            self._client.username_pw_set(config.username, password)
        options = {"keepalive": max(1, round(config.keepalive)), **self._v5_options()}
        await self._wire.dial(config, options)
        if missing := await self._wire.first_of(self._answer, "CONNACK", CONNACK_TIMEOUT_S):
            if hint := await self._wire.loss_hint(config, missing):
                raise ConnectError(missing, where=config.url, hint=hint)
            raise SilenceError(missing, where=config.url)
        if error := self._answer.result():
            raise error

    def _v5_options(self) -> dict[str, Any]:
        if not self.v5:
            return {}
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = 0 if self._clean else SESSION_EXPIRY_S
        properties.MaximumPacketSize = MAX_INCOMING_BYTES
        return {"clean_start": self._clean, "properties": properties}

    async def subscribe(self, filters: Sequence[str]) -> list[str]:
        """Subscribe with QoS 1; returns those that were refused. ConnectError without answer."""
        # As published, so that the retain flag of a live message is visible.
        if self.v5:
            options = SubscribeOptions(qos=1, retainAsPublished=True)
            self._client.subscribe([(one, options) for one in filters])
        else:
            self._client.subscribe([(one, 1) for one in filters])
        if missing := await self._wire.first_of(self._granted, "SUBACK", SUBACK_TIMEOUT_S):
            raise ConnectError(missing, where=self._config.url)
        codes = zip(filters, self._granted.result(), strict=False)
        return [one for one, code in codes if code.is_failure]

    async def publish(self, topic: str, body: bytes, *, retain: bool) -> int:
        """Publish with QoS 1 and return the reason code; DeliveryError if it is not confirmed.

        A broker that neither confirms nor refuses for two keepalives counts as dead.
        """
        if len(topic) + len(body) + _PACKET_HEAD_BYTES > self._max_packet_bytes:
            text = f"larger than the broker's limit of {self._max_packet_bytes} bytes"
            give_up_s = _TOO_LARGE_GIVE_UP_S
            raise self._refusal(text, "too_large", hold_s=REFUSED_HOLD_S, give_up_s=give_up_s)
        try:
            async with asyncio.timeout(2 * self._client.keepalive or None):
                code = await self._publish(topic, body, retain=retain and self._may_retain)
        except TimeoutError:
            self.abort("no confirmation for two keepalives")
            raise self._refusal("not confirmed in time", "timeout") from None
        if code is None:
            raise self._refusal("connection lost before it was confirmed", "disconnected")
        if code >= _FAILURE:
            raise self._refusal(refusal_text(code), "refused", hold_s=REFUSED_HOLD_S)
        return code

    async def _publish(self, topic: str, body: bytes, *, retain: bool) -> int | None:
        """Return the reason code, or None if the connection ended."""
        await self._slots.acquire()
        if self.ended.done():
            self._slots.release()
            return None
        properties = _content_type() if self.v5 and body else None
        info = self._client.publish(topic, body, qos=1, retain=retain, properties=properties)
        confirmed = asyncio.get_running_loop().create_future()
        self._acks[info.mid] = confirmed
        code: int | None = await confirmed
        return code

    def publish_scores(self, batch: Sequence[tuple[str, bytes]]) -> None:
        """Send with QoS 0; dropped if the socket has not accepted earlier ones."""
        if not self.ended.done() and self._wire.unsent_bytes <= MAX_UNSENT_BYTES:
            self._wire.send(encode_scores(batch, v5=self.v5))

    def close(self) -> None:
        """Send DISCONNECT, so that the will is not published, and end."""
        self._wire.close()

    def abort(self, reason: str) -> None:
        """Close without DISCONNECT."""
        self._wire.abort(reason)

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
            where=self._config.url,
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

    def _on_connect(
        self, _c: object, _u: object, flags: ConnectFlags, code: ReasonCode, given: object
    ) -> None:
        where = self._config.url
        if code.value == _UNSUPPORTED_VERSION:
            self._answer.set_result(VersionError(str(code), where=where))
        elif code.is_failure:
            hint = "see username, password and client_id" if "uthor" in str(code) else ""
            self._answer.set_result(ConnectError(str(code), where=where, hint=hint))
        else:
            self.session_present = flags.session_present
            self._adopt(given)
            self._answer.set_result(None)

    def _adopt(self, given: object) -> None:
        """Apply the limits of the broker (MQTT 5, 3.2.2.3)."""
        self.window = min(MAX_WINDOW, getattr(given, "ReceiveMaximum", MAX_WINDOW))
        self._slots = asyncio.Semaphore(self.window)
        self._max_packet_bytes = getattr(given, "MaximumPacketSize", 0xFFFF_FFFF)
        self._may_retain = bool(getattr(given, "RetainAvailable", 1))

    def _on_subscribe(
        self, _c: object, _u: object, _mid: int, codes: list[ReasonCode], _p: object
    ) -> None:
        if not self._granted.done():
            self._granted.set_result(codes)

    def _on_publish(self, _c: object, _u: object, mid: int, code: ReasonCode, _p: object) -> None:
        self._confirm(mid, code.value)

    def _on_message(self, _c: object, _u: object, message: MQTTMessage) -> None:
        self.on_message(
            message.topic, bytes(message.payload), message.retain, self._reply_to(message)
        )

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
