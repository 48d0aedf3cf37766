"""Skips OPC UA Binary values (Part 6, 5.2.2) that are not numbers, without building them.

Every function takes the bytes and a position and returns the position after the value. A server may
send anything: nothing here allocates by a length from the data, and nesting is bounded. Positions
past the end raise DecodeError.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from edge_agent.errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Callable

_INT32: Final = struct.Struct("<i")
_MAX_DEPTH: Final = 16

# Part 6, table 1: built-in types of fixed size, by their number; 0 is the null Variant.
FIXED_SIZE: Final = dict(enumerate((0, 1, 1, 1, 2, 2, 4, 4, 8, 8, 4, 8))) | {13: 8, 14: 16, 19: 4}
_IS_ARRAY: Final = 0x80
_HAS_DIMENSIONS: Final = 0x40
_TYPE_MASK: Final = 0x3F
# Part 6, 5.2.2.9: the identifier's size by the NodeId's encoding byte; None: a length precedes it.
_NODE_ID: Final = {0: 1, 1: 3, 2: 6, 3: None, 4: 18, 5: None}


def read_length(data: bytes, at: int) -> int:
    """An Int32 length or count; 0 for a null array or string (-1)."""
    if at + 4 > len(data):
        raise _malformed()
    return max(0, int(_INT32.unpack_from(data, at)[0]))


def skip_bytes(data: bytes, at: int, size: int) -> int:
    """`size` bytes."""
    if at + size > len(data):
        raise _malformed()
    return at + size


def skip_string(data: bytes, at: int, _depth: int = 0) -> int:
    """String, ByteString, XmlElement."""
    return skip_bytes(data, at + 4, read_length(data, at))


def skip_node_id(data: bytes, at: int, _depth: int = 0) -> int:
    """NodeId and ExpandedNodeId."""
    encoding = _byte(data, at)
    if encoding & _TYPE_MASK not in _NODE_ID:
        raise _malformed()
    size = _NODE_ID[encoding & _TYPE_MASK]
    at = skip_string(data, at + 3) if size is None else skip_bytes(data, at + 1, size)
    if encoding & 0x80:
        at = skip_string(data, at)
    return skip_bytes(data, at, 4) if encoding & 0x40 else at


def skip_array(data: bytes, at: int, skip: Callable[[bytes, int, int], int], depth: int) -> int:
    """An array of values of at least one byte each, so that `data` bounds their number."""
    n = read_length(data, at)
    at += 4
    for _ in range(n):
        at = skip(data, at, depth)
    return at


def skip_extension_object(data: bytes, at: int, _depth: int = 0) -> int:
    """ExtensionObject with any content."""
    at = skip_node_id(data, at)
    has_body = _byte(data, at)
    return skip_string(data, at + 1) if has_body else at + 1


def skip_diagnostic_info(data: bytes, at: int, depth: int = 0) -> int:
    """DiagnosticInfo (Part 6, 5.2.2.12)."""
    _check(depth)
    mask = _byte(data, at)
    at = skip_bytes(data, at + 1, 4 * (mask & 0x0F).bit_count())
    if mask & 0x10:
        at = skip_string(data, at)
    if mask & 0x20:
        at = skip_bytes(data, at, 4)
    return skip_diagnostic_info(data, at, depth + 1) if mask & 0x40 else at


def skip_variant(data: bytes, at: int, depth: int = 0) -> int:
    """Variant of any type, scalar or array."""
    _check(depth)
    encoding = _byte(data, at)
    kind = encoding & _TYPE_MASK
    at += 1
    size = FIXED_SIZE.get(kind)
    if not encoding & _IS_ARRAY:
        at = _skip_one(data, at, kind, depth)
    elif size is not None:
        at = skip_bytes(data, at + 4, size * read_length(data, at))
    else:
        at = skip_array(data, at, _SKIP.get(kind, skip_string), depth + 1)
    if encoding & _HAS_DIMENSIONS:
        at = skip_bytes(data, at + 4, 4 * read_length(data, at))
    return at


def skip_data_value(data: bytes, at: int, depth: int = 0) -> int:
    """DataValue (Part 6, 5.2.2.17)."""
    _check(depth)
    mask = _byte(data, at)
    at += 1
    if mask & 0x01:
        at = skip_variant(data, at, depth + 1)
    return skip_bytes(data, at, data_value_tail(mask))


def data_value_tail(mask: int) -> int:
    """Size of the fields after the Variant in a DataValue of that encoding mask."""
    sizes = ((0x02, 4), (0x04, 8), (0x08, 8), (0x10, 2), (0x20, 2))
    return sum(size for bit, size in sizes if mask & bit)


def _skip_one(data: bytes, at: int, kind: int, depth: int) -> int:
    size = FIXED_SIZE.get(kind)
    if size is not None:
        return skip_bytes(data, at, size)
    # Part 6, table 1: unassigned numbers are encoded as ByteString.
    return _SKIP.get(kind, skip_string)(data, at, depth + 1)


def _skip_qualified_name(data: bytes, at: int, _depth: int) -> int:
    return skip_string(data, at + 2)


def _skip_localized_text(data: bytes, at: int, _depth: int) -> int:
    mask = _byte(data, at)
    at += 1
    if mask & 0x01:
        at = skip_string(data, at)
    return skip_string(data, at) if mask & 0x02 else at


def _byte(data: bytes, at: int) -> int:
    if at >= len(data):
        raise _malformed()
    return data[at]


def _check(depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise _malformed()


def _malformed() -> DecodeError:
    return DecodeError("malformed", "an OPC UA value does not decode")


_SKIP: Final[dict[int, Callable[[bytes, int, int], int]]] = {
    17: skip_node_id,
    18: skip_node_id,
    20: _skip_qualified_name,
    21: _skip_localized_text,
    22: skip_extension_object,
    23: skip_data_value,
    24: skip_variant,
    25: skip_diagnostic_info,
}
