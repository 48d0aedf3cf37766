"""A plant for tests of the OPC UA server: a real alarm table, machines as plain rows, no daemon."""

from __future__ import annotations

import copy
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from asyncua import ua
from asyncua.server.internal_server import InternalServer
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.object_ids import ObjectIds

from edge_agent.alarms.catalogue import AlarmPolicy
from edge_agent.alarms.table import AlarmTable
from edge_agent.clock import SystemClock
from edge_agent.config.schema import AlarmRule, Alarms
from edge_agent.config.settings import OpcuaServer as Config
from edge_agent.config.types import Duration
from edge_agent.messages import Detail, Observation
from edge_agent.opcua_server.server import OpcuaServer, PlantAccess
from edge_agent.opcua_server.ua_types import number_node

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from edge_agent.messages import Alarm, Transition

_OPCUA = ObjectIds
LOAD = InternalServer.load_standard_address_space
FIELDS = (
    "EventId",
    "EventType",
    "SourceName",
    "Message",
    "Severity",
    "Retain",
    "Comment",
    "ConditionName",
    "AckedState/Id",
    "ConfirmedState/Id",
    "ActiveState/Id",
    "ShelvingState/CurrentState",
)


@dataclass
class ServedPlant:
    """Machines P-1, P-2, ...; commands are recorded, as the daemon would have them."""

    limits: Alarms = field(default_factory=Alarms)
    clock: Any = field(default_factory=SystemClock)
    rows: list[dict[str, Any]] = field(default_factory=list)
    commands: list[tuple[Any, ...]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.table = AlarmTable(self.policy, self.limits, self.clock)
        self.server: OpcuaServer | None = None
        self.rows = self.rows or [machine("P-1"), machine("P-2")]

    def policy(self, alarm_id: str) -> AlarmPolicy | None:
        """The rules of an alarm: no delays, no limit of raises."""
        asset = alarm_id.partition(".")[0]
        rule = AlarmRule(off_delay=Duration(0))
        return AlarmPolicy(asset, f"works/halle/west/l1/{asset}", rule, kind="service")

    def see(self, alarm_id: str, level: float, **detail: Any) -> Sequence[Transition]:
        """Observe, as the pipeline does."""
        content = Detail("anomaly", {"level": level}, **detail)
        seen = Observation(alarm_id, level, self.clock.now_us(), content)
        return self.announce(self.table.accept_observation(seen))

    def announce(self, found: Sequence[Transition]) -> Sequence[Transition]:
        """Tell the server, as the publisher does."""
        if self.server is not None:
            self.server.notify(found)
        return found

    async def _command(
        self, kind: str, alarm_id: str, actor: str, duration_s: float | None, comment: str
    ) -> None:
        self.commands.append((kind, alarm_id, actor, duration_s, comment))
        if kind == "shelve":
            made = self.table.shelve(alarm_id, duration_s or 0.0, actor, comment)
        else:
            made = self.table.apply_command(kind, alarm_id, actor, comment)
        self.announce([made])

    async def _changes(self, known: Mapping[str, int]) -> tuple[list[Alarm], list[str]]:
        numbers = self.table.last_numbers()
        found = [self.table.get(one) for one, seq in numbers.items() if known.get(one) != seq]
        return [one for one in found if one], [one for one in known if one not in numbers]

    async def _assets(self) -> list[dict[str, Any]]:
        return self.rows

    def access(self) -> PlantAccess:
        """What the server sees of it."""
        return PlantAccess(
            "gateway",
            ("en",),
            lambda: self.limits.shelve_max,
            self._assets,
            self._changes,
            lambda alarm: {"message": {"en": f"{alarm.alarm_id} is odd"}, "advice": {}},
            self._command,
        )


def machine(asset: str, **more: Any) -> dict[str, Any]:
    """A row of `StatusProvider.assets`."""
    flow = {"name": "flow", "unit": "m3/h", "value": 10.5, "time_ms": 1_767_225_600_000}
    return {
        "id": asset,
        "path": f"works/halle/west/l1/{asset}",
        "state": "normal",
        "alarms": 0,
        "health": 0.75,
        "score": 0.5,
        "limit": 2.0,
        "note": "",
        "inputs": [{**flow, "quality": "good"}],
        **more,
    }


@asynccontextmanager
async def serving(plant: ServedPlant, **config: Any) -> AsyncIterator[OpcuaServer]:
    """The server of a plant on a free port."""
    server = OpcuaServer(Config(enabled=True, port=0, **config), plant.access(), plant.clock)
    plant.server = server
    try:
        await server.tend()
        yield server
    finally:
        await server.stop()


_STANDARD: dict[Any, Any] = {}


async def load_once(server: InternalServer, shelf_file: Any = None) -> None:
    """Fill a server: the standard's nodes take a second to make, and all of a run share them."""
    if not _STANDARD:
        other = InternalServer()
        await LOAD(other, shelf_file)
        _STANDARD.update(other.aspace._nodes)
    for key, node in _STANDARD.items():
        mine = server.aspace._nodes[key] = copy.copy(node)
        mine.references = list(node.references)


def select(*paths: str) -> list[ua.SimpleAttributeOperand]:
    """Select clauses for these fields, and the ConditionId as the last."""
    clauses = [
        ua.SimpleAttributeOperand(
            TypeDefinitionId=number_node(_OPCUA.BaseEventType),
            BrowsePath=[ua.QualifiedName(name) for name in path.split("/")],
            AttributeId=AttributeIds.Value,
        )
        for path in paths
    ]
    condition = ua.SimpleAttributeOperand(
        TypeDefinitionId=number_node(_OPCUA.ConditionType), AttributeId=AttributeIds.NodeId
    )
    return [*clauses, condition]
