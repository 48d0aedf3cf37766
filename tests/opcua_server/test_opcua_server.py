"""The OPC UA server with a client of the library: what it shows, sends, does and refuses."""

from __future__ import annotations

import asyncio
import shutil
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from asyncua import ua
from asyncua.client.client import Client
from asyncua.crypto.security_policies import SecurityPolicyBasic256Sha256
from asyncua.server.internal_server import InternalServer
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.status_codes import StatusCodes
from asyncua.ua.uaerrors import UaStatusCodeError
from opcua_plants import ServedPlant, load_once, select, serving
from opcua_support import CLIENT_URI, make_pair
from support import until

from edge_agent.config.settings import AnonymousMay
from edge_agent.config.settings import OpcuaServer as Config
from edge_agent.config.types import Secret
from edge_agent.messages import AlarmState
from edge_agent.opcua_server.server import OpcuaServer
from edge_agent.opcua_server.ua_types import number_node, status, text_node

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from opcua_support import Pair

IDS = ObjectIds
SERVER = number_node(IDS.Server)
ID = "P-1.vibration"
PATHS = ("EventType", "SourceName", "EventId", "AckedState/Id", "ActiveState/Id", "Message")
ACK = number_node(IDS.AcknowledgeableConditionType_Acknowledge)
CONFIRM = number_node(IDS.AcknowledgeableConditionType_Confirm)
COMMENT = number_node(IDS.ConditionType_AddComment)
TIMED = number_node(IDS.ShelvedStateMachineType_TimedShelve)
ONE_SHOT = number_node(IDS.ShelvedStateMachineType_OneShotShelve)
UNSHELVE = number_node(IDS.ShelvedStateMachineType_Unshelve)
REFRESH = number_node(IDS.ConditionType_ConditionRefresh)
REFRESH2 = number_node(IDS.ConditionType_ConditionRefresh2)
COMMAND = {"anonymous": AnonymousMay.COMMAND}


@pytest.fixture(autouse=True)
def _standard_nodes_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(InternalServer, "load_standard_address_space", load_once)


class Scada:
    """A client with one event subscription: `rows` are (type, source, event id, acked, active)."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.rows: list[tuple[Any, ...]] = []
        self.values: list[Any] = []

    def event_notification(self, event: Any) -> None:
        self.rows.append(tuple(field.Value for field in event.event_fields))

    def datachange_notification(self, node: Any, value: Any, data: Any) -> None:
        del node, data
        self.values.append(value)

    def status_change_notification(self, status: Any) -> None:
        del status

    async def subscribe(self, node: ua.NodeId = SERVER, **where: Any) -> None:
        """Subscribe to events of a node."""
        params = ua.CreateSubscriptionParameters(50.0, 1000, 10, 0, PublishingEnabled=True)
        self.subscription = await self.client.create_subscription(params, self)
        wanted = ua.EventFilter(SelectClauses=select(*PATHS), **where)
        self.item = await self.subscription.subscribe_events(node, evfilter=wanted, queuesize=1000)

    def condition(self, path: str = "") -> Any:
        return self.client.get_node(f"ns=2;s=alarm:{ID}{path}")

    async def value(self, path: str) -> Any:
        return await self.condition(f"/{path}").read_value()

    async def call(self, method: ua.NodeId, *arguments: Any, on: Any = None) -> int:
        """The status code of a call."""
        try:
            await (on or self.condition()).call_method(method, *arguments)
        except UaStatusCodeError as error:
            return int(error.code)
        return 0

    async def refresh(self) -> int:
        number = ua.Variant(self.subscription.subscription_id, ua.VariantType.UInt32)
        return await self.call(REFRESH, number, on=self.condition_type)

    @property
    def condition_type(self) -> Any:
        return self.client.get_node(number_node(IDS.ConditionType))

    def types(self) -> list[int]:
        return [row[0].Identifier for row in self.rows]


@asynccontextmanager
async def scada(plant: ServedPlant, **config: Any) -> AsyncIterator[Scada]:
    async with serving(plant, **config) as server, connected(server.port) as one:
        yield one


@asynccontextmanager
async def connected(port: int, user: str = "", password: str = "") -> AsyncIterator[Scada]:
    client = Client(f"opc.tcp://127.0.0.1:{port}", timeout=20)
    client.session_timeout = 60_000
    if user:
        client.set_user(user)
        client.set_password(password)
    await client.connect()
    try:
        yield Scada(client)
    finally:
        await client.disconnect()


async def test_machines_show_health_inputs_and_alarms() -> None:
    """What a SCADA browses: names of OPC 40001-1, values with status, conditions."""
    plant = ServedPlant()
    plant.see(ID, 2.0)
    async with scada(plant) as one:
        machines = one.client.get_node("ns=2;s=Machines")
        names = [(await node.read_browse_name()).Name for node in await machines.get_children()]
        assert names == ["gateway", "P-1", "P-2"]
        assert await one.client.get_node("ns=2;s=P-1/Monitoring/Health").read_value() == 0.75
        flow = one.client.get_node("ns=2;s=P-1/Monitoring/Inputs/flow")
        assert await flow.read_value() == 10.5
        life = one.client.get_node("ns=2;s=P-1/LifetimeCounters/RemainingLife")
        value = await life.read_data_value(raise_on_bad_status=False)
        assert value.StatusCode == status(StatusCodes.BadNoData)
        found = await one.client.get_node("ns=2;s=P-1").get_referenced_nodes(IDS.HasCondition)
        assert [node.nodeid.Identifier for node in found] == [f"alarm:{ID}"]
        assert await one.value("ActiveState/Id") is True
        assert await one.value("Retain") is True
        kind = await one.value("ConditionClassId")
        assert kind.Identifier == IDS.MaintenanceConditionClassType


async def test_a_machine_has_the_signal_and_the_life_of_its_worst_alarm() -> None:
    """DeviceHealth is that of NE 107 in the numbers of OPC 10000-100; the life is in hours."""
    plant = ServedPlant()
    plant.see("P-1.life", 2.0, rul_h={"p10": 20.0, "p50": 40.0, "p90": 90.0})
    async with scada(plant) as one:
        health = one.client.get_node("ns=2;s=P-1/Monitoring/DeviceHealth")
        life = one.client.get_node("ns=2;s=P-1/LifetimeCounters/RemainingLife")
        early = one.client.get_node("ns=2;s=P-1/LifetimeCounters/RemainingLife/P10")
        assert await health.read_value() == 4
        assert (await life.read_value(), await early.read_value()) == (40.0, 20.0)
        other = one.client.get_node("ns=2;s=P-2/Monitoring/DeviceHealth")
        assert await other.read_value() == 0


async def test_an_alarm_is_acknowledged_by_its_event() -> None:
    """Acknowledge takes the EventId and the comment, and what OPC UA shows is the table's state."""
    plant = ServedPlant()
    async with scada(plant, **COMMAND) as one:
        await one.subscribe()
        plant.see(ID, 2.0)
        await until(lambda: len(one.rows) == 1)
        kind, source, event, acked, active, message, condition = one.rows[0]
        assert (kind.Identifier, source, acked, active) == (
            IDS.AlarmConditionType,
            "P-1",
            False,
            True,
        )
        assert message.Text == f"{ID} is odd"
        assert condition == one.condition().nodeid
        assert (
            await one.call(ACK, b"nonsense", ua.LocalizedText("")) == StatusCodes.BadEventIdUnknown
        )
        assert await one.call(ACK, event, ua.LocalizedText("seen")) == 0
        alarm = plant.table.get(ID)
        assert alarm is not None
        assert (alarm.state, alarm.acked_by) == (AlarmState.ACKED, "anonymous (opcua)")
        assert alarm.comment == "seen"
        assert await one.value("AckedState/Id") is True
        assert (await one.value("Comment")).Text == "seen"
        again = await one.call(ACK, event, ua.LocalizedText(""))
        assert again == StatusCodes.BadConditionBranchAlreadyAcked
        await until(lambda: IDS.AuditConditionAcknowledgeEventType in one.types())
        await until(lambda: any(row[3] is True for row in one.rows))


async def test_confirm_comment_and_shelving() -> None:
    """Each method changes the table as its command does, and refuses what has no sense."""
    plant = ServedPlant()
    plant.see(ID, 2.0)
    text = ua.LocalizedText("done")
    codes = StatusCodes
    async with scada(plant, **COMMAND) as one:
        event = await one.value("EventId")
        assert await one.call(CONFIRM, event, text) == codes.BadConditionBranchAlreadyConfirmed
        assert await one.call(ACK, event, text) == 0
        assert await one.value("ConfirmedState/Id") is False
        assert await one.call(CONFIRM, event, text) == 0
        assert await one.value("ConfirmedState/Id") is True
        assert await one.call(COMMENT, event, ua.LocalizedText("ordered")) == 0
        assert (await one.value("Comment")).Text == "ordered"
        assert await one.call(UNSHELVE) == codes.BadConditionNotShelved
        assert await one.call(TIMED, 0.0) == codes.BadShelvingTimeOutOfRange
        assert await one.call(TIMED, 1e9) == codes.BadShelvingTimeOutOfRange
        assert await one.call(TIMED, 60_000.0, on=one.condition("/ShelvingState")) == 0
        assert (await one.value("ShelvingState/CurrentState")).Text == "TimedShelved"
        assert await one.call(TIMED, 60_000.0) == codes.BadConditionAlreadyShelved
        assert await one.call(UNSHELVE) == 0
        assert await one.call(ONE_SHOT) == 0
        assert (await one.value("ShelvingState/CurrentState")).Text == "OneShotShelved"
        alarm = plant.table.get(ID)
        assert alarm is not None
        assert alarm.shelved_by == "anonymous (opcua)"


async def test_a_refresh_sends_what_is_retained() -> None:
    """A client that returns gets every alarm that is not normal, between two markers."""
    plant = ServedPlant()
    for one_of_three in "012":
        plant.see(f"P-1.a{one_of_three}", 2.0)
    plant.see("P-1.a2", 0.0)
    plant.table.apply_command("ack", "P-1.a2", "ben")
    async with scada(plant) as one:
        await one.subscribe()
        assert await one.refresh() == 0
        await until(lambda: len(one.rows) == 4)
        kinds = [IDS.RefreshStartEventType, *[IDS.AlarmConditionType] * 2, IDS.RefreshEndEventType]
        assert one.types() == kinds
        number = ua.Variant(9999, ua.VariantType.UInt32)
        wrong = await one.call(REFRESH, number, on=one.condition_type)
        assert wrong == StatusCodes.BadSubscriptionIdInvalid


async def test_subscribers_of_a_machine_get_its_events_only() -> None:
    """Events reach the server's subscribers and those of their own machine."""
    plant = ServedPlant()
    async with (
        serving(plant) as server,
        connected(server.port) as one,
        connected(server.port) as two,
    ):
        await one.subscribe(text_node("P-1", 2))
        await two.subscribe()
        plant.see("P-1.a", 2.0)
        plant.see("P-2.a", 2.0)
        await until(lambda: len(two.rows) == 2)
        await asyncio.sleep(0)
        assert [row[1] for row in one.rows] == ["P-1"]


async def test_nobody_commands_without_a_right() -> None:
    """Anonymous clients of this machine read; a user with a password commands."""
    plant = ServedPlant()
    plant.see(ID, 2.0)
    users = {"anna": Secret(env="EDGE_AGENT_OPCUA_TEST")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGE_AGENT_OPCUA_TEST", "correct horse")
        async with serving(plant, users=users) as server:
            async with connected(server.port) as one:
                event = await one.value("EventId")
                refused = await one.call(ACK, event, ua.LocalizedText(""))
                assert refused == StatusCodes.BadUserAccessDenied
                assert plant.commands == []
            with pytest.raises(UaStatusCodeError):
                async with connected(server.port, "anna", "wrong"):
                    pass
            async with connected(server.port, "anna", "correct horse") as one:
                assert await one.call(ACK, event, ua.LocalizedText("")) == 0
    alarm = plant.table.get(ID)
    assert alarm is not None
    assert alarm.acked_by == "anna (opcua)"


async def test_beyond_loopback_all_is_encrypted(tmp_path: Path) -> None:
    """Only SignAndEncrypt is offered, for users with a password; nobody else gets a session."""
    ours = make_pair(tmp_path, "server", "urn:test:gateway")
    theirs = make_pair(tmp_path, "client", CLIENT_URI)
    keys = {"certificate": ours.certificate, "private_key": ours.key}
    users = {"anna": Secret(env="EDGE_AGENT_OPCUA_TEST")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGE_AGENT_OPCUA_TEST", "correct horse")
        async with serving(ServedPlant(), host="0.0.0.0", users=users, **keys) as server:  # noqa: S104 (on purpose)
            url = f"opc.tcp://127.0.0.1:{server.port}"
            offered = await Client(url).connect_and_get_server_endpoints()
            assert {one.SecurityMode for one in offered} == {ua.MessageSecurityMode.SignAndEncrypt}
            for user, is_welcome in (("anna", True), ("", False)):
                client = Client(url, timeout=20)
                client.application_uri = CLIENT_URI
                await client.set_security(
                    SecurityPolicyBasic256Sha256, theirs.certificate, theirs.key
                )
                if user:
                    client.set_user(user)
                    client.set_password("correct horse")
                assert await _is_welcome(client) is is_welcome


async def test_trusted_certificates_log_in_and_others_do_not(tmp_path: Path) -> None:
    """By the user's certificate or the program's own: its common name is who acknowledged."""
    ours = make_pair(tmp_path, "server", "urn:test:gateway")
    panel = make_pair(tmp_path, "panel", CLIENT_URI)
    anna = make_pair(tmp_path, "anna", "urn:test:anna")
    stranger = make_pair(tmp_path, "stranger", CLIENT_URI)
    trusted = tmp_path / "trusted"
    trusted.mkdir()
    for pair in (panel, anna):
        shutil.copy(pair.certificate, trusted)
    keys = {"certificate": ours.certificate, "private_key": ours.key, "trusted": trusted}
    plant = ServedPlant()
    for level in (2.0, 3.0):
        plant.see(ID, level)
    async with serving(plant, host="0.0.0.0", **keys) as server:  # noqa: S104 (on purpose)
        for program, person, is_welcome in (
            (panel, anna, True),
            (panel, None, True),
            (stranger, None, False),
            (panel, stranger, False),
        ):
            client = await _with_certificates(server.port, program, person)
            assert await _is_welcome(client) is is_welcome, (program, person)
        client = await _with_certificates(server.port, panel, anna)
        async with client:
            one = Scada(client)
            event = await one.value("EventId")
            assert await one.call(ACK, event, ua.LocalizedText("seen")) == 0
    alarm = plant.table.get(ID)
    assert alarm is not None
    assert alarm.acked_by == "anna (opcua)"


async def _with_certificates(port: int, program: Pair, person: Pair | None) -> Client:
    client = Client(f"opc.tcp://127.0.0.1:{port}", timeout=20)
    client.application_uri = CLIENT_URI
    await client.set_security(SecurityPolicyBasic256Sha256, program.certificate, program.key)
    if person is not None:
        await client.load_client_certificate(str(person.certificate))
        await client.load_private_key(person.key)
    return client


async def _is_welcome(client: Client) -> bool:
    try:
        await client.connect()
    except UaStatusCodeError:
        return False
    found = await client.get_node("ns=2;s=P-1/Monitoring/Health").read_value()
    await client.disconnect()
    return bool(found == 0.75)


async def test_a_taken_port_is_a_fault_that_ends() -> None:
    """Another program on the port is told, and the server listens once it is gone."""
    other = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = other.sockets[0].getsockname()[1]
    plant = ServedPlant()
    server = OpcuaServer(Config(enabled=True, port=port), plant.access(), plant.clock)
    try:
        await server.tend()
        assert [fault.what for fault in server.faults()] == ["opcua_server"]
        other.close()
        await other.wait_closed()
        await server.tend()
        assert server.faults() == []
    finally:
        await server.stop()
