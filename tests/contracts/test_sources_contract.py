"""What every source must do, whatever it speaks. A new source adds one row to `CASES`."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import pytest
from mqtt_support import Publisher, make_users
from opcua_support import NodeServer
from support import until, value_of

from edge_agent.clock import SystemClock
from edge_agent.config import schema
from edge_agent.config.types import Secret
from edge_agent.messages import LinkState, Source
from edge_agent.ops.metrics import Metrics
from edge_agent.plant import Plant
from edge_agent.sources import SOURCES
from edge_agent.sources.mqtt.config import MqttSourceConfig, Subscription
from edge_agent.sources.opcua.config import OpcUaSourceConfig
from edge_agent.sources.replay.config import ReplayConfig
from edge_agent.testing import ListIntake, Mosquitto, find_mosquitto
from edge_agent.values import BAD_NO_COMMUNICATION
from scripts.rigs import find_node_modules

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Make = Callable[..., "Rig"]

pytestmark = [pytest.mark.integration]

NAME = "src"
TIMEOUT_S = 60


class Server(Protocol):
    """The other side of a source, in a process of its own."""

    def config(self, *, refused: bool) -> object:
        """The source's config for it; with `refused`, one that it refuses for ever."""

    def start(self) -> None:
        """Begin to serve."""

    def stop(self) -> None:
        """Stop serving; it may be started again."""

    def send(self, value: float) -> None:
        """Let the signal P1.flow have that value."""


class MqttServer:
    """mosquitto, which knows one user."""

    def __init__(self, folder: Path) -> None:
        self._password = folder / "password"
        self._password.write_text("right")
        self._wrong = folder / "wrong"
        self._wrong.write_text("wrong")
        users = make_users(folder, "edge", "right")
        if find_mosquitto() is None:
            pytest.skip("mosquitto is not installed")
        self._broker = Mosquitto(folder, f"password_file {users}\n", anonymous=False)

    def config(self, *, refused: bool) -> object:
        return MqttSourceConfig(
            self._broker.url,
            (Subscription("plant/{asset}/{signal}"),),
            username="edge",
            password=Secret(file=self._wrong if refused else self._password),
        )

    def start(self) -> None:
        self._broker.start()

    def stop(self) -> None:
        self._broker.stop()

    def send(self, value: float) -> None:
        publisher = Publisher(self._broker.port, login=("edge", "right"))
        publisher.publish("plant/P1/flow", str(value))
        publisher.close()


class ReplayServer:
    """A recording that is there or not."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "run.csv"
        self._empty = folder / "empty.csv"

    def config(self, *, refused: bool) -> object:
        return ReplayConfig(self._empty if refused else self._file, asset="P1", loop=True)

    def start(self) -> None:
        self._empty.touch()
        self._file.write_text("time,flow\n2026-01-01T00:00:00,1\n2026-01-01T00:00:01,2\n")

    def stop(self) -> None:
        self._file.unlink(missing_ok=True)

    def send(self, value: float) -> None:
        """What it says is recorded already."""


class OpcUaServer:
    """node-opcua, which knows one user; passwords go in the open, as on a test bench."""

    def __init__(self, folder: Path) -> None:
        modules = find_node_modules()
        if modules is None:
            pytest.skip("node-opcua is not installed: ./scripts/test installs it where it may")
        for name in ("right", "wrong"):
            (folder / name).write_text(name)
        self._folder = folder
        self._server = NodeServer(modules, folder, trust_all=True, users={"edge": "right"})

    def config(self, *, refused: bool) -> object:
        return OpcUaSourceConfig(
            self._server.url,
            username="edge",
            password=Secret(file=self._folder / ("wrong" if refused else "right")),
            allow_insecure_password=True,
            node="nsu=urn:plant;s=a000.s0",
        )

    def start(self) -> None:
        self._server.start()

    def stop(self) -> None:
        self._server.kill()

    def send(self, value: float) -> None:
        self._server.ask(set="a000.s0", value=value)


# The row of SOURCES, and what makes its server from an empty folder.
CASES: list[tuple[str, Callable[[Path], Server]]] = [
    ("mqtt", MqttServer),
    ("opcua", OpcUaServer),
    ("replay", ReplayServer),
]


@dataclass
class Rig:
    """A source and what it was given."""

    source: Source
    server: Server
    intake: ListIntake
    metrics: Metrics

    async def state(self, *states: LinkState) -> None:
        """Wait until the link has one of these states."""
        await until(lambda: self.source.link.state in states, self.describe, TIMEOUT_S)

    def describe(self) -> str:
        return f"{self.source.link}, {len(self.intake)} values"


@pytest.fixture(params=CASES, ids=[name for name, _ in CASES])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Make]:
    """Call it for a source whose server is not started yet."""
    kind, make_server = request.param
    server = make_server(tmp_path)

    def make_rig(*, refused: bool = False) -> Rig:
        config = server.config(refused=refused)
        pump = schema.Template(signals={"flow": schema.Signal()})  # type: ignore[dict-item]
        plant = Plant(
            schema.Config(
                sources={NAME: config},  # type: ignore[dict-item]
                templates={"pump": pump},  # type: ignore[dict-item]
                assets={"P1": schema.Asset(template="pump")},  # type: ignore[arg-type]
            )
        )
        intake, metrics = ListIntake(), Metrics()
        source = SOURCES[kind].make(
            NAME, config, plant, intake, metrics, SystemClock(), schema.Gateway()
        )
        return Rig(source, server, intake, metrics)

    yield make_rig
    server.stop()


async def test_it_has_the_name_it_was_given_and_is_stopped(make: Make) -> None:
    rig = make()
    assert (rig.source.name, rig.source.link.state) == (NAME, LinkState.STOPPED)


async def test_stop_before_start_and_twice_is_safe(make: Make) -> None:
    rig = make()
    await rig.source.stop()
    await rig.source.start()
    await rig.source.stop()
    await rig.source.stop()
    assert rig.source.link.state is LinkState.STOPPED


async def test_start_returns_at_once_when_the_other_side_is_down(make: Make) -> None:
    """A dead server must not fail a boot."""
    rig = make()
    began = time.monotonic()
    await rig.source.start()
    assert time.monotonic() - began < 1
    await rig.state(LinkState.DOWN)
    assert rig.source.link.detail
    await rig.source.stop()


async def test_the_other_side_may_come_later(make: Make) -> None:
    rig = make()
    await rig.source.start()
    await rig.state(LinkState.DOWN)
    await asyncio.to_thread(rig.server.start)
    await rig.state(LinkState.UP)
    await asyncio.to_thread(rig.server.send, 12.5)
    received = rig.metrics.values_received.labels(NAME)
    await until(lambda: value_of(received) > 0, rig.describe, TIMEOUT_S)
    # A mark that there is no communication is no value that was received.
    assert value_of(received) == sum(rig.intake.columns.status != BAD_NO_COMMUNICATION)
    await rig.source.stop()


async def test_nothing_is_delivered_after_stop(make: Make) -> None:
    rig = make()
    await asyncio.to_thread(rig.server.start)
    await rig.source.start()
    await rig.state(LinkState.UP)
    await rig.source.stop()
    before = len(rig.intake)
    await asyncio.to_thread(rig.server.send, 1.0)
    await asyncio.sleep(0.3)
    assert len(rig.intake) == before
    assert value_of(rig.metrics.source_up.labels(NAME)) == 0


async def test_a_permanent_refusal_is_a_reason_and_no_exception(make: Make) -> None:
    rig = make(refused=True)
    await asyncio.to_thread(rig.server.start)
    await rig.source.start()
    await rig.state(LinkState.DOWN)
    assert rig.source.link.detail
    assert value_of(rig.metrics.source_up.labels(NAME)) == 0
    await asyncio.sleep(0.3)
    refused = rig.source.link.state
    assert refused in {LinkState.DOWN, LinkState.CONNECTING}
    await rig.source.stop()
    assert rig.source.link.state is LinkState.STOPPED
