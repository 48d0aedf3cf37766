"""What hostile, slow and greedy clients cannot do to the OPC UA server."""

from __future__ import annotations

import asyncio
import struct
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from asyncua import ua
from asyncua.client.client import Client
from asyncua.server.internal_server import InternalServer
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.status_codes import StatusCodes
from asyncua.ua.uaerrors import UaStatusCodeError
from opcua_plants import ServedPlant, load_once, select, serving
from support import until

from edge_agent.opcua_server import sessions
from edge_agent.opcua_server.ua_types import number_node, text_node

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from edge_agent.opcua_server.server import OpcuaServer

SERVER = number_node(ObjectIds.Server)
HEALTH = text_node("P-1/Monitoring/Health", 2)
HELLO = struct.pack("<4sIIIIIIi", b"HELF", 32, 0, 65_535, 65_535, 0, 0, -1)
MALFORMED = {
    "another protocol": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "zeros": bytes(64),
    "four gigabytes": struct.pack("<4sI", b"HELF", 0xFFFF_FFFF),
    "a chunk of one megabyte": HELLO + struct.pack("<4sI", b"OPNF", 1 << 20),
    "less than its own header": HELLO + struct.pack("<4sI", b"MSGF", 8),
    "an unknown kind of chunk": HELLO + struct.pack("<4sI", b"MSGX", 64) + bytes(56),
    "a hello without an end": struct.pack("<4sIIIIIIi", b"HELF", 32, 0, 1, 1, 0, 0, 1 << 30),
}


@pytest.fixture(autouse=True)
def _standard_nodes_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(InternalServer, "load_standard_address_space", load_once)


@asynccontextmanager
async def connected(server: OpcuaServer) -> AsyncIterator[Client]:
    client = Client(f"opc.tcp://127.0.0.1:{server.port}", timeout=20)
    await client.connect()
    try:
        yield client
    finally:
        await client.disconnect()


async def health(server: OpcuaServer) -> Any:
    """What a well-behaved client reads."""
    async with connected(server) as client:
        return await client.get_node(HEALTH).read_value()


async def said(server: OpcuaServer, data: bytes) -> bytes:
    """All that the server answers until it ends the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    answer = b""
    with suppress(ConnectionError):
        writer.write(data)
        async with asyncio.timeout(20):
            answer = await reader.read(-1)
    writer.close()
    return answer


@pytest.mark.parametrize("name", MALFORMED)
async def test_what_is_malformed_ends_its_connection(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once, not after the time to log in; others are served as before."""
    monkeypatch.setattr(sessions, "ACTIVATE_S", 60.0)  # longer than `said` waits
    async with serving(ServedPlant()) as server:
        assert len(await said(server, MALFORMED[name])) < 200
        assert await health(server) == 0.75


async def test_a_message_before_a_channel_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a fault as the answer; the time to log in ends the connection."""
    monkeypatch.setattr(sessions, "ACTIVATE_S", 0.5)
    async with serving(ServedPlant()) as server:
        chunk = struct.pack("<4sI", b"MSGF", 64) + bytes(56)
        assert len(await said(server, HELLO + chunk)) < 200
        assert await health(server) == 0.75


async def test_random_chunks_end_only_their_own_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """Right headers with random bodies, after a right hello."""
    monkeypatch.setattr(sessions, "ACTIVATE_S", 0.5)
    numbers = np.random.default_rng(11)
    async with serving(ServedPlant()) as server:
        for _ in range(60):
            body = numbers.bytes(int(numbers.integers(4, 400)))
            kind = (b"OPNF", b"MSGF", b"CLOF", b"HELF")[int(numbers.integers(4))]
            chunk = struct.pack("<4sI", kind, 8 + len(body)) + body
            await said(server, (b"", HELLO)[int(numbers.integers(2))] + chunk)
        assert await health(server) == 0.75


async def test_who_says_nothing_is_sent_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections without a session do not take the place of others for long."""
    monkeypatch.setattr(sessions, "ACTIVATE_S", 0.3)
    async with serving(ServedPlant(), clients=1) as server:
        silent = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(8)]
        for reader, _ in silent:
            async with asyncio.timeout(20):
                with suppress(ConnectionError):
                    assert await reader.read() == b""
        assert await health(server) == 0.75
        for _, writer in silent:
            writer.close()


async def test_no_more_sessions_than_configured() -> None:
    """The one that is there stays; the next is refused until it has gone."""
    async with serving(ServedPlant(), clients=1) as server:
        async with connected(server) as first:
            with pytest.raises(UaStatusCodeError) as refused:
                await health(server)
            assert refused.value.code == StatusCodes.BadTooManySessions
            assert await first.get_node(HEALTH).read_value() == 0.75
        assert await health(server) == 0.75


async def test_a_request_names_few_nodes() -> None:
    async with serving(ServedPlant()) as server, connected(server) as client:
        nodes = [client.get_node(HEALTH)] * (sessions.MAX_OPERATIONS + 1)
        with pytest.raises(UaStatusCodeError) as refused:
            await client.read_attributes(nodes, AttributeIds.Value)
        assert refused.value.code == StatusCodes.BadTooManyOperations


async def test_nothing_is_written() -> None:
    async with serving(ServedPlant()) as server, connected(server) as client:
        with pytest.raises(UaStatusCodeError):
            await client.get_node(HEALTH).write_value(0.0)
        assert await client.get_node(HEALTH).read_value() == 0.75


class Events:
    """The types of the events that a subscription brings."""

    def __init__(self) -> None:
        self.types: list[int] = []

    def event_notification(self, event: Any) -> None:
        self.types.append(event.event_fields[0].Value.Identifier)

    def status_change_notification(self, status: Any) -> None:
        del status


async def subscribed(client: Client, size: int = 1000) -> tuple[Events, Any]:
    """Events of the server, with a queue of this size."""
    events = Events()
    params = ua.CreateSubscriptionParameters(50.0, 1000, 10, 0, PublishingEnabled=True)
    subscription = await client.create_subscription(params, events)
    wanted = ua.EventFilter(SelectClauses=select("EventType"))
    await subscription.subscribe_events(SERVER, evfilter=wanted, queuesize=size)
    return events, subscription


async def test_a_subscription_is_its_own_sessions() -> None:
    """Its number is easily guessed: another session can neither end nor read it."""
    plant = ServedPlant()
    async with serving(plant) as server, connected(server) as one, connected(server) as other:
        events, subscription = await subscribed(one)
        number = subscription.subscription_id
        results = await other.uaclient.delete_subscriptions([number])
        assert [result.value for result in results] == [StatusCodes.BadSubscriptionIdInvalid]
        plant.see("P-1.vibration", 2.0)
        await until(lambda: events.types == [ObjectIds.AlarmConditionType])


async def test_lost_events_are_told() -> None:
    """A queue that is too small: the newest are kept, and an event says that there were more."""
    plant = ServedPlant()
    async with serving(plant) as server, connected(server) as client:
        events, _ = await subscribed(client, size=2)
        found = [one for n in range(6) for one in plant.see(f"P-1.a{n}", 2.0)]
        assert len(found) == 6
        await until(lambda: ObjectIds.EventQueueOverflowEventType in events.types)
        await until(lambda: events.types.count(ObjectIds.AlarmConditionType) >= 2)


async def test_who_guesses_passwords_waits() -> None:
    """Wrong logins are counted by address, and a right one has to wait as well."""
    plant = ServedPlant()
    async with serving(plant) as server:
        for _ in range(12):
            client = Client(f"opc.tcp://127.0.0.1:{server.port}", timeout=20)
            client.set_user("anna")
            client.set_password("guess")
            with pytest.raises(UaStatusCodeError):
                await client.connect()
        assert server._wrong.wait_s("127.0.0.1") > 0
