"""The config of an MQTT source: what the loader takes and what it refuses before any packet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from mqtt_support import mqtt_config, subscription

from edge_agent import config as loader
from edge_agent.config.types import Secret
from edge_agent.sources import SOURCES
from edge_agent.sources.mqtt import MqttSourceConfig, Tls, backoff_s, filters, versions
from edge_agent.sources.mqtt._config import Protocol
from edge_agent.sources.mqtt._payload_spec import Format, Payload

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
    assert (bus.keepalive, bus.session_expiry, bus.max_payload) == (20, 7200, 262_144)
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
    assert versions(mqtt_config("mqtt://h")) == (Protocol.V5, Protocol.V311)
    assert versions(mqtt_config("mqtt://h", share="g")) == (Protocol.V5,)


def test_waits_grow_and_are_spread() -> None:
    waits = [backoff_s(n) for n in range(20)]
    assert 0.5 <= waits[0] <= 1
    assert all(30 <= wait <= 60 for wait in waits[6:])
    assert len({backoff_s(9) for _ in range(20)}) > 1
