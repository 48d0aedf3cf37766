"""What an OPC UA server has stored during an outage is delivered, in order, before live values."""

from __future__ import annotations

import asyncio
import itertools
import json
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
from daemon_support import STEP_MS, WAIT_S, Site, now_ms, until_drawn_as_replayed
from opcua_support import CutProxy, NodeServer, Rig
from sink_support import Subscriber
from support import until

from edge_agent.config import schema
from edge_agent.messages import LinkState
from edge_agent.testing import find_free_port
from edge_agent.values import BAD_NO_COMMUNICATION, UNCERTAIN

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence
    from pathlib import Path

    from edge_agent.testing import Mosquitto

# asyncua types its numbers and times as classes that it never makes.
_ua: Any = ua

pytestmark = [pytest.mark.integration]

HISTORY_READ = 664
WRITES = {673, 700, 712, 488, 500}  # Write, HistoryUpdate, Call, AddNodes, DeleteNodes
READING = {428, 446, 452, 461, 467, 473, 631, 751, 781, 787, 826, 847, HISTORY_READ}
NAMES = ("s0", "s1", "s2", "s3")


class KeptHistory(HistoryDict):
    """A storage that outlives its server."""

    async def new_historized_node(
        self, node_id: ua.NodeId, period: timedelta | None, count: int = 0
    ) -> None:
        if node_id not in self._datachanges:
            await super().new_historized_node(node_id, period, count)


class StoringServer:
    """The library's server with variables a000.s0 ..., of which `stored` have a history."""

    def __init__(
        self,
        storage: Callable[[], Any],
        stored: Sequence[str] = NAMES,
        *,
        names: Sequence[str] = NAMES,
        asset: str = "a000",
    ) -> None:
        self.url = f"opc.tcp://127.0.0.1:{find_free_port()}"
        self._storage = storage
        self._stored, self._names, self._asset = stored, names, asset
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
        for name in self._names:
            node = f"{self._asset}.{name}"
            self.nodes[name] = await objects.add_variable(_ua.NodeId(node, index), node, 0.0)
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


async def test_a_server_that_hangs_up_when_asked_is_asked_twice(storing: StoringServer) -> None:
    """The link comes back, with live values; a broken network looks the same once."""
    async with CutProxy(storing.url) as proxy, Rig(proxy.url, signals("s0", "s1")) as rig:
        await is_up(rig)
        proxy.on_request = lambda number: proxy.drop() if number == HISTORY_READ else None
        await proxy.cut()
        await rig.until(lambda: rig.of("s0")[-1][2] == BAD_NO_COMMUNICATION)
        await storing.write("s0", 1.0)
        await storing.write("s1", 1.0)
        await proxy.mend()
        await rig.until(lambda: values_of(rig, "s1")[-1] == 1.0, timeout_s=40)
        await rig.until_state(LinkState.UP)
        assert proxy.requests[HISTORY_READ] == 2


async def test_a_stored_value_that_somebody_has_changed_is_uncertain(
    make_server: Callable[..., NodeServer],
) -> None:
    """node-opcua: other values of that time exist (ExtraData); the values beside it are good."""
    server = make_server(trust_all=True, history=["a000.s0"])
    async with CutProxy(server.url) as proxy, Rig(proxy.url, signals("s0")) as rig:
        await is_up(rig)
        await proxy.cut()
        await rig.until(lambda: rig.of("s0")[-1][2] == BAD_NO_COMMUNICATION)
        for value, bits in ((1.0, 0), (2.0, 0x0408), (3.0, 0), (4.0, 0)):
            at = round(time.time() * 1000)
            server.ask(set="a000.s0", value=value, at=at, bits=bits)
            await asyncio.sleep(0.05)
        await proxy.mend()
        await rig.until(lambda: rig.of("s0")[-1][1:] == (4.0, 0))
    found = {value: status for _, value, status in rig.of("s0")}
    assert found[1.0] == found[3.0] == 0
    assert found[2.0] == UNCERTAIN | 0x0408


async def test_only_services_that_read_are_used(storing: StoringServer) -> None:
    """On the wire, from start to stop: no Write, no Call; HistoryRead only after an outage."""
    async with CutProxy(storing.url) as proxy:
        async with Rig(proxy.url, signals("s0", "gone"), node_retry=1) as rig:
            await rig.until_state(LinkState.DEGRADED)
            await asyncio.sleep(1.5)
            await storing.write("s0", 1.0)
            await rig.until(lambda: values_of(rig, "s0")[-1] == 1.0)
            assert proxy.requests[HISTORY_READ] == 0
            proxy.drop()
            await rig.until(lambda: rig.of("s0")[-1][2] == BAD_NO_COMMUNICATION)
            await storing.write("s0", 2.0)
            await rig.until(lambda: values_of(rig, "s0")[-1] == 2.0)
        assert proxy.requests[HISTORY_READ] == 1
        assert set(proxy.requests) <= READING
        # A new source knows of no outage.
        async with Rig(proxy.url, signals("s0")) as rig:
            await is_up(rig)
        assert proxy.requests[HISTORY_READ] == 1


async def test_without_history_in_the_config_none_is_asked_for(storing: StoringServer) -> None:
    async with (
        CutProxy(storing.url) as proxy,
        Rig(proxy.url, signals("s0"), history=False) as rig,
    ):
        await is_up(rig)
        proxy.drop()
        await rig.until(lambda: rig.of("s0")[-1][2] == BAD_NO_COMMUNICATION)
        await storing.write("s0", 1.0)
        await rig.until(lambda: values_of(rig, "s0")[-1] == 1.0)
        assert proxy.requests[HISTORY_READ] == 0


async def test_a_node_that_stores_nothing_is_not_asked_for_its_history() -> None:
    server = StoringServer(HistoryDict, stored=["s0"])
    await server.start()
    try:
        async with CutProxy(server.url) as proxy, Rig(proxy.url, signals("s0", "s1")) as rig:
            await is_up(rig)
            await proxy.cut()
            await rig.until(lambda: rig.of("s0")[-1][2] == BAD_NO_COMMUNICATION)
            for value in (1.0, 2.0, 3.0):
                await server.write("s0", value)
                await server.write("s1", value)
                await asyncio.sleep(0.1)
            await proxy.mend()
            await rig.until(lambda: values_of(rig, "s1")[-1] == 3.0)
            assert values_of(rig, "s0")[-3:] == [1.0, 2.0, 3.0]
            assert 1.0 not in values_of(rig, "s1")
            assert rig.source.link.has_kept is False
    finally:
        await server.stop()


class NodeStore:
    """node-opcua with the signals of P-1, which it stores."""

    def __init__(self, make: Callable[..., NodeServer]) -> None:
        names = [f"P-1.{name}" for name in ("flow", "temp", "pressure")]
        self._server = make(trust_all=True, assets=0, names=names, history=names)
        self.url = self._server.url

    async def write(self, name: str, value: float, at: datetime) -> None:
        self._server.ask(set=f"P-1.{name}", value=value, at=round(at.timestamp() * 1e3))


class Machine:
    """Writes the values of a pump each step; a fault sets other ones."""

    def __init__(self, server: StoringServer | NodeStore) -> None:
        self._server = server
        self.flow, self.temp = 10.0, 50.0
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        next_ms = now_ms() // STEP_MS * STEP_MS
        for n in itertools.count():
            next_ms += STEP_MS
            await asyncio.sleep(max(0.0, next_ms - now_ms()) / 1e3)
            at = datetime.fromtimestamp(next_ms / 1e3, UTC)
            for name, value in (("flow", self.flow), ("temp", self.temp), ("pressure", 4.0)):
                await self._server.write(name, value + n % 2 * 0.02, at)

    async def fault(self, seconds: float) -> None:
        self.flow, self.temp = 14.0, 95.0
        await asyncio.sleep(seconds)
        self.flow, self.temp = 10.0, 50.0

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])


@pytest.fixture
async def pump() -> AsyncIterator[StoringServer]:
    """A server with the signals of P-1, which it stores."""
    names = ("flow", "temp", "pressure")
    server = StoringServer(HistoryDict, names, names=names, asset="P-1")
    await server.start()
    yield server
    await server.stop()


def site_of(folder: Path, url: str, broker: Mosquitto) -> Site:
    source = {
        "type": "opcua",
        "url": url,
        "subscribe": None,
        "node": "nsu=urn:plant;s={asset}.{signal}",
        "publishing_interval": "100ms",
    }
    limits = {"temp": {"valid": [0, 200], "limits": {"high": 90}}}
    return Site(
        folder,
        broker.url,
        sources={"plant": source},
        templates={"pump": {"signals": limits}},
        assets={"P-{1..2}": None, "P-1": {"template": "pump"}},
    )


async def test_a_fault_within_an_outage_raises_a_limit_and_a_model_alarm_late(
    tmp_path: Path, broker: Mosquitto, pump: StoringServer
) -> None:
    """It comes and goes while the network is cut; the server has stored it."""
    async with CutProxy(pump.url) as proxy:
        site = site_of(tmp_path, proxy.url, broker)
        bus = await Subscriber(broker.port, "edge/#").ready()
        machine = Machine(pump)
        async with site.daemon() as running:
            await until(lambda: running.windows() > 10, "scored", WAIT_S)
            await proxy.cut()
            await asyncio.sleep(1.5)
            begin_ms = now_ms()
            await machine.fault(2.0)
            end_ms = now_ms()
            await asyncio.sleep(1.0)
            assert not raised(bus)
            await proxy.mend()
            await until(lambda: len(raised(bus)) == 2, "told late", WAIT_S)
            await asyncio.sleep(1.0)
        await machine.stop()
        await asyncio.to_thread(bus.stop)
    assert_told_late(raised(bus), begin_ms, end_ms)


async def test_a_fault_while_the_service_is_stopped_is_told_late(
    tmp_path: Path, broker: Mosquitto, pump: StoringServer
) -> None:
    """The server has stored it; the next start reads what came after the last stored times."""
    await told_late_after_a_stop(tmp_path, broker, pump)


async def test_node_opcua_gives_what_it_stored_while_the_service_was_stopped(
    tmp_path: Path, broker: Mosquitto, make_server: Callable[..., NodeServer]
) -> None:
    """As the test before; the trend has the values and scores of that time, as replayed."""
    await told_late_after_a_stop(tmp_path, broker, NodeStore(make_server))


async def told_late_after_a_stop(
    folder: Path, broker: Mosquitto, pump: StoringServer | NodeStore
) -> None:
    site = site_of(folder, pump.url, broker)
    bus = await Subscriber(broker.port, "edge/#").ready()
    machine = Machine(pump)
    async with site.daemon() as running:
        await until(lambda: running.windows() > 10, "scored", WAIT_S)
    await asyncio.sleep(1.0)
    begin_ms = now_ms()
    await machine.fault(2.0)
    end_ms = now_ms()
    await asyncio.sleep(1.0)
    async with site.daemon() as again:
        await until(lambda: len(raised(bus)) == 2, "told late", WAIT_S)
        await until_drawn_as_replayed(again, "P-1", begin_ms, end_ms)
    await machine.stop()
    await asyncio.to_thread(bus.stop)
    assert_told_late(raised(bus), begin_ms, end_ms)


def assert_told_late(found: dict[str, dict[str, Any]], begin_ms: int, end_ms: int) -> None:
    """Limit and model, with the times of the fault, and the model's window as replayed."""
    assert set(found) == {"P-1.watch", "P-1.temp.high"}
    assert found["P-1.watch"]["window"]["replayed"] is True
    assert found["P-1.watch"]["window"]["quality"] == "good"
    for one in found.values():
        at_ms = datetime.fromisoformat(one["first_seen"]).timestamp() * 1e3
        assert begin_ms - STEP_MS <= at_ms <= end_ms


def raised(bus: Subscriber) -> dict[str, dict[str, Any]]:
    """The data of the raise events of the machine's alarms, by alarm id."""
    events = [json.loads(body)["data"] for body in bus.bodies("/event") if body]
    return {
        e["alarm_id"]: e
        for e in events
        if e["transition"] == "raise" and e["alarm_id"].startswith("P-1.")
    }
