"""Describes browsed nodes: values, types, units, ranges, and their addresses for a config."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from asyncua import ua
from asyncua.ua.attribute_ids import AttributeIds

from edge_agent.sources.opcua.found import FoundNode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_agent.sources.opcua.read import NodeValue, Reader

RANGE: Final = "EURange"
UNITS: Final = "EngineeringUnits"
_KINDS: Final = {
    ua.NodeIdType.String: "s",
    ua.NodeIdType.Guid: "g",
    ua.NodeIdType.ByteString: "b",
}


@dataclass(slots=True)
class Walked:
    """A browsed node. properties: name -> node of the properties that describe a variable."""

    node: ua.NodeId
    path: tuple[str, ...]
    is_variable: bool
    type: ua.NodeId | None = None  # of the object that contains it
    properties: dict[str, ua.NodeId] = field(default_factory=dict)


def address_form(node: ua.NodeId, namespaces: Sequence[str]) -> str:
    """A node id as users write it: with the URI, since an index may change at every restart."""
    identifier: Any = node.Identifier
    kind = _KINDS.get(node.NodeIdType, "i")
    if isinstance(identifier, bytes):
        identifier = base64.b64encode(identifier).decode()
    index = int(node.NamespaceIndex)
    if index == 0:
        return f"{kind}={identifier}"
    uri = namespaces[index] if index < len(namespaces) else ""
    space = f"nsu={uri}" if uri and ";" not in uri else f"ns={index}"
    return f"{space};{kind}={identifier}"


async def describe(
    reader: Reader, walked: Sequence[Walked], namespaces: Sequence[str]
) -> list[FoundNode]:
    """Each walked node with its type, value, unit and range, as the server reports them."""
    values = await reader.values([one.node for one in walked])
    types = await _type_names(reader, walked, values)
    ranges = await _properties(reader, walked, RANGE)
    units = await _properties(reader, walked, UNITS)
    kinds = await _names(reader, [one.type for one in walked])
    found = []
    for n, (one, value) in enumerate(zip(walked, values, strict=True)):
        low, high = _low_high(ranges.get(n))
        found.append(
            FoundNode(
                address=address_form(one.node, namespaces),
                path=one.path,
                type=types[n],
                array=value.array,
                value=value.text(),
                number=value.is_usable,
                status=value.status,
                unit=_unit(units.get(n)),
                low=low,
                high=high,
                kind=kinds.get(one.type, "") if one.type else "",
            )
        )
    return found


async def _type_names(
    reader: Reader, walked: Sequence[Walked], values: Sequence[NodeValue]
) -> list[str]:
    """The built-in type of each value; if there is no value, the declared type."""
    names = [value.type for value in values]
    empty = [n for n, name in enumerate(names) if not name]
    answers = await reader.read([walked[n].node for n in empty], AttributeIds.DataType)
    declared = [answer.Value.Value if answer.Value else None for answer in answers]
    known = await _names(reader, declared)
    for n, node in zip(empty, declared, strict=True):
        names[n] = known.get(node, "") if isinstance(node, ua.NodeId) else ""
    return names


async def _names(reader: Reader, nodes: Sequence[object]) -> dict[ua.NodeId, str]:
    """The browse names of some nodes: of types, of which there are few."""
    wanted = list(dict.fromkeys(node for node in nodes if isinstance(node, ua.NodeId)))
    answers = await reader.read(wanted, AttributeIds.BrowseName)
    return {
        node: str(getattr(answer.Value.Value, "Name", "") or "") if answer.Value else ""
        for node, answer in zip(wanted, answers, strict=True)
    }


async def _properties(reader: Reader, walked: Sequence[Walked], name: str) -> dict[int, Any]:
    """The value of a property by position, for the nodes that have it."""
    having = [n for n, one in enumerate(walked) if name in one.properties]
    values = await reader.values([walked[n].properties[name] for n in having])
    return {n: value.value for n, value in zip(having, values, strict=True)}


def _unit(information: Any) -> str:  # noqa: ANN401 (what a server sends)
    text = getattr(getattr(information, "DisplayName", None), "Text", None)
    return "".join(c for c in str(text or "") if c.isprintable())[:32].strip()


def _low_high(span: Any) -> tuple[float | None, float | None]:  # noqa: ANN401
    low, high = getattr(span, "Low", None), getattr(span, "High", None)
    if isinstance(low, int | float) and isinstance(high, int | float) and low < high:
        return float(low), float(high)
    return None, None
