"""Two clients of one id at one broker are warned about."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edge_agent.config import load
from edge_agent.config.config_warnings import warnings
from edge_agent.sinks import SINKS
from edge_agent.sources.mqtt.config import MqttSourceConfig

if TYPE_CHECKING:
    from pathlib import Path

FIRST = "url: mqtt://b, subscribe: [{topic: '{asset}'}]"


@pytest.mark.parametrize(
    ("one", "two", "sink", "warned"),
    [
        ("client_id: x", "client_id: x", "", ["sources.two.client_id"]),
        ("client_id: x", "client_id: y", "client_id: x", ["sinks.bus.client_id"]),
        ("client_id: edge-agent-gw-two", "", "", ["sources.two.client_id"]),
        ("", "", "client_id: edge-agent-gw-one", ["sinks.bus.client_id"]),
        ("client_id: x", "url: mqtt://other, client_id: x", "", []),
        ("", "", "", []),
    ],
)
def test_one_id_twice_at_one_broker_is_a_warning(
    tmp_path: Path, one: str, two: str, sink: str, warned: list[str]
) -> None:
    """The broker would let one in and throw the other out, in turns."""
    second = FIRST.replace("url: mqtt://b, ", "") if "url" in two else FIRST
    (tmp_path / "c.yaml").write_text(
        "gateway: {id: gw}\n"
        f"sources:\n  one: {{type: mqtt, {FIRST}, {one}}}\n  two: {{type: mqtt, {second}, {two}}}\n"
        f"sinks: {{bus: {{type: mqtt, url: 'mqtt://b/', {sink}}}}}\n"
    )
    sinks = {"mqtt": SINKS["mqtt"].config}
    config = load(tmp_path / "c.yaml", sources={"mqtt": MqttSourceConfig}, sinks=sinks)
    found = [text.partition(":")[0] for text in warnings(config) if "client_id" in text]
    assert found == warned
