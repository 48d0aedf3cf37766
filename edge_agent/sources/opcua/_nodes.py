"""Node addresses as users write them, to NodeIds of the server that is connected now."""

from __future__ import annotations

import base64
import re
import uuid
from typing import TYPE_CHECKING, Any, Final

from asyncua import ua

from edge_agent.config.plant import fill

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from edge_agent.config.plant import PlantSignal

_MAX_NAMESPACE: Final = 0xFFFF
_MAX_NUMBER: Final = 0xFFFF_FFFF
# The library's own parser passes over what it does not know: a typing error gives another node.
_ADDRESS: Final = re.compile(r"(?:ns=([0-9]{1,5});|nsu=([^;]+);)?([isgb])=(.+)", re.DOTALL)
_IDENTIFIERS: Final[Mapping[str, tuple[ua.NodeIdType, Callable[[str], Any]]]] = {
    "i": (ua.NodeIdType.Numeric, int),
    "s": (ua.NodeIdType.String, str),
    "g": (ua.NodeIdType.Guid, uuid.UUID),
    "b": (ua.NodeIdType.ByteString, lambda text: base64.b64decode(text, validate=True)),
}


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
    match = _ADDRESS.fullmatch(address)
    if match is None:
        raise ValueError("it is no node address such as nsu=URI;s=NAME")
    index, uri, kind, text = match.groups()
    if uri is not None and uri not in namespaces:
        raise ValueError("the server has no such namespace")
    namespace = namespaces.index(uri) if uri is not None else int(index or 0)
    node_type, read = _IDENTIFIERS[kind]
    identifier = read(text)
    if namespace > _MAX_NAMESPACE or (kind == "i" and not 0 <= identifier <= _MAX_NUMBER):
        raise ValueError("a number in it is out of range")
    return ua.NodeId(identifier, ua.Int16(namespace), node_type)
