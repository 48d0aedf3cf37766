"""What clients browse: machines with health, life and inputs, and their alarms.

Names are those of OPC 40001-1 (Machinery) where it has one: `Machines`, `Identification`,
`MachineryItemState`, `Monitoring`, `LifetimeCounters`; `DeviceHealth` is that of OPC 10000-100,
whose values are the signals of NAMUR NE 107.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from asyncua import ua
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.status_codes import StatusCodes

from edge_agent.clock import US_PER_MS
from edge_agent.opcua_server.nodes import Made
from edge_agent.opcua_server.ua_types import number_node, status, text_node, to_datetime

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from edge_agent.opcua_server.conditions import Condition
    from edge_agent.opcua_server.fields import Fields

NAMESPACE: Final = "urn:edge-agent:plant"
MACHINES: Final = "Machines"
_ALARM: Final = "alarm:"
_T: Final = ua.VariantType
_O: Final = ObjectIds
# Of MachineryItemStateType, by our state of an asset.
_ITEM_STATES: Final = {"stopped": "NotExecuting", "normal": "Executing", "alarm": "Executing"}
_HEALTH_NUMBERS: Final = {
    "": 0,
    "failure": 1,
    "check_function": 2,
    "out_of_specification": 3,
    "maintenance_required": 4,
}
_TWO_STATE: Final = frozenset(
    {
        "EnabledState",
        "AckedState",
        "ConfirmedState",
        "ActiveState",
        "SuppressedState",
        "OutOfServiceState",
    }
)
_CONDITION_VARIABLES: Final = frozenset({"Quality", "LastSeverity", "Comment"})
_SHELVING: Final = "ShelvingState"
_OWN: Final = frozenset({"Advice", "DeviceHealth", "FailureMode", "Occurrences"})
_METHODS: Final = (
    _O.ConditionType_Enable,
    _O.ConditionType_Disable,
    _O.ConditionType_AddComment,
    _O.AcknowledgeableConditionType_Acknowledge,
    _O.AcknowledgeableConditionType_Confirm,
)
_SHELVING_METHODS: Final = (
    _O.ShelvedStateMachineType_Unshelve,
    _O.ShelvedStateMachineType_OneShotShelve,
    _O.ShelvedStateMachineType_TimedShelve,
)


@dataclass(frozen=True, slots=True)
class Shown:
    """A condition with its fields."""

    condition: Condition
    fields: Fields


@dataclass(slots=True)
class PlantSpace:
    """The machines and conditions as they are now.

    index: of our namespace; gateway: its name, the source of its own alarms. machines: the rows of
    `StatusProvider.assets`, by id.
    """

    index: int
    gateway: str
    machines: dict[str, dict[str, Any]] = field(default_factory=dict)
    conditions: dict[str, Shown] = field(default_factory=dict)
    _alarms: dict[str, dict[str, None]] = field(default_factory=dict)  # by machine

    def show(self, shown: Shown) -> None:
        """Add or replace a condition."""
        alarm = shown.condition.alarm
        self.conditions[alarm.alarm_id] = shown
        self._alarms.setdefault(alarm.asset, {})[alarm.alarm_id] = None

    def show_machines(self, rows: Iterable[dict[str, Any]]) -> None:
        """Replace the machines; each has the NE 107 signal and the life of its worst alarm."""
        self.machines = {row["id"]: row | self._worst(row["id"]) for row in rows}

    def _worst(self, asset: str) -> dict[str, Any]:
        shown = (self.conditions[one].condition for one in self._alarms.get(asset, ()))
        active = [one.alarm for one in shown if one.is_active and one.retain]
        worst = max(active, key=lambda alarm: alarm.severity, default=None)
        lives = [one.detail.rul_h for one in active if one.detail and one.detail.rul_h]
        life = min(lives, key=lambda rul_h: rul_h.get("p50", 0.0), default=None)
        return {"ne107": worst.ne107.value if worst else "", "rul_h": life}

    def remove(self, alarm_id: str) -> None:
        """Remove a condition whose alarm is gone."""
        shown = self.conditions.pop(alarm_id, None)
        if shown is not None:
            self._alarms.get(shown.condition.alarm.asset, {}).pop(alarm_id, None)

    def condition_of(self, nodeid: object) -> str:
        """The alarm of a condition's node or of its ShelvingState; empty if it is none."""
        if not isinstance(nodeid, ua.NodeId) or nodeid.NamespaceIndex != self.index:
            return ""
        ident = str(nodeid.Identifier).removesuffix(f"/{_SHELVING}")
        alarm_id = ident.removeprefix(_ALARM)
        return alarm_id if ident != alarm_id and alarm_id in self.conditions else ""

    def condition_node(self, alarm_id: str) -> ua.NodeId:
        """The ConditionId of an alarm."""
        return self._id(_ALARM + alarm_id)

    def find(self, ident: str) -> Made | None:
        """The node with this identifier; None if there is none."""
        if ident == MACHINES:
            return self._machines()
        if ident.startswith(_ALARM):
            alarm_id, _, path = ident.removeprefix(_ALARM).partition("/")
            shown = self.conditions.get(alarm_id)
            return None if shown is None else self._condition(shown, path)
        asset, _, path = ident.partition("/")
        return self._machine(asset, path) if self._is_machine(asset) else None

    def _is_machine(self, asset: str) -> bool:
        return asset in self.machines or asset == self.gateway or asset in self._alarms

    def _id(self, ident: str) -> ua.NodeId:
        return text_node(ident, self.index)

    def _machines(self) -> Made:
        names = dict.fromkeys([self.gateway, *self.machines, *self._alarms])
        children = tuple((_O.Organizes, text_node(name, self.index)) for name in names)
        parent = _O.Organizes, number_node(_O.ObjectsFolder)
        return Made(MACHINES, MACHINES, _O.FolderType, parent, children, notifies=True)

    # -- conditions ---------------------------------------------------------------------------

    def _condition(self, shown: Shown, path: str) -> Made | None:
        alarm = shown.condition.alarm
        ident = _ALARM + alarm.alarm_id
        if not path:
            parent = _O.HasCondition, text_node(alarm.asset, self.index)
            children = (*self._parts(ident, shown.fields), *_methods(_METHODS))
            name = alarm.alarm_id
            return Made(ident, name, _O.AlarmConditionType, parent, children)
        above, _, name = path.rpartition("/")
        parent_id = self._id(f"{ident}/{above}" if above else ident)
        children = tuple(self._parts(ident, shown.fields, path))
        in_base = path not in _OWN
        if path == _SHELVING:
            children += _methods(_SHELVING_METHODS)
            kind = _O.ShelvedStateMachineType
            parent = _O.HasComponent, parent_id
            return Made(f"{ident}/{path}", name, kind, parent, children, in_base=in_base)
        value = shown.fields.get(path)
        if value is None:
            return None
        return Made(
            f"{ident}/{path}",
            name,
            _type_of(path),
            (_reference_of(path), parent_id),
            children,
            ua.DataValue(value, SourceTimestamp=to_datetime(alarm.changed_us)),
            value.VariantType.value,
            in_base=in_base,
        )

    def _parts(
        self, ident: str, fields: Fields, above: str = ""
    ) -> Iterator[tuple[int, ua.NodeId]]:
        """The variables directly below a path."""
        start = f"{above}/" if above else ""
        names = dict.fromkeys(
            path.removeprefix(start).partition("/")[0] for path in fields if path.startswith(start)
        )
        for name in names:
            yield _reference_of(start + name), self._id(f"{ident}/{start}{name}")

    # -- machines -----------------------------------------------------------------------------

    def _machine(self, asset: str, path: str) -> Made | None:
        row = self.machines.get(asset, {})
        values = machine_values(asset, row)
        if not path:
            alarms = self._alarms.get(asset, {})
            conditions = [(_O.HasCondition, self._id(_ALARM + one)) for one in alarms]
            children = (*self._below(asset, "", values), *conditions)
            parent = _O.Organizes, self._id(MACHINES)
            return Made(asset, asset, _O.BaseObjectType, parent, children, notifies=True)
        above, _, name = path.rpartition("/")
        parent = _O.HasComponent, self._id(f"{asset}/{above}" if above else asset)
        children = tuple(self._below(asset, f"{path}/", values))
        value = values.get(path)
        ident = f"{asset}/{path}"
        if value is not None:
            kind = value.Value.VariantType.value if value.Value else _T.Double.value
            is_property = name in {"EngineeringUnits", "P10", "P90"}
            type_id = _O.PropertyType if is_property else _O.BaseDataVariableType
            parent = _O.HasProperty if is_property else _O.HasComponent, parent[1]
            return Made(ident, name, type_id, parent, children, value, kind)
        return Made(ident, name, _O.FolderType, parent, children) if children else None

    def _below(
        self, asset: str, start: str, values: Mapping[str, ua.DataValue]
    ) -> Iterator[tuple[int, ua.NodeId]]:
        names = dict.fromkeys(
            path.removeprefix(start).partition("/")[0] for path in values if path.startswith(start)
        )
        for name in names:
            yield _O.HasComponent, self._id(f"{asset}/{start}{name}")


def machine_values(asset: str, row: Mapping[str, Any]) -> dict[str, ua.DataValue]:
    """All variables of a machine by their path; row: of `StatusProvider.assets`, or empty."""
    place = str(row.get("path", ""))
    state = str(row.get("state", ""))
    scored_ms = row.get("scored_ms")
    ne107 = str(row.get("ne107") or "")
    values = {
        "Identification/AssetId": _value(asset, _T.String),
        "Identification/Location": _value(place.rpartition("/")[0], _T.String),
    }
    if not row:
        return values
    values |= {
        "MachineryItemState/CurrentState": _value(
            ua.LocalizedText(_ITEM_STATES.get(state, "NotAvailable"), "en"), _T.LocalizedText
        ),
        "Monitoring/State": _value(state, _T.String),
        "Monitoring/Health": _number(row.get("health"), scored_ms),
        "Monitoring/Score": _number(row.get("score"), scored_ms),
        "Monitoring/ScoreLimit": _number(row.get("limit"), scored_ms),
        "Monitoring/DeviceHealth": _value(_HEALTH_NUMBERS.get(ne107, 0), _T.Int32),
        "Monitoring/ActiveAlarms": _value(int(row.get("alarms", 0)), _T.UInt32),
        "Monitoring/Note": _value(str(row.get("note", "")), _T.String),
    }
    life = row.get("rul_h") or {}
    values["LifetimeCounters/RemainingLife"] = _number(life.get("p50"), None)
    for part in ("p10", "p90"):
        path = f"LifetimeCounters/RemainingLife/{part.upper()}"
        values[path] = _number(life.get(part), None)
    for one in row.get("inputs", ()):
        path = f"Monitoring/Inputs/{one['name']}"
        values[path] = _number(one["value"], one["time_ms"], one["quality"])
        if one.get("unit"):
            values[f"{path}/EngineeringUnits"] = _value(str(one["unit"]), _T.String)
    return values


def _number(value: float | None, time_ms: int | None, quality: str = "good") -> ua.DataValue:
    """A number with its own time; without a value its status says that there is none."""
    at = None if time_ms is None else to_datetime(time_ms * US_PER_MS)
    if value is None:
        return ua.DataValue(ua.Variant(None, _T.Null), status(StatusCodes.BadNoData), at)
    code = StatusCodes.Good if quality.lower() == "good" else StatusCodes.Uncertain
    return ua.DataValue(ua.Variant(float(value), _T.Double), status(code), at)


def _value(value: Any, kind: ua.VariantType) -> ua.DataValue:  # noqa: ANN401
    return ua.DataValue(ua.Variant(value, kind))


def _type_of(path: str) -> int:
    """The variable type of a condition's field."""
    if path in _TWO_STATE:
        return _O.TwoStateVariableType
    if path in _CONDITION_VARIABLES:
        return _O.ConditionVariableType
    is_state = path == f"{_SHELVING}/CurrentState"
    return _O.FiniteStateVariableType if is_state else _O.PropertyType


def _reference_of(path: str) -> int:
    is_part = path == _SHELVING or _type_of(path) != _O.PropertyType
    return _O.HasComponent if is_part else _O.HasProperty


def _methods(numbers: tuple[int, ...]) -> tuple[tuple[int, ua.NodeId], ...]:
    """The methods of the type: OPC 10000-9 lets all instances share them."""
    return tuple((_O.HasComponent, number_node(number)) for number in numbers)
