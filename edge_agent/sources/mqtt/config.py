"""The config of an MQTT source."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Final

from edge_agent.config.schema import Kind, SourceTraits, TimeOf
from edge_agent.config.types import Between, Duration, HostText, Secret, Size
from edge_agent.errors import ConfigError
from edge_agent.sources.mqtt.payload_spec import BINARY, Format, Payload
from edge_agent.sources.mqtt.sparkplug_config import (  # noqa: TC001 (the loader asks for the types of fields)
    Sparkplug,
)
from edge_agent.sources.mqtt.topics import Pattern, compile_pattern, unknown_names
from edge_agent.sources.zone import zone_problems
from edge_agent.transport import Tls
from edge_agent.transport.mqtt import Broker, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from edge_agent.config.schema import Signal

PACKET_HEAD_BYTES: Final = 4096  # room for topic and properties beside the payload
_HALF_EMPTY: Final = (
    "the samples of one topic go to the members in turns: every window of a model would be half "
    "empty; leave it out, and split the assets between gateways"
)
_PLAIN: Final = Payload()
_OF_WAVEFORMS: Final = ("scale", "offset", "samples", "rate_hz")
_NO_WAVEFORM: Final = "has no effect: no signal here is a waveform (see scale of a signal)"
_STALE_S: Final = 30.0
MAX_PACKET_BYTES: Final = 268_435_455  # MQTT 5, 1.5.5


@dataclass(frozen=True, slots=True)
class Subscription:
    """Topics of one kind: `plant/{line}/{asset}/{signal}`.

    A placeholder matches one level. If neither `signal` nor a placeholder {signal} defines the
    signal of a topic, a payload is an object (or CSV columns) with the signals of its asset.
    """

    topic: str
    qos: Annotated[int, Between(0, 2)] = 1
    asset: str = ""  # an id, or a format of placeholders such as "{line}-{asset}"
    signal: str = ""  # a name, or a format
    template: str = ""  # template of assets that the config does not name
    payload: Payload = field(default_factory=Payload)

    def problems(self) -> Iterator[tuple[str, str]]:
        """Contradictions, as (key, message)."""
        try:
            names = compile_pattern(self.topic).names
        except ConfigError as error:
            yield "topic", str(error)
            return
        formats = [("asset", self.asset_format), ("signal", self.signal)]
        formats += [
            (f"payload.{key}", getattr(self.payload, key))
            for key in ("value", "time", "quality", "items", "name")
        ]
        given = {"asset"} if self.payload.asset else set[str]()
        for key, text in formats:
            for name in unknown_names(text, names | (given if key == "asset" else set())):
                yield key, f"the topic has no placeholder {{{name}}}"
        yield from self._records_problems()
        if self.payload.format in {Format.CSV, *BINARY} and not self.signal_format:
            if self.payload.format is not Format.CSV:
                yield "payload.format", "binary samples need a {signal} in the topic, or signal"
            elif not self.payload.columns:
                yield "payload.columns", "required if the topic has no {signal}"

    def _records_problems(self) -> Iterator[tuple[str, str]]:
        spec = self.payload
        if spec.name and self.signal_format:
            yield "payload.name", "has no effect: the topic or `signal` defines the signal"
        if spec.asset and self.signal_format:
            yield "payload.asset", "needs topics without {signal}: its objects contain whole assets"
        if spec.asset and not self.template and not self.asset and "asset" in self.pattern.names:
            yield "payload.asset", "has no effect: the topic has an {asset}"

    @property
    def pattern(self) -> Pattern:
        """The topic, compiled."""
        return compile_pattern(self.topic)

    @property
    def asset_format(self) -> str:
        """The format that makes an asset's id from the placeholders."""
        return self.asset or "{asset}"

    @property
    def signal_format(self) -> str:
        """The format of a signal's name; empty on topics of a whole asset."""
        return self.signal or ("{signal}" if "signal" in self.pattern.names else "")


@dataclass(frozen=True, slots=True)
class MqttSourceConfig(Broker):
    """An MQTT broker as a source."""

    url: str
    subscribe: tuple[Subscription, ...] = ()
    sparkplug: Sparkplug | None = None  # replaces subscribe
    username: str = ""
    password: Secret | None = None
    allow_insecure_password: bool = False  # sends it without encryption
    tls: Tls = field(default_factory=Tls)
    client_id: HostText = HostText("")  # default: edge-agent-<gateway>-<source>
    keepalive: Annotated[Duration, Between(5, 65_535)] = Duration(30)
    session_expiry: Annotated[Duration, Between(0, 0xFFFF_FFFE)] = Duration(3600)
    protocol: Protocol = Protocol.AUTO
    share: str = ""  # a group whose members share the messages (MQTT 5, 4.8.2)
    max_payload: Annotated[Size, Between(1024, MAX_PACKET_BYTES - PACKET_HEAD_BYTES)] = Size(
        1 << 20
    )
    coalesce: Annotated[Duration, Between(0, 1)] = Duration(0.02)  # longest pause between reads
    stale_after: Duration | None = None  # default: 30 s; none with sparkplug, which reports changes
    time: TimeOf = TimeOf.AUTO  # which clock is used: source (the payload's time), arrival, auto
    timezone: str = "UTC"  # of times without zone in payloads

    def problems(self) -> Iterator[tuple[str, str]]:
        """Contradictions, as (key, message)."""
        yield from self.broker_problems()
        if self.time is TimeOf.SERVER:
            yield "time", "a broker adds no time stamps: source, arrival or auto"
        yield from zone_problems(self.timezone)
        if not self.subscribe and self.sparkplug is None:
            yield "subscribe", "is empty: no value would arrive"
        if self.subscribe and self.sparkplug is not None:
            yield "sparkplug", "is not possible together with subscribe: use a separate source"
        if self.share and self.sparkplug is not None:
            yield "share", "has no effect on sparkplug"
        yield from self._unreached()
        if self.share and self.protocol is Protocol.V311:
            yield "share", "shared subscriptions need MQTT 5"
        if set(self.share) & set("/+#"):
            yield "share", "has no '/', '+' or '#'"

    def _unreached(self) -> Iterator[tuple[str, str]]:
        """Subscriptions whose topics are all matched by an earlier one."""
        try:
            patterns = [one.pattern for one in self.subscribe]
        except ConfigError:
            return  # already reported for the topic itself
        for n, later in enumerate(patterns):
            first = next((k for k, one in enumerate(patterns[:n]) if one.covers(later)), None)
            if first is not None:
                text = f"is never reached: subscribe[{first}] takes all its topics (put this first)"
                yield f"subscribe.{n}.topic", text

    def unread_keys(self) -> Sequence[str]:
        """Keys of a signal that only other sources read."""
        return ("sampling", "deadband")

    def unfit(self, signals: dict[str, Signal], *, windows: bool) -> Iterator[tuple[str, str]]:
        """Contradictions with the signals, as (key, message)."""
        if self.share and windows:
            yield "share", _HALF_EMPTY
        for n, one in enumerate(self.subscribe):
            own = [signals[one.signal]] if one.signal in signals else list(signals.values())
            if own and not any(signal.kind is Kind.WAVEFORM for signal in own):
                for key in _OF_WAVEFORMS:
                    if getattr(one.payload, key) != getattr(_PLAIN, key):
                        yield f"subscribe.{n}.payload.{key}", _NO_WAVEFORM

    @property
    def traits(self) -> SourceTraits:
        """Sparkplug reports on change, so no signal becomes stale unless the config sets a time."""
        reports_changes = self.sparkplug is not None
        default_s = None if reports_changes else _STALE_S
        finds = self.stale_after is None and not reports_changes
        return SourceTraits(
            reports_changes, self.stale_after or default_s, self.time, finds_silence=finds
        )

    @property
    def subscriptions(self) -> tuple[Subscription, ...]:
        """The subscriptions, each payload with the time zone that applies to it."""
        own = "" if self.timezone == "UTC" else self.timezone
        return tuple(
            replace(one, payload=replace(one.payload, timezone=one.payload.timezone or own))
            for one in self.subscribe
        )

    @property
    def version(self) -> Protocol:
        """The version to use. 3.1.1 has no shares: the filter would match an unused topic."""
        return Protocol.V5 if self.share else self.protocol

    @property
    def max_packet_bytes(self) -> int:
        """The largest packet that is accepted."""
        return int(self.max_payload) + PACKET_HEAD_BYTES
