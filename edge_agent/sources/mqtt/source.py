"""Source `mqtt`: subscribes to topics of a broker and decodes the messages into columns.

Uses MQTT 5, or 3.1.1 if the broker does not support 5. A message is confirmed (QoS 1, 2) only after
the intake has it; with a persistent session the broker keeps messages while we are disconnected.
"""

from __future__ import annotations

import logging
import secrets
from dataclasses import replace
from typing import TYPE_CHECKING

from edge_agent.clock import SystemClock
from edge_agent.config.types import Duration, HostText, Size
from edge_agent.errors import ConnectError, EdgeAgentError
from edge_agent.messages import LinkState
from edge_agent.sources.base import ConnectedSource
from edge_agent.sources.mqtt.config import MqttSourceConfig, Subscription
from edge_agent.sources.mqtt.decode import Decoder
from edge_agent.sources.mqtt.listener import listen_to
from edge_agent.sources.mqtt.paho_client import Client
from edge_agent.sources.mqtt.payload_spec import Payload
from edge_agent.sources.mqtt.readings import Readings
from edge_agent.sources.mqtt.receive import receive
from edge_agent.sources.mqtt.refusals import Refusals
from edge_agent.sources.mqtt.routes import Routes
from edge_agent.sources.mqtt.session import Session
from edge_agent.transport import LostError, Tls
from edge_agent.transport.mqtt import Protocol, Takeovers, VersionChoice

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge_agent.config.schema import Gateway
    from edge_agent.sources.mqtt.listener import Listened
    from edge_agent.sources.mqtt.paho_client import Messages
    from edge_agent.sources.mqtt.sparkplug import SparkplugReader
    from edge_agent.sources.pictures.topics import PictureTopics

__all__ = ["MqttSource", "MqttSourceConfig", "Payload", "Subscription", "Tls", "probe"]

_log = logging.getLogger("edge_agent.sources")


class MqttSource(ConnectedSource[MqttSourceConfig]):
    """One broker as a source.

    pictures: the cameras whose pictures come over its connection; set before the start.
    """

    pictures: PictureTopics | None = None

    @property
    def max_payload(self) -> int:
        """The largest payload of a value, in bytes."""
        return int(self._config.max_payload)

    def _prepare(self) -> None:
        config = self._config
        self.target = config.url
        self._client_id = client_id(self.name, config, self._gateway)
        self._takeovers = Takeovers(self.name, self._client_id, self.link)
        self._refusals = Refusals(self.name, self._metrics)
        routes = Routes(
            self.name,
            config.subscriptions,
            self._plant,
            self._metrics,
            self._refusals,
            stale_after_s=config.traits.silence_s,
        )
        self._sparkplug = _sparkplug_reader(self.name, config, routes, self._refusals)
        self._session: Session | None = None
        self._conflicts = routes.machines.conflicts
        self._decoder = Decoder(
            routes,
            self._refusals,
            self._intake,
            self._metrics.values_received.labels(self.name),
            self._make_source_clock(config.time),
        )
        self._versions = VersionChoice(config.version, wary=False)
        self._held: set[bytes] = set()

    async def _serve(self) -> None:
        try:
            session = await self._versions.connect(self._make_session)
        except EdgeAgentError:
            self._takeovers.forget_short_connections()
            raise
        try:
            await self._subscribe(session)
            self._session = session
            if self._sparkplug is not None:
                self._sparkplug.request_known_births(
                    self._clock.monotonic_s(), self._clock.now_us()
                )
                self._send_requests()
            host, port = self._config.host, self._config.port
            lived_s = self._reconnector.lived_s
            reason = await self._takeovers.end_of(session.ended, lived_s, host, port)
            raise LostError(reason, where=self._config.url)
        finally:
            self._session = None
            session.close()
            self._forget_births()

    def _make_session(self, version: Protocol) -> Session:
        config = self._config
        if self.pictures is not None:
            config = replace(config, max_payload=Size(self.pictures.max_payload))
        client = Client(config, self._client_id, version, config.session_expiry, self._held)
        return Session(
            config, client, self._accept_messages, self._clock, self._intake.backpressured
        )

    def _forget_births(self) -> None:
        """The connection has ended: the last values of Sparkplug nodes may no longer be valid."""
        if self._sparkplug is not None:
            out = Readings(self._clock.now_us())
            self._sparkplug.forget_births(out)
            self._decoder.deliver(out)

    def _send_requests(self) -> None:
        """Send the rebirth requests to Sparkplug nodes."""
        if self._sparkplug is not None and self._session is not None:
            requests, self._sparkplug.requests = self._sparkplug.requests, []
            for topic, payload in requests:
                self._session.publish(topic, payload)

    async def _subscribe(self, session: Session) -> None:
        self.link.has_kept = session.session_present
        if not session.session_present:
            self._held.clear()
        # A kept session may have other topics: those of another config, or those in the file that a
        # broker wrote last before it lost power.
        wanted = filters(self._config)
        if self.pictures is not None:
            wanted += self.pictures.filters(one for one, _ in wanted)
        refused = await session.subscribe(wanted)
        state = LinkState.DEGRADED if refused else LinkState.UP
        version = Protocol.V5 if session.v5 else Protocol.V311
        text = f"not subscribed: {'; '.join(refused)}" if refused else f"MQTT {version}"
        self._reconnector.set_connected(state, text)

    def _accept_messages(self, messages: Messages) -> None:
        try:
            if self.pictures is not None:
                self.pictures.remove_from(messages)
            if self._sparkplug is None:
                self._decoder.decode_messages(messages, self._clock.now_us())
            else:
                self._accept_sparkplug(self._sparkplug, messages)
        except Exception:  # noqa: BLE001 (after any payload, the next ones must be read)
            _log.exception("payloads not decoded", extra={"source": self.name})
            self._refusals.count("internal", len(messages.topics))
        if self._conflicts.topics:
            self._conflicts.report(self.link.faults, self._clock.monotonic_s())

    def _accept_sparkplug(self, reader: SparkplugReader, messages: Messages) -> None:
        out, monotonic_s = Readings(self._clock.now_us()), self._clock.monotonic_s()
        for topic in messages.too_large:
            self._refusals.refuse_payload("too_large", topic, "larger than max_payload")
        reader.read(messages, out, monotonic_s)
        self._decoder.deliver(out)
        self._send_requests()
        reader.report(self.link.faults, monotonic_s)


def _sparkplug_reader(
    name: str, config: MqttSourceConfig, routes: Routes, refusals: Refusals
) -> SparkplugReader | None:
    if config.sparkplug is None:
        return None
    # Imported here, not above: protobuf costs memory that a plain broker does not need.
    from edge_agent.sources.mqtt.sparkplug import SparkplugReader  # noqa: PLC0415

    return SparkplugReader(name, config.sparkplug, routes, refusals)


def client_id(name: str, config: MqttSourceConfig, gateway: Gateway) -> str:
    """The client id of the session at the broker; the same after every restart."""
    return config.client_id or f"edge-agent-{gateway.client_name}-{name}"


def beside(config: MqttSourceConfig, purpose: str) -> MqttSourceConfig:
    """The config of a connection that does not disturb a running daemon and leaves nothing behind.

    It has a separate client id, or the broker would disconnect the daemon; no share of the daemon's
    messages; no session that the broker would continue to fill.
    """
    own_id = f"{config.client_id or 'edge-agent'}-{purpose}-{secrets.token_hex(4)}"
    return replace(config, client_id=HostText(own_id), session_expiry=Duration(0), share="")


def filters(config: MqttSourceConfig, *, shared: bool = True) -> list[tuple[str, int]]:
    """(topic filter, QoS) of each subscription."""
    if config.sparkplug is not None:
        return [(config.sparkplug.topic, 1)]
    prefix = f"$share/{config.share}/" if config.share and shared else ""
    return [(f"{prefix}{one.pattern.filter}", one.qos) for one in config.subscribe]


async def probe(config: MqttSourceConfig) -> None:
    """Connect and subscribe once, beside a running daemon, without taking its messages.

    ConnectError contains what the broker refused.
    """
    wanted = filters(config, shared=False)
    refused = await receive(config, wanted, 0.0, lambda _: None, lambda _: True)
    if refused:
        raise ConnectError(f"not subscribed: {'; '.join(refused)}", where=config.url)


async def listen(
    config: MqttSourceConfig,
    topics: Sequence[str],
    seconds: float,
    progress: Callable[[float, int], None] = lambda _share, _messages: None,
) -> Listened:
    """Listen to topics (patterns) for `seconds`, beside a running daemon, and describe them.

    progress is called with the fraction of the time that has passed and the messages so far.
    ConnectError if the broker refuses the connection.
    """
    return await listen_to(config, topics, seconds, SystemClock(), progress)
