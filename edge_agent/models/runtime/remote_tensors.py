"""Requests to an inference server and its answers, as JSON and raw tensors.

A server may be wrong in any way: every answer is checked against what was asked for.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import orjson

from edge_agent.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from edge_agent.models.bundle.golden import Tensors
    from edge_agent.models.runtime.engine import Shape, Signature

BINARY: Final = "binary_tensor_data"
DATATYPES: Final = {"float32": "FP32", "int64": "INT64"}
# What a server may return for a tensor of the manifest.
_RETURNED: Final[Mapping[str, Mapping[str, str]]] = {
    "float32": {"FP32": "<f4", "FP64": "<f8", "FP16": "<f2"},
    "int64": {"INT64": "<i8", "INT32": "<i4"},
}
_SPARE_BYTES: Final = 65_536  # of an answer, beside its numbers
_DIGITS: Final = 40  # of a number in JSON, with its comma and spaces
_MAX_TEXT: Final = 160


class WrongAnswerError(ModelError):
    """A server does not answer as the protocol and the manifest say; reason: a short label."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def request_body(
    feeds: Mapping[str, NDArray[Any]], names: Sequence[str], number: str, *, is_binary: bool
) -> tuple[bytes, int | None]:
    """The body of a request, and the length of its JSON if raw tensors follow.

    names: of the outputs. number: the id of the request.
    """
    rows, raw = [], []
    for name, array in feeds.items():
        row: dict[str, Any] = {
            "name": name,
            "shape": list(array.shape),
            "datatype": DATATYPES[str(array.dtype)],
        }
        flat = np.ascontiguousarray(array).reshape(-1)
        if is_binary:
            raw.append(flat.tobytes())
            row["parameters"] = {"binary_data_size": flat.nbytes}
        else:
            row["data"] = flat
        rows.append(row)
    binary = {"parameters": {"binary_data": True}} if is_binary else {}
    head = {"id": number, "inputs": rows, "outputs": [{"name": one, **binary} for one in names]}
    text = orjson.dumps(head, option=orjson.OPT_SERIALIZE_NUMPY)
    return (b"".join([text, *raw]), len(text)) if is_binary else (text, None)


def most_bytes(rows: int, signature: Signature) -> int:
    """The size of the longest answer with this number of rows."""
    numbers = rows * sum(prod(shape) for _, shape in signature.outputs.values())
    return _SPARE_BYTES + numbers * _DIGITS


def parse_answer(
    body: bytes, json_length: int | None, number: str, rows: int, wanted: Mapping[str, Shape]
) -> Tensors:
    """The tensors of an answer in the shapes of the manifest; WrongAnswerError if it is none."""
    length = len(body) if json_length is None else json_length
    head = as_object(body[:length])
    if head.get("id", number) not in {number, ""}:
        raise WrongAnswerError("protocol", "the answer is that of another request")
    outputs = head.get("outputs")
    listed = outputs if isinstance(outputs, list) else []
    raw = memoryview(body)[length:]
    found: Tensors = {}
    for given in listed:
        if not isinstance(given, dict):
            raise WrongAnswerError("protocol", "an output is not an object")
        name = str(given.get("name"))
        parameters = given.get("parameters")
        size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
        part = raw[: size if isinstance(size, int) and size >= 0 else 0]
        raw = raw[len(part) :]
        if name in wanted:
            data = part if size is not None else given.get("data")
            kind, shape = str(given.get("datatype")), given.get("shape")
            found[name] = tensor_of(name, kind, shape, data, (rows, wanted[name]))
    check_complete(found, wanted)
    return found


def as_object(raw: bytes) -> dict[str, Any]:
    """A JSON object; WrongAnswerError if it is none."""
    try:
        found = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise WrongAnswerError("protocol", f"the answer is not JSON: {shown(raw)}") from error
    if not isinstance(found, dict):
        raise WrongAnswerError("protocol", f"the answer is no JSON object: {shown(raw)}")
    return found


def tensor_of(
    name: str, datatype: str, shape: object, data: object, wanted: tuple[int, Shape]
) -> NDArray[Any]:
    """One output in the manifest's shape, [rows, ...]; lengths of 1 may be added or missing."""
    rows, (kind, each) = wanted
    if datatype not in _RETURNED[kind]:
        raise WrongAnswerError("shape", f"{name} is {datatype[:_MAX_TEXT]}, not {DATATYPES[kind]}")
    expected = (rows, *each)
    if not isinstance(shape, list) or _longer(shape) != _longer(expected):
        raise WrongAnswerError("shape", f"{name} is {str(shape)[:_MAX_TEXT]}, not {[*expected]}")
    try:
        if isinstance(data, memoryview):
            flat = np.frombuffer(data, _RETURNED[kind][datatype])
        else:
            flat = np.asarray(data, np.float64 if kind == "float32" else np.int64).reshape(-1)
        if flat.size != prod(expected):
            raise WrongAnswerError("shape", f"{name} has {flat.size} numbers: {prod(expected)} fit")
    except (ValueError, TypeError, OverflowError) as error:
        raise WrongAnswerError("protocol", f"{name} does not contain numbers") from error
    with np.errstate(over="ignore"):
        found = flat.astype(kind).reshape(expected)
    if kind == "float32" and not np.isfinite(found).all():
        bad = int((~np.isfinite(found.reshape(rows, -1)).all(axis=1)).sum())
        raise WrongAnswerError("not_a_number", f"{name} is not a number for {bad} of {rows} rows")
    return found


def _longer(shape: Sequence[object]) -> list[object]:
    return [length for length in shape if length != 1]


def check_complete(found: Mapping[str, object], wanted: Mapping[str, object]) -> None:
    """WrongAnswerError if an output is missing."""
    if missing := wanted.keys() - found:
        raise WrongAnswerError("shape", f"the answer has no output {min(missing)}")


def metadata_problem(found: Mapping[str, Any], signature: Signature) -> str:
    """How a server's metadata of a model contradict the manifest; empty if they do not.

    A server that lists no tensors (MLServer without settings) says nothing; then the golden vectors
    decide alone.
    """
    for key, wanted in (("inputs", signature.inputs), ("outputs", signature.outputs)):
        listed = {str(row.get("name")): row for row in _rows(found.get(key))}
        for name, shape in wanted.items() if listed else ():
            if name not in listed:
                return (
                    f"the model has no {key[:-1]} {name!r} there: {', '.join(listed)[:_MAX_TEXT]}"
                )
            if problem := _tensor_problem(listed[name], shape, is_output=key == "outputs"):
                return f"{key[:-1]} {name!r} {problem}"
        if more := listed.keys() - wanted if key == "inputs" else ():
            return f"the model has an input more there: {min(more)[:_MAX_TEXT]!r}"
    return ""


def _tensor_problem(row: Mapping[str, Any], wanted: Shape, *, is_output: bool) -> str:
    kind, each = wanted
    datatype = str(row.get("datatype"))
    allowed = _RETURNED[kind] if is_output else (DATATYPES[kind],)
    if datatype not in allowed:
        return f"is {datatype[:_MAX_TEXT]} there, not {DATATYPES[kind]}"
    shape = row.get("shape")
    if not isinstance(shape, list):
        return "has no shape there"
    expected = [-1, *each]
    there, here = ([n for n in one if n != 1] for one in (shape, expected))
    is_alike = len(there) == len(here) and all(
        a == b or -1 in {a, b} for a, b in zip(there, here, strict=True)
    )
    if is_alike or (len(shape) == 1 and shape[0] == -1 and not each):
        return ""
    return f"is {str(shape)[:_MAX_TEXT]} there, not {expected}"


def _rows(found: object) -> list[Mapping[str, Any]]:
    return [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []


def shown(raw: bytes) -> str:
    """The beginning of an answer, for an error."""
    text = raw[:_MAX_TEXT].decode("utf-8", "replace")
    return repr("".join(c if c.isprintable() else " " for c in text))
