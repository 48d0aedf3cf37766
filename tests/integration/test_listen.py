"""`edge-agent listen` against mosquitto: the list, and a config whose signals are all heard."""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING, Any

import orjson
import pytest
import yaml
from mqtt_support import Publisher

from edge_agent.cli import main
from edge_agent.testing import find_free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from edge_agent.testing import Mosquitto

pytestmark = pytest.mark.integration


@pytest.fixture
def publish(make_broker: Callable[..., Mosquitto]) -> Iterator[Callable[..., Mosquitto]]:
    """Call it with messages that are then published again and again; gives the broker."""
    ending = threading.Event()
    threads: list[threading.Thread] = []

    def begin(messages: dict[str, Any]) -> Mosquitto:
        broker = make_broker()
        publisher = Publisher(broker.port)

        def go_on() -> None:
            while not ending.is_set():
                for topic, body in messages.items():
                    made = body() if callable(body) else body
                    data = made if isinstance(made, str | bytes) else orjson.dumps(made)
                    publisher.publish(topic, data)
                ending.wait(0.1)
            publisher.close()

        threads.append(threading.Thread(target=go_on))
        threads[-1].start()
        return broker

    yield begin
    ending.set()
    for thread in threads:
        thread.join()


@pytest.fixture
def listen(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run it; gives stdout."""

    def run(*words: str, code: int = 0) -> str:
        capsys.readouterr()
        assert main(["listen", *words]) == code
        return capsys.readouterr().out

    return run


def now_ms() -> int:
    return round(time.time() * 1000)


def all_heard(
    folder: Path, snippet: str, capsys: pytest.CaptureFixture[str], seconds: str = "3"
) -> dict[str, Any]:
    """The snippet as a config of which `check --connect` has nothing to say."""
    tree: dict[str, Any] = yaml.safe_load(snippet)
    whole = tree | {"sinks": {"journal": {"type": "log"}}, "http": {"enabled": False}}
    whole |= {"models_dir": str(folder / "models"), "store": {"path": str(folder / "s.db")}}
    path = folder / "edge-agent.yaml"
    path.write_text(yaml.safe_dump(whole))
    capsys.readouterr()
    code = main(["check", "-c", str(path), "--connect", "--json", "--seconds", seconds])
    out = capsys.readouterr().out
    bad = [one for one in json.loads(out)["findings"] if one["severity"] != "ok"]
    assert (code, bad) == (0, [])
    return tree


FLEET = {
    f"plant/{line}/{machine}/{signal}": "4.2"
    for line, machine in (("l1", "P-1"), ("l1", "P-2"), ("l2", "P-3"))
    for signal in ("flow", "temp")
}


def test_one_topic_a_signal(
    publish: Callable[..., Mosquitto],
    listen: Callable[..., str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Plain numbers: {line}, {asset} and {signal} are found, the machines discovered."""
    broker = publish(FLEET)
    out = listen(broker.url, "--seconds", "1")
    tree = all_heard(tmp_path, out, capsys)
    assert tree["sources"]["bus"]["subscribe"] == [
        {"topic": "plant/{line}/{asset}/{signal}", "template": "machine"}
    ]
    assert tree["templates"] == {"machine": {"signals": {"flow": {}, "temp": {}}, "learn": "auto"}}
    row = next(line for line in out.splitlines() if line.startswith("# plant/l2/P-3/temp"))
    assert "number" in row
    assert "/s" in row


def test_one_topic_a_machine(
    publish: Callable[..., Mosquitto],
    listen: Callable[..., str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Nested keys, a time and a quality of their own names."""
    broker = publish(
        {
            f"tele/{machine}/SENSOR": lambda: {
                "Time": now_ms(),
                "ENERGY": {"Power": 5.5, "Current": 1},
                "quality": "good",
                "name": "x",
            }
            for machine in ("M1", "M2")
        }
    )
    tree = all_heard(tmp_path, listen(broker.url, "--seconds", "1", "--yaml"), capsys)
    assert tree["sources"]["bus"]["subscribe"] == [
        {
            "topic": "tele/{asset}/SENSOR",
            "template": "machine",
            "payload": {"time": "Time"},
        }
    ]
    assert set(tree["templates"]["machine"]["signals"]) == {"ENERGY.Power", "ENERGY.Current"}


def test_one_value_in_an_object(
    publish: Callable[..., Mosquitto],
    listen: Callable[..., str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Its path, its unit; two machines of one name in two lines stay two."""
    broker = publish(
        {
            f"site/{line}/P-1/flow": lambda: {
                "data": {"v": 3, "unit": "m3/h"},
                "timestamp": now_ms(),
            }
            for line in ("a", "b")
        }
    )
    tree = all_heard(tmp_path, listen(broker.url, "--seconds", "1", "--yaml"), capsys)
    one = tree["sources"]["bus"]["subscribe"][0]
    assert one["payload"] == {"time": "timestamp", "value": "data.v"}
    assert one["asset"] == "{line}-{asset}"
    assert tree["templates"]["machine"]["signals"] == {"flow": {"unit": "m3/h"}}


def test_the_payloads_of_usual_gateways(
    publish: Callable[..., Mosquitto],
    listen: Callable[..., str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Kepware's records, a tag as the key, texts with commas and units: all are heard."""
    records = [{"id": f"Ch.Dev.{name}", "v": 1.5, "q": True} for name in ("Flow", "Bar")]
    broker = publish(
        {
            "kep/P-1/iot": lambda: {
                "values": [{**one, "t": now_ms()} for one in records],
            },
            "umh/P-2/flow": lambda: {"timestamp_ms": now_ms(), "flow": 3},
            "umh/P-2/temp": lambda: {"timestamp_ms": now_ms(), "temp": 4},
            "txt/P-3/comma": "23,4 °C",
            "txt/P-3/switch": "ON",
        }
    )
    tree = all_heard(tmp_path, listen(broker.url, "--seconds", "1", "--yaml"), capsys)
    payloads = {one["topic"]: one.get("payload") for one in tree["sources"]["bus"]["subscribe"]}
    assert payloads["kep/{asset}/iot"] == {
        "time": "t",
        "value": "v",
        "items": "values",
        "name": "id",
    }
    assert payloads["umh/{asset}/{signal}"] == {"time": "timestamp_ms", "value": "{signal}"}
    signals = {k: v for t in tree["templates"].values() for k, v in t["signals"].items()}
    assert signals["Flow"] == {"address": "Ch.Dev.Flow"}
    assert signals["comma"] == {"unit": "°C", "decimal": ","}


def test_machines_with_other_signals_have_templates_of_their_own(
    publish: Callable[..., Mosquitto],
    listen: Callable[..., str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    broker = publish({"f/P-1/x": "1", "f/P-1/y": "1", "f/P-2/x": "1", "f/P-2/y": "1", "f/Q/z": "1"})
    tree = all_heard(tmp_path, listen(broker.url, "--seconds", "1", "--yaml"), capsys)
    assert tree["assets"] == {
        "P-1": {"template": "machine"},
        "P-2": {"template": "machine"},
        "Q": {"template": "machine_2"},
    }


def test_what_cannot_be_mapped_is_said_with_its_form(
    publish: Callable[..., Mosquitto], listen: Callable[..., str]
) -> None:
    broker = publish(
        {
            "a/1": b"\x00\xff\xfe\x01",
            "a/2": "RUNNING",
            "a/3": [1.0, 2.0, 3.0],
            "spBv1.0/g/NDATA/n": b"\x08\x01",
            "a/5": "1;x;3",
        }
    )
    out = listen(broker.url, "--seconds", "1")
    for text in (
        "a/1: binary, 4 bytes",
        "a/2: text (map: {RUNNING: 1, ...} of the signal reads it)",
        "a/3: JSON array of 3 numbers (kind: waveform and rate_hz)",
        "spBv1.0/g/NDATA/n: Sparkplug B",
        "a/5: text, 3 columns",
    ):
        assert f"# left out: {text}" in out
    assert yaml.safe_load(out) is None


def test_the_clock_and_the_form_of_time_stamps(
    publish: Callable[..., Mosquitto], capsys: pytest.CaptureFixture[str]
) -> None:
    broker = publish(
        {
            "t/A/x": lambda: {"value": 1, "ts": time.time() + 3600},
            "t/B/x": lambda: {"value": 1, "ts": round((time.time() + 3600) * 1e6)},
        }
    )
    assert main(["listen", broker.url, "--seconds", "1", "--json"]) == 0
    told = capsys.readouterr()
    forms = [one["form"] for one in json.loads(told.out)["topics"]]
    assert [one["time_form"] for one in forms] == ["s", "us"]
    assert "time stamps are 3600 s ahead of this machine's clock" in told.err


def test_our_own_alarms_are_listed_and_no_signals(
    publish: Callable[..., Mosquitto], listen: Callable[..., str]
) -> None:
    """A gateway's status is a number to nobody."""
    broker = publish({"edge/e/s/a/l/P-1/_pdm/score/m": {"score": 1}, "edge/_svc/gw/status": "1"})
    out = listen(broker.url, "--seconds", "1")
    assert "# edge/_svc/gw/status" in out
    assert yaml.safe_load(out) is None


def test_a_busy_broker_does_not_fill_the_memory(
    make_broker: Callable[..., Mosquitto], listen: Callable[..., str]
) -> None:
    """2,000 topics are kept, the messages of others only counted."""
    broker = make_broker("max_queued_messages 10000\n")
    publisher = Publisher(broker.port)
    for n in range(2100):
        publisher.publish(f"t/{n}/x", "1", 0, retain=True)
    publisher.publish("last", "1")
    publisher.close()
    answer = json.loads(listen(broker.url, "--seconds", "2", "--json"))
    assert len(answer["topics"]) == 2000
    assert answer["more"] == 100


def test_silence_and_refusal(
    make_broker: Callable[..., Mosquitto], capsys: pytest.CaptureFixture[str]
) -> None:
    """One line each, with what to do."""
    broker = make_broker()
    assert main(["listen", broker.url, "plant/#", "--seconds", "0.5"]) == 1
    assert "no message on plant/# (wait longer with --seconds" in capsys.readouterr().err
    assert main(["listen", f"mqtt://127.0.0.1:{find_free_port()}", "--seconds", "1"]) == 1
    assert "refused" in capsys.readouterr().err.lower()


def test_a_source_of_a_config(
    publish: Callable[..., Mosquitto], listen: Callable[..., str], tmp_path: Path
) -> None:
    """Its own topics, under another client id."""
    broker = publish(FLEET)
    path = tmp_path / "edge-agent.yaml"
    source = {"type": "mqtt", "url": broker.url, "subscribe": [{"topic": "plant/l1/{asset}/+"}]}
    path.write_text(yaml.safe_dump({"sources": {"north": source}}))
    tree = yaml.safe_load(listen("north", "-c", str(path), "--seconds", "1"))
    assert list(tree["sources"]) == ["north"]
    assert tree["sources"]["north"]["subscribe"][0]["topic"] == "plant/l1/{asset}/{signal}"
    assert tree["templates"]["machine"]["signals"]["flow"] == {"source": "north"}
