"""Node addresses as users write them, to NodeIds of the server that is connected now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncua import ua
from asyncua.ua.uaerrors import UaError

from edge_agent.config.plant import fill

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_agent.config.plant import PlantSignal

_MAX_NAMESPACE = 0xFFFF
_MAX_NUMBER = 0xFFFF_FFFF


def address_of(signal: PlantSignal, pattern: str) -> str:
    """The signal's own address, else the source's pattern with its places filled."""
    if signal.address:
        return signal.address
    asset = signal.asset
    return fill(pattern, {"asset": asset.id, "line": asset.line, "signal": signal.name})


def node_id(address: str, namespaces: Sequence[str]) -> ua.NodeId:
    """`nsu=URI;s=..`, `ns=2;s=..` or `i=85` (Part 6, 5.3.1.10) as a NodeId.

    Indices of namespaces may change with every start of a server, URIs never; ValueError says
    what is wrong, also where the server has no namespace of that URI.
    """
    try:
        parsed = ua.NodeId.from_string(address)
    except (UaError, ValueError) as error:
        raise ValueError("it is no node address such as nsu=URI;s=NAME") from error
    index = int(parsed.NamespaceIndex)
    if isinstance(parsed, ua.ExpandedNodeId):
        if parsed.ServerIndex:
            raise ValueError("it names a node of another server")
        if parsed.NamespaceUri not in namespaces:
            raise ValueError("the server has no such namespace")
        index = namespaces.index(parsed.NamespaceUri)
    number = parsed.Identifier if isinstance(parsed.Identifier, int) else 0
    if not (0 <= index <= _MAX_NAMESPACE and 0 <= number <= _MAX_NUMBER):
        raise ValueError("a number in it is out of range")
    return ua.NodeId(parsed.Identifier, ua.Int16(index), parsed.NodeIdType)
