"""What tests of sinks need: a store on its thread with a delivery, a subscriber, certificates."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import paho.mqtt.client as paho
from certificates import write_certificate
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from support import until

from edge_agent.clock import SystemClock
from edge_agent.delivery.sender import Sender
from edge_agent.messages import Message
from edge_agent.store import Store, StoreWorker

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from edge_agent.ops.metrics import Metrics
    from edge_agent.sinks.base import Sink

WAIT_S = 20.0


def event(
    key: str = "P-1-bearing",
    seq: int = 1,
    transition: str = "raise",
    kind: str = "event",
    sink: str = "plant",
) -> Message:
    """A message with a CloudEvent for a body, as the pipeline writes it."""
    data = {"alarm_id": key, "transition": transition, "state": "unack", "severity": 600}
    data["message"] = {"en": "Bearing wear", "de": "Lagerverschleiß"}
    values = {"title": key, "text": key, "message": key}  # of a message to people
    body = {"specversion": "1.0", "id": f"{key}:{seq}", "source": "edge/gateway", "data": data}
    body["values"] = values
    topic = f"edge/e/s/a/l/P-1/_pdm/{'event' if kind == 'event' else f'alert/{key}'}"
    encoded = json.dumps(body).encode()
    return Message(0, sink, kind, key, seq, topic, encoded, time.time_ns() // 1000)


class Rig:
    """A store on a thread of its own, and the delivery from it to `sink`."""

    def __init__(
        self,
        path: Path,
        sink: Sink,
        metrics: Metrics,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._path = path
        self.sink = sink
        self.metrics = metrics
        self.confirmed: list[Message] = []
        self.store = StoreWorker()
        self.run: Callable[..., Awaitable[Any]] = self.store.run
        self.delivery = Sender(
            sink, self.store, metrics, on_confirmed=self.confirmed.append, sleep=sleep
        )

    async def __aenter__(self) -> Self:
        clock = SystemClock()
        await self.store.open(self._path, max_bytes=16 << 20, history_days=1, clock=clock)
        await self.sink.start()
        await self.delivery.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.delivery.stop()
        await self.sink.stop()
        await self.store.close()

    async def put(self, *messages: Message) -> None:
        """Commit messages and say so."""
        await self.run(Store.commit, [], messages)
        self.delivery.wake()

    async def waiting(self) -> list[Message]:
        """What is in the outbox."""
        found: list[Message] = await self.run(Store.pending, self.sink.name, 100_000)
        return found

    async def emptied(self, rest: int = 0) -> list[Message]:
        """Wait until only `rest` messages are in the outbox; returns them."""
        deadline = time.monotonic() + WAIT_S
        while len(left := await self.waiting()) > rest:
            assert time.monotonic() < deadline, f"{len(left)} messages still wait: {left[:3]}"
            await asyncio.sleep(0.01)
        return left

    def failures(self, reason: str) -> float:
        """How many deliveries failed for that reason."""
        labels = {"sink": self.sink.name, "reason": reason}
        name = "edge_agent_sink_failures_total"
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


class Received(NamedTuple):
    """One message as a subscriber saw it."""

    topic: str
    body: bytes
    retained: bool


class Subscriber:
    """An MQTT client that keeps all it receives; it stays subscribed over the broker's restarts."""

    def __init__(self, port: int, topic: str = "#", **credentials: str) -> None:
        self.received: list[Received] = []
        self._topic = topic
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2,
            f"subscriber-{secrets.token_hex(4)}",
            clean_session=False,
            protocol=MQTTProtocolVersion.MQTTv311,
        )
        if credentials:
            self._client.username_pw_set(credentials["username"], credentials["password"])
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = lambda *_: setattr(self, "subscribed", True)
        self._client.on_message = self._on_message
        self.subscribed = False
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def _on_connect(self, *_: object) -> None:
        self._client.subscribe(self._topic, 1)

    def _on_message(self, _c: object, _u: object, one: paho.MQTTMessage) -> None:
        self.received.append(Received(one.topic, bytes(one.payload), one.retain))

    async def ready(self) -> Self:
        await until(lambda: self.subscribed, "subscribed")
        return self

    def publish(self, topic: str, body: bytes, *, retain: bool = False) -> None:
        self._client.publish(topic, body, 1, retain)

    def bodies(self, topic_part: str) -> list[bytes]:
        """What came on topics that contain `topic_part`."""
        return [one.body for one in self.received if topic_part in one.topic]

    def ids(self, topic_part: str) -> list[str]:
        """The CloudEvents' ids of the same."""
        return [json.loads(body)["id"] for body in self.bodies(topic_part) if body]

    def stop(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


async def leave_a_listener(port: int, topic: str = "#") -> None:
    """Leave a session at the broker that hears everything, though its client is away."""
    subscriber = await Subscriber(port, topic).ready()
    await asyncio.to_thread(subscriber.stop)


class Certificates(NamedTuple):
    """PEM files: an authority, a server for localhost and 127.0.0.1, a client; and a stranger."""

    ca: Path
    server: Path
    server_key: Path
    client: Path
    client_key: Path
    other_ca: Path


def make_certificates(folder: Path) -> Certificates:
    """Make them anew."""
    authority = _certificate(folder / "ca", "test authority", None)
    _certificate(folder / "server", "plant-broker", authority)
    _certificate(folder / "client", "gateway", authority)
    _certificate(folder / "other", "another authority", None)
    files = ("ca.pem", "server.pem", "server.key", "client.pem", "client.key", "other.pem")
    return Certificates(*(folder / name for name in files))


def _certificate(
    path: Path, name: str, issuer: tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    names = [x509.DNSName(name), x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
    extensions: list[tuple[x509.ExtensionType, bool]] = [
        (x509.BasicConstraints(ca=issuer is None, path_length=None), True)
    ]
    if issuer is not None:
        own = names if "broker" in name else names[:1]
        extensions.append((x509.SubjectAlternativeName(own), False))
    files = path.with_suffix(".pem"), path.with_suffix(".key")
    return write_certificate(files, name, key, extensions, issuer=issuer), key
