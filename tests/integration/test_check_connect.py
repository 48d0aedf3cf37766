"""`check --connect` and `doctor` against a real OPC UA server and a real broker."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from typing import TYPE_CHECKING, Any

import orjson
import pytest
import yaml
from daemon_support import Running
from mqtt_support import Publisher
from opcua_support import NodeServer

from edge_agent.cli import main
from edge_agent.sources.mqtt.sparkplug_wire import Payload
from edge_agent.testing import find_free_port
from scripts.rigs import find_node_modules

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from edge_agent.testing import Mosquitto

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def plc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeServer]:
    modules = find_node_modules()
    if modules is None:
        pytest.skip("node-opcua is not installed")
    server = NodeServer(modules, tmp_path_factory.mktemp("plc"), assets=2, signals=3).start()
    yield server
    server.kill()


class Told:
    """What a command said: its exit code and findings."""

    def __init__(self, code: int, out: str) -> None:
        self.code = code
        self.text = out
        self.findings = json.loads(out)["findings"]

    def of(self, severity: str) -> list[str]:
        return [
            f"{one['where']}: {one['what']}" for one in self.findings if one["severity"] == severity
        ]


@pytest.fixture
def examined(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Told]:
    """Write a config with these parts and examine it."""

    def examine(command: str = "check", **parts: Any) -> Told:
        config = {
            "models_dir": "models",
            "store": {"path": "store.db"},
            "http": {"port": find_free_port()},
            "sinks": {"journal": {"type": "log"}},
            **parts,
        }
        path = tmp_path / "edge-agent.yaml"
        path.write_text(yaml.safe_dump(config))
        options = ["--connect"] if command == "check" else []
        capsys.readouterr()
        code = main([command, "-c", str(path), "--json", "--seconds", "2", *options])
        return Told(code, capsys.readouterr().out)

    return examine


def opcua(url: str, signals: dict[str, Any], **source: Any) -> dict[str, Any]:
    return {
        "sources": {
            "plc": {"type": "opcua", "url": url, "node": "nsu=urn:plant;s={asset}.{signal}"}
            | source
        },
        "templates": {"t": {"signals": signals, "learn": "auto"}},
        "assets": {"a{000..001}": {"template": "t"}},
    }


def test_nodes_that_are_there(plc: NodeServer, examined: Callable[..., Told]) -> None:
    """All fits: exit code 0, and the count says that every node was read."""
    told = examined(**opcua(plc.url, {"s0": {}, "s1": {}}))
    assert (told.code, told.of("error"), told.of("warning")) == (0, [], [])
    assert "source plc: 4 of 4 nodes" in told.of("ok")


def test_nodes_that_do_not_fit(plc: NodeServer, examined: Callable[..., Told]) -> None:
    """Each is named with what is wrong: not there, a text, an array, an object, no namespace."""
    signals = {
        "s0": {},
        "gone": {},
        "State": {"address": "nsu=urn:plant;s=text"},
        "wave": {"address": "nsu=urn:plant;s=wave"},
        "folder": {"address": "i=85"},
        "other": {"address": "nsu=urn:else;s=x"},
        "index": {"address": "ns=99;s=x"},
        "block": {"address": "nsu=urn:plant;s={asset}.s1", "kind": "waveform"},
    }
    told = examined(**opcua(plc.url, signals))
    assert told.code == 1
    assert "source plc: 2 of 16 nodes fit" in told.of("error")
    for text in (
        "source plc: a000.gone does not exist (nsu=urn:plant;s=a000.gone)",
        "source plc: a001.State is a String: not usable (the text 'hello'",
        "source plc: a000.wave is an array of Float",
        "source plc: a000.folder is not a variable (i=85)",
        "source plc: a000.other: nsu=urn:else;s=x: the server has no such namespace",
        "source plc: a001.index: ns=99;s=x: the server has",
        "source plc: a000.block is one Double, but the config says kind: waveform",
    ):
        assert any(line.startswith(text) for line in told.of("error")), text
    assert "urn:plant" in next(f["mend"] for f in told.findings if "urn:else" in f["what"])
    same = "source plc: a000.wave, a001.wave are the same node"
    assert same in told.of("warning")


def test_a_signal_without_an_address_is_named(
    plc: NodeServer, examined: Callable[..., Told]
) -> None:
    """Not as an empty node id."""
    signals = {"s0": {"address": "nsu=urn:plant;s={asset}.s0"}, "none": {}}
    told = examined(**opcua(plc.url, signals, node=""))
    assert "source plc: a000.none has no address, and the source no node pattern" in told.of(
        "error"
    )


def test_one_node_for_two_machines_is_said(plc: NodeServer, examined: Callable[..., Told]) -> None:
    """The pattern lacks {asset}."""
    told = examined(**opcua(plc.url, {"s": {}}, node="nsu=urn:plant;s=a000.s0"))
    assert told.code == 0
    assert told.of("warning") == ["source plc: a000.s, a001.s are the same node"]


def test_a_server_that_is_not_there(examined: Callable[..., Told]) -> None:
    told = examined("doctor", **opcua(f"opc.tcp://127.0.0.1:{find_free_port()}", {"s0": {}}))
    assert told.code == 1
    assert any("connection refused" in line for line in told.of("error"))
    assert any("no daemon answers" in line for line in told.of("warning"))


BUS = {
    "templates": {"m": {"signals": {"flow": {}, "temp": {}}, "learn": "auto"}},
    "assets": {"M-1": {"template": "m"}},
}


def bus(url: str, *topics: str, **subscription: Any) -> dict[str, Any]:
    subscribe = [{"topic": topic, **subscription} for topic in topics]
    return {"sources": {"bus": {"type": "mqtt", "url": url, "subscribe": subscribe}}, **BUS}


def test_topics_are_awaited(
    make_broker: Callable[..., Mosquitto], examined: Callable[..., Told]
) -> None:
    """Silence is a warning: who publishes once an hour is no fault."""
    broker = make_broker()
    publisher = Publisher(broker.port)
    publisher.publish("plant/M-1/flow", "4.2", retain=True)
    told = examined(**bus(broker.url, "plant/{asset}/{signal}", "other/{asset}"))
    publisher.close()
    assert told.code == 0
    assert told.of("error") == []
    assert told.of("warning") == [
        "source bus: no message on other/+ within 2 s",
        "source bus: M-1: no value of temp within 2 s",
    ]
    assert "source bus: 1 of 2 signals were heard" in told.of("ok")


def test_payloads_that_cannot_be_read_are_named_with_the_reason(
    make_broker: Callable[..., Mosquitto], examined: Callable[..., Told]
) -> None:
    broker = make_broker()
    publisher = Publisher(broker.port)
    publisher.publish("plant/M-1/flow", '{"v": 1}', retain=True)
    told = examined(**bus(broker.url, "plant/{asset}/{signal}"))
    publisher.close()
    assert told.code == 1
    assert any("plant/M-1/flow: value: no value under 'value'" in x for x in told.of("error"))


def test_a_clock_that_is_wrong_is_named(
    make_broker: Callable[..., Mosquitto], examined: Callable[..., Told]
) -> None:
    """Time stamps an hour ahead."""
    broker = make_broker()
    publisher = Publisher(broker.port)
    body = orjson.dumps({"value": 1, "ts": round(time.time() * 1000) + 3_600_000})
    publisher.publish("plant/M-1/flow", body, retain=True)
    told = examined(**bus(broker.url, "plant/{asset}/{signal}"))
    publisher.close()
    assert told.code == 1
    assert any("3600 s ahead of this gateway's clock" in line for line in told.of("error"))


def test_what_must_be_written_here(
    make_broker: Callable[..., Mosquitto], examined: Callable[..., Told], tmp_path: Path
) -> None:
    """A store whose folder is a file, a port that another program has."""
    broker = make_broker()
    (tmp_path / "file").write_text("")
    parts = bus(broker.url, "plant/{asset}/{signal}") | {
        "store": {"path": "file/store.db"},
        "http": {"port": broker.port},
    }
    told = examined(**parts)
    assert told.code == 1
    assert [line.split(": ")[0] for line in told.of("error")] == ["store", "http"]
    assert "another program" in told.of("error")[1]


def test_no_secret_is_printed(
    make_broker: Callable[..., Mosquitto], examined: Callable[..., Told], tmp_path: Path
) -> None:
    """A webhook's path and query hold its token; a secret's file says more than its name."""
    broker = make_broker()
    secret = tmp_path / "secret"
    secret.write_text("hush-hush\n")
    secret.chmod(0o644)
    url = f"http://127.0.0.1:{find_free_port()}/services/T0KEN?sig=QU3RY"
    hook = {"type": "webhook", "url": url, "headers": {"X-Key": "H3ADER-key"}}
    parts = bus(broker.url, "plant/{asset}/{signal}")
    parts["sources"]["bus"] |= {"username": "u", "password": {"file": str(secret)}}
    told = examined("doctor", **parts, sinks={"hook": hook})
    assert any(line.startswith("sink hook: ") for line in told.of("error"))
    for word in ("T0KEN", "QU3RY", "H3ADER", "hush"):
        assert word not in told.text
    assert any("0644" in line for line in told.of("warning"))


async def test_the_running_daemon_is_asked(
    make_broker: Callable[..., Mosquitto], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its port is no fault, and its troubles are findings."""
    broker = make_broker()
    port = find_free_port()
    config = {
        **bus(broker.url, "plant/{asset}/{signal}"),
        "models_dir": str(tmp_path / "models"),
        "store": {"path": str(tmp_path / "store.db")},
        "http": {"port": port},
        "sinks": {"gone": {"type": "mqtt", "url": f"mqtt://127.0.0.1:{find_free_port()}"}},
    }
    path = tmp_path / "edge-agent.yaml"
    path.write_text(yaml.safe_dump(config))
    async with Running(path):
        words = ["doctor", "-c", str(path), "--json", "--seconds", "1"]
        code = await asyncio.to_thread(main, words)
    told = Told(code, capsys.readouterr().out)
    assert code == 1
    assert f"http: 127.0.0.1:{port}: the running daemon of this gateway" in told.of("ok")
    assert any(line.startswith("daemon: gone: ") for line in told.of("error"))


def test_sparkplug_is_heard_and_nothing_is_asked_of_its_nodes(
    make_broker: Callable[..., Mosquitto], examined: Callable[..., Told]
) -> None:
    """A birth names the metrics; without one the check says why nothing is known."""
    broker = make_broker()
    publisher = Publisher(broker.port)
    parts = BUS | {
        "sources": {"spb": {"type": "mqtt", "url": broker.url, "sparkplug": {"asset": "{device}"}}},
    }
    ending = threading.Event()

    def publish() -> None:
        while not ending.wait(0.2):
            publisher.publish("spBv1.0/G/NBIRTH/N", birth({}, 0))
            publisher.publish("spBv1.0/G/DBIRTH/N/M-1", birth({"flow": 1.5, "temp": 20.0}, 1))

    thread = threading.Thread(target=publish)
    thread.start()
    told = examined(**parts)
    ending.set()
    thread.join()
    assert (told.code, told.of("warning")) == (0, [])
    assert "source spb: 2 of 2 signals were heard" in told.of("ok")
    told = examined(**parts)
    publisher.close()
    assert told.of("warning") == ["source spb: no message on spBv1.0/+/+/+/# within 2 s"]


def birth(metrics: dict[str, float], seq: int) -> bytes:
    """A birth with metrics of type Double."""
    message: Any = Payload()
    message.timestamp, message.seq = round(time.time() * 1000), seq
    for name, value in metrics.items():
        metric = message.metrics.add(name=name, datatype=10)
        metric.double_value = value
    data: bytes = message.SerializeToString()
    return data
