"""Converts node addresses, as users write them, to NodeIds of the connected server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from asyncua import ua

from edge_agent.plant import fill
from edge_agent.sources.opcua.address import parse_address

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edge_agent.plant import PlantSignal

_KINDS: Final[Mapping[str, ua.NodeIdType]] = {
    "i": ua.NodeIdType.Numeric,
    "s": ua.NodeIdType.String,
    "g": ua.NodeIdType.Guid,
    "b": ua.NodeIdType.ByteString,
}


def address_of(signal: PlantSignal, pattern: str) -> str:
    """The signal's own address, else the source's pattern with its placeholders filled."""
    if signal.address:
        return signal.address
    asset = signal.asset
    return fill(pattern, {"asset": asset.id, "line": asset.line, "signal": signal.name})


def node_id(address: str, namespaces: Sequence[str]) -> ua.NodeId:
    """`nsu=URI;s=..`, `ns=2;s=..` or `i=85` (Part 6, 5.3.1.10) as a NodeId.

    Indexes of namespaces may change at every start of a server, URIs never; ValueError contains
    what is wrong, also if the server has no namespace of that URI.
    """
    parsed = parse_address(address)
    if parsed.uri and parsed.uri not in namespaces:
        raise ValueError("the server has no such namespace")
    namespace = namespaces.index(parsed.uri) if parsed.uri else parsed.namespace
    return ua.NodeId(parsed.identifier, ua.Int16(namespace), _KINDS[parsed.kind])
