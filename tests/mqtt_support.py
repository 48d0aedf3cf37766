"""Helpers of the MQTT tests: packets as bytes, a plant, a source with all it needs, a publisher."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion
from support import NO_SOURCE, until

from edge_agent.clock import SystemClock
from edge_agent.config import schema
from edge_agent.config.types import Name
from edge_agent.messages import LinkState
from edge_agent.ops.metrics import Metrics
from edge_agent.plant import Plant
from edge_agent.sources.mqtt.config import MqttSourceConfig, Subscription
from edge_agent.sources.mqtt.source import MqttSource
from edge_agent.testing import ListIntake

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.clock import Clock
    from edge_agent.transport.tls import Tls
    from edge_agent.values import Columns

SOURCE = "bus"


def length_of(n: int) -> bytes:
    """A variable byte integer (MQTT 5, 1.5.5)."""
    out = bytearray()
    while True:
        n, low = divmod(n, 128)
        out.append(low | (128 if n else 0))
        if not n:
            return bytes(out)


def packet(first: int, body: bytes) -> bytes:
    """A packet of any type."""
    return bytes([first]) + length_of(len(body)) + body


def publish_packet(
    topic: bytes,
    payload: bytes,
    *,
    qos: int = 0,
    packet_id: int = 1,
    retain: bool = False,
    properties: bytes | None = None,
) -> bytes:
    """A PUBLISH; of MQTT 5 where properties are given."""
    body = len(topic).to_bytes(2, "big") + topic
    if qos:
        body += packet_id.to_bytes(2, "big")
    if properties is not None:
        body += length_of(len(properties)) + properties
    return packet(0x30 | qos << 1 | retain, body + payload)


def make_plant(
    *assets: str,
    signals: dict[str, schema.Signal] | None = None,
    max_assets: int = 1000,
    sources: tuple[str, ...] = (SOURCE,),
) -> Plant:
    """Assets of a template `pump` with these signals (default: s0, s1, s2)."""
    signals = signals or {f"s{n}": schema.Signal() for n in range(3)}
    named = {Name(name): signal for name, signal in signals.items()}
    return Plant(
        schema.Config(
            sources={Name(name): NO_SOURCE for name in sources},
            templates={Name("pump"): schema.Template(signals=named)},
            assets={name: schema.Asset(template=Name("pump")) for name in assets},
            discovery=schema.Discovery(max_assets=max_assets),
        )
    )


def rejected(metrics: Metrics, source: str = SOURCE) -> dict[str, float]:
    """Refusals by reason."""
    return {
        sample.labels["reason"]: sample.value
        for family in metrics.registry.collect()
        if family.name == "edge_agent_values_rejected"
        for sample in family.samples
        if sample.name.endswith("_total") and sample.labels["source"] == source
    }


@dataclass
class Rig:
    """A source with all it needs; `config` may be changed before `start`."""

    config: MqttSourceConfig
    plant: Plant = field(default_factory=lambda: make_plant("P1"))
    clock: Clock = field(default_factory=SystemClock)
    intake: ListIntake = field(default_factory=ListIntake)
    metrics: Metrics = field(default_factory=Metrics)

    def __post_init__(self) -> None:
        self.source = MqttSource(
            SOURCE,
            self.config,
            self.plant,
            self.intake,
            self.metrics,
            self.clock,
            schema.Gateway(),
        )

    @property
    def columns(self) -> Columns:
        return self.intake.columns

    def values(self, asset: str, signal: str) -> list[float]:
        """What arrived for one signal."""
        index = self.plant.assets[asset].signals[signal].index
        columns = self.columns
        return [float(value) for value in columns.value[columns.signal == index]]

    async def __aenter__(self) -> Self:
        await self.source.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.source.stop()

    async def up(self) -> None:
        await until(lambda: self.source.link.state is LinkState.UP, what=self.describe)

    async def received(self, n: int) -> None:
        """Wait for n values in all."""
        await until(lambda: len(self.intake) >= n, what=self.describe)

    def describe(self) -> str:
        return f"{self.source.link}, {len(self.intake)} values, refused {rejected(self.metrics)}"


def subscription(topic: str = "plant/{line}/{asset}/{signal}", **options: Any) -> Subscription:
    return Subscription(topic=topic, **options)


def mqtt_config(url: str, *subscriptions: Subscription, **options: Any) -> MqttSourceConfig:
    return MqttSourceConfig(url, subscriptions or (subscription(),), **options)


def make_users(folder: Path, name: str, password: str) -> Path:
    """A password file of mosquitto with one user."""
    users = folder / "users"
    subprocess.run(["mosquitto_passwd", "-b", "-c", users, name, password], check=True)
    users.chmod(0o644)
    return users


class Publisher:
    """A client of paho's own making, in a thread, that publishes and waits for confirmation."""

    def __init__(
        self, port: int, *, tls: Tls | None = None, login: tuple[str, str] | None = None
    ) -> None:
        self._client = paho.Client(CallbackAPIVersion.VERSION2)
        if login is not None:
            self._client.username_pw_set(*login)
        self._client.max_queued_messages_set(0)
        if tls is not None:
            self._client.tls_set(str(tls.ca), str(tls.cert), str(tls.key))
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def publish(
        self, topic: str, payload: bytes | str, qos: int = 1, *, retain: bool = False
    ) -> None:
        """Publish, and return when the broker has it."""
        self._client.publish(topic, payload, qos, retain).wait_for_publish(10)

    def publish_many(self, messages: list[tuple[str, bytes]], qos: int = 1) -> None:
        """Publish all, and return when the broker has them."""
        for info in [self._client.publish(topic, payload, qos) for topic, payload in messages]:
            info.wait_for_publish(20)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()
