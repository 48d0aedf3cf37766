"""The MQTT source against mosquitto and amqtt, brokers that nobody here wrote."""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import socket
import struct
from typing import TYPE_CHECKING, Any, Self

import pytest
from mqtt_support import (
    Publisher,
    Rig,
    make_plant,
    make_users,
    mqtt_config,
    packet,
    publish_packet,
    rejected,
    subscription,
)
from opcua_support import make_pair
from support import until, value_of

from edge_agent.clock import SystemClock
from edge_agent.config import schema
from edge_agent.config.types import Duration, Secret, Size
from edge_agent.errors import ConnectError
from edge_agent.messages import LinkState
from edge_agent.sources.mqtt.paho_client import Client
from edge_agent.sources.mqtt.payload_spec import Format, Payload
from edge_agent.sources.mqtt.source import beside, probe
from edge_agent.testing import ListIntake, find_free_port
from edge_agent.transport.mqtt import Protocol
from edge_agent.transport.tls import Tls
from edge_agent.values import RETAINED

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from edge_agent.testing import Mosquitto

pytestmark = [pytest.mark.integration]

TS_MS = 1_767_000_000_000
QUEUES = "max_queued_messages 0\n"


def doc(value: float, n: int = 0) -> bytes:
    return b'{"ts":%d,"value":%.3f}' % (TS_MS + n, value)


@pytest.fixture(autouse=True)
def short_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reconnect at once, nearly: the waiting itself has a test of its own."""
    monkeypatch.setattr("edge_agent.transport.reconnect.backoff_s", lambda *_: 0.05)


@pytest.fixture
def make_publisher() -> Iterator[Callable[..., Publisher]]:
    made: list[Publisher] = []

    def make(port: int, **options: Any) -> Publisher:
        made.append(Publisher(port, **options))
        return made[-1]

    yield make
    for publisher in made:
        publisher.close()


@pytest.fixture
def publisher(broker: Mosquitto, make_publisher: Callable[..., Publisher]) -> Publisher:
    return make_publisher(broker.port)


async def in_thread(call: Callable[..., object], *args: Any) -> None:
    await asyncio.to_thread(call, *args)


@pytest.mark.parametrize("version", [Protocol.V5, Protocol.V311])
@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_every_quality_of_service(
    broker: Mosquitto, publisher: Publisher, qos: int, version: Protocol
) -> None:
    """Hundreds of messages, more than any in-flight window, arrive once each and in order."""
    config = mqtt_config(broker.url, subscription(qos=qos), protocol=version)
    async with Rig(config) as rig:
        await rig.up()
        assert rig.source.link.detail == f"MQTT {version}"
        messages = [("plant/l/P1/s0", doc(n, n)) for n in range(500)]
        await in_thread(publisher.publish_many, messages, qos)
        await rig.received(500)
        await asyncio.sleep(0.1)
        assert rig.values("P1", "s0") == list(range(500))
        assert rig.columns.time_us[-1] == (TS_MS + 499) * 1000


async def test_payloads_of_every_kind(broker: Mosquitto, publisher: Publisher) -> None:
    signals = {"s0": schema.Signal(), "vib": schema.Signal(kind=schema.Kind.WAVEFORM)}
    config = mqtt_config(
        broker.url,
        subscription(),
        subscription("all/{asset}"),
        subscription("csv/{asset}/{signal}", payload=Payload(format=Format.CSV)),
        subscription(
            "wave/{asset}",
            signal="vib",
            payload=Payload(format=Format.INT16, rate_hz=10_000, scale=0.5),
        ),
    )
    async with Rig(config, make_plant("P1", signals=signals)) as rig:
        await rig.up()
        await in_thread(publisher.publish, "plant/l/P1/s0", b"1.5")
        await in_thread(publisher.publish, "all/P1", b'{"s0": 2.5}')
        await in_thread(publisher.publish, "csv/P1/s0", b"%d,3.5" % TS_MS)
        await in_thread(publisher.publish, "wave/P1", struct.pack("<20000h", *range(20_000)))
        await until(lambda: bool(rig.intake.blocks))
        assert rig.values("P1", "s0") == [1.5, 2.5, 3.5]
        assert rig.intake.blocks[0].samples[-1] == 19_999 / 2


async def test_assets_are_discovered_from_topics(broker: Mosquitto, publisher: Publisher) -> None:
    config = mqtt_config(broker.url, subscription(template="pump"))
    async with Rig(config, make_plant(max_assets=3)) as rig:
        await rig.up()
        messages = [(f"plant/north/N{n}/s1", doc(n)) for n in range(5)]
        await in_thread(publisher.publish_many, messages)
        await until(lambda: rejected(rig.metrics).get("assets_refused") == 2, what=rig.describe)
        assert sorted(rig.plant.assets) == ["N0", "N1", "N2"]
        assert rig.values("N2", "s1") == [2.0]


async def test_what_comes_while_we_are_away_is_kept(
    broker: Mosquitto, publisher: Publisher
) -> None:
    """A persistent session: also over a new process, which is a new source of the same name."""
    config = mqtt_config(broker.url)
    async with Rig(config) as rig:
        await rig.up()
    await in_thread(publisher.publish_many, [("plant/l/P1/s0", doc(n)) for n in range(300)])
    async with Rig(config) as again:
        await again.received(300)
        assert again.values("P1", "s0") == list(range(300))


async def test_a_kept_session_gets_the_topics_of_a_new_config(
    broker: Mosquitto, publisher: Publisher
) -> None:
    async with Rig(mqtt_config(broker.url)) as rig:
        await rig.up()
    config = mqtt_config(broker.url, subscription(), subscription("new/{asset}/{signal}"))
    async with Rig(config) as again:
        await again.up()
        await in_thread(publisher.publish, "new/P1/s0", doc(1))
        await again.received(1)


@pytest.mark.parametrize("version", [Protocol.V5, Protocol.V311])
async def test_without_expiry_no_session_is_left(
    broker: Mosquitto, publisher: Publisher, version: Protocol
) -> None:
    config = mqtt_config(broker.url, session_expiry=Duration(0), protocol=version)
    async with Rig(config) as rig:
        await rig.up()
    await in_thread(publisher.publish, "plant/l/P1/s0", doc(1))
    async with Rig(config) as again:
        await again.up()
        await in_thread(publisher.publish, "plant/l/P1/s0", doc(2))
        await again.received(1)
        assert again.values("P1", "s0") == [2.0]


async def test_retained_messages_are_taken(broker: Mosquitto, publisher: Publisher) -> None:
    await in_thread(lambda: publisher.publish("plant/l/P1/s0", b"7", retain=True))
    async with Rig(mqtt_config(broker.url)) as rig:
        await rig.received(1)
        assert rig.values("P1", "s0") == [7.0]
        assert rig.columns.status.tolist() == [RETAINED]


async def test_a_shared_subscription_is_shared(broker: Mosquitto, publisher: Publisher) -> None:
    rigs = [Rig(mqtt_config(broker.url, share="g", client_id=f"gw{n}")) for n in range(2)]
    async with rigs[0], rigs[1]:
        for rig in rigs:
            await rig.up()
        await in_thread(publisher.publish_many, [("plant/l/P1/s0", doc(n)) for n in range(100)])
        await until(lambda: sum(len(rig.intake) for rig in rigs) >= 100)
        await asyncio.sleep(0.1)
        parts = [rig.values("P1", "s0") for rig in rigs]
        assert sorted(parts[0] + parts[1]) == list(range(100))
        assert all(parts)


@pytest.fixture
async def amqtt_url() -> AsyncIterator[str]:
    """amqtt, which speaks 3.1.1 only."""
    amqtt = pytest.importorskip("amqtt.broker")
    port = find_free_port()
    plugin = "amqtt.plugins.authentication.AnonymousAuthPlugin"
    broker = amqtt.Broker(
        {
            "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{port}"}},
            "plugins": {plugin: {"allow_anonymous": True}},
        }
    )
    await broker.start()
    yield f"mqtt://127.0.0.1:{port}"
    await broker.shutdown()


async def test_a_broker_without_mqtt_5_gets_3_1_1(
    amqtt_url: str, make_publisher: Callable[..., Publisher], monkeypatch: pytest.MonkeyPatch
) -> None:
    # It hangs over a CONNECT of MQTT 5.
    monkeypatch.setattr("edge_agent.transport.mqtt.versions.FIRST_TRY_TIMEOUT_S", 0.3)
    async with Rig(mqtt_config(amqtt_url)) as rig:
        await rig.up()
        assert rig.source.link.detail == "MQTT 3.1.1"
        publisher = await asyncio.to_thread(make_publisher, rig.config.port)
        await in_thread(publisher.publish, "plant/l/P1/s0", doc(1.5))
        await rig.received(1)
        assert rig.values("P1", "s0") == [1.5]
    await probe(mqtt_config(amqtt_url))


@pytest.mark.parametrize("code", [0x01, 0x84])
async def test_a_broker_that_refuses_mqtt_5_is_asked_with_3_1_1_at_once(code: int) -> None:
    """Code 1 is how a broker of 3.1.1 says it (MQTT 3.1.1, 3.2.2.3)."""
    async with Wire(connack=bytes([0, code])) as wire, Rig(mqtt_config(wire.url)) as rig:
        await until(lambda: rig.source.link.state is LinkState.DOWN, what=rig.describe)
        assert [connect[8] for connect in wire.connects[:2]] == [5, 4]
    async with Wire(connack=bytes([0, code])) as wire:
        with pytest.raises(ConnectError, match="another version of MQTT"):
            await probe(mqtt_config(wire.url, protocol=Protocol.V5))


@pytest.fixture
def tls_broker(
    tmp_path: Path, make_broker: Callable[..., Mosquitto]
) -> tuple[Mosquitto, dict[str, Tls]]:
    """A broker that asks for a client certificate; and what clients may come with."""
    ca = make_pair(tmp_path, "ca", "urn:ca", ca=True)
    server = make_pair(tmp_path, "server", "urn:server", issuer=ca)
    client = make_pair(tmp_path, "client", "urn:client", issuer=ca)
    other = make_pair(tmp_path, "other", "urn:other", ca=True)
    old = make_pair(tmp_path, "old", "urn:client", issuer=ca, days=(-20, -10))
    broker = make_broker(
        f"cafile {ca.certificate}\ncertfile {server.certificate}\nkeyfile {server.key}\n"
        f"require_certificate true\nqueue_qos0_messages true\n{QUEUES}"
    )
    return broker, {
        "good": Tls(ca.certificate, client.certificate, client.key),
        "no certificate": Tls(ca.certificate),
        "unknown authority": Tls(other.certificate, client.certificate, client.key),
        "expired": Tls(ca.certificate, old.certificate, old.key),
        "no such file": Tls(tmp_path / "none.pem"),
    }


def tls_url(broker: Mosquitto) -> str:
    return broker.url.replace("mqtt:", "mqtts:")


async def test_tls_with_a_client_certificate(
    tls_broker: tuple[Mosquitto, dict[str, Tls]], make_publisher: Callable[..., Publisher]
) -> None:
    """A burst far larger than a TLS record, then silence: nothing stays in the TLS layer."""
    broker, clients = tls_broker
    config = mqtt_config(tls_url(broker), subscription(qos=0), tls=clients["good"])
    async with Rig(config) as rig:
        await rig.up()
    publisher = await asyncio.to_thread(lambda: make_publisher(broker.port, tls=clients["good"]))
    messages = [("plant/l/P1/s0", doc(n)) for n in range(3000)]
    await in_thread(publisher.publish_many, messages)
    async with Rig(config) as rig:
        await rig.received(3000)
        assert rig.values("P1", "s0") == list(range(3000))
        await in_thread(publisher.publish, "plant/l/P1/s0", doc(3000))
        await rig.received(3001)


@pytest.mark.parametrize(
    ("case", "said"),
    [
        ("no certificate", "it asks for a client certificate: set tls.cert and tls.key"),
        ("unknown authority", "see tls.ca, and the name in the broker's certificate"),
        ("no such file", "cannot read a certificate: No such file"),
        ("expired", "old.pem expired on"),
    ],
)
async def test_tls_that_fails_is_explained(
    tls_broker: tuple[Mosquitto, dict[str, Tls]], case: str, said: str
) -> None:
    broker, clients = tls_broker
    config = mqtt_config(tls_url(broker), tls=clients[case])
    async with Rig(config) as rig:
        await until(lambda: rig.source.link.state is LinkState.DOWN, what=rig.describe)
        assert said in rig.source.link.detail
        assert "version" not in rig.source.link.detail
    with pytest.raises(ConnectError, match=re.escape(said)):
        await probe(config)


async def test_two_clients_of_one_id_are_named(broker: Mosquitto) -> None:
    """The broker throws them out in turns, for ever, and says no word about it."""
    config = mqtt_config(broker.url, client_id="twice")
    async with Rig(config) as one, Rig(config) as other:
        rigs = (one, other)
        await until(lambda: any(rig.source.link.faults for rig in rigs), one.describe, 40)
        (fault,) = next(rig.source.link.faults for rig in rigs if rig.source.link.faults).values()
        assert fault.what == "client_id.bus"
        assert "does another client use client_id twice?" in fault.text


async def test_a_second_connection_beside_a_daemon_takes_nothing_from_it(
    broker: Mosquitto, publisher: Publisher
) -> None:
    """`learn --hours` hears what the daemon hears, and leaves no session at the broker."""
    config = mqtt_config(broker.url, client_id="gw", share="group")
    own = beside(config, "learn")
    assert (own.share, own.session_expiry) == ("", 0.0)
    async with Rig(config) as rig, Rig(own) as second:
        await rig.up()
        await second.up()
        await in_thread(publisher.publish_many, [("plant/l/P1/s0", doc(n)) for n in range(50)])
        await rig.received(50)
        await second.received(50)
        assert value_of(rig.metrics.source_reconnects.labels("bus")) == 0


async def test_wrong_credentials_are_explained_and_retried(
    tmp_path: Path, make_broker: Callable[..., Mosquitto]
) -> None:
    broker, password = _broker_with_password(tmp_path, make_broker)
    config = mqtt_config(broker.url, username="edge", password=Secret(file=password))
    async with Rig(config) as rig:
        await rig.up()
    await probe(config)
    password.write_text("wrong\n")
    async with Rig(config) as rig:
        await until(lambda: rig.source.link.state is LinkState.DOWN, what=rig.describe)
        assert "authori" in rig.source.link.detail
        assert "username" in rig.source.link.detail
        assert value_of(rig.metrics.source_up.labels("bus")) == 0
        password.write_text("right\n")
        await rig.up()
    password.unlink()
    async with Rig(config) as rig:
        await until(lambda: rig.source.link.state is LinkState.DOWN, what=rig.describe)
        assert "cannot read the secret" in rig.source.link.detail


def _broker_with_password(
    folder: Path, make_broker: Callable[..., Mosquitto]
) -> tuple[Mosquitto, Path]:
    users = make_users(folder, "edge", "right")
    password = folder / "password"
    password.write_text("right\n")
    return make_broker(f"password_file {users}", anonymous=False), password


async def test_the_broker_may_come_later_and_go_at_any_time(
    make_broker: Callable[..., Mosquitto], make_publisher: Callable[..., Publisher]
) -> None:
    broker = make_broker()
    broker.stop()
    async with Rig(mqtt_config(broker.url)) as rig:
        await until(lambda: rig.source.link.state is LinkState.DOWN, what=rig.describe)
        assert "is the broker running" in rig.source.link.detail
        for n in range(1, 4):
            broker.start()
            await rig.up()
            publisher = await asyncio.to_thread(make_publisher, broker.port)
            await in_thread(publisher.publish, "plant/l/P1/s0", doc(n))
            await rig.received(n)
            publisher.close()
            broker.kill()
            await until(lambda: rig.source.link.state is LinkState.DOWN, what=rig.describe)
        assert rig.values("P1", "s0") == [1.0, 2.0, 3.0]
        assert value_of(rig.metrics.source_reconnects.labels("bus")) == 3


async def test_garbage_never_stops_the_stream(broker: Mosquitto, publisher: Publisher) -> None:
    chance = random.Random(3)  # noqa: S311
    async with Rig(mqtt_config(broker.url, max_payload=Size(4096))) as rig:
        await rig.up()
        messages = [("plant/l/P1/s1", chance.randbytes(chance.randrange(200))) for _ in range(500)]
        for n in range(0, 500, 10):
            messages[n] = ("plant/l/P1/s0", doc(n))
        await in_thread(publisher.publish_many, messages)
        await until(lambda: len(rig.values("P1", "s0")) >= 50, what=rig.describe)
        assert rig.values("P1", "s0") == list(range(0, 500, 10))
        assert rig.source.link.state is LinkState.UP
        assert sum(rejected(rig.metrics).values()) > 300


@pytest.mark.parametrize("version", [Protocol.V311, Protocol.V5])
async def test_a_payload_too_large_is_skipped(
    broker: Mosquitto, publisher: Publisher, version: Protocol
) -> None:
    """And counted: on MQTT 5 we announce no largest packet, or the broker would drop it unsaid."""
    config = mqtt_config(broker.url, max_payload=Size(4096), protocol=version)
    async with Rig(config) as rig:
        await rig.up()
        for payload in (doc(1), b"9" * 1_000_000, doc(2)):
            await in_thread(publisher.publish, "plant/l/P1/s0", payload)
        await rig.received(2)
        assert rig.values("P1", "s0") == [1.0, 2.0]
        assert rejected(rig.metrics) == {"too_large": 1}
        assert value_of(rig.metrics.source_reconnects.labels("bus")) == 0


class Wire:
    """A broker in a few lines that says what a test wants, where no real one would."""

    def __init__(self, *, connack: bytes = b"\x00\x00\x00", codes: bytes = b"\x01") -> None:
        self.seen = b""
        self.connects: list[bytes] = []
        self.script = b""
        self.url = ""
        self._connack = connack
        self._codes = codes
        self._writers: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"mqtt://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in self._writers:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        with contextlib.suppress(ConnectionError):
            self.connects.append(await reader.read(1000))
            if self._connack:
                writer.write(packet(0x20, self._connack))
                await reader.read(1000)
                writer.write(packet(0x90, b"\x00\x01\x00" + self._codes) + self.script)
                while data := await reader.read(1000):
                    self.seen += data
        writer.close()


V5: dict[str, Any] = {"protocol": Protocol.V5, "coalesce": Duration(0)}


async def test_messages_are_confirmed_only_after_the_intake_has_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The PUBACKs of one read go out as one write, after the append."""
    order: list[str] = []
    acknowledge = Client.acknowledge

    def watched(client: Client, acks: list[bytes]) -> None:
        order.append(f"ack {len(acks)}")
        acknowledge(client, acks)

    monkeypatch.setattr(Client, "acknowledge", watched)
    async with Wire() as wire:
        wire.script = b"".join(
            publish_packet(b"plant/l/P1/s0", b"%d" % n, qos=1, packet_id=n, properties=b"")
            for n in range(1, 6)
        )
        rig = Rig(mqtt_config(wire.url, **V5))
        append = rig.intake.append
        rig.intake.append = lambda values: (order.append("append"), append(values))  # type: ignore[func-returns-value,assignment]
        async with rig:
            await until(lambda: len(wire.seen) >= 20, what=rig.describe)
        assert order == ["append", "ack 5"]
        acks = b"".join(b"\x40\x02" + n.to_bytes(2, "big") for n in range(1, 6))
        assert wire.seen.startswith(acks)


async def test_a_defect_of_ours_costs_one_read_only(caplog: pytest.LogCaptureFixture) -> None:
    """Even an exception that nobody thought of is counted, and the next read is decoded."""
    async with Wire() as wire:
        wire.script = publish_packet(b"plant/l/P1/s0", b"1", qos=1, packet_id=1, properties=b"")
        rig = Rig(mqtt_config(wire.url, **V5))

        def fail(_: object) -> None:
            raise RuntimeError("broken intake")

        monkey: Any = rig.intake
        monkey.append = fail
        async with rig:
            await until(lambda: rejected(rig.metrics) == {"internal": 1}, what=rig.describe)
            assert rig.source.link.state is LinkState.UP
    assert "payloads not decoded" in caplog.text


async def test_a_stream_that_is_no_mqtt_is_dropped_and_dialled_again() -> None:
    async with Wire() as wire:
        good = publish_packet(b"plant/l/P1/s0", b"1", properties=b"")
        wire.script = good + b"\x36\x05\x00\x01t\x00\x01"
        async with Rig(mqtt_config(wire.url, **V5)) as rig:
            await until(lambda: len(rig.intake) >= 2, what=rig.describe)
            await until(lambda: "QoS 3" in rig.source.link.detail, what=rig.describe)


async def test_a_broker_that_hangs_up_before_its_answer_is_tried_with_both_versions() -> None:
    """It may have been going down: MQTT 5 stays the first choice."""
    async with Wire(connack=b"") as wire, Rig(mqtt_config(wire.url)) as rig:
        await until(lambda: len(wire.connects) >= 4, what=rig.describe)
        assert [connect[8] for connect in wire.connects[:4]] == [5, 4, 5, 4]


async def test_a_refused_subscription_degrades_the_link() -> None:
    async with Wire(codes=b"\x01\x87") as wire:
        config = mqtt_config(wire.url, subscription(), subscription("closed/{asset}"), **V5)
        async with Rig(config) as rig:
            await until(lambda: rig.source.link.state is LinkState.DEGRADED, what=rig.describe)
            assert rig.source.link.detail == "not subscribed: closed/+: Not authorized"
        with pytest.raises(ConnectError, match="closed/"):
            await probe(config)


async def test_silence_ends_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that neither sends nor answers a PINGREQ is given up after 1.5 keepalives."""

    class Fast(SystemClock):
        """A clock on which 100 seconds pass in one."""

        def monotonic_s(self) -> float:
            return super().monotonic_s() * 100

    monkeypatch.setattr("edge_agent.transport.mqtt.wire.CHECK_EVERY_S", 0.02)
    async with Wire() as wire, Rig(mqtt_config(wire.url, **V5), clock=Fast()) as rig:
        await until(lambda: len(wire.connects) >= 2, what=rig.describe)
        assert value_of(rig.metrics.source_reconnects.labels("bus")) >= 1


async def test_stop_while_waiting_for_an_answer_is_quick() -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(1)
        url = f"mqtt://127.0.0.1:{deaf.getsockname()[1]}"
        async with asyncio.timeout(3), Rig(mqtt_config(url)):
            await asyncio.sleep(0.1)


async def test_probe_takes_nothing_from_a_running_source(
    broker: Mosquitto, publisher: Publisher
) -> None:
    async with Rig(mqtt_config(broker.url, share="g")) as rig:
        await rig.up()
        await probe(rig.config)
        await in_thread(publisher.publish_many, [("plant/l/P1/s0", doc(n)) for n in range(20)])
        await rig.received(20)
        assert value_of(rig.metrics.source_reconnects.labels("bus")) == 0


async def test_probe_says_what_is_wrong() -> None:
    with pytest.raises(ConnectError) as caught:
        await probe(mqtt_config(f"mqtt://127.0.0.1:{find_free_port()}"))
    assert "is the broker running" in str(caught.value)
    with pytest.raises(ConnectError) as caught:
        await probe(mqtt_config("mqtt://no-such-host.invalid"))
    assert "name" in str(caught.value)


class CrowdedIntake(ListIntake):
    """Says that it is crowded while it is told to."""

    full = False

    def backpressured(self) -> bool:
        return self.full


async def test_a_crowded_intake_leaves_values_with_the_broker_until_there_is_room(
    broker: Mosquitto, publisher: Publisher
) -> None:
    intake = CrowdedIntake()
    async with Rig(mqtt_config(broker.url), intake=intake) as rig:
        await rig.up()
        intake.full = True
        await in_thread(publisher.publish, "plant/l/P1/s0", doc(-1.0))
        await asyncio.sleep(0.1)  # the read that was under way has ended
        before = len(intake)
        await in_thread(publisher.publish_many, [("plant/l/P1/s0", doc(n)) for n in range(50)], 0)
        await asyncio.sleep(0.3)
        assert len(intake) == before
        intake.full = False
        await rig.received(51)
        assert rig.values("P1", "s0") == [-1.0, *map(float, range(50))]
