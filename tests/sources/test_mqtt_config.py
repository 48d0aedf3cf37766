"""The config of an MQTT source: what the loader takes and what it refuses before any packet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from mqtt_support import mqtt_config, subscription

from edge_agent import config as loader
from edge_agent.config.types import Secret
from edge_agent.sources import SOURCES
from edge_agent.sources.mqtt.config import MqttSourceConfig
from edge_agent.sources.mqtt.payload_spec import Format, Payload
from edge_agent.sources.mqtt.source import filters
from edge_agent.sources.mqtt.topics import compile_pattern
from edge_agent.transport.mqtt import Protocol
from edge_agent.transport.tls import Tls

if TYPE_CHECKING:
    from pathlib import Path

YAML = """
sources:
  bus:
    type: mqtt
    url: mqtts://broker.plant:8884
    username: edge
    password: {credential: broker}
    tls: {ca: ca.pem, cert: own.pem, key: own_key.pem}
    client_id: edge-7
    keepalive: 20s
    session_expiry: 2h
    protocol: 5
    share: gateways
    max_payload: 256KiB
    stale_after: 1m
    subscribe:
      - topic: plant/{line}/{asset}/{signal}
        qos: 0
        template: pump
      - topic: wave/{asset}/vibration
        signal: vib
        payload: {format: int16, rate_hz: 25600, scale: 0.001, byte_order: big, header: 16}
      - topic: csv/{line}/{unit}
        asset: "{line}-{unit}"
        payload: {format: csv, columns: [ts, flow, temp], separator: ";", time_unit: ms}
templates:
  pump: {signals: {flow: {}, temp: {}, vib: {kind: waveform}}}
"""


def load(tmp_path: Path, text: str) -> tuple[Any, list[loader.Problem]]:
    file = tmp_path / "edge.yaml"
    file.write_text(text)
    structs = {name: row.config for name, row in SOURCES.items()}
    return loader.find_problems(file, sources=structs, sinks={})


def test_the_loader_reads_the_whole_struct(tmp_path: Path) -> None:
    config, problems = load(tmp_path, YAML)
    assert problems == []
    bus = config.sources["bus"]
    assert isinstance(bus, MqttSourceConfig)
    assert (bus.host, bus.port, bus.encrypted) == ("broker.plant", 8884, True)
    assert (bus.keepalive, bus.session_expiry) == (20.0, 7200.0)
    assert bus.max_payload == 262_144
    assert bus.tls == Tls(tmp_path / "ca.pem", tmp_path / "own.pem", tmp_path / "own_key.pem")
    assert bus.protocol is Protocol.V5
    assert [one.payload.format for one in bus.subscribe] == ["json", "int16", "csv"]
    assert filters(bus) == [
        ("$share/gateways/plant/+/+/+", 0),
        ("$share/gateways/wave/+/vibration", 1),
        ("$share/gateways/csv/+/+", 1),
    ]


def test_problems_name_the_key(tmp_path: Path) -> None:
    text = """
sources:
  bus:
    type: mqtt
    url: mqtt://broker
    subscribe:
      - {topic: a/#/b}
      - {topic: "a/{x}", asset: "{y}"}
      - {topic: "a/{asset}", payload: {format: float32}}
      - {topic: "a/{asset}", template: fan, payload: {format: csv}}
"""
    _, problems = load(tmp_path, text)
    found = {problem.key_path for problem in problems}
    base = "sources.bus.subscribe"
    assert found >= {
        f"{base}[0].topic",
        f"{base}[1].asset",
        f"{base}[2].payload.rate_hz",
        f"{base}[3].payload.columns",
    }


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({"url": "mqtt://user:pw@host"}, "url"),
        ({"url": "mqtt://host:0"}, "url"),
        ({"url": "mqtt://host:99999"}, "url"),
        ({"url": "mqtt://host/path"}, "url"),
        ({"url": "mqtt://"}, "url"),
        ({"subscribe": ()}, "subscribe"),
        ({"password": Secret(env="X")}, "password"),
        ({"username": "anna", "password": Secret(env="X")}, "password"),
        ({"share": "g", "protocol": Protocol.V311}, "share"),
        ({"share": "a/b"}, "share"),
        ({"tls": Tls(key=None, cert=None, ca="x")}, "tls"),  # type: ignore[arg-type]
    ],
)
def test_contradictions_are_found(options: dict[str, Any], key: str) -> None:
    values = {"url": "mqtt://host", "subscribe": (subscription(),), **options}
    assert [found for found, _ in MqttSourceConfig(**values).problems()] == [key]


@pytest.mark.parametrize(
    ("one", "key"),
    [
        (subscription("a/{b}/{b}"), "topic"),
        (subscription("a/{b}"), "asset"),
        (subscription("a/{asset}", signal="{x}"), "signal"),
        (subscription("a/{asset}", payload=Payload(Format.INT16, rate_hz=1)), "payload.format"),
        (subscription("a/{asset}", payload=Payload(Format.CSV)), "payload.columns"),
    ],
)
def test_contradictions_of_a_subscription_are_found(one: Any, key: str) -> None:
    assert [found for found, _ in one.problems()] == [key]


def test_ports_and_versions_have_defaults() -> None:
    assert mqtt_config("mqtt://h").port == 1883
    assert mqtt_config("mqtts://h").port == 8883
    assert mqtt_config("mqtt://h").version is Protocol.AUTO
    assert mqtt_config("mqtt://h", share="g").version is Protocol.V5


EFFECTS = """
sources:
  bus:
    type: mqtt
    url: mqtt://broker
    {source}
    subscribe:
      - {{topic: "plant/{{asset}}/{{signal}}", template: pump, {payload}}}
templates:
  pump: {{signals: {{flow: {{{signal}}}}}{learn}}}
"""


def told(tmp_path: Path, **parts: str) -> list[str]:
    text = EFFECTS.format(**{"source": "", "payload": "", "signal": "", "learn": "", **parts})
    return [f"{one.line}: {one.key_path}: {one.message}" for one in load(tmp_path, text)[1]]


@pytest.mark.parametrize(
    ("payload", "key"),
    [
        ("payload: {scale: 0.1}", "scale"),
        ("payload: {offset: 1}", "offset"),
        ("payload: {rate_hz: 10}", "rate_hz"),
        ("payload: {samples: x}", "samples"),
        ("payload: {separator: ';'}", "separator"),
        ("payload: {columns: [a, b]}", "columns"),
        ("payload: {byte_order: big}", "byte_order"),
        ("payload: {header: 4}", "header"),
        ("payload: {time: '', time_unit: ms}", "time_unit"),
        ("payload: {quality: '', quality_codes: classic}", "quality_codes"),
        ("payload: {format: csv, items: values}", "items"),
        ("payload: {format: csv, separator: ',', decimal: ','}", "separator"),
        ("payload: {name: id}", "name"),
        ("payload: {asset: dev}", "asset"),
        ("payload: {value: 'a[].b'}", "value"),
        ("payload: {value: 'a[x].b'}", "value"),
        ("payload: {value: '{x}'}", "value"),
        ("payload: {decimal: ';'}", "decimal"),
    ],
)
def test_keys_of_a_payload_without_effect_are_refused(
    tmp_path: Path, payload: str, key: str
) -> None:
    """With file, line and key: whoever wrote it expects something."""
    found = told(tmp_path, payload=payload)
    assert any(f"subscribe[0].payload.{key}: " in one for one in found), found


@pytest.mark.parametrize(
    ("signal", "key"),
    [
        ("sampling: 1s", "sampling"),
        ("deadband: 0.5", "deadband"),
        ("rate_hz: 100", "rate_hz"),
        ("kind: waveform, map: {A: 1}", "map"),
        ("scale: 0", "scale"),
        ("decimal: x", "decimal"),
    ],
)
def test_keys_of_a_signal_without_effect_are_refused(tmp_path: Path, signal: str, key: str) -> None:
    found = told(tmp_path, signal=signal)
    assert any(one.startswith(f"10: templates.pump.signals.flow.{key}: ") for one in found), found


def test_keys_with_effect_are_taken(tmp_path: Path) -> None:
    signal = 'scale: 0.1, offset: 2, map: {RUNNING: 1}, decimal: ","'
    assert told(tmp_path, signal=signal) == []
    wave = "kind: waveform, rate_hz: 100"
    assert told(tmp_path, signal=wave, payload="payload: {scale: 0.1, samples: x}") == []


def test_a_share_is_refused_where_a_model_needs_whole_windows(tmp_path: Path) -> None:
    """Samples of one topic go to the members in turns."""
    assert told(tmp_path, source="share: g") == []
    (found,) = told(tmp_path, source="share: g", learn=", learn: auto")
    assert found.startswith("6: sources.bus.share: the samples of one topic go to the members")
    (found,) = _of_topic(tmp_path, "$share/g/plant/{asset}/{signal}")
    assert "half empty" in found


def _of_topic(tmp_path: Path, topic: str) -> list[str]:
    text = EFFECTS.format(source="", payload="", signal="", learn="")
    found = load(tmp_path, text.replace("plant/{asset}/{signal}", topic))[1]
    return [one.message for one in found]


def test_a_subscription_that_is_never_reached_is_refused(tmp_path: Path) -> None:
    """The first one that matches takes a topic; the later one would be ignored without a word."""
    more = '      - {topic: "plant/A-7/{signal}", asset: A-7, template: pump}\ntemplates:'
    text = EFFECTS.format(source="", payload="", signal="", learn="").replace("templates:", more)
    (problem,) = load(tmp_path, text)[1]
    assert problem.key_path == "sources.bus.subscribe[1].topic"
    assert "subscribe[0] takes all its topics" in problem.message


@pytest.mark.parametrize(
    ("first", "second", "covers"),
    [
        ("a/{x}/{y}", "a/b/{y}", True),
        ("a/b/{y}", "a/{x}/{y}", False),
        ("a/#", "a/b/c", True),
        ("a/+/c", "a/{x}/c", True),
        ("a/C-{x}", "a/{x}", False),
        ("a/C-{x}", "a/C-7", False),
        ("a/{x}", "a/C-{x}", True),
        ("a/{x}", "a/#", False),
        ("a/{x}", "a/b/c", False),
        ("#", "a/b", True),
    ],
)
def test_patterns_that_cover_others(first: str, second: str, *, covers: bool) -> None:
    assert compile_pattern(first).covers(compile_pattern(second)) is covers
