"""One config file serves many gateways: ids from the machine, values from the environment."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import pytest

from edge_agent.config import load
from edge_agent.config.machine import default_gateway_id, hostname
from edge_agent.config.problem import ConfigErrors
from edge_agent.config.scalars import is_name
from edge_agent.config.types import Name
from edge_agent.sources.mqtt.config import MqttSourceConfig

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.config.schema import Config

SOURCES = {"mqtt": MqttSourceConfig}
REST = "sources: {bus: {type: mqtt, url: 'mqtt://b', subscribe: [{topic: '{asset}'}]}}"


def read(folder: Path, text: str) -> Config:
    file = folder / "edge-agent.yaml"
    file.write_text(f"{text}\n{REST}" if "sources:" not in text else text, encoding="utf-8")
    return load(file, sources=SOURCES, sinks={})


@pytest.mark.parametrize(
    ("host", "label"),
    [
        ("gw-7.plant.example", "gw-7"),
        ("Werk 3/Süd", "Werk-3-S-d"),
        ("-_-", "gateway"),
        ("", "gateway"),
        ("x" * 64, "x" * 40),
        ("工場", "gateway"),
    ],
)
def test_a_host_name_becomes_a_name(monkeypatch: pytest.MonkeyPatch, host: str, label: str) -> None:
    """Topic levels and client ids are made of it, whatever the machine is called."""
    monkeypatch.setattr(socket, "gethostname", lambda: host)
    assert hostname() == label
    assert is_name(label)


def test_gateways_of_one_image_differ_by_their_machine_id(tmp_path: Path) -> None:
    """Two of them at one broker would throw each other out; the id is the same at every start."""
    ids = []
    for number in (1, 2, 1):
        file = tmp_path / "machine-id"
        file.write_text(f"{number:032x}\n")
        ids.append(default_gateway_id(file))
    assert ids[0] == ids[2] != ids[1]
    assert all(is_name(one) and one.startswith(hostname()) for one in ids)
    assert default_gateway_id(tmp_path / "none") == hostname()


def test_a_config_without_an_id_has_that_of_the_machine(tmp_path: Path) -> None:
    """One with an id keeps it, even where it is the word that stands for none in the struct."""
    assert read(tmp_path, "topic_root: edge").gateway.id == default_gateway_id()
    assert read(tmp_path, "gateway: {id: gateway}").gateway.id == "gateway"


def test_names_and_client_ids_take_the_host_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that 500 gateways need one file."""
    monkeypatch.setattr(socket, "gethostname", lambda: "gw-7.plant.example")
    source = (
        "{type: mqtt, url: 'mqtt://b', client_id: 'x-{hostname}', subscribe: [{topic: '{asset}'}]}"
    )
    config = read(
        tmp_path,
        f"gateway: {{id: 'p-{{hostname}}', site: '{{hostname}}'}}\nsources: {{bus: {source}}}",
    )
    assert (config.gateway.id, config.gateway.site) == ("p-gw-7", "gw-7")
    bus: Any = config.sources[Name("bus")]
    assert bus.client_id == "x-gw-7"


def test_values_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of any type, checked like those of the file."""
    monkeypatch.setenv("EA_TEST_LINE", "line-3")
    monkeypatch.setenv("EA_TEST_DAYS", "7")
    config = read(
        tmp_path,
        "gateway: {line: {env: EA_TEST_LINE}, area: {env: EA_TEST_NONE, default: b-2}}\n"
        "store: {history_days: {env: EA_TEST_DAYS}}",
    )
    assert (config.gateway.line, config.gateway.area) == ("line-3", "b-2")
    assert config.store.history_days == 7


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("{env: EA_TEST_NONE}", "environment variable EA_TEST_NONE is not set"),
        ("{env: EA_TEST_ODD}", "is not a name"),
        ("{env: 'a b'}", "is not the name of an environment variable"),
        ("{env: X, or: y}", "takes env and default only"),
        ("{file: X}", "takes one value, not a map"),
    ],
)
def test_what_the_environment_lacks_is_a_problem_of_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str, message: str
) -> None:
    monkeypatch.setenv("EA_TEST_ODD", "a b")
    with pytest.raises(ConfigErrors, match=rf"edge-agent\.yaml:2: gateway\.line: .*{message}"):
        read(tmp_path, f"gateway:\n  line: {value}")
