"""Events as subscriptions send them, and the filters by which clients choose (OPC 10000-4, 7.22.3).

The library compares types for equality, has no `Like`, and raises where an operand cannot be
compared; here subtypes count, and what cannot be evaluated is false.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final

from asyncua import ua
from asyncua.server.monitored_item_service import WhereClauseEvaluator
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.status_codes import StatusCodes

from edge_agent.opcua_server.fields import as_time
from edge_agent.opcua_server.ua_types import number_node

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from asyncua.server.address_space import AddressSpace

    from edge_agent.opcua_server.fields import Fields

_T: Final = ua.VariantType
_NULL: Final = ua.Variant(None, _T.Null)
MAX_CLAUSES: Final = 200  # select clauses
MAX_ELEMENTS: Final = 64  # of a where clause
MAX_PATTERN: Final = 200  # characters of `Like`
_WIRE_WORDS: Final = {"%": "*", "_": "?", "*": "[*]", "?": "[?]"}
_OPERATORS: Final = frozenset(
    {
        ua.FilterOperator.Equals,
        ua.FilterOperator.IsNull,
        ua.FilterOperator.GreaterThan,
        ua.FilterOperator.LessThan,
        ua.FilterOperator.GreaterThanOrEqual,
        ua.FilterOperator.LessThanOrEqual,
        ua.FilterOperator.Like,
        ua.FilterOperator.Not,
        ua.FilterOperator.Between,
        ua.FilterOperator.InList,
        ua.FilterOperator.And,
        ua.FilterOperator.Or,
        ua.FilterOperator.OfType,
    }
)
_OPERANDS: Final = {ua.FilterOperator.Between: 3, ua.FilterOperator.IsNull: 1}
_ONE: Final = frozenset({ua.FilterOperator.IsNull, ua.FilterOperator.Not, ua.FilterOperator.OfType})


@dataclass(slots=True)
class Event:
    """An event; fields by path.

    nodes: those whose subscribers get it; condition: its ConditionId.
    """

    fields: Fields
    nodes: tuple[ua.NodeId, ...]
    condition: ua.NodeId | None = None

    @property
    def type_id(self) -> ua.NodeId:
        """Its EventType."""
        found: ua.NodeId = self.fields["EventType"].Value
        return found

    def value(self, operand: ua.SimpleAttributeOperand) -> ua.Variant:
        """What a select clause asks for; null if the event has no such field."""
        names = [one.Name for one in operand.BrowsePath or ()]
        if names:
            is_value = operand.AttributeId in {None, AttributeIds.Value}
            return self.fields.get("/".join(names), _NULL) if is_value else _NULL
        if operand.AttributeId == AttributeIds.NodeId and self.condition is not None:
            return ua.Variant(self.condition, _T.NodeId)
        return _NULL


def plain_event(
    type_id: int, message: str, at_us: int, nodes: tuple[ua.NodeId, ...], severity: int = 100
) -> Event:
    """An event of the server itself, with the fields of BaseEventType."""
    fields = {
        "EventId": ua.Variant(secrets.token_bytes(16), _T.ByteString),
        "EventType": ua.Variant(number_node(type_id), _T.NodeId),
        "SourceNode": ua.Variant(number_node(ObjectIds.Server), _T.NodeId),
        "SourceName": ua.Variant("Server", _T.String),
        "Time": as_time(at_us),
        "ReceiveTime": as_time(at_us),
        "Message": ua.Variant(ua.LocalizedText(message), _T.LocalizedText),
        "Severity": ua.Variant(severity, _T.UInt16),
    }
    return Event(fields, nodes)


def check_filter(event_filter: object) -> int:
    """The status of an event filter: Good, or why it is refused."""
    if not isinstance(event_filter, ua.EventFilter):
        return StatusCodes.BadEventFilterInvalid
    clauses, elements = event_filter.SelectClauses or [], event_filter.WhereClause.Elements or []
    if not clauses:
        return StatusCodes.BadEventFilterInvalid
    if len(clauses) > MAX_CLAUSES or len(elements) > MAX_ELEMENTS:
        return StatusCodes.BadTooManyOperations
    for number, element in enumerate(elements):
        if element.FilterOperator not in _OPERATORS:
            return StatusCodes.BadFilterOperatorUnsupported
        if not _fits(element, number, len(elements)):
            return StatusCodes.BadFilterOperandCountMismatch
    return StatusCodes.Good


def _fits(element: ua.ContentFilterElement, number: int, count: int) -> bool:
    """True if it has enough operands, and no element uses itself or one before it."""
    operator, operands = element.FilterOperator, element.FilterOperands or []
    needed = 1 if operator in _ONE else _OPERANDS.get(operator, 2)
    references = (one.Index for one in operands if isinstance(one, ua.ElementOperand))
    return len(operands) >= needed and all(number < one < count for one in references)


class Where(WhereClauseEvaluator):
    """Evaluates a checked where clause for an `Event`."""

    def eval(self, event: Event) -> bool:
        """True if the event passes."""
        if not self.elements:
            return True
        try:
            return bool(self._eval_el(0, event))
        except (TypeError, NotImplementedError, re.error):  # operands that do not fit
            return False

    def _eval_el(self, index: int, event: Event) -> Any:  # noqa: ANN401
        element = self.elements[index]
        operands = element.FilterOperands
        if element.FilterOperator == ua.FilterOperator.OfType:
            return is_subtype(self._aspace, event.type_id, self._eval_op(operands[0], event))
        if element.FilterOperator == ua.FilterOperator.Between:
            value, low, high = (self._eval_op(one, event) for one in operands[:3])
            return low <= value <= high
        return super()._eval_el(index, event)

    def _eval_op(self, op: Any, event: Event) -> Any:  # noqa: ANN401
        if isinstance(op, ua.SimpleAttributeOperand):
            return event.value(op).Value
        if isinstance(op, ua.AttributeOperand):
            raise NotImplementedError
        return super()._eval_op(op, event)

    def _like_operator(self, string: Any, pattern: Any) -> bool:  # noqa: ANN401
        text = string.Text if isinstance(string, ua.LocalizedText) else string
        if not isinstance(text, str) or not isinstance(pattern, str) or len(pattern) > MAX_PATTERN:
            return False
        return fnmatchcase(text, "".join(_WIRE_WORDS.get(one, one) for one in pattern))


def is_subtype(space: AddressSpace, kind: ua.NodeId, of: object) -> bool:
    """True if a type is another one, or a subtype of it."""
    inverse = number_node(ObjectIds.HasSubtype)
    current: ua.NodeId | None = kind
    while current is not None and current != of:
        node = space.get(current)
        above = (
            reference.NodeId
            for reference in (node.references if node else ())
            if reference.ReferenceTypeId == inverse and not reference.IsForward
        )
        current = next(above, None)
    return current is not None


class FieldLists:
    """The fields of one event for each set of select clauses: clients of one kind share them."""

    def __init__(self, event: Event) -> None:
        self.event = event
        self._made: dict[int, list[ua.Variant]] = {}

    def of(self, key: int, clauses: Sequence[ua.SimpleAttributeOperand]) -> list[ua.Variant]:
        """The values for these clauses; key: the same for equal clauses."""
        found = self._made.get(key)
        if found is None:
            found = self._made[key] = [self.event.value(one) for one in clauses]
        return found


def clause_keys() -> Callable[[Sequence[ua.SimpleAttributeOperand]], int]:
    """Number sets of select clauses, equal ones the same; a new set gets a number of its own."""
    known: dict[str, int] = {}

    def key_of(clauses: Sequence[ua.SimpleAttributeOperand]) -> int:
        text = repr([(one.AttributeId, [part.Name for part in one.BrowsePath]) for one in clauses])
        return known.setdefault(text, len(known))

    return key_of
