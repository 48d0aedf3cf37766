"""Sink `mqtt` against brokers that nobody here wrote: mosquitto (MQTT 5), amqtt (3.1.1 only)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import ssl
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import paho.mqtt.client as paho
import pytest
from sink_support import Rig, Subscriber, event, leave_a_listener, make_certificates
from support import until

from edge_agent.clock import SystemClock
from edge_agent.config.schema import Gateway
from edge_agent.config.types import Duration, HostText, Name, Secret
from edge_agent.errors import ConnectError
from edge_agent.messages import LinkState
from edge_agent.sinks import Position
from edge_agent.sinks.base import DeliveryError
from edge_agent.sinks.mqtt import MqttSink
from edge_agent.sinks.mqtt_config import MqttSinkConfig
from edge_agent.sinks.mqtt_connection import Connection
from edge_agent.sinks.mqtt_probe import probe
from edge_agent.testing import find_free_port, is_listening, wait_until
from edge_agent.transport.mqtt import Protocol
from edge_agent.transport.tls import Tls

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from sink_support import Certificates

    from edge_agent.messages import Message
    from edge_agent.ops.metrics import Metrics
    from edge_agent.sinks.base import Command
    from edge_agent.testing import Mosquitto

pytestmark = pytest.mark.integration

STATUS = "edge/_svc/gw-1/status"
COMMAND = "edge/e/s/a/l/P-1/_pdm/cmd/"


def make_sink(metrics: Metrics, config: MqttSinkConfig) -> MqttSink:
    return MqttSink("plant", config, Gateway(id=Name("gw-1")), "edge", metrics, SystemClock())


@asynccontextmanager
async def running(tmp_path: Path, metrics: Metrics, url: str, **options: Any) -> AsyncIterator[Rig]:
    """A sink at `url` with its store; up when it is handed over."""
    if url.startswith("mqtt:"):
        await leave_a_listener(int(url.rpartition(":")[2]))
    rig = Rig(tmp_path / "a.db", make_sink(metrics, MqttSinkConfig(url, **options)), metrics)
    async with rig:
        await until(lambda: rig.sink.link.state is LinkState.UP, "up")
        yield rig


@asynccontextmanager
async def subscribed(port: int, topic: str = "#") -> AsyncIterator[Subscriber]:
    subscriber = await Subscriber(port, topic).ready()
    try:
        yield subscriber
    finally:
        await asyncio.to_thread(subscriber.stop)


async def test_alerts_are_retained_events_are_not_and_an_empty_body_clears(
    tmp_path: Path, metrics: Metrics, broker: Mosquitto
) -> None:
    async with running(tmp_path, metrics, broker.url) as rig:
        async with subscribed(broker.port) as live:
            await rig.put(event(seq=1), event(seq=1, kind="alert"), event("other", kind="alert"))
            await rig.emptied()
            await until(lambda: len(live.ids("_pdm")) == 3, "received")
        gone = event("other", 2, kind="alert")
        await rig.put(gone.__class__(0, "plant", "alert", "other", 2, gone.topic, b"", 1))
        await rig.emptied()
        async with subscribed(broker.port) as late:
            await until(lambda: late.received, "retained")
            await asyncio.sleep(0.2)
    assert [(one.topic, one.retained) for one in late.received] == [
        (STATUS, True),
        ("edge/e/s/a/l/P-1/_pdm/alert/P-1-bearing", True),
    ]
    assert {(m.kind, m.key, m.seq) for m in rig.confirmed} == {
        ("event", "P-1-bearing", 1),
        ("alert", "P-1-bearing", 1),
        ("alert", "other", 1),
        ("alert", "other", 2),
    }


async def test_all_that_was_raised_in_an_outage_arrives_after_it(
    tmp_path: Path, metrics: Metrics, make_broker: Callable[..., Mosquitto]
) -> None:
    broker = make_broker("persistence true")  # it keeps what comes before the subscriber is back
    async with subscribed(broker.port) as live, running(tmp_path, metrics, broker.url) as rig:
        broker.stop()
        await until(lambda: rig.sink.link.state is LinkState.DOWN, "down")
        wanted = [event(f"alarm-{n}", seq) for seq in (1, 2) for n in range(25)]
        await rig.put(*wanted)
        assert len(await rig.waiting()) == 50
        broker.start()
        await rig.emptied()
        await until(lambda: len(live.ids("event")) >= 50, "received")
    assert sorted(live.ids("event")) == sorted(f"{m.key}:{m.seq}" for m in wanted), "each once"
    for n in range(25):
        order = [i for i in live.ids("event") if i.startswith(f"alarm-{n}:")]
        assert order == [f"alarm-{n}:1", f"alarm-{n}:2"]
    assert rig.failures("disconnected") >= 1


@pytest.mark.slow
async def test_a_broker_that_is_killed_again_and_again_gets_every_alarm(
    tmp_path: Path, metrics: Metrics, broker: Mosquitto
) -> None:
    """What it confirmed and then lost with its memory is published again when it is back."""
    sink = make_sink(metrics, MqttSinkConfig(broker.url))
    rig = Rig(tmp_path / "a.db", sink, metrics)
    raised: list[Message] = []
    again: list[asyncio.Task[None]] = []
    sink.on_forgotten = lambda *_: again.append(asyncio.create_task(rig.put(*raised)))
    async with subscribed(broker.port) as live, rig:
        for _ in range(10):
            for _ in range(10):
                raised.append(event(f"alarm-{len(raised)}", kind="alert"))
                await rig.put(raised[-1])
            broker.kill()
            broker.start()
            await until(lambda: sink.link.state is LinkState.UP, "up")
        await until(lambda: len(set(live.ids("alert"))) == 100, "every alarm")
        await asyncio.gather(*again)
        await rig.emptied()


async def test_a_broker_without_our_session_is_told_all_again(
    tmp_path: Path, metrics: Metrics, broker: Mosquitto
) -> None:
    """kill -9 of a broker without persistence: it has forgotten session and retained alarms."""
    sink = make_sink(metrics, MqttSinkConfig(broker.url))
    rig = Rig(tmp_path / "a.db", sink, metrics)
    told: list[int] = []
    sink.on_forgotten = lambda *_: told.append(len(rig.confirmed))
    async with rig:
        await until(lambda: told == [0], "a broker that never knew us")
        await rig.put(event(kind="alert"))
        await rig.emptied()
        broker.kill()
        broker.start()
        await until(lambda: told == [0, 1], "connected anew")
        await rig.put(event(kind="alert"))
        await rig.emptied()
        async with subscribed(broker.port, "edge/+/+/+/+/+/_pdm/alert/+") as late:
            await until(lambda: late.ids("alert") == ["P-1-bearing:1"], "retained again")


async def test_a_broker_that_was_away_may_have_forgotten_though_it_kept_our_session(
    metrics: Metrics, make_broker: Callable[..., Mosquitto]
) -> None:
    """Killed, it has lost what it confirmed since its last file; not so when only we were away."""
    broker = make_broker("persistence true")
    sink = make_sink(metrics, MqttSinkConfig(broker.url))
    forgotten: list[str] = []
    sink.on_forgotten = lambda *_: forgotten.append("session")
    await sink.start()
    await until(lambda: forgotten == ["session"], "up")
    broker.stop()
    broker.start()
    await until(lambda: forgotten == ["session", "session"], "up again")
    await sink.stop()
    again = make_sink(metrics, MqttSinkConfig(broker.url))
    again.on_forgotten = lambda *_: forgotten.append("again")
    await again.start()
    await until(lambda: again.mark(Position("s", 1, [])), "up with the old session, no doubt")
    await again.stop()
    assert forgotten == ["session", "session"]


@pytest.mark.parametrize("protected", [True, False], ids=["", "control"])
async def test_after_a_broken_link_only_what_is_in_doubt_is_sent_again(
    tmp_path: Path, metrics: Metrics, broker: Mosquitto, *, protected: bool
) -> None:
    """The broker holds a mark of how far it has received; without it, it may have lost a minute."""
    sink = make_sink(metrics, MqttSinkConfig(broker.url))
    told: list[Position | None] = []
    sink.on_forgotten = lambda mark, _: told.append(mark)
    rig = Rig(tmp_path / "a.db", sink, metrics)
    async with subscribed(broker.port), rig:
        await until(lambda: told == [None], "a broker that never knew us")
        if not protected:
            sink.mark = lambda position: True  # type: ignore[method-assign]  # noqa: ARG005
        sink.accept_marks()
        for n in range(30):
            await rig.put(event(f"a-{n}"))
        await rig.emptied()
        await asyncio.sleep(0.2)  # the last mark is on its way
        assert sink._connection is not None
        sink._connection.abort("test")
        await until(lambda: len(told) == 2, "connected anew")
    if protected:
        assert told[1] is not None
        assert told[1].waiting == []
    else:
        assert told[1] is None


async def test_what_access_rules_refuse_is_kept_and_holds_up_nothing_else(
    tmp_path: Path,
    metrics: Metrics,
    make_broker: Callable[..., Mosquitto],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """0x87 in the PUBACK of MQTT 5: paho alone would call it delivered."""
    rules = tmp_path / "acl"
    rules.write_text("topic readwrite #\ntopic deny edge/+/+/+/+/+/_pdm/alert/secret\n")
    broker = make_broker(f"acl_file {rules}")
    async with running(tmp_path, metrics, broker.url) as rig:
        secret = [event("secret", seq, kind="alert") for seq in range(30)]
        await rig.put(*secret, *(event(f"open-{n}", kind="alert") for n in range(30)))
        left = await rig.emptied(30)
        assert [(m.key, m.seq) for m in left] == [("secret", n) for n in range(30)]
        assert rig.failures("refused") >= 1, "the first of the line holds the others back"
        link = rig.sink.link
        assert link.state is LinkState.DEGRADED
        assert "_pdm/alert/secret: the broker refuses it: not authorized" in link.detail
        assert list(link.faults) == ["refused.plant"]
        assert sink_up(metrics) == 0
        rules.write_text("topic readwrite #\n")
        os.kill(broker.pid, signal.SIGHUP)
        await rig.emptied()
        assert (link.state, link.faults, sink_up(metrics)) == (LinkState.UP, {}, 1)
    said = [one for one in caplog.records if one.levelname == "WARNING"]
    assert [one.message for one in said] == ["message refused", "sink degraded"], (
        "once, not each time"
    )


@pytest.mark.parametrize("protected", [True, False], ids=["", "control"])
async def test_over_3_1_1_an_alarm_is_confirmed_when_it_came_back(
    tmp_path: Path,
    metrics: Metrics,
    make_broker: Callable[..., Mosquitto],
    monkeypatch: pytest.MonkeyPatch,
    *,
    protected: bool,
) -> None:
    """The broker confirms what its access rules refuse; it would be deleted, uncounted."""
    monkeypatch.setattr("edge_agent.sinks.mqtt_readback.ECHO_S", 0.5)
    if not protected:
        monkeypatch.setattr(Connection, "try_readback", no_readback)
    rules = tmp_path / "acl"
    rules.write_text("topic readwrite #\ntopic deny edge/+/+/+/+/+/_pdm/alert/secret\n")
    broker = make_broker(f"acl_file {rules}")
    async with running(tmp_path, metrics, broker.url, protocol=Protocol.V311) as rig:
        secret = [event("secret", seq, kind="alert") for seq in range(3)]
        await rig.put(*secret, *(event(f"open-{n}", kind="alert") for n in range(30)))
        left = await rig.emptied(3 if protected else 0)
        if not protected:
            return
        assert [(m.key, m.seq) for m in left] == [("secret", n) for n in range(3)]
        await until(lambda: rig.failures("refused") >= 1, "counted")
        assert "secret: MQTT 3.1.1: not sent back" in rig.sink.link.detail
        rules.write_text("topic readwrite #\n")
        os.kill(broker.pid, signal.SIGHUP)
        await rig.emptied()
        assert rig.sink.link.detail == "MQTT 3.1.1: each alarm is read back"
        await rig.put(event("secret", 4, kind="alert"))
        await rig.emptied()


async def no_readback(*_: object) -> None:
    """As before: what the broker confirms counts as delivered."""


async def test_over_3_1_1_a_gateway_that_may_not_read_delivers_all_the_same(
    tmp_path: Path, metrics: Metrics, make_broker: Callable[..., Mosquitto]
) -> None:
    """Then a refusal cannot be seen, and the link says so."""
    rules = tmp_path / "acl"
    rules.write_text("topic write edge/#\n")
    broker = make_broker(f"acl_file {rules}")
    async with running(tmp_path, metrics, broker.url, protocol=Protocol.V311) as rig:
        await rig.put(*(event(f"open-{n}", kind="alert") for n in range(3)))
        await rig.emptied()
        assert rig.sink.link.detail == "MQTT 3.1.1: refusals by access rules are not seen"


async def test_a_broker_that_spoke_5_before_the_restart_is_asked_in_5(
    metrics: Metrics, silent: tuple[SilentTo5, str]
) -> None:
    """What is known of it is kept in the store; another address is another broker."""
    broker, url = silent
    first = make_sink(metrics, MqttSinkConfig(url))
    await first.start()
    await until(lambda: first.link.state is LinkState.UP, "up")
    await first.stop()
    broker.delay_s = 1.0
    again = make_sink(metrics, MqttSinkConfig(url))
    again.knowledge = first.knowledge
    await again.start()
    await until(lambda: len(broker.versions) == 8, "tried for long")
    await again.stop()
    assert set(broker.versions) == {5}
    other = make_sink(metrics, MqttSinkConfig(url.replace("127.0.0.1", "localhost")))
    other.knowledge = first.knowledge
    await other.start()
    await until(lambda: 4 in broker.versions, "3.1.1 for one that never spoke 5")
    await other.stop()


async def test_a_status_that_access_rules_refuse_is_a_fault_until_they_let_it_pass(
    tmp_path: Path,
    metrics: Metrics,
    make_broker: Callable[..., Mosquitto],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else the plant's screens show a gateway that is offline, and nobody here knows."""
    monkeypatch.setattr("edge_agent.sinks.mqtt.REFUSED_HOLD_S", 0.2)
    rules = tmp_path / "acl"
    rules.write_text("topic readwrite edge/e/#\n")
    broker = make_broker(f"acl_file {rules}")
    sink = make_sink(metrics, MqttSinkConfig(broker.url))
    async with Rig(tmp_path / "a.db", sink, metrics):
        await until(lambda: sink.link.state is LinkState.DEGRADED, "degraded")
        assert sink.link.detail.startswith(f"{STATUS}: the broker refuses it")
        rules.write_text("topic readwrite #\n")
        os.kill(broker.pid, signal.SIGHUP)
        await until(lambda: sink.link.state is LinkState.UP, "up")
        assert sink.link.faults == {}


async def test_check_names_the_topics_that_the_broker_refuses_and_changes_nothing_on_the_bus(
    tmp_path: Path, make_broker: Callable[..., Mosquitto]
) -> None:
    rules = tmp_path / "acl"
    rules.write_text("topic readwrite edge/acme/north/#\ntopic readwrite edge/_svc/#\n")
    broker = make_broker(f"acl_file {rules}")
    north = Gateway(id=Name("gw-1"), enterprise=Name("acme"), site=Name("north"))
    south = Gateway(id=Name("gw-1"), enterprise=Name("acme"), site=Name("south"))
    config = MqttSinkConfig(broker.url)
    async with subscribed(broker.port) as live:
        live.publish(STATUS, b"online", retain=True)
        await until(lambda: live.bodies("status"), "retained")
        assert await probe(config, north, "edge") == []
        with pytest.raises(ConnectError, match=r"edge/acme/south/\S+: the broker refuses it"):
            await probe(config, south, "edge")
        with pytest.raises(ConnectError, match=r"edge/acme/east/\S+: the broker refuses it"):
            await probe(config, north, "edge", ["acme/north/a/l/P-1", "acme/east/a/l/P-2"])
        assert {one.body for one in live.received if one.topic == STATUS} == {b"online"}
        assert {one.body for one in live.received if one.topic != STATUS} <= {b""}
    async with subscribed(broker.port) as late:
        await until(lambda: late.received, "retained")
        assert [(one.topic, one.body) for one in late.received] == [(STATUS, b"online")]


def sink_up(metrics: Metrics) -> float | None:
    return metrics.registry.get_sample_value("edge_agent_sink_up", {"sink": "plant"})


@pytest.mark.parametrize(
    ("limit", "configured", "effective"), [(3, 10, 3), (20, 4, 4), (20, 10, 10)]
)
async def test_no_more_in_flight_than_broker_and_config_allow(  # noqa: PLR0917
    tmp_path: Path,
    metrics: Metrics,
    make_broker: Callable[..., Mosquitto],
    limit: int,
    configured: int,
    effective: int,
) -> None:
    broker = make_broker(f"max_inflight_messages {limit}")
    async with running(tmp_path, metrics, broker.url, send_window=configured) as rig:
        assert rig.sink.window == effective
        await rig.put(*(event(f"a-{n}") for n in range(200)))
        await rig.emptied()
        assert rig.failures("disconnected") == 0, "the broker cuts off who sends too many (0x93)"


async def test_a_message_over_the_brokers_limit_is_kept_and_never_sent(
    tmp_path: Path, metrics: Metrics, make_broker: Callable[..., Mosquitto]
) -> None:
    """Sent all the same, it would cost the connection, again and again."""
    broker = make_broker("max_packet_size 2000")
    async with running(tmp_path, metrics, broker.url) as rig:
        large = event("large")
        await rig.put(
            large.__class__(0, "plant", "event", "large", 1, large.topic, b"x" * 3000, 1), event()
        )
        await rig.emptied(1)
        await until(lambda: rig.failures("too_large") >= 1, "refused")
        assert rig.sink.link.state is LinkState.DEGRADED
        assert "larger than the broker's limit of 2000 bytes" in rig.sink.link.detail
    assert rig.failures("disconnected") == 0


AMQTT = """
import asyncio, sys
from amqtt.broker import Broker
async def main():
    await Broker({
        "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{sys.argv[1]}"}},
        "plugins": {
            "amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}
        },
    }).start()
    await asyncio.Event().wait()
asyncio.run(main())
"""


@pytest.fixture
def amqtt_port() -> Iterator[int]:
    pytest.importorskip("amqtt")
    port = find_free_port()
    with subprocess.Popen(
        [sys.executable, "-c", AMQTT, str(port)], stderr=subprocess.DEVNULL
    ) as process:
        wait_until(lambda: is_listening(port), 20, "amqtt")
        yield port
        process.terminate()


async def test_a_broker_with_mqtt_3_1_1_only_is_served_in_that(
    tmp_path: Path, metrics: Metrics, amqtt_port: int
) -> None:
    url = f"mqtt://127.0.0.1:{amqtt_port}"
    protocol = Protocol.V311
    async with (
        running(tmp_path, metrics, url, protocol=protocol) as rig,
        subscribed(amqtt_port) as live,
    ):
        assert "3.1.1" in rig.sink.link.detail
        await rig.put(*(event(f"a-{n}") for n in range(50)))
        await rig.emptied()
        rig.sink.publish_scores([("edge/e/s/a/l/P-1/_pdm/score/m", b"1")])
        await until(lambda: len(live.ids("event")) == 50, "received")
        await until(lambda: live.bodies("score") == [b"1"], "score")
    (note,) = await probe(MqttSinkConfig(url, protocol=protocol), Gateway(), "edge")
    assert "cannot be seen" in note


class SilentTo5:
    """A broker that answers a CONNECT of MQTT 5 only after `delay_s`, of 3.1.1 at once."""

    def __init__(self) -> None:
        self.delay_s = 0.0
        self.versions: list[int] = []
        self.tasks: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self.tasks.add(task)
        task.add_done_callback(lambda _: writer.close())

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        v5 = False
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                kind, rest = await read_packet(reader)
                if kind == CONNECT:
                    self.versions.append(rest[6])
                    v5 = rest[6] == 5
                    await asyncio.sleep(self.delay_s if v5 else 0)
                    writer.write(CONNACK if v5 else b"\x20\x02\0\0")
                elif kind == PUBLISH_QOS_1_RETAINED:
                    writer.write(puback(rest))


@pytest.fixture
async def silent(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[SilentTo5, str]]:
    monkeypatch.setattr("edge_agent.transport.mqtt.versions.CONNACK_TIMEOUT_S", 0.2)
    monkeypatch.setattr("edge_agent.sinks.mqtt_connection.TRY_S", 0.1)
    monkeypatch.setattr("edge_agent.transport.reconnect.backoff_s", lambda *_: 0.01)
    broker = SilentTo5()
    server = await asyncio.start_server(broker.serve, "127.0.0.1", 0)
    yield broker, f"mqtt://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()
    for task in broker.tasks:
        task.cancel()
    await asyncio.gather(*broker.tasks, return_exceptions=True)
    await asyncio.sleep(0)


async def test_a_slow_connack_is_no_proof_of_an_old_broker(
    metrics: Metrics, silent: tuple[SilentTo5, str]
) -> None:
    """With 3.1.1 an alarm that access rules refuse would be confirmed, and deleted here."""
    broker, url = silent
    broker.delay_s = 1.0
    sink = make_sink(metrics, MqttSinkConfig(url))
    await sink.start()
    await until(lambda: len(broker.versions) == 2, "tried again")
    broker.delay_s = 0.0
    await until(lambda: sink.link.state is LinkState.UP, "up")
    assert set(broker.versions) == {5}
    await sink.stop()


async def test_a_broker_that_has_spoken_5_is_never_spoken_to_in_3_1_1(
    metrics: Metrics, silent: tuple[SilentTo5, str]
) -> None:
    broker, url = silent
    sink = make_sink(metrics, MqttSinkConfig(url))
    await sink.start()
    await until(lambda: sink.link.state is LinkState.UP, "up")
    broker.delay_s = 1.0
    assert sink._connection is not None
    sink._connection.abort("test")
    await until(lambda: len(broker.versions) == 8, "tried for long")
    assert set(broker.versions) == {5}
    assert sink.link.state is LinkState.DOWN
    await sink.stop()


async def test_a_broker_that_never_answers_to_5_gets_3_1_1_and_is_asked_again(
    metrics: Metrics, silent: tuple[SilentTo5, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    broker, url = silent
    monkeypatch.setattr("edge_agent.transport.mqtt.versions.ASK_AGAIN_S", 0.05)
    broker.delay_s = 1.0
    sink = make_sink(metrics, MqttSinkConfig(url))
    await sink.start()
    await until(lambda: sink.link.state is LinkState.UP, "up")
    assert broker.versions[:4] == [5, 5, 5, 4]
    assert "3.1.1" in sink.link.detail
    broker.delay_s = 0.0
    await until(lambda: sink.link.state is LinkState.UP and not sink.link.detail, "up with 5")
    assert broker.versions[-1] == 5
    await sink.stop()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def tls_broker(make_broker: Callable[..., Mosquitto], certificates: Certificates) -> Mosquitto:
    return make_broker(
        f"cafile {certificates.ca}\ncertfile {certificates.server}\n"
        f"keyfile {certificates.server_key}\nrequire_certificate true"
    )


async def test_tls_with_a_client_certificate(
    tmp_path: Path, metrics: Metrics, tls_broker: Mosquitto, certificates: Certificates
) -> None:
    files = certificates
    tls = Tls(files.ca, files.client, files.client_key, server_name="plant-broker")
    url = f"mqtts://127.0.0.1:{tls_broker.port}"
    async with running(tmp_path, metrics, url, tls=tls) as rig:
        await rig.put(*(event(f"a-{n}", kind="alert") for n in range(100)))
        rig.sink.publish_scores([(f"edge/s/{n}", b"x" * 100) for n in range(1000)])
        await rig.emptied()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"cert": None, "key": None}, "certificate required"),
        ({"ca": "other_ca"}, "tls.ca"),
        ({"server_name": "another.host"}, "name in the broker's certificate"),
        ({"key": "server_key"}, "the key does not belong to"),
    ],
    ids=["no client certificate", "unknown authority", "another name", "key of another"],
)
async def test_tls_that_does_not_fit_is_refused_with_a_reason(
    metrics: Metrics,
    tls_broker: Mosquitto,
    certificates: Certificates,
    change: dict[str, Any],
    reason: str,
) -> None:
    files = certificates
    fitting = {"ca": files.ca, "cert": files.client, "key": files.client_key}
    changed = {k: getattr(files, v) if v and k != "server_name" else v for k, v in change.items()}
    config = MqttSinkConfig(
        f"mqtts://127.0.0.1:{tls_broker.port}", tls=Tls(**{**fitting, **changed})
    )
    sink = make_sink(metrics, config)
    await sink.start()
    await until(lambda: sink.link.state is LinkState.DOWN, "down")
    await sink.stop()
    with pytest.raises(ConnectError, match=reason):
        await probe(config)


async def test_credentials_are_used_and_their_refusal_is_explained(
    tmp_path: Path, metrics: Metrics, make_broker: Callable[..., Mosquitto]
) -> None:
    users = tmp_path / "users"
    users.touch()
    add = ["mosquitto_passwd", "-b", str(users), "gateway", "right"]
    try:
        await asyncio.to_thread(subprocess.run, add, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("mosquitto_passwd is not installed")
    broker = make_broker(f"password_file {users}", anonymous=False)
    secret = tmp_path / "secret"
    secret.write_text("right\n")
    good = MqttSinkConfig(broker.url, username="gateway", password=Secret(file=secret))
    await probe(good)
    secret.write_text("wrong\n")
    with pytest.raises(ConnectError, match=r"authori.*see username, password"):
        await probe(good)
    secret.unlink()
    sink = make_sink(metrics, good)
    await sink.start()
    await until(lambda: sink.link.state is LinkState.DOWN, "down")
    assert "cannot read the secret" in sink.link.detail
    secret.write_text("right\n")
    await until(lambda: sink.link.state is LinkState.UP, "up once the file is there")
    await sink.stop()


async def test_the_status_is_online_degraded_offline(metrics: Metrics, broker: Mosquitto) -> None:
    sink = make_sink(metrics, MqttSinkConfig(broker.url))
    async with subscribed(broker.port, STATUS) as live:
        await sink.start()
        await until(lambda: live.bodies("status") == [b"online"], "online")
        sink.set_status("degraded")
        sink.set_status("degraded")
        await until(lambda: len(live.received) == 2, "degraded")
        await sink.stop()
        await until(lambda: len(live.received) == 3, "offline")
    assert live.bodies("status") == [b"online", b"degraded", b"offline"]


async def test_a_daemon_that_dies_is_reported_offline_by_its_will(
    tmp_path: Path, metrics: Metrics, broker: Mosquitto
) -> None:
    async with (
        subscribed(broker.port, STATUS) as live,
        running(tmp_path, metrics, broker.url) as rig,
    ):
        rig.sink.set_status("degraded")
        await until(lambda: live.bodies("status")[-1:] == [b"degraded"], "degraded")
        vars(rig.sink)["_connection"].abort("as if killed")
        await until(lambda: len(live.received) >= 4, "offline and back")
    assert live.bodies("status")[:4] == [b"online", b"degraded", b"offline", b"degraded"]


async def test_a_broker_that_hangs_is_given_up_and_found_again(
    tmp_path: Path, metrics: Metrics, broker: Mosquitto
) -> None:
    """SIGSTOP: the socket stays open and nothing answers."""
    async with running(tmp_path, metrics, broker.url, keepalive=Duration(1)) as rig:
        os.kill(broker.pid, signal.SIGSTOP)
        try:
            began = time.monotonic()
            await rig.put(event())
            await until(lambda: rig.sink.link.state is LinkState.DOWN, "down")
            assert time.monotonic() - began < 4, "two keepalives and a check"
        finally:
            os.kill(broker.pid, signal.SIGCONT)
        await rig.emptied()


async def test_a_hanging_broker_is_noticed_even_if_the_library_is_deceived(
    tmp_path: Path, metrics: Metrics, broker: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path, metrics, broker.url, keepalive=Duration(1)) as rig:
        monkeypatch.setattr(paho.Client, "loop_misc", lambda _: 0)
        os.kill(broker.pid, signal.SIGSTOP)
        try:
            await until(lambda: rig.sink.link.state is LinkState.DOWN, "down")
            assert "nothing received" in rig.sink.link.detail
        finally:
            os.kill(broker.pid, signal.SIGCONT)


async def test_a_quiet_connection_stays(
    tmp_path: Path, metrics: Metrics, broker: Mosquitto, caplog: pytest.LogCaptureFixture
) -> None:
    """Pings are sent, and their answers count."""
    async with running(tmp_path, metrics, broker.url, keepalive=Duration(1)) as rig:
        await asyncio.sleep(4)
        assert rig.sink.link.state is LinkState.UP
    assert not [one for one in caplog.records if one.levelname == "WARNING"]


async def test_a_broker_that_confirms_no_more_is_given_up(metrics: Metrics) -> None:
    """It answers CONNECT, the status and every ping: only the missing PUBACK tells."""
    said: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                kind, rest = await read_packet(reader)
                said.append(kind)
                status = puback(rest) if kind == PUBLISH_QOS_1_RETAINED else b""
                writer.write({CONNECT: CONNACK, PINGREQ: PINGRESP}.get(kind, status))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    sink = make_sink(metrics, MqttSinkConfig(f"mqtt://127.0.0.1:{port}", keepalive=Duration(1)))
    await sink.start()
    await until(lambda: sink.link.state is LinkState.UP, "up")
    with pytest.raises(DeliveryError, match="not confirmed in time"):
        await sink.deliver(event())
    await until(lambda: said.count(CONNECT) == 2, "connected anew")
    await sink.stop()
    server.close()


async def test_several_packets_in_one_tls_record_are_all_read(
    metrics: Metrics, certificates: Certificates
) -> None:
    """The socket is not readable again after the first: the rest is in the TLS layer already."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates.server, certificates.server_key)
    body = command("00", duration_s=1)
    topic = (COMMAND + "shelve").encode()
    length = 2 + len(topic) + 1 + len(body)
    head = bytes((PUBLISH, length % 128 | 128, length // 128, 0, len(topic)))
    commands = [
        head + topic + b"\0" + body.replace(b'"00"', b'"%d"' % number) for number in range(10, 50)
    ]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                kind, rest = await read_packet(reader)
                if kind == CONNECT:
                    writer.write(CONNACK)
                elif kind == SUBSCRIBE:
                    writer.write(b"\x90\x05" + rest[:2] + b"\0\1\1")
                elif kind == PUBLISH_QOS_1_RETAINED:
                    writer.write(puback(rest) + b"".join(commands))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    tls = Tls(certificates.ca, server_name="plant-broker")
    sink = make_sink(metrics, MqttSinkConfig(f"mqtts://127.0.0.1:{port}", tls=tls))
    taken: list[str] = []
    sink.on_command = lambda one: taken.append(one.id)
    await sink.start()
    await until(lambda: len(taken) == 40, "all commands")
    await sink.stop()
    server.close()
    assert taken == [str(number) for number in range(10, 50)]


CONNECT, PUBLISH, SUBSCRIBE, PINGREQ = 0x10, 0x30, 0x82, 0xC0
PUBLISH_QOS_1_RETAINED = 0x33
CONNACK = b"\x20\x03\0\0\0"
PINGRESP = b"\xd0\0"


def puback(publish: bytes) -> bytes:
    """The confirmation of a PUBLISH of QoS 1, given without its fixed header."""
    size = int.from_bytes(publish[:2], "big")
    return b"\x40\x02" + publish[2 + size : 4 + size]


async def read_packet(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """One packet as its first byte and what follows its length."""
    kind = (await reader.readexactly(1))[0]
    length = shift = 0
    more = 0x80
    while more & 0x80:
        more = (await reader.readexactly(1))[0]
        length |= (more & 0x7F) << shift
        shift += 7
    return kind, await reader.readexactly(length)


async def test_scores_are_sent_while_up_and_dropped_while_down(
    tmp_path: Path, metrics: Metrics, broker: Mosquitto
) -> None:
    batch = [(f"edge/e/s/a/l/P-{n}/_pdm/score/m", b"%d" % n * 50) for n in range(500)]
    async with running(tmp_path, metrics, broker.url) as rig:
        async with subscribed(broker.port, "edge/+/+/+/+/+/_pdm/score/+") as live:
            rig.sink.publish_scores(batch)
            await until(lambda: len(live.received) == 500, "all")
            assert [(one.topic, one.body) for one in live.received] == batch
            assert not any(one.retained for one in live.received)
        broker.stop()
        await until(lambda: rig.sink.link.state is LinkState.DOWN, "down")
        rig.sink.publish_scores(batch)
        broker.start()
        async with subscribed(broker.port, "edge/#") as live:
            await until(lambda: rig.sink.link.state is LinkState.UP, "up")
            rig.sink.publish_scores(batch[:1])
            await until(lambda: live.bodies("score"), "the new one")
            assert len(live.bodies("score")) == 1


async def test_scores_do_not_pile_up_before_a_socket_that_takes_nothing(
    tmp_path: Path, metrics: Metrics, broker: Mosquitto
) -> None:
    async with running(tmp_path, metrics, broker.url) as rig:
        os.kill(broker.pid, signal.SIGSTOP)
        try:
            for _ in range(200):
                rig.sink.publish_scores([("edge/s", b"x" * 100_000)])
                await asyncio.sleep(0)
            queue = vars(rig.sink)["_connection"]._client._out_packet
            assert 1 << 20 < sum(len(one["packet"]) for one in queue) < 5 << 20
        finally:
            os.kill(broker.pid, signal.SIGCONT)


def command(id_: str, **more: Any) -> bytes:
    expires = (time.time() + 60) * 1000
    body = {"id": id_, "alarm_id": "P-1/bearing", "expires": expires, "by": "anna", **more}
    return json.dumps(body).encode()


async def test_commands_arrive_once_and_only_when_they_are_fresh(
    metrics: Metrics, broker: Mosquitto
) -> None:
    sink = make_sink(metrics, MqttSinkConfig(broker.url))
    taken: list[Command] = []
    sink.on_command = taken.append
    async with subscribed(broker.port, "nothing") as operator:
        operator.publish(COMMAND + "ack", command("retained"), retain=True)
        await sink.start()
        await until(lambda: sink.link.state is LinkState.UP, "up")
        operator.publish(COMMAND + "ack", command("1"))
        operator.publish(COMMAND + "ack", command("1"))
        operator.publish(COMMAND + "ack", command("old", expires=1000))
        operator.publish(COMMAND + "ack", b"\xff")
        operator.publish(COMMAND + "ack", command("large", junk="x" * 5000))
        operator.publish(COMMAND + "shelve", command("2", duration_s=60))
        await until(lambda: len(taken) == 2, "two commands")
        await sink.stop()
    assert [(c.kind, c.id, c.actor, c.alarm_id, c.duration_s, c.place) for c in taken] == [
        ("ack", "1", "anna", "P-1/bearing", 0.0, "e/s/a/l/P-1"),
        ("shelve", "2", "anna", "P-1/bearing", 60.0, "e/s/a/l/P-1"),
    ]
    outcomes = ("accepted", "retained", "repeated", "expired", "malformed", "oversized")
    counts = [
        metrics.registry.get_sample_value(
            "edge_agent_commands_total", {"sink": "plant", "outcome": outcome}
        )
        for outcome in outcomes
    ]
    assert counts == [2, 1, 1, 1, 1, 1]


async def test_commands_that_the_broker_denies_do_not_cost_the_alarms(
    tmp_path: Path, metrics: Metrics, make_broker: Callable[..., Mosquitto]
) -> None:
    rules = tmp_path / "acl"
    rules.write_text("topic write #\n")
    broker = make_broker(f"acl_file {rules}")
    sink = make_sink(metrics, MqttSinkConfig(broker.url))
    sink.on_command = lambda _: None
    async with Rig(tmp_path / "a.db", sink, metrics) as rig:
        await rig.put(event(kind="alert"))
        await rig.emptied()


async def test_a_command_that_fails_leaves_the_connection_alone(
    tmp_path: Path, metrics: Metrics, broker: Mosquitto, caplog: pytest.LogCaptureFixture
) -> None:
    sink = make_sink(metrics, MqttSinkConfig(broker.url))
    seen: list[str] = []

    def fail(command: Command) -> None:
        seen.append(command.id)
        raise RuntimeError("a defect")

    sink.on_command = fail
    async with Rig(tmp_path / "a.db", sink, metrics) as rig:
        await until(lambda: sink.link.state is LinkState.UP, "up")
        async with subscribed(broker.port, "nothing") as operator:
            operator.publish(COMMAND + "ack", command("1"))
            operator.publish(COMMAND + "ack", command("2"))
            await until(lambda: seen == ["1", "2"], "both")
        await rig.put(event(kind="alert"))
        await rig.emptied()
    assert rig.failures("disconnected") == 0
    assert [one.message for one in caplog.records].count("command failed") == 2


async def test_a_second_client_of_that_name_is_reported_not_fought_over(
    tmp_path: Path, metrics: Metrics, broker: Mosquitto
) -> None:
    """MQTT allows one connection a client id: the broker ends the older (0x8E)."""
    async with running(tmp_path, metrics, broker.url, client_id="same") as rig:
        other = make_sink(metrics, MqttSinkConfig(broker.url, client_id=HostText("same")))
        await other.start()
        await until(lambda: rig.sink.link.state is LinkState.DOWN, "taken over")
        await until(lambda: other.link.state is LinkState.UP, "the newer has it")
        await other.stop()


async def test_the_endpoint_is_tried_without_disturbing_the_daemon(
    tmp_path: Path, metrics: Metrics, broker: Mosquitto
) -> None:
    async with running(tmp_path, metrics, broker.url) as rig:
        await probe(MqttSinkConfig(broker.url))
        assert rig.sink.link.state is LinkState.UP
    with pytest.raises(ConnectError, match="is the broker running"):
        await probe(MqttSinkConfig(f"mqtt://127.0.0.1:{find_free_port()}"))
