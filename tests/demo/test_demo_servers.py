"""The demo's broker and OPC UA server, its config, and what it says when something is missing."""

from __future__ import annotations

import asyncio
import math
import re
import sys
import tomllib
from typing import TYPE_CHECKING, Any

import pytest
from asyncua import ua
from asyncua.client.client import Client

from edge_agent.daemon.tables import find_problems
from edge_agent.demo import servers
from edge_agent.demo.bus import readings, seen_on_bus
from edge_agent.demo.config import ON_PLC, config_text
from edge_agent.demo.servers import NAMESPACE, mqtt_broker, opcua_server
from edge_agent.demo.shipped import copy_shipped
from edge_agent.errors import EdgeAgentError
from edge_agent.plant import Plant
from scripts.rigs import ROOT

if TYPE_CHECKING:
    from pathlib import Path

# asyncua types its numbers and times as classes that it never makes.
_ua: Any = ua


@pytest.fixture(autouse=True)
def _quiet() -> None:
    servers.quiet_libraries()


async def test_what_is_published_is_seen_and_a_lost_sensor_has_no_key() -> None:
    async with (
        mqtt_broker() as url,
        seen_on_bus(url, "plant/#") as queue,
        readings(url) as publisher,
    ):
        async with asyncio.timeout(10):
            while queue.empty():  # the subscription may come after the first ones
                publisher.publish("plant/l/P-1", {"flow": 1.5, "vibration": math.nan}, 2_000_000)
                await asyncio.sleep(0.05)
            topic, payload = await queue.get()
    assert topic == "plant/l/P-1"
    assert payload == {"ts": 2000, "flow": 1.5}


async def test_a_lost_sensor_is_a_bad_node_with_its_time() -> None:
    async with opcua_server() as nodes:
        await nodes.add("P-4", ["flow", "vibration"])
        await nodes.write("P-4", {"flow": 1.5, "vibration": math.nan}, 1_767_268_800_000_000)
        async with Client(nodes.url) as client:
            index = await client.get_namespace_index(NAMESPACE)
            flow: Any = await client.get_node(f"ns={index};s=P-4.flow").read_data_value()
            lost: Any = await client.get_node(f"ns={index};s=P-4.vibration").read_data_value(
                raise_on_bad_status=False
            )
    assert flow.Value.Value == 1.5
    assert flow.SourceTimestamp.timestamp() == 1_767_268_800
    assert lost.StatusCode.value == _ua.StatusCodes.BadSensorFailure


async def test_without_amqtt_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """By that package's own name and versions: our name is a stranger's on the package index."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (wanted,) = project["optional-dependencies"]["demo"]
    monkeypatch.setitem(sys.modules, "amqtt.broker", None)
    with pytest.raises(EdgeAgentError, match=re.escape(f"pip install '{wanted}'")):
        async with mqtt_broker():
            pass


def test_its_config_is_sound(tmp_path: Path) -> None:
    path = tmp_path / "edge-agent.yaml"
    path.write_text(config_text("mqtt://127.0.0.1:1883", "opc.tcp://127.0.0.1:4840", 9460))
    copy_shipped(tmp_path / "models")
    config, problems = find_problems(path)
    assert problems == []
    assert config is not None
    assert list(Plant(config).assets) == list(ON_PLC)
