"""Requests and answers of the Open Inference Protocol v2 to and from arrays.

A request is JSON, or JSON followed by the raw bytes of its tensors (the binary tensor data
extension); the same for an answer. Numbers become arrays piece by piece, so that a long body does
not keep the interpreter from the plant's values.
"""

from __future__ import annotations

import secrets
import struct
import time
from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import orjson

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from edge_agent.models import Signature

DATATYPES: Final = {"float32": "FP32", "int64": "INT64"}
_MAX_TEXT: Final = 128  # characters of what a refusal repeats of a request
_MAX_ID: Final = 256
_SMALL: Final = 16_384  # bytes of a body that is read in one piece
_PIECE: Final = 262_144  # bytes of numbers that are read in one piece
_MAX_QUOTED: Final = 1 << 20  # bytes of a body whose numbers cannot be read apart
# Stands for numbers that were taken out of a body; no client can know it.
_MARK: Final = secrets.token_hex(16)
_SPACES: Final = bytes.maketrans(b"[]", b"  ")
_KEY: Final = b'"data"'
_DATATYPE_OF: Final = {np.dtype(name): word for name, word in DATATYPES.items()}
_CODES: Final = {"f": "f", "i": "q"}  # of `struct`


class RequestError(Exception):
    """The request does not fit the protocol or the model: what was expected."""


@dataclass(frozen=True, slots=True)
class WantedOutput:
    """An output of the answer; classes: the number of best classes instead of its values."""

    name: str
    is_binary: bool = False
    classes: int = 0


@dataclass(frozen=True, slots=True)
class InferRequest:
    """A request that fits a model: `feeds` has N rows of each of its inputs."""

    feeds: Mapping[str, NDArray[Any]]
    rows: int
    wanted: Sequence[WantedOutput]
    id: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)


# -- requests -------------------------------------------------------------------------------------


def read_request(body: bytes, header_bytes: int | None, signature: Signature) -> InferRequest:
    """Read a request; RequestError says what was expected.

    header_bytes: length of the JSON at the start of the body; None if all of it is JSON.
    """
    return read_parts(*_split(body, header_bytes), signature)


def read_parts(
    head: Mapping[str, Any], numbers: Mapping[str, bytes], raw: memoryview, signature: Signature
) -> InferRequest:
    """Read a request of which the JSON is read already.

    numbers: text of lists, by the marks in their place; raw: the binary tensors.
    """
    inputs = _list(head, "inputs")
    feeds, at = {}, 0
    for each in inputs:
        name = _name(each, "inputs", signature.inputs)
        if name in feeds:
            raise RequestError(f"input {name!r} is given twice")
        array, size = _tensor(name, each, signature.inputs[name], numbers, raw[at:])
        feeds[name], at = array, at + size
    if at != len(raw):
        raise RequestError(f"{len(raw)} bytes of tensors, expected {at} by binary_data_size")
    rows = _rows(feeds, signature)
    parameters = _object(head.get("parameters"), "parameters")
    wanted = _wanted(head, parameters, signature)
    return InferRequest(feeds, rows, wanted, _id(head), parameters)


def _split(
    body: bytes, header_bytes: int | None
) -> tuple[dict[str, Any], dict[str, bytes], memoryview]:
    """The JSON of a request, numbers that were taken out of it by their marks, and raw bytes."""
    if header_bytes is not None:
        if not 0 <= header_bytes <= len(body):
            raise RequestError("Inference-Header-Content-Length is longer than the body")
        return _json(body[:header_bytes]), {}, memoryview(body)[header_bytes:]
    if len(body) <= _SMALL:
        return _json(body), {}, memoryview(b"")
    rest, numbers = _without_numbers(body)
    if len(rest) > _MAX_QUOTED:
        raise RequestError("a JSON request this long may contain numbers only; send binary tensors")
    return _json(rest), numbers, memoryview(b"")


def _without_numbers(body: bytes) -> tuple[bytes, dict[str, bytes]]:
    """A body with marks in place of each `"data": [numbers]`, and these by mark."""
    parts: list[bytes] = []
    numbers: dict[str, bytes] = {}
    begin = 0
    while (key := body.find(_KEY, begin)) >= 0:
        start = body.find(b"[", key, key + 64)
        if start < 0 or body[key + len(_KEY) : start].strip() != b":":
            parts.append(body[begin : key + len(_KEY)])
            begin = key + len(_KEY)
            continue
        ends = [at for at in (body.find(b'"', start), body.find(b"}", start)) if at >= 0]
        stop = body.rfind(b"]", start, min(ends, default=len(body))) + 1
        mark = f"{_MARK}{len(numbers)}"
        numbers[mark] = body[start:stop]
        parts += [body[begin:start], b'"%s"' % mark.encode()]
        begin = max(stop, start + 1)
    return b"".join([*parts, body[begin:]]), numbers


def _json(raw: bytes) -> dict[str, Any]:
    try:
        head = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise RequestError(f"the request is not JSON: {error}") from None
    if not isinstance(head, dict):
        raise RequestError("the request is not a JSON object")
    return head


def _tensor(
    name: str,
    given: Mapping[str, Any],
    expected: tuple[str, tuple[int, ...]],
    numbers: Mapping[str, bytes],
    raw: memoryview,
) -> tuple[NDArray[Any], int]:
    """One input, and how many of the raw bytes it took."""
    dtype = np.dtype(expected[0])
    shape = _shape(name, given, expected)
    size = _object(given.get("parameters"), "parameters").get("binary_data_size")
    if size is None:
        data = given.get("data")
        found = numbers.get(data) if isinstance(data, str) else None
        count = prod(shape)
        flat = _listed(name, data, dtype) if found is None else _read(name, found, dtype, count)
        if flat.size != count:
            raise RequestError(f"input {name!r}: {flat.size} numbers, expected {count} by shape")
        return flat.reshape(shape), 0
    wanted = prod(shape) * dtype.itemsize
    if size != wanted or "data" in given:
        raise RequestError(f"input {name!r}: binary_data_size must be {wanted}, without data")
    if len(raw) < wanted:
        raise RequestError(f"input {name!r}: {len(raw)} bytes, expected {wanted}")
    return np.frombuffer(raw[:wanted], dtype).reshape(shape), wanted


def _shape(
    name: str, given: Mapping[str, Any], expected: tuple[str, tuple[int, ...]]
) -> tuple[int, ...]:
    """The shape, which must be that of the model with one or more rows."""
    shape, datatype = given.get("shape"), given.get("datatype")
    wanted = f"{DATATYPES[expected[0]]} {[-1, *expected[1]]}"
    if isinstance(shape, list) and all(type(one) is int for one in shape):
        rows, *rest = shape or [0]
        if datatype == DATATYPES[expected[0]] and tuple(rest) == expected[1] and rows > 0:
            return tuple(shape)
    text = f"{_short(datatype)} {_short(shape)}"
    raise RequestError(f"input {name!r} is {text}, expected {wanted} with one or more rows")


def _listed(name: str, data: object, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Numbers from a list, nested or not; null is not a number in floats."""
    if not isinstance(data, list):
        raise RequestError(f"input {name!r} has no data: a list of numbers, or binary_data_size")
    try:
        found = np.array(data)
        if found.dtype.kind == "O" and dtype.kind == "f":
            found = np.array(data, np.float64)
    except (ValueError, TypeError, OverflowError):
        raise RequestError(f"input {name!r}: data is not a rectangle of numbers") from None
    return _cast(name, found, dtype).reshape(-1)


def _read(name: str, raw: bytes, dtype: np.dtype[Any], count: int) -> NDArray[Any]:
    """Numbers from the text of a list; between two pieces other threads have their turn."""
    if count > len(raw) or raw.count(b"[") != raw.count(b"]"):
        raise RequestError(f"input {name!r}: data is not a list of {count} numbers")
    flat = raw[1:-1] if raw.count(b"[") == 1 else raw.translate(_SPACES)
    is_plain = b"u" not in raw and b"s" not in raw  # no true, false, null
    found, at, begin = np.empty(count, dtype), 0, 0
    while begin < len(flat):
        stop = flat.find(b",", begin + _PIECE)
        stop = len(flat) if stop < 0 else stop
        try:
            numbers = orjson.loads(b"[%s]" % flat[begin:stop])
        except orjson.JSONDecodeError:
            raise RequestError(f"input {name!r}: data is not a list of numbers") from None
        piece = _packed(numbers, dtype) if is_plain else None
        piece = _listed(name, numbers, dtype) if piece is None else piece
        if at + piece.size > count:
            raise RequestError(f"input {name!r}: more numbers than the {count} of its shape")
        found[at : at + piece.size] = piece
        at, begin = at + piece.size, stop + 1
        if begin < len(flat):
            time.sleep(0)
    return found[:at]


def _packed(numbers: Sequence[Any], dtype: np.dtype[Any]) -> NDArray[Any] | None:
    """Plain numbers as an array, three times as fast as NumPy; None if they are not plain."""
    try:
        raw = struct.pack(f"={len(numbers)}{_CODES[dtype.kind]}", *numbers)
    except (struct.error, OverflowError):  # texts, lists; too large for its type
        return None
    return np.frombuffer(raw, dtype)


def _cast(name: str, found: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    allowed = "iuf" if dtype.kind == "f" else "i"
    if found.size and found.dtype.kind not in allowed:
        expected = "numbers" if dtype.kind == "f" else "whole numbers"
        raise RequestError(f"input {name!r}: data must be {expected}")
    with np.errstate(over="ignore"):
        return found.astype(dtype)


def _rows(feeds: Mapping[str, NDArray[Any]], signature: Signature) -> int:
    """The number of rows, which is the same for all inputs of the model."""
    missing = signature.inputs.keys() - feeds
    if missing:
        expected = ", ".join(
            f"{name} {DATATYPES[kind]} {[-1, *shape]}"
            for name, (kind, shape) in signature.inputs.items()
        )
        raise RequestError(f"input {min(missing)!r} is missing, expected: {expected}")
    rows = {len(array) for array in feeds.values()}
    if len(rows) > 1:
        raise RequestError(f"the inputs have {sorted(rows)} rows, expected the same of each")
    return rows.pop()


def _wanted(
    head: Mapping[str, Any], parameters: Mapping[str, Any], signature: Signature
) -> list[WantedOutput]:
    """The outputs that were asked for, by default all."""
    by_default = parameters.get("binary_data_output") is True
    if not head.get("outputs"):
        return [WantedOutput(name, by_default) for name in signature.outputs]
    found = []
    for each in _list(head, "outputs"):
        name = _name(each, "outputs", signature.outputs)
        said = _object(each.get("parameters"), "parameters")
        classes = said.get("classification", 0)
        if type(classes) is not int or classes < 0:
            raise RequestError(f"output {name!r}: classification must be a whole number")
        is_binary = said.get("binary_data", by_default) is True
        found.append(WantedOutput(name, is_binary, classes))
    if len({one.name for one in found}) != len(found):
        raise RequestError("an output is asked for twice")
    return found


def _id(head: Mapping[str, Any]) -> str:
    given = head.get("id", "")
    if not isinstance(given, str) or len(given) > _MAX_ID:
        raise RequestError(f"id must be a text of at most {_MAX_ID} characters")
    return given


def _list(head: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    found = head.get(key)
    if not isinstance(found, list) or not found or not all(isinstance(x, dict) for x in found):
        raise RequestError(f"{key} must be a list of one or more objects")
    return found


def _object(found: object, key: str) -> dict[str, Any]:
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise RequestError(f"{key} must be an object")
    return found


def _name(given: Mapping[str, Any], key: str, known: Mapping[str, object]) -> str:
    name = given.get("name")
    if not isinstance(name, str) or name not in known:
        raise RequestError(f"{key}: {_short(name)} is not one of: {', '.join(known)}")
    return name


def _short(value: object) -> str:
    return repr(value)[:_MAX_TEXT]
