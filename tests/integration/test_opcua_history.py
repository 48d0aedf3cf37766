"""What an OPC UA server has stored during an outage is delivered, in order, before live values."""

from __future__ import annotations

import asyncio
import math
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from asyncua import ua
from asyncua.common.utils import ServiceError
from asyncua.server.history import HistoryDict
from asyncua.server.server import Server
from asyncua.ua.status_codes import StatusCodes
from opcua_support import CutProxy, NodeServer, Rig

from edge_agent.config import schema
from edge_agent.messages import LinkState
from edge_agent.testing import find_free_port
from edge_agent.values import BAD_NO_COMMUNICATION

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence
    from pathlib import Path

# asyncua types its numbers and times as classes that it never makes.
_ua: Any = ua

pytestmark = [pytest.mark.integration]

HISTORY_READ = 664
WRITES = {673, 700, 712, 488, 500}  # Write, HistoryUpdate, Call, AddNodes, DeleteNodes
NAMES = ("s0", "s1", "s2", "s3")


class KeptHistory(HistoryDict):
    """A storage that outlives its server."""

    async def new_historized_node(
        self, node_id: ua.NodeId, period: timedelta | None, count: int = 0
    ) -> None:
        if node_id not in self._datachanges:
            await super().new_historized_node(node_id, period, count)


class StoringServer:
    """The library's server with variables a000.s0 ... of which `stored` have a history."""

    def __init__(self, storage: Callable[[], Any], stored: Sequence[str] = NAMES) -> None:
        self.url = f"opc.tcp://127.0.0.1:{find_free_port()}"
        self._storage = storage
        self._stored = stored
        self.nodes: dict[str, Any] = {}

    async def start(self, at: datetime | None = None) -> None:
        """at: the time of the variables' first values."""
        self.server = Server()
        await self.server.init()
        self.server.set_endpoint(self.url)
        self.server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
        index = await self.server.register_namespace("urn:plant")
        storage = self._storage()
        self.server.iserver.history_manager.set_storage(storage)
        await storage.init()
        objects = self.server.nodes.objects
        for name in NAMES:
            node_id = _ua.NodeId(f"a000.{name}", index)
            self.nodes[name] = await objects.add_variable(node_id, f"a000.{name}", 0.0)
            await self.write(name, 0.0, at or datetime.now(UTC))
        await self.server.start()
        await self.server.historize_node_data_change([self.nodes[name] for name in self._stored])

    async def stop(self) -> None:
        await self.server.stop()

    async def write(self, name: str, value: float, at: datetime | None = None) -> None:
        stamp = at or datetime.now(UTC)
        await self.nodes[name].write_value(_ua.DataValue(_ua.Variant(value), SourceTimestamp=stamp))


@pytest.fixture
async def storing() -> AsyncIterator[StoringServer]:
    server = StoringServer(HistoryDict)
    await server.start()
    yield server
    await server.stop()


@pytest.fixture(scope="module")
def make_server(
    node_modules: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., NodeServer]]:
    """Call it with options of opcua_server.js for a running server of its own."""
    servers: list[NodeServer] = []

    def make(**options: Any) -> NodeServer:
        folder = tmp_path_factory.mktemp("node-opcua")
        servers.append(NodeServer(node_modules, folder, **options).start())
        return servers[-1]

    yield make
    for server in servers:
        server.kill()


def signals(*names: str) -> dict[str, schema.Signal]:
    return {name: schema.Signal() for name in names}


async def is_up(rig: Rig) -> None:
    await rig.until_state(LinkState.UP, timeout_s=30)
    await rig.until(lambda: all(rig.of(name) for name in names_of(rig)))


def names_of(rig: Rig) -> list[str]:
    return [signal.name for signal in rig.plant.signals]


def values_of(rig: Rig, name: str) -> list[float]:
    """The values of a signal that are no marks."""
    return [value for _, value, status in rig.of(name) if status == 0]


def newest_is(rig: Rig, value: float) -> bool:
    return values_of(rig, "s1")[-1] == value


def is_ordered(rig: Rig, since: int) -> bool:
    times_us = rig.intake.columns.time_us[since:]
    return bool((times_us[1:] >= times_us[:-1]).all())


async def test_a_fault_during_an_outage_arrives_with_its_times_before_live_values(
    storing: StoringServer,
) -> None:
    """asyncua, a cut network: a fault that came and went is there, and nothing comes twice."""
    async with CutProxy(storing.url) as proxy, Rig(proxy.url, signals("s0", "s1")) as rig:
        await is_up(rig)
        await storing.write("s0", 1.0)
        await rig.until(lambda: values_of(rig, "s0")[-1] == 1.0)
        assert proxy.requests[HISTORY_READ] == 0
        await proxy.cut()
        await rig.until(lambda: rig.of("s0")[-1][2] == BAD_NO_COMMUNICATION)
        before = len(rig.intake)
        written = []
        for value in (2.0, 99.0, 98.0, 3.0):
            at = datetime.now(UTC)
            await storing.write("s0", value, at)
            written.append((round(at.timestamp() * 1e6), value, 0))
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.3)
        await proxy.mend()
        await is_up(rig)
        await storing.write("s0", 4.0)
        await rig.until(lambda: values_of(rig, "s0")[-1] == 4.0)
        assert [row for row in rig.of("s0") if row in written] == written
        late = rig.of("s0")[rig.of("s0").index(written[0]) :]
        assert [value for _, value, _ in late] == [2.0, 99.0, 98.0, 3.0, 4.0]
        assert is_ordered(rig, before)
        assert proxy.requests[HISTORY_READ] == 1
        assert not WRITES & set(proxy.requests)
        # s1 did not change: its value stands again from just after the mark.
        marked_us = max(at for at, _, status in rig.of("s1") if status == BAD_NO_COMMUNICATION)
        assert (marked_us + 1, 0.0, 0) in rig.of("s1")


async def test_a_server_that_restarts_gives_what_it_stored_before_it_ended() -> None:
    """asyncua, a history that survives: values up to its end and from its start on, no more."""
    storage = KeptHistory()
    server = StoringServer(lambda: storage)
    await server.start()
    async with CutProxy(server.url) as proxy, Rig(proxy.url, signals("s0", "s1")) as rig:
        await is_up(rig)
        await proxy.cut()
        await rig.until(lambda: rig.of("s0")[-1][2] == BAD_NO_COMMUNICATION)
        await asyncio.sleep(0.1)
        at = datetime.now(UTC)
        await server.write("s0", 99.0, at)
        await asyncio.sleep(0.3)
        await server.stop()
        await server.start()
        try:
            await proxy.mend()
            await is_up(rig)
            await server.write("s0", 5.0)
            await rig.until(lambda: values_of(rig, "s0")[-1] == 5.0)
        finally:
            await server.stop()
    rows = rig.of("s0")
    at_us = round(at.timestamp() * 1e6)
    found = rows.index((at_us, 99.0, 0))
    # How long that value lasted is not known: the server was down.
    assert rows[found + 1][0] == at_us + 1
    assert rows[found + 1][2] == BAD_NO_COMMUNICATION
    assert [value for _, value, _ in rows[found + 2 :] if not math.isnan(value)] == [0.0, 5.0]
    assert not [row for row in rig.of("s1") if row[0] > at_us and row[0] < rows[found + 2][0] - 1]


async def test_more_values_than_one_answer_holds_are_read_with_continuation_points(
    make_server: Callable[..., NodeServer],
) -> None:
    """node-opcua, 2 nodes in one HistoryRead, 2,500 values of each of 5 nodes."""
    names = [f"s{q}" for q in range(5)]
    nodes = [f"a000.{name}" for name in names]
    server = make_server(trust_all=True, history=nodes, max_history_nodes=2)
    async with CutProxy(server.url) as proxy, Rig(proxy.url, signals(*names)) as rig:
        await is_up(rig)
        await proxy.cut()
        await rig.until(lambda: rig.of("s0")[-1][2] == BAD_NO_COMMUNICATION)
        before, start_ms = len(rig.intake), round(time.time() * 1000)
        server.ask(ramp=nodes, count=2500, at=start_ms, step_ms=1)
        await asyncio.sleep(2.6)  # no value is from the future
        await proxy.mend()
        await is_up(rig)
        await rig.until(lambda: all(values_of(rig, name)[-1] == 2500 for name in names))
        for name in names:
            rows = [row for row in rig.of(name) if row[0] >= start_ms * 1000 and row[2] == 0]
            expected = [(start_ms + i) * 1000 for i in range(2500)]
            assert [at for at, _, _ in rows] == expected
            assert [value for _, value, _ in rows] == [float(i + 1) for i in range(2500)]
        assert is_ordered(rig, before)
        # Three groups of nodes, each with three answers of at most 1,000 values.
        assert proxy.requests[HISTORY_READ] == 9
        assert rig.rejected("history_incomplete") == 0


async def test_a_server_without_history_costs_one_line_and_one_request(
    storing: StoringServer, caplog: pytest.LogCaptureFixture
) -> None:
    """It says that its nodes have a history, and refuses to give it."""

    async def refuse(_params: object) -> list[ua.HistoryReadResult]:
        raise ServiceError(StatusCodes.BadHistoryOperationUnsupported)

    manager: Any = storing.server.iserver.history_manager
    manager.read_history = refuse
    async with CutProxy(storing.url) as proxy, Rig(proxy.url, signals("s0", "s1")) as rig:
        await is_up(rig)
        for value in (1.0, 2.0, 3.0):
            await proxy.cut()
            await rig.until(lambda: rig.of("s0")[-1][2] == BAD_NO_COMMUNICATION)
            await storing.write("s0", value)
            await storing.write("s1", value)
            await proxy.mend()
            await rig.until(partial(newest_is, rig, value))
            assert rig.source.link.state is LinkState.UP
        assert proxy.requests[HISTORY_READ] == 1
    lines = [one for one in caplog.records if "no history" in one.message]
    assert len(lines) == 1
