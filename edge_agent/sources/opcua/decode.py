"""Decodes the bytes of a PublishResponse (OPC UA Part 4, 5.14.5) to columns.

The library builds four objects per value; here one walk over the notification's items finds their
start positions, and numpy then reads all items of one layout together.
"""

from __future__ import annotations

import struct
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edge_agent.errors import DecodeError
from edge_agent.sources.opcua.notification import (
    ARRAY,
    NOTHING,
    NUMBER,
    OTHER,
    Notification,
    Rows,
    Samples,
    Text,
)
from edge_agent.sources.opcua.skip import (
    data_value_tail,
    read_length,
    skip_array,
    skip_bytes,
    skip_diagnostic_info,
    skip_extension_object,
    skip_node_id,
    skip_string,
    skip_variant,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

_PUBLISH_RESPONSE: Final = 829  # ids of Part 6, annex A
_DATA_CHANGE: Final = 811
_STATUS_CHANGE: Final = 820
_FOUR_BYTE_ID: Final = struct.Struct("<BBH")
_HEAD: Final = struct.Struct("<Ii")  # PublishResponse: SubscriptionId, then a count
_MESSAGE: Final = struct.Struct("<?Iqi")  # MoreNotifications, sequence, publish time, a count
_TICKS_PER_US: Final = 10
_EPOCH_TICKS: Final = 116_444_736_000_000_000  # 1970-01-01 in 100 ns since 1601-01-01
_LAST_TICKS: Final = 2_650_467_743_990_000_000  # the last second of the year 9999

_BOOLEAN: Final = 1
# Part 6, table 1: Boolean, SByte, Byte, Int16 ... UInt64, Float, Double.
_NUMBERS: Final = ("u1", "i1", "u1", "<i2", "<u2", "<i4", "<u4", "<i8", "<u8", "<f4", "<f8")
_NUMPY_OF: Final = dict(enumerate(_NUMBERS, start=_BOOLEAN))
_IS_ARRAY: Final = ARRAY
_ARRAY_OF: Final = {_IS_ARRAY | kind: dtype for kind, dtype in _NUMPY_OF.items()}
_STRING: Final = 12
_LOCALIZED_TEXT: Final = 21
_TEXTS: Final = frozenset({_STRING, _LOCALIZED_TEXT})
_MAX_TEXT_BYTES: Final = 256
FIRST_ITEM: Final = 4  # after the count
MASK_AT: Final = 4  # after the client handle
_HAS_VALUE: Final = 0x01
# Part 6, table 26: the optional fields of a DataValue after its Variant, in their order.
_TAIL: Final = (
    (0x02, "status", "<u4"),
    (0x04, "source", "<i8"),
    (0x10, "source_ps", "<u2"),
    (0x08, "server", "<i8"),
    (0x20, "server_ps", "<u2"),
)


def decode_publish_response(data: bytes) -> Notification:
    """The columns of a PublishResponse; DecodeError if it is not one."""
    try:
        return _decode(data)
    except (IndexError, struct.error, ValueError, OverflowError) as error:
        raise DecodeError("malformed", f"a PublishResponse does not decode: {error}") from error


def _decode(data: bytes) -> Notification:
    if standard_id(data, 0) != _PUBLISH_RESPONSE:
        raise DecodeError("malformed", "the answer to a publish request is something else")
    at = skip_response_header(data, skip_node_id(data, 0))
    subscription, available = _HEAD.unpack_from(data, at)
    at = skip_bytes(data, at + _HEAD.size, 4 * max(0, available))
    more, sequence, _published, count = _MESSAGE.unpack_from(data, at)
    result = Notification(subscription, sequence, data=count > 0, more=bool(more))
    if result.data:
        for kind, body in _extension_objects(data, at + _MESSAGE.size, count):
            _read_notification(kind, body, result)
    return result


def skip_response_header(data: bytes, at: int) -> int:
    """A ResponseHeader; returns the position after it."""
    at = skip_diagnostic_info(data, skip_bytes(data, at, 16))
    return skip_extension_object(data, skip_array(data, at, skip_string, 0))


def standard_id(data: bytes, at: int) -> int:
    """The number of a standard encoding; 0 if it is not one."""
    encoding, namespace, number = _FOUR_BYTE_ID.unpack_from(data, at)
    return int(number) if encoding == 1 and namespace == 0 else 0


def _extension_objects(data: bytes, at: int, count: int) -> Iterator[tuple[int, bytes]]:
    for _ in range(count):
        kind = standard_id(data, at)
        body_at = skip_node_id(data, at) + 1
        at = skip_extension_object(data, at)
        if data[body_at - 1]:
            yield kind, data[body_at + 4 : at]


def _read_notification(kind: int, body: bytes, result: Notification) -> None:
    if kind == _DATA_CHANGE:
        read_items(body, result)
    elif kind == _STATUS_CHANGE:
        result.ended = int.from_bytes(body[:4], "little")


def read_items(body: bytes, result: Notification) -> None:
    """Read the MonitoredItemNotifications of an array into `result`."""
    n = read_length(body, 0)
    if n == 0:
        return
    uniform = _uniform_items(body, n)
    if uniform is not None:
        result.rows.append(_rows(uniform, key_at(body, FIRST_ITEM)))
    else:
        _walk(body, n, result)


def _uniform_items(body: bytes, n: int) -> NDArray[np.void] | None:
    """All items as one array if all have the layout of the first, which is the usual case.

    If the second begins at the end of the first's layout and has that layout itself, so does the
    third, and so on: comparing all keys proves all positions.
    """
    layout = layout_of(key_at(body, FIRST_ITEM))
    if layout is None or FIRST_ITEM + n * layout.itemsize > len(body):
        return None
    items = np.frombuffer(body, layout, n, FIRST_ITEM)
    key = items["key"]
    return items if (key == key[0]).all() else None


def _walk(body: bytes, n: int, result: Notification) -> None:
    starts: list[int] = []
    keys: list[int] = []
    others: list[Rows] = []
    at = FIRST_ITEM
    for _ in range(n):
        key = key_at(body, at)
        layout = layout_of(key)
        if layout is not None:
            starts.append(at)
            keys.append(key)
            at += layout.itemsize
        else:
            at = _read_other_item(body, at, result, others)
    if starts:
        result.rows.append(_gather(body, np.asarray(starts), np.asarray(keys)))
    result.rows.extend(others)


def _gather(body: bytes, start: NDArray[np.intp], key: NDArray[np.intp]) -> Rows:
    """Read all items of one layout together, then restore their order.

    A variable keeps its type, but its status and its time stamps are optional.
    """
    raw = np.frombuffer(body, np.uint8)
    parts, where = [], []
    for one, layout in {k: layout_of(k) for k in key.tolist()}.items():
        if layout is not None:
            mine = np.flatnonzero(key == one)
            items = raw[start[mine, None] + np.arange(layout.itemsize)].view(layout)[:, 0]
            parts.append(_rows(items, one))
            where.append(mine)
    return Rows.concat(parts).where(np.argsort(np.concatenate(where)))


def _rows(items: NDArray[np.void], key: int) -> Rows:
    """Items of the layout `key` as columns."""
    n, names = len(items), items.dtype.names or ()
    if "value" not in names:
        value = np.full(n, np.nan)
    elif key >> 8 == _BOOLEAN:
        value = (items["value"] != 0).astype(np.float64)
    else:
        value = items["value"].astype(np.float64)
    status = items["status"].astype(np.uint32) if "status" in names else np.zeros(n, np.uint32)
    kind = np.full(n, NUMBER if "value" in names else NOTHING, np.uint8)
    handle = items["handle"].astype(np.uint32)
    source_us, server_us = _times(items, "source"), _times(items, "server")
    return Rows(handle, source_us, value, status, kind, server_us)


def _times(items: NDArray[np.void], name: str) -> NDArray[np.int64]:
    """One of the time stamps in microseconds, 0 if there is none or it is invalid."""
    if name not in (items.dtype.names or ()):
        return np.zeros(len(items), np.int64)
    ticks = items[name].astype(np.int64)
    known = (ticks > _EPOCH_TICKS) & (ticks < _LAST_TICKS)
    return np.where(known, (ticks - _EPOCH_TICKS) // _TICKS_PER_US, 0)


def key_at(body: bytes, at: int) -> int:
    """The key of an item's layout: its DataValue's mask and, above it, its Variant's type."""
    mask = body[at + MASK_AT]
    return body[at + MASK_AT + 1] << 8 | mask if mask & _HAS_VALUE else mask


@cache
def layout_of(key: int) -> np.dtype[Any] | None:
    """The layout of a MonitoredItemNotification; None if its Variant is not one number."""
    mask, variant = key & 0xFF, key >> 8
    fields = [("handle", "<u4"), ("key", "<u2" if mask & _HAS_VALUE else "u1")]
    if mask & _HAS_VALUE and variant in _NUMPY_OF:
        fields.append(("value", _NUMPY_OF[variant]))
    elif mask & _HAS_VALUE and variant:
        return None
    fields.extend((name, dtype) for bit, name, dtype in _TAIL if mask & bit)
    return np.dtype(fields)


def _read_other_item(body: bytes, at: int, result: Notification, others: list[Rows]) -> int:
    """Read an item whose Variant is not one number; returns the position after it."""
    mask, variant = body[at + MASK_AT], body[at + MASK_AT + 1]
    tail_at = skip_variant(body, at + MASK_AT + 1)
    end = skip_bytes(body, tail_at, data_value_tail(mask))
    # The same item without its Variant has one of the fixed layouts.
    bare_mask = mask & ~_HAS_VALUE
    bare = body[at : at + MASK_AT] + bytes([bare_mask]) + body[tail_at:end]
    rows = _rows(np.frombuffer(bare, layout_of(bare_mask)), bare_mask)
    if variant in _ARRAY_OF:
        result.arrays.append(_samples(body, at + MASK_AT + 2, variant, rows))
    elif variant in _TEXTS:
        rows.kind[0] = variant
        result.texts.append(Text(_text(body, at + MASK_AT + 2, variant), rows))
    else:
        rows.kind[0] = max(variant, OTHER)
        others.append(rows)
    return end


def _text(body: bytes, at: int, variant: int) -> str:
    """The beginning of a text: a number, or the word of a state, is short."""
    if variant == _LOCALIZED_TEXT:
        mask, at = body[at], at + 1
        at = skip_string(body, at) if mask & 0x01 else at
        if not mask & 0x02:
            return ""
    n = min(read_length(body, at), _MAX_TEXT_BYTES)
    return body[at + 4 : at + 4 + n].decode("utf-8", "replace")


def _samples(body: bytes, at: int, variant: int, rows: Rows) -> Samples:
    values = np.frombuffer(body, _ARRAY_OF[variant], read_length(body, at), at + 4)
    is_bool = variant & ~_IS_ARRAY == _BOOLEAN
    return Samples(
        int(rows.handle[0]),
        int(rows.time_us[0]),
        int(rows.status[0]),
        (values != 0 if is_bool else values).astype(np.float32),
        int(rows.server_us[0]),
    )
