"""The fields of a condition, by their path in AlarmConditionType: of its events and of its nodes.

OPC 10000-9, 5.5 (conditions), 5.7 (acknowledgement), 5.8 (alarms).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from asyncua import ua
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.status_codes import StatusCodes

from edge_agent.clock import US_PER_MS, US_PER_S
from edge_agent.opcua_server.ua_types import number_node, status, text_node, to_datetime

if TYPE_CHECKING:
    from edge_agent.opcua_server.conditions import Condition

Fields: TypeAlias = "dict[str, ua.Variant]"

_T: Final = ua.VariantType
_MAINTENANCE: Final = (ObjectIds.MaintenanceConditionClassType, "MaintenanceConditionClassType")
_SYSTEM: Final = (ObjectIds.SystemConditionClassType, "SystemConditionClassType")
UNSHELVED: Final = ("Unshelved", ObjectIds.ShelvedStateMachineType_Unshelved)
TIMED: Final = ("TimedShelved", ObjectIds.ShelvedStateMachineType_TimedShelved)
ONE_SHOT: Final = ("OneShotShelved", ObjectIds.ShelvedStateMachineType_OneShotShelved)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a condition shows beside its alarm.

    message, advice: in the plant's first language. index: of our namespace. shelve_max_s: the
    longest shelving.
    """

    message: str
    advice: str
    language: str
    index: int
    is_service: bool
    shelve_max_s: float


def fields_of(condition: Condition, about: Surroundings, received_us: int) -> Fields:
    """All fields by path, `AckedState/Id`; received_us: when we noticed the transition."""
    alarm = condition.alarm
    at = as_time(alarm.changed_us)
    class_id, class_name = _SYSTEM if about.is_service else _MAINTENANCE
    detail = alarm.detail
    return {
        "EventId": ua.Variant(condition.event_id, _T.ByteString),
        "EventType": _node(ObjectIds.AlarmConditionType),
        "SourceNode": ua.Variant(text_node(alarm.asset, about.index), _T.NodeId),
        "SourceName": _text(alarm.asset),
        "Time": at,
        "ReceiveTime": as_time(received_us),
        "Message": _said(about.message, about.language),
        "Severity": ua.Variant(alarm.severity, _T.UInt16),
        "ConditionClassId": _node(class_id),
        "ConditionClassName": _said(class_name),
        "ConditionName": _text(alarm.alarm_id.removeprefix(f"{alarm.asset}.")),
        "BranchId": ua.Variant(ua.NodeId(), _T.NodeId),
        "Retain": _truth(condition.retain),
        **_two_state("EnabledState", "Enabled", is_so=True),
        "Quality": ua.Variant(
            status(StatusCodes.Good if condition.is_certain else StatusCodes.Uncertain),
            _T.StatusCode,
        ),
        "Quality/SourceTimestamp": at,
        "LastSeverity": ua.Variant(condition.last_severity, _T.UInt16),
        "LastSeverity/SourceTimestamp": at,
        "Comment": _said(condition.comment),
        "Comment/SourceTimestamp": as_time(condition.comment_us),
        "ClientUserId": _text(condition.comment_by),
        **_two_state("AckedState", "Acknowledged", is_so=condition.is_acked),
        **_two_state("ConfirmedState", "Confirmed", is_so=condition.is_confirmed),
        **_two_state("ActiveState", "Active", "Inactive", is_so=condition.is_active),
        "InputNode": ua.Variant(_input_node(condition, about.index), _T.NodeId),
        **_two_state("SuppressedState", "Suppressed", is_so=condition.is_suppressed),
        **_two_state(
            "OutOfServiceState", "Out of Service", "In Service", is_so=condition.is_out_of_service
        ),
        **_shelving(condition, about.shelve_max_s),
        "SuppressedOrShelved": _truth(condition.is_shelved or condition.is_suppressed),
        "MaxTimeShelved": ua.Variant(about.shelve_max_s * 1000.0, _T.Double),
        "Advice": _said(about.advice, about.language),
        "DeviceHealth": _text(alarm.ne107.value),
        "FailureMode": _text("" if detail is None else detail.failure_mode),
        "Occurrences": ua.Variant(alarm.count, _T.UInt32),
    }


def as_time(at_us: int) -> ua.Variant:
    """Microseconds since the epoch as DateTime; zero, which is no time, as its least value."""
    return ua.Variant(to_datetime(at_us), _T.DateTime)


def _two_state(name: str, true: str, false: str = "", *, is_so: bool) -> Fields:
    said = true if is_so else false or f"Not {true}"
    return {name: _said(said, "en"), f"{name}/Id": _truth(is_so)}


def _shelving(condition: Condition, shelve_max_s: float) -> Fields:
    """The shelved state machine: a shelving for the longest time is that of OneShotShelve."""
    alarm = condition.alarm
    left_us = alarm.shelved_until_us - alarm.changed_us if condition.is_shelved else 0
    longest = left_us > (shelve_max_s - 1.0) * US_PER_S  # the command took some time
    name, number = UNSHELVED if not condition.is_shelved else ONE_SHOT if longest else TIMED
    return {
        "ShelvingState/CurrentState": _said(name, "en"),
        "ShelvingState/CurrentState/Id": _node(number),
        "ShelvingState/UnshelveTime": ua.Variant(max(0, left_us) / US_PER_MS, _T.Double),
    }


def _input_node(condition: Condition, index: int) -> ua.NodeId:
    """The input with the largest share in the score, if there is one."""
    detail = condition.alarm.detail
    if detail is None or not detail.contributors:
        return ua.NodeId()
    first = max(detail.contributors, key=lambda each: abs(each.weight))
    name = f"{condition.alarm.asset}/Monitoring/Inputs/{first.input}"
    return text_node(name, index)


def _node(number: int) -> ua.Variant:
    return ua.Variant(number_node(number), _T.NodeId)


def _text(text: str) -> ua.Variant:
    return ua.Variant(text, _T.String)


def _said(text: str, language: str = "") -> ua.Variant:
    return ua.Variant(ua.LocalizedText(text, language or None), _T.LocalizedText)


def _truth(value: Any) -> ua.Variant:  # noqa: ANN401
    return ua.Variant(bool(value), _T.Boolean)
