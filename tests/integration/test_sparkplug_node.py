"""Sparkplug B from an edge node that nobody here wrote (Eclipse Tahu's client), over mosquitto."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pytest
from mqtt_support import Rig, make_plant
from support import until

from edge_agent.config import schema
from edge_agent.messages import LinkState
from edge_agent.sources.mqtt.config import MqttSourceConfig
from edge_agent.sources.mqtt.sparkplug_config import Sparkplug
from edge_agent.values import BAD_NO_COMMUNICATION, GOOD
from scripts.rigs import find_node_modules

if TYPE_CHECKING:
    from edge_agent.testing import Mosquitto

pytestmark = [pytest.mark.integration]

PROGRAM = Path(__file__).with_name("sparkplug_node.js")


class EdgeNode:
    """The node in a process of its own."""

    def __init__(self, url: str) -> None:
        modules = find_node_modules()
        if modules is None or not (modules / "sparkplug-client").is_dir():
            pytest.skip("sparkplug-client is not installed (npm)")
        self._command = ["node", str(PROGRAM), url]
        self._env = {**os.environ, "NODE_PATH": str(modules)}

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(
            self._command,
            env=self._env,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
            bufsize=1,
        )
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdin is not None
        self.process.stdin.close()

    def tell(self, command: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{command}\n")
        self.process.stdin.flush()


def make_rig(broker: Mosquitto) -> Rig:
    plant = make_plant("P1", signals={"flow": schema.Signal(), "level": schema.Signal()})
    return Rig(MqttSourceConfig(broker.url, sparkplug=Sparkplug(group="G")), plant)


def newest(rig: Rig, signal: str) -> tuple[float, int] | None:
    """Value and status of the last reading of a signal."""
    columns = rig.columns
    rows = columns.signal == rig.plant.assets["P1"].signals[signal].index
    return (float(columns.value[rows][-1]), int(columns.status[rows][-1])) if rows.any() else None


def is_lost(rig: Rig, signal: str) -> bool:
    found = newest(rig, signal)
    return found is not None and found[1] == BAD_NO_COMMUNICATION


async def test_births_data_and_deaths_of_a_foreign_node(broker: Mosquitto) -> None:
    """We come first, so its birth is heard; deaths of device and node are quality."""
    rig = make_rig(broker)
    async with rig:
        await rig.up()
        with EdgeNode(broker.url) as node:
            await until(lambda: len(rig.values("P1", "flow")) >= 4, what=rig.describe)
            assert newest(rig, "level") == (-7.0, GOOD)
            found = newest(rig, "flow")
            assert found is not None
            assert found[1] == GOOD
            node.tell("device-death")
            await until(lambda: is_lost(rig, "level"), what=rig.describe)
        # Killed: the broker publishes its will.
        await until(lambda: is_lost(rig, "flow"), what=rig.describe)


async def test_a_node_that_was_there_before_us_is_asked_for_its_births(broker: Mosquitto) -> None:
    """`Node Control/Rebirth` is answered, and values are known from then on."""
    rig = make_rig(broker)
    with EdgeNode(broker.url):
        first = make_rig(broker)
        async with first:  # only to know that the node is well under way
            await until(lambda: len(first.values("P1", "flow")) >= 2, what=first.describe)
        async with rig:
            await until(lambda: newest(rig, "level") == (-7.0, GOOD), what=rig.describe)
            assert rig.source.link.faults == {}


async def test_a_lost_broker_is_a_loss_of_all_values_and_they_come_back(
    broker: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody hears of deaths meanwhile; after the return births are asked for."""
    monkeypatch.setattr("edge_agent.transport.reconnect.backoff_s", lambda *_: 0.05)
    rig = make_rig(broker)
    async with rig:
        await rig.up()
        with EdgeNode(broker.url):
            await until(lambda: newest(rig, "level") == (-7.0, GOOD), what=rig.describe)
            broker.kill()
            await until(lambda: is_lost(rig, "level"), what=rig.describe)
            broker.start()
            await until(lambda: rig.source.link.state is LinkState.UP, what=rig.describe)
            await until(lambda: newest(rig, "level") == (-7.0, GOOD), what=rig.describe)
