"""The OPC UA source against the library's own server, in this process."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import pytest_asyncio
from asyncua import ua
from asyncua.common.utils import ServiceError
from asyncua.server.server import Server
from asyncua.ua.status_codes import StatusCodes
from opcua_support import Rig
from support import value_of

from edge_agent.config import schema
from edge_agent.config.types import Duration
from edge_agent.errors import ConnectError
from edge_agent.messages import LinkState
from edge_agent.sources.opcua.config import OpcUaSourceConfig
from edge_agent.sources.opcua.source import probe
from edge_agent.status_codes import type_of
from edge_agent.testing import find_free_port
from edge_agent.values import (
    BAD_NO_COMMUNICATION,
    BAD_NODE_ID_UNKNOWN,
    BAD_SENSOR_FAILURE,
    UNCERTAIN,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from asyncua.common.node import Node

# asyncua types its numbers and times as classes that it never makes.
_ua: Any = ua

pytestmark = pytest.mark.asyncio(loop_scope="module")
START = datetime(2026, 1, 1, tzinfo=UTC)


class Plc:
    """A server with variables a000.s0 .. a000.s3 in the namespace urn:plant."""

    def __init__(self, *others: str) -> None:
        self.others = others  # namespaces before it
        self.url = f"opc.tcp://127.0.0.1:{find_free_port()}"
        self.server = Server()
        self.nodes: dict[str, Node] = {}

    async def prepare(self) -> None:
        """All that takes time; it does not listen yet."""
        await self.server.init()
        self.server.set_endpoint(self.url)
        self.server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
        for other in self.others:
            await self.server.register_namespace(other)
        self.index = await self.server.register_namespace("urn:plant")
        for q in range(4):
            await self.add(f"a000.s{q}", 0.0)

    async def add(self, name: str, value: object) -> None:
        node = await self.server.nodes.objects.add_variable(
            _ua.NodeId(name, self.index), name, value
        )
        self.nodes[name] = node

    async def write(
        self, name: str, value: object, status: int = 0, at: datetime | None = None
    ) -> None:
        variant = value if isinstance(value, ua.Variant) else _ua.Variant(value)
        stamp = at or datetime.now(UTC)
        await self.nodes[f"a000.{name}"].write_value(
            _ua.DataValue(variant, _ua.StatusCode(status), SourceTimestamp=stamp)
        )


def has_come(rig: Rig, n: int) -> bool:
    return len(rig.of("s0")) == n


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def plc() -> AsyncIterator[Plc]:
    """One server for all: it takes seconds to come up."""
    plc = Plc()
    await plc.prepare()
    await plc.server.start()
    yield plc
    await plc.server.stop()


def signals(*names: str) -> dict[str, schema.Signal]:
    return {name: schema.Signal() for name in names}


async def test_values_arrive_with_their_own_times_and_codes(plc: Plc) -> None:
    async with Rig(plc.url, signals("s0")) as rig:
        await rig.until_state(LinkState.UP)
        await rig.until(lambda: len(rig.of("s0")) == 1)
        sent = [(1.5, 0), (2.5, UNCERTAIN), (3.5, BAD_SENSOR_FAILURE), (4.5, 0)]
        for n, (value, status) in enumerate(sent):
            await plc.write("s0", value, status, START + timedelta(milliseconds=n))
            await rig.until(partial(has_come, rig, n + 2))
        start_us = round(START.timestamp() * 1e6)
        got = rig.of("s0")[1:]
        assert [time_us for time_us, _, _ in got] == [start_us + 1000 * n for n in range(4)]
        assert [status for _, _, status in got] == [0, UNCERTAIN, BAD_SENSOR_FAILURE, 0]
        values = [value for _, value, _ in got]
        assert values[:2] == [1.5, 2.5]
        assert np.isnan(values[2])
        assert values[3] == 4.5
        assert value_of(rig.metrics.source_up.labels("plc")) == 1


async def test_booleans_and_integers_are_numbers_and_text_is_not(plc: Plc) -> None:
    await plc.add("a000.bool", value=True)
    await plc.add("a000.int", _ua.Variant(-7, ua.VariantType.Int16))
    await plc.add("a000.text", "hello")
    async with Rig(plc.url, signals("bool", "int", "text")) as rig:
        await rig.until(lambda: all(rig.of(name) for name in ("bool", "int", "text")))
        assert rig.of("bool")[0][1] == 1.0
        assert rig.of("int")[0][1] == -7.0
        assert type_of(rig.of("text")[0][2]) == "String"
        await rig.until_state(LinkState.DEGRADED)
        assert rig.source.link.detail == "2 of 3 nodes: a000.text is a String: not usable"
        assert rig.rejected("type") == 1


async def test_an_array_is_a_waveform_block(plc: Plc) -> None:
    samples = [float(i) for i in range(100)]
    await plc.add("a000.wave", _ua.Variant(samples, ua.VariantType.Float))
    wave = schema.Signal(kind=schema.Kind.WAVEFORM, rate_hz=1000.0)
    async with Rig(plc.url, {"wave": wave}) as rig:
        await rig.until(lambda: rig.intake.blocks)
        assert rig.intake.blocks[0].samples.tolist() == samples
        assert rig.intake.blocks[0].rate_hz == 1000.0


async def test_a_missing_node_does_not_hold_back_the_others(plc: Plc) -> None:
    names = {**signals("s0", "gone"), "odd": schema.Signal(address="no address")}
    async with Rig(plc.url, names) as rig:
        await rig.until_state(LinkState.DEGRADED)
        await rig.until(lambda: rig.of("s0"))
        detail = rig.source.link.detail
        assert detail.startswith("1 of 3 nodes: a000.gone does not exist (BadNodeIdUnknown); ")
        assert [status for _, _, status in rig.of("gone")] == [BAD_NODE_ID_UNKNOWN]
        assert [status for _, _, status in rig.of("odd")] == [BAD_NODE_ID_UNKNOWN]
        assert rig.rejected("node_unknown") == 2


# The library's server forgets to await what it means to say of a node that is deleted.
deletes = pytest.mark.filterwarnings("ignore:coroutine 'MonitoredItemService:RuntimeWarning")


@deletes
async def test_a_node_that_is_created_anew_delivers_though_the_server_says_nothing(
    plc: Plc,
) -> None:
    """This server keeps the item, links it to nothing and sends no status: only a look shows it."""
    await plc.add("a000.again", 1.0)
    async with Rig(plc.url, signals("s0", "again"), node_retry=1) as rig:
        await rig.until(lambda: rig.of("again"))
        await plc.server.delete_nodes([plc.nodes["a000.again"]])
        await rig.until(lambda: rig.of("again")[-1][2] == BAD_NODE_ID_UNKNOWN)
        await rig.until_state(LinkState.DEGRADED)
        await plc.add("a000.again", 2.0)
        await rig.until(lambda: rig.of("again")[-1][1] == 2.0)
        await rig.until_state(LinkState.UP)
        await plc.write("again", 3.0)
        await rig.until(lambda: rig.of("again")[-1][1] == 3.0)


@deletes
async def test_a_node_that_becomes_a_text_is_a_fault_and_ends_as_a_number(plc: Plc) -> None:
    await plc.add("a000.turns", 1.0)
    async with Rig(plc.url, signals("s0", "turns"), node_retry=1) as rig:
        await rig.until(lambda: rig.of("turns"))
        await plc.server.delete_nodes([plc.nodes["a000.turns"]])
        await plc.add("a000.turns", "one")
        await rig.until(lambda: type_of(rig.of("turns")[-1][2]) == "String")
        await rig.until_state(LinkState.DEGRADED)
        await plc.server.delete_nodes([plc.nodes["a000.turns"]])
        await plc.add("a000.turns", 4.0)
        await rig.until(lambda: rig.of("turns")[-1][1] == 4.0)
        await rig.until_state(LinkState.UP)


async def test_a_missing_node_is_tried_again_and_then_delivers(plc: Plc) -> None:
    async with Rig(plc.url, signals("s0", "late"), node_retry=1) as rig:
        await rig.until_state(LinkState.DEGRADED)
        await plc.add("a000.late", 9.0)
        await rig.until_state(LinkState.UP)
        await rig.until(lambda: rig.of("late")[-1][1] == 9.0)
        assert rig.rejected("node_unknown") == 1


async def test_a_quiet_server_is_not_taken_for_a_stalled_one(plc: Plc) -> None:
    async with Rig(plc.url, signals("s0"), stall_after=1) as rig:
        await rig.until_state(LinkState.UP)
        await asyncio.sleep(2.5)
        assert rig.source.link.state is LinkState.UP
        assert value_of(rig.metrics.source_reconnects.labels("plc")) == 0


async def test_stopping_ends_the_session_at_the_server(plc: Plc) -> None:
    async with Rig(plc.url, signals("s0")) as rig:
        await rig.until_state(LinkState.UP)
        assert len(plc.server.iserver.subscription_service.subscriptions) == 1
    await rig.until(lambda: not plc.server.iserver.subscription_service.subscriptions)
    assert rig.source.link.state is LinkState.STOPPED
    assert value_of(rig.metrics.source_up.labels("plc")) == 0


async def test_a_server_that_comes_late_is_found_and_its_loss_ends_what_was_held() -> None:
    plc = Plc()
    await plc.prepare()
    async with Rig(plc.url, signals("s0", "s1")) as rig:
        await rig.until_state(LinkState.DOWN)
        assert "connection refused" in rig.source.link.detail
        assert {row[2] for row in rig.of("s0") + rig.of("s1")} == {BAD_NO_COMMUNICATION}
        await plc.server.start()
        try:
            await rig.until_state(LinkState.UP)
            await rig.until(lambda: rig.of("s0")[-1][2] == 0)
        finally:
            await plc.server.stop()
        await rig.until_state(LinkState.DOWN)
        time_us, value, status = rig.of("s0")[-1]
        assert np.isnan(value)
        assert status == BAD_NO_COMMUNICATION
        assert time_us > rig.of("s0")[-2][0]
        assert value_of(rig.metrics.source_reconnects.labels("plc")) == 1


async def test_a_subscription_that_the_server_forgets_is_made_again(plc: Plc) -> None:
    """It says nothing: it just never publishes again."""
    service = plc.server.iserver.subscription_service
    async with Rig(plc.url, signals("s0"), stall_after=1) as rig:
        await rig.until_state(LinkState.UP)
        await service.delete_subscriptions(list(service.subscriptions))
        await rig.until(lambda: rig.of("s0")[-1][2] == BAD_NO_COMMUNICATION)
        await rig.until_state(LinkState.UP, timeout_s=20)
        await plc.write("s0", 7.5)
        await rig.until(lambda: rig.of("s0")[-1][1] == 7.5)
        assert len(service.subscriptions) == 1


async def test_a_server_without_a_session_left_is_named_and_tried_again(
    plc: Plc, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ServiceError(StatusCodes.BadTooManySessions)

    with monkeypatch.context() as patch:
        patch.setattr(plc.server.iserver, "create_session", refuse)
        rig = Rig(plc.url, signals("s0"))
        await rig.source.start()
        await rig.until_state(LinkState.DOWN)
        assert "BadTooManySessions" in rig.source.link.detail
        assert rig.of("s0")[-1][2] == BAD_NO_COMMUNICATION
    try:
        await rig.until_state(LinkState.UP, timeout_s=15)
    finally:
        await rig.source.stop()


async def test_a_namespace_with_another_index_after_a_restart_is_found() -> None:
    """Part 5, 6.3.13: a server may number its namespaces anew at each start."""
    plc = Plc()
    await plc.prepare()
    await plc.server.start()
    async with Rig(plc.url, signals("s0")) as rig:
        await rig.until_state(LinkState.UP)
        again = Plc("urn:other")
        again.url = plc.url
        await plc.server.stop()
        await again.prepare()
        assert again.index == plc.index + 1
        await again.server.start()
        try:
            await again.write("s0", 4.25)
            await rig.until(lambda: rig.of("s0")[-1][1] == 4.25, timeout_s=20)
        finally:
            await again.server.stop()


async def test_what_the_plant_discovers_is_watched_too(plc: Plc) -> None:
    await plc.add("a001.s0", 3.0)
    async with Rig(plc.url, signals("s0")) as rig:
        await rig.until_state(LinkState.UP)
        rig.plant.discover("a001", "t")
        await rig.until(lambda: "2 nodes" in rig.source.link.detail)
        await rig.until(lambda: rig.of("s0", "a001"))
        assert rig.of("s0", "a001")[0][1] == 3.0


async def test_stop_is_safe_before_start_and_when_repeated() -> None:
    rig = Rig("opc.tcp://127.0.0.1:9", signals("s0"))
    await rig.source.stop()
    await rig.source.start()
    await rig.source.start()
    await rig.source.stop()
    await rig.source.stop()
    assert rig.source.link.state is LinkState.STOPPED


async def test_probe_tells_whether_the_server_answers(plc: Plc) -> None:
    await probe(OpcUaSourceConfig(plc.url))
    with pytest.raises(ConnectError):
        await probe(
            OpcUaSourceConfig(f"opc.tcp://127.0.0.1:{find_free_port()}", timeout=Duration(1))
        )
