"""Methods of conditions (OPC 10000-9, 5.5 to 5.8) as commands on alarms.

They go the way of the commands of the bus and of HTTP, so all of them show the same state.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

from asyncua import ua
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.status_codes import StatusCodes

from edge_agent.errors import EdgeAgentError, NotFoundError
from edge_agent.opcua_server.conditions import parse_event_id
from edge_agent.opcua_server.events import Event, plain_event
from edge_agent.opcua_server.fields import as_time
from edge_agent.opcua_server.ua_types import number_node, status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_agent.opcua_server.conditions import Condition
    from edge_agent.opcua_server.sessions import Session
    from edge_agent.opcua_server.space import PlantSpace

_O: Final = ObjectIds
_S: Final = StatusCodes
_T: Final = ua.VariantType
_BURST: Final = 1000.0  # commands at once, of one session ...
_PER_S: Final = 20.0  # ... and then in a second
_MAX_COMMENT: Final = 500
_MAX_TIME_MS: Final = 1e12

_EVENT: Final = "event_id"
_COMMENT: Final = "comment"
_TIME: Final = "time"
_ARGUMENT_TYPES: Final = {
    _EVENT: _T.ByteString,
    _COMMENT: _T.LocalizedText,
    _TIME: _T.Double,
}


@dataclass(frozen=True, slots=True)
class Method:
    """A method: its name, the command it gives, its arguments, and the type of its audit event."""

    name: str
    kind: str
    arguments: tuple[str, ...] = ()
    audit: int = _O.AuditConditionShelvingEventType


_ACK = Method("Acknowledge", "ack", (_EVENT, _COMMENT), _O.AuditConditionAcknowledgeEventType)
_CONFIRM = Method("Confirm", "confirm", (_EVENT, _COMMENT), _O.AuditConditionConfirmEventType)
_ADD = Method("AddComment", "comment", (_EVENT, _COMMENT), _O.AuditConditionCommentEventType)
_UNSHELVE = Method("Unshelve", "unshelve")
_ONE_SHOT = Method("OneShotShelve", "shelve")
_TIMED = Method("TimedShelve", "shelve", (_TIME,))
_SUPPRESSION: Final = _O.AuditConditionSuppressionEventType
_OUT: Final = _O.AuditConditionOutOfServiceEventType

METHODS: Final[dict[int, Method]] = {
    _O.AcknowledgeableConditionType_Acknowledge: _ACK,
    _O.AcknowledgeableConditionType_Confirm: _CONFIRM,
    _O.ConditionType_AddComment: _ADD,
    _O.ShelvedStateMachineType_Unshelve: _UNSHELVE,
    _O.AlarmConditionType_ShelvingState_Unshelve: _UNSHELVE,
    _O.ShelvedStateMachineType_OneShotShelve: _ONE_SHOT,
    _O.AlarmConditionType_ShelvingState_OneShotShelve: _ONE_SHOT,
    _O.ShelvedStateMachineType_TimedShelve: _TIMED,
    _O.AlarmConditionType_ShelvingState_TimedShelve: _TIMED,
    **dict.fromkeys(
        (
            _O.ShelvedStateMachineType_Unshelve2,
            _O.AlarmConditionType_ShelvingState_Unshelve2,
        ),
        Method("Unshelve2", "unshelve", (_COMMENT,)),
    ),
    **dict.fromkeys(
        (
            _O.ShelvedStateMachineType_OneShotShelve2,
            _O.AlarmConditionType_ShelvingState_OneShotShelve2,
        ),
        Method("OneShotShelve2", "shelve", (_COMMENT,)),
    ),
    **dict.fromkeys(
        (
            _O.ShelvedStateMachineType_TimedShelve2,
            _O.AlarmConditionType_ShelvingState_TimedShelve2,
        ),
        Method("TimedShelve2", "shelve", (_TIME, _COMMENT)),
    ),
    _O.AlarmConditionType_Suppress: Method("Suppress", "suppress", (), _SUPPRESSION),
    _O.AlarmConditionType_Suppress2: Method("Suppress2", "suppress", (_COMMENT,), _SUPPRESSION),
    _O.AlarmConditionType_Unsuppress: Method("Unsuppress", "unsuppress", (), _SUPPRESSION),
    _O.AlarmConditionType_Unsuppress2: Method(
        "Unsuppress2", "unsuppress", (_COMMENT,), _SUPPRESSION
    ),
    _O.AlarmConditionType_RemoveFromService: Method(
        "RemoveFromService", "remove_from_service", (), _OUT
    ),
    _O.AlarmConditionType_RemoveFromService2: Method(
        "RemoveFromService2", "remove_from_service", (_COMMENT,), _OUT
    ),
    _O.AlarmConditionType_PlaceInService: Method("PlaceInService", "return_to_service", (), _OUT),
    _O.AlarmConditionType_PlaceInService2: Method(
        "PlaceInService2", "return_to_service", (_COMMENT,), _OUT
    ),
}
_REFRESH: Final = {_O.ConditionType_ConditionRefresh: 1, _O.ConditionType_ConditionRefresh2: 2}
# What a condition that an alarm of ISA-18.2 is can never do.
_FIXED: Final = {
    _O.ConditionType_Enable: _S.BadConditionAlreadyEnabled,
    _O.ConditionType_Disable: _S.BadNotSupported,
}


class Commanding(Protocol):
    """What the methods need of the server."""

    space: PlantSpace

    def now_us(self) -> int:
        """The gateway's time."""

    def monotonic_s(self) -> float:
        """A clock that is never set."""

    def shelve_max_s(self) -> float:
        """The longest shelving."""

    async def command(
        self, kind: str, alarm_id: str, actor: str, duration_s: float | None, comment: str
    ) -> None:
        """Carry out a command; its transition is shown when it returns."""

    async def refresh(self, session: Session, subscription: int, item: int | None) -> int:
        """Send all retained conditions to a subscription; returns a status code."""

    async def send(self, event: Event) -> None:
        """Send an event to all clients."""


@dataclass(slots=True)
class Methods:
    """Carries out the methods that clients call."""

    server: Commanding
    _buckets: dict[ua.NodeId, tuple[float, float]] = field(default_factory=dict)

    async def call(self, session: Session, request: ua.CallMethodRequest) -> ua.CallMethodResult:
        """Carry out a method; the result has its status, and those of its arguments."""
        arguments = request.InputArguments or []
        number = _number(request.MethodId)
        if number in _FIXED:
            return _result(_FIXED[number])
        if number in _REFRESH:
            return await self._refresh(session, arguments, _REFRESH[number])
        method = METHODS.get(number)
        if method is None:
            return _result(_S.BadMethodInvalid)
        alarm_id = self.server.space.condition_of(request.ObjectId)
        if not alarm_id:
            return _result(_S.BadNodeIdUnknown)
        refused = _check_arguments(arguments, method)
        if refused is not None:
            return refused
        given = dict(zip(method.arguments, arguments, strict=True))
        code = await self._carry_out(session, method, alarm_id, given)
        await self.server.send(self._audit(session, method, alarm_id, given, code))
        return _result(code)

    async def _refresh(
        self, session: Session, arguments: Sequence[ua.Variant], count: int
    ) -> ua.CallMethodResult:
        if len(arguments) != count:
            code = _S.BadArgumentsMissing if len(arguments) < count else _S.BadTooManyArguments
            return _result(code)
        if not all(isinstance(one.Value, int) for one in arguments):
            return _result(_S.BadInvalidArgument)
        numbers = [int(one.Value) for one in arguments]
        item = numbers[1] if count > 1 else None
        return _result(await self.server.refresh(session, numbers[0], item))

    async def _carry_out(
        self, session: Session, method: Method, alarm_id: str, given: dict[str, ua.Variant]
    ) -> int:
        """Give the command; returns its status code."""
        if not session.person.may_command:
            return _S.BadUserAccessDenied
        if not self._admits(session):
            return _S.BadTooManyOperations
        condition = self.server.space.conditions[alarm_id].condition
        code = self._check(method, condition, given)
        if code != _S.Good:
            return code
        comment = _comment_of(given)
        time = given.get(_TIME)
        duration_s = None if time is None else time.Value / 1000.0
        if method.kind == "shelve" and duration_s is None:
            duration_s = self.server.shelve_max_s()
        try:
            actor = session.person.actor
            await self.server.command(method.kind, alarm_id, actor, duration_s, comment)
        except NotFoundError:
            return _S.BadNodeIdUnknown
        except EdgeAgentError:
            return _S.BadInvalidState
        return _S.Good

    def _check(  # noqa: PLR0911 (a status each)
        self, method: Method, condition: Condition, given: dict[str, ua.Variant]
    ) -> int:
        """The status that the specification wants for a state in which a method has no sense."""
        if _EVENT in given:
            found = parse_event_id(given[_EVENT].Value)
            alarm_id = condition.alarm.alarm_id
            if found is None or found[0] != alarm_id or not condition.knows(found[1]):
                return _S.BadEventIdUnknown
        if method.kind == "ack" and condition.is_acked:
            return _S.BadConditionBranchAlreadyAcked
        if method.kind == "confirm" and condition.is_confirmed:
            return _S.BadConditionBranchAlreadyConfirmed
        if method.kind == "unshelve" and not condition.is_shelved:
            return _S.BadConditionNotShelved
        if method.kind == "shelve" and condition.is_shelved:
            return _S.BadConditionAlreadyShelved
        if _TIME in given and not 0 < given[_TIME].Value <= self.server.shelve_max_s() * 1000.0:
            return _S.BadShelvingTimeOutOfRange
        return _S.Good

    def _admits(self, session: Session) -> bool:
        """True unless this session commands too much: each command is a write to the disk."""
        now_s = self.server.monotonic_s()
        left, at_s = self._buckets.get(session.session_id, (_BURST, now_s))
        left = min(_BURST, left + (now_s - at_s) * _PER_S)
        self._buckets[session.session_id] = max(0.0, left - 1.0), now_s
        return left >= 1.0

    def forget(self, sessions: Sequence[Session]) -> None:
        """Forget the sessions that are not among these."""
        known = {one.session_id for one in sessions}
        self._buckets = {key: one for key, one in self._buckets.items() if key in known}

    def _audit(
        self,
        session: Session,
        method: Method,
        alarm_id: str,
        given: dict[str, ua.Variant],
        code: int,
    ) -> Event:
        """The audit event of a call, also of one that was refused (OPC 10000-9, 5.10)."""
        now_us = self.server.now_us()
        done = "done" if code == _S.Good else f"refused: {status(code).name}"
        text = f"{method.name} by {session.person.actor}: {done}"
        event = plain_event(method.audit, text, now_us, (number_node(_O.Server),), 200)
        condition = self.server.space.condition_node(alarm_id)
        event.fields |= {
            "SourceNode": ua.Variant(condition, _T.NodeId),
            "SourceName": ua.Variant(f"Method/{method.name}", _T.String),
            "ActionTimeStamp": as_time(now_us),
            "Status": ua.Variant(code == _S.Good, _T.Boolean),
            "ServerId": ua.Variant(session.iserver.server_uri, _T.String),
            "ClientAuditEntryId": ua.Variant("", _T.String),
            "ClientUserId": ua.Variant(session.person.actor, _T.String),
            "MethodId": ua.Variant(_method_node(method), _T.NodeId),
            "Comment": given.get(_COMMENT, ua.Variant(ua.LocalizedText(), _T.LocalizedText)),
        }
        if _EVENT in given:
            event.fields["ConditionEventId"] = given[_EVENT]
        if _TIME in given:
            event.fields["ShelvingTime"] = given[_TIME]
        return event


def _check_arguments(arguments: Sequence[ua.Variant], method: Method) -> ua.CallMethodResult | None:
    """The refusal of arguments that are not those of the method; None if they are."""
    wanted = method.arguments
    if len(arguments) != len(wanted):
        missing = len(arguments) < len(wanted)
        return _result(_S.BadArgumentsMissing if missing else _S.BadTooManyArguments)
    results = [_fits(one, name) for one, name in zip(arguments, wanted, strict=True)]
    if all(code == _S.Good for code in results):
        return None
    result = _result(_S.BadInvalidArgument)
    result.InputArgumentResults = [status(code) for code in results]
    return result


def _fits(argument: ua.Variant, name: str) -> int:
    value, kind = argument.Value, argument.VariantType
    if name == _COMMENT and (value is None or isinstance(value, str | ua.LocalizedText)):
        text = str(getattr(value, "Text", value) or "")
        return _S.Good if len(text) <= _MAX_COMMENT else _S.BadOutOfRange
    if name == _TIME and isinstance(value, int | float) and not isinstance(value, bool):
        return _S.Good if value == value and abs(value) < _MAX_TIME_MS else _S.BadOutOfRange  # noqa: PLR0124 (no NaN)
    return _S.Good if kind == _ARGUMENT_TYPES[name] else _S.BadTypeMismatch


def _comment_of(given: dict[str, ua.Variant]) -> str:
    value: Any = given[_COMMENT].Value if _COMMENT in given else ""
    return str(getattr(value, "Text", value) or "").strip()


def _number(method: ua.NodeId) -> int:
    """The number of a method of the standard; 0 if it is none."""
    is_one = method.NamespaceIndex == 0 and isinstance(method.Identifier, int)
    return int(method.Identifier) if is_one else 0


def _method_node(method: Method) -> ua.NodeId:
    return number_node(next(number for number, one in METHODS.items() if one is method))


def _result(code: int) -> ua.CallMethodResult:
    return ua.CallMethodResult(StatusCode=status(code))
