"""Converts Sparkplug B payloads (Eclipse Sparkplug 3.0.0, 6.4) from protobuf to plain metrics.

The messages are described here by the field numbers of the specification, as far as a reader of
values needs them; the protobuf library skips all other fields.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError as WireError

from edge_agent.errors import DecodeError
from edge_agent.sources.qualities import QualityCodes, status_of
from edge_agent.values import BAD, BAD_NO_DATA, GOOD

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

Message: TypeAlias = Any  # classes that are made at run time from the table below

_MAX_DEPTH: Final = 8  # of templates inside templates
_SIGNED: Final = {1: 8, 2: 16, 3: 32, 4: 64}  # data type to bits: Int8 .. Int64
_UNSIGNED: Final = {5: 8, 6: 16, 7: 32, 8: 64}
_TEXTS: Final = frozenset({12, 14})  # String, Text
_ARRAYS: Final = {
    22: "<i1", 23: "<i2", 24: "<i4", 25: "<i8", 26: "<u1", 27: "<u2", 28: "<u4", 29: "<u8",
    30: "<f4", 31: "<f8",
}  # fmt: skip
_NAMES: Final = {15: "UUID", 16: "DataSet", 17: "Bytes", 18: "File", 32: "BooleanArray"}
_QUALITY: Final = "Quality"

_Field = descriptor_pb2.FieldDescriptorProto
_TYPES: Final = {
    "bool": _Field.TYPE_BOOL,
    "bytes": _Field.TYPE_BYTES,
    "double": _Field.TYPE_DOUBLE,
    "float": _Field.TYPE_FLOAT,
    "string": _Field.TYPE_STRING,
    "uint32": _Field.TYPE_UINT32,
    "uint64": _Field.TYPE_UINT64,
}
# Message: (number, name, type); a type with [] is repeated.
_MESSAGES: Final = {
    "Payload": ((1, "timestamp", "uint64"), (2, "metrics", "Metric[]"), (3, "seq", "uint64")),
    "Metric": (
        (1, "name", "string"),
        (2, "alias", "uint64"),
        (3, "timestamp", "uint64"),
        (4, "datatype", "uint32"),
        (7, "is_null", "bool"),
        (9, "properties", "PropertySet"),
        (10, "int_value", "uint32"),
        (11, "long_value", "uint64"),
        (12, "float_value", "float"),
        (13, "double_value", "double"),
        (14, "boolean_value", "bool"),
        (15, "string_value", "string"),
        (16, "bytes_value", "bytes"),
        (18, "template_value", "Template"),
    ),
    "PropertySet": ((1, "keys", "string[]"), (2, "values", "PropertyValue[]")),
    "PropertyValue": (
        (2, "is_null", "bool"),
        (3, "int_value", "uint32"),
        (4, "long_value", "uint64"),
        (8, "string_value", "string"),
    ),
    "Template": ((2, "metrics", "Metric[]"), (5, "is_definition", "bool")),
}


def _payload_class() -> Message:
    file = descriptor_pb2.FileDescriptorProto(
        name="edge_agent/sparkplug_b.proto", package="edge_agent.sparkplug_b"
    )
    for name, rows in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for number, key, kind in rows:
            bare = kind.removesuffix("[]")
            field = message.field.add(name=key, number=number)
            field.label = _Field.LABEL_REPEATED if bare != kind else _Field.LABEL_OPTIONAL
            field.type = _TYPES.get(bare, _Field.TYPE_MESSAGE)
            if bare not in _TYPES:
                field.type_name = f".edge_agent.sparkplug_b.{bare}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    found = pool.FindMessageTypeByName("edge_agent.sparkplug_b.Payload")
    return message_factory.GetMessageClass(found)


Payload: Final = _payload_class()


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric of a message.

    name: empty if there is only an alias; datatype: 0 if only the birth contains it. time_ms: its
    own or the payload's time, None without one. raw: the protobuf metric, for `read_value`.
    """

    name: str
    alias: int | None
    datatype: int
    time_ms: int | None
    raw: Message


def parse_payload(payload: bytes) -> Message:
    """The message; DecodeError if the bytes are not a Sparkplug B payload."""
    message = Payload()
    try:
        message.ParseFromString(payload)
    except (WireError, RecursionError, ValueError) as error:
        raise DecodeError("sparkplug", "not a Sparkplug B payload") from error
    return message


def metrics_of(message: Message) -> Iterator[Metric]:
    """All metrics of a message; the members of a template as `template/member`."""
    time_ms = message.timestamp if message.HasField("timestamp") else None
    yield from _flat(message.metrics, "", time_ms, 0)


def _flat(
    metrics: Iterable[Message], prefix: str, time_ms: int | None, depth: int
) -> Iterator[Metric]:
    for one in metrics:
        own_ms = one.timestamp if one.HasField("timestamp") else time_ms
        name = f"{prefix}{one.name}" if one.name else ""
        if one.HasField("template_value"):
            if depth < _MAX_DEPTH and not one.template_value.is_definition:
                inner = one.template_value.metrics
                yield from _flat(inner, f"{name}/", own_ms, depth + 1)
            continue
        alias = one.alias if one.HasField("alias") else None
        yield Metric(name, alias, one.datatype, own_ms, one)


def status_of_metric(raw: Message) -> int:
    """The StatusCode of a metric: null, or its `Quality` property (192, 0, 500; 6.4.13)."""
    if raw.is_null:
        return BAD_NO_DATA
    if not raw.HasField("properties"):
        return GOOD
    found = raw.properties
    for key, value in zip(found.keys, found.values, strict=False):
        if key == _QUALITY and not value.is_null:
            number = value.long_value if value.HasField("long_value") else value.int_value
            text = value.string_value if value.HasField("string_value") else None
            status = status_of(text or int(number), QualityCodes.CLASSIC)
            return BAD if status is None else status
    return GOOD


def read_value(raw: Message, datatype: int) -> float | str | NDArray[np.generic]:
    """A number, a text (the signal's rules read it) or the samples of an array.

    DecodeError if the type can never be a number.
    """
    if raw.is_null:
        return math.nan
    kind = _value_field(raw)
    if kind in {"float_value", "double_value", "boolean_value"}:
        return float(getattr(raw, kind))
    if kind in {"int_value", "long_value"}:
        return _integer(getattr(raw, kind), datatype)
    if kind == "string_value" and datatype in (*_TEXTS, 0):
        return str(raw.string_value)
    if kind == "bytes_value" and datatype in _ARRAYS:
        return _samples(raw.bytes_value, _ARRAYS[datatype])
    name = _NAMES.get(datatype, f"of data type {datatype}")
    raise DecodeError("type", f"a {name} where a number is expected")


_VALUE_FIELDS: Final = (
    "double_value", "float_value", "int_value", "long_value", "boolean_value", "string_value",
    "bytes_value",
)  # fmt: skip


def _value_field(raw: Message) -> str:
    return next((name for name in _VALUE_FIELDS if raw.HasField(name)), "")


def _integer(number: int, datatype: int) -> float:
    """Signed numbers are two's complement in unsigned fields (6.4.16)."""
    if datatype in _SIGNED:
        bits = _SIGNED[datatype]
        number &= (1 << bits) - 1
        return float(number - (1 << bits) if number >> (bits - 1) else number)
    if datatype in _UNSIGNED:
        number &= (1 << _UNSIGNED[datatype]) - 1
    return float(number)


def _samples(raw: bytes, dtype: str) -> NDArray[np.generic]:
    if len(raw) % np.dtype(dtype).itemsize:
        raise DecodeError("value", "an array that is cut short")
    return np.frombuffer(raw, dtype)


def rebirth_payload(now_ms: int) -> bytes:
    """A command that requests the births of an edge node (`Node Control/Rebirth`, 6.4.23)."""
    message = Payload(timestamp=now_ms)
    message.metrics.add(
        name="Node Control/Rebirth", timestamp=now_ms, datatype=11, boolean_value=True
    )
    return bytes(message.SerializeToString())
