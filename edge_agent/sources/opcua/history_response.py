"""Decodes the bytes of a HistoryReadResponse (OPC UA Part 4, 5.11.3) to columns.

The data of one node is a list of DataValues; each gets the node's handle before it, so that it is a
MonitoredItemNotification, and is then decoded as one.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.errors import DecodeError
from edge_agent.sources.opcua.decode import (
    FIRST_ITEM,
    MASK_AT,
    key_at,
    layout_of,
    read_items,
    skip_response_header,
    standard_id,
)
from edge_agent.sources.opcua.notification import Notification
from edge_agent.sources.opcua.skip import (
    read_length,
    skip_data_value,
    skip_extension_object,
    skip_node_id,
    skip_string,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

_HISTORY_READ_RESPONSE: Final = 667  # ids of Part 6, annex A
_HISTORY_DATA: Final = 658
_UINT32: Final = struct.Struct("<I")
_HAS_VALUE: Final = 0x01


@dataclass(frozen=True, slots=True)
class NodeHistory:
    """What a server has answered about one node.

    status: the operation's StatusCode; continuation: empty if there is no more; values: n of them,
    arrays and texts included; last_us: the stamp of the newest, 0 if there is none.
    """

    status: int
    continuation: bytes
    values: Notification
    n: int
    last_us: int


def decode_history_response(data: bytes, handles: Sequence[int]) -> list[NodeHistory]:
    """The answers about nodes of these handles, in their order; DecodeError if it is none."""
    try:
        return _decode(data, handles)
    except (IndexError, struct.error, ValueError, OverflowError) as error:
        raise DecodeError("malformed", f"a HistoryReadResponse does not decode: {error}") from error


def _decode(data: bytes, handles: Sequence[int]) -> list[NodeHistory]:
    if standard_id(data, 0) != _HISTORY_READ_RESPONSE:
        raise DecodeError("malformed", "the answer to a history read is something else")
    at = skip_response_header(data, skip_node_id(data, 0))
    if read_length(data, at) != len(handles):
        raise DecodeError("malformed", "answers to other nodes than were asked for")
    at += 4
    answers = []
    for handle in handles:
        (status,) = _UINT32.unpack_from(data, at)
        point_at, body_at = at + 4, skip_string(data, at + 4)
        continuation = data[point_at + 4 : body_at]
        at = skip_extension_object(data, body_at)
        answers.append(
            _node_history(status, continuation, _history_data(data, body_at, at), handle)
        )
    return answers


def _history_data(data: bytes, at: int, end: int) -> bytes:
    """The body of an ExtensionObject with raw values; empty if it is something else."""
    mask_at = skip_node_id(data, at)
    is_raw = standard_id(data, at) == _HISTORY_DATA and data[mask_at] == 1
    return data[mask_at + 5 : end] if is_raw else b""


def _node_history(status: int, continuation: bytes, body: bytes, handle: int) -> NodeHistory:
    values = Notification(0, 0, data=False)
    n = read_length(body, 0) if body else 0
    if n:
        read_items(_with_handles(body, n, handle), values)
    stamps = [int(rows.stamp_us.max()) for rows in values.rows if len(rows)]
    stamps += [int(text.rows.stamp_us[0]) for text in values.texts]
    stamps += [block.time_us or block.server_us for block in values.arrays]
    return NodeHistory(status, continuation, values, n, max(stamps, default=0))


def _with_handles(body: bytes, n: int, handle: int) -> bytes:
    """The n DataValues of `body`, each after the handle."""
    head = _UINT32.pack(handle)
    sizes = _uniform_size(body, n)
    if sizes:
        items = np.empty((n, MASK_AT + sizes), np.uint8)
        items[:, :MASK_AT] = np.frombuffer(head, np.uint8)
        items[:, MASK_AT:] = np.frombuffer(body, np.uint8, n * sizes, FIRST_ITEM).reshape(n, sizes)
        return body[:FIRST_ITEM] + items.tobytes()
    parts, at = [body[:FIRST_ITEM]], FIRST_ITEM
    for _ in range(n):
        start, at = at, skip_data_value(body, at)
        parts += (head, body[start:at])
    return b"".join(parts)


def _uniform_size(body: bytes, n: int) -> int:
    """Size of each DataValue if all have the layout of the first; else 0."""
    layout = layout_of(key_at(body, FIRST_ITEM - MASK_AT))
    if layout is None:
        return 0
    size = layout.itemsize - MASK_AT
    if FIRST_ITEM + n * size > len(body):
        return 0
    width = 2 if body[FIRST_ITEM] & _HAS_VALUE else 1
    keys = np.frombuffer(body, np.uint8, n * size, FIRST_ITEM).reshape(n, size)[:, :width]
    return size if (keys == keys[0]).all() else 0
