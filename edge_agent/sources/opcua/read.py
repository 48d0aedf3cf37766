"""Reads many nodes, in requests that the server accepts. For commands; the daemon subscribes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from asyncua import ua
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.status_codes import StatusCodes
from asyncua.ua.uaerrors import UaStatusCodeError

from edge_agent.errors import ConnectError, DecodeError
from edge_agent.sources.numbers import TextRules
from edge_agent.sources.opcua.explain import explained, status_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_agent.sources.opcua.connector import Connection

TOO_LARGE: Final = frozenset(
    {
        StatusCodes.BadTooManyOperations,
        StatusCodes.BadRequestTooLarge,
        StatusCodes.BadResponseTooLarge,
        StatusCodes.BadEncodingLimitsExceeded,
        StatusCodes.BadTcpMessageTooLarge,
    }
)
_MAX_BATCH: Final = 500
_TEXT_CHARACTERS: Final = 60
_NUMBERS: Final = frozenset(
    {"SByte", "Byte", "Int16", "UInt16", "Int32", "UInt32", "Int64", "UInt64", "Float", "Double"}
    | {"Boolean"}
)
TEXTS: Final = frozenset({"String", "LocalizedText"})
_SEVERITY: Final = 30  # Part 4, 7.39: the two highest bits of a StatusCode
# A server's facts about itself: key -> name of the standard node (Part 5, 6.3).
_FACTS: Final = {
    "time": "Server_ServerStatus_CurrentTime",
    "read": "Server_ServerCapabilities_OperationLimits_MaxNodesPerRead",
    "browse": "Server_ServerCapabilities_OperationLimits_MaxNodesPerBrowse",
    "sample_ms": "Server_ServerCapabilities_MinSupportedSampleRate",
    "sessions": "Server_ServerCapabilities_MaxSessions",
    "items": "Server_ServerCapabilities_MaxMonitoredItemsPerSubscription",
    "open_sessions": ("Server_ServerDiagnostics_ServerDiagnosticsSummary_CurrentSessionCount"),
    "product": "Server_ServerStatus_BuildInfo_ProductName",
}


@dataclass(frozen=True, slots=True)
class NodeValue:
    """The value of a variable. type: its built-in type, empty if it has no value.

    array: True if it is one; status: the StatusCode's name; time_us: the source's time stamp, or
    the server's (0: none).
    """

    value: Any
    type: str
    array: bool
    status: str
    severity: int  # 0 good, 1 uncertain, 2 bad
    time_us: int

    @property
    def is_number(self) -> bool:
        """True if it is a number, or numbers."""
        return self.type in _NUMBERS

    @property
    def is_usable(self) -> bool:
        """True if it can be a signal without conversion: a number, or a text with a number."""
        if self.type not in TEXTS or self.array:
            return self.is_number
        try:
            return math.isfinite(TextRules().number(str(self.value)))
        except DecodeError:
            return False

    def text(self) -> str:
        """The value for users, on one line and short."""
        if self.value is None:
            return ""
        if isinstance(self.value, float):
            return f"{self.value:.6g}"
        if self.array:
            return f"[{len(self.value)}]" if isinstance(self.value, list) else "[...]"
        text = "".join(c if c.isprintable() else " " for c in str(self.value))
        return text if len(text) <= _TEXT_CHARACTERS else text[: _TEXT_CHARACTERS - 3] + "..."


class Reader:
    """Reads attributes over one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._batch = _MAX_BATCH

    async def facts(self) -> dict[str, Any]:
        """The server's facts about itself: time, limits, product; None if not reported."""
        names = [name for name in _FACTS.values() if hasattr(ObjectIds, name)]
        nodes = [ua.NodeId(ua.Int32(getattr(ObjectIds, name))) for name in names]
        answers = await self.read(nodes, AttributeIds.Value)
        found = {
            name: answer.Value.Value if answer.Value and not code_of(answer) else None
            for name, answer in zip(names, answers, strict=True)
        }
        facts = {key: found.get(name) for key, name in _FACTS.items()}
        limit = facts["read"]
        if isinstance(limit, int) and limit > 0:
            self._batch = min(_MAX_BATCH, limit)
        return facts

    async def values(self, nodes: Sequence[ua.NodeId]) -> list[NodeValue]:
        """The values of nodes, in their order."""
        return [_node_value(one) for one in await self.read(nodes, AttributeIds.Value)]

    async def read(self, nodes: Sequence[ua.NodeId], attribute: AttributeIds) -> list[ua.DataValue]:
        """One attribute of nodes; uses smaller requests if the server finds one too large."""
        results: list[ua.DataValue] = []
        while len(results) < len(nodes):
            batch = nodes[len(results) : len(results) + self._batch]
            try:
                results += await self._request(batch, attribute)
            except UaStatusCodeError as error:
                if error.code not in TOO_LARGE or len(batch) == 1:
                    with explained("reading nodes", self._connection.where):
                        raise
                self._batch = max(1, len(batch) // 2)
        return results

    async def _request(
        self, batch: Sequence[ua.NodeId], attribute: AttributeIds
    ) -> list[ua.DataValue]:
        wanted = ua.ReadParameters(
            TimestampsToReturn=ua.TimestampsToReturn.Both,
            NodesToRead=[ua.ReadValueId(NodeId=node, AttributeId=attribute) for node in batch],
        )
        answers = await self._connection.client.uaclient.session.read(wanted)
        if len(answers) != len(batch):
            message = f"{len(answers)} answers to {len(batch)} requests"
            raise ConnectError(message, where=self._connection.where)
        return answers


def code_of(answer: ua.DataValue) -> int:
    """The StatusCode of an answer; Good if it has none."""
    return 0 if answer.StatusCode is None else int(answer.StatusCode.value)


def _node_value(answer: ua.DataValue) -> NodeValue:
    variant, code = answer.Value or ua.Variant(), code_of(answer)
    stamp = answer.SourceTimestamp or answer.ServerTimestamp
    empty = variant.VariantType is ua.VariantType.Null or variant.Value is None
    kind = "" if empty else getattr(variant.VariantType, "name", "")
    value = None if empty else variant.Value
    if kind == "LocalizedText" and not variant.is_array:
        value = getattr(value, "Text", None) or ""
    return NodeValue(
        value=value,
        type=kind,
        array=not empty and bool(variant.is_array),
        status=status_name(code),
        severity=code >> _SEVERITY,
        time_us=to_us(stamp) if stamp else 0,
    )


def to_us(moment: datetime) -> int:
    """A time of the library, in microseconds since the epoch."""
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return math.floor(moment.timestamp() * 1e6)
