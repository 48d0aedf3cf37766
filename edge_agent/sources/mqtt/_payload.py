"""What an MQTT payload says, read carefully: one message at a time, every doubt refused by reason.

A decoder is one row of `FORMATS`: a function from the payload's bytes to calls of `Readings`.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import orjson

from edge_agent.errors import DecodeError
from edge_agent.sources.mqtt._payload_spec import Format, Payload, Target, Wanted
from edge_agent.sources.mqtt._readings import Readings, stamp, unwrap

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAX_DEPTH: Final = 8
MAX_REFUSED: Final = 100  # items of one message; then the rest of it is not looked at
_MAX_NUMBER_CHARACTERS: Final = 64
_MAX_STATUS_DIGITS: Final = 10
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_NO_NUMBER: Final = frozenset(
    {"", "null", "none"}
    | {sign + word for sign in ("", "+", "-") for word in ("nan", "inf", "infinity")}
)
_WORDS: Final = {"true": True, "false": False}


def decode(
    payload: bytes, out: Readings, target: Target, spec: Payload, *, retained: bool = False
) -> None:
    """Add a message's readings to `out`. Never raises: what was refused stands in `out.refused`."""
    out.begin(target, spec, retained=retained)
    try:
        FORMATS[spec.format if payload else None](payload, out)
    except DecodeError as error:
        out.refuse(error)


def _decode_nothing(_payload: bytes, _out: Readings) -> None:
    """An empty payload: a retained message was deleted (MQTT 5, 3.3.1.3)."""
    raise DecodeError("empty", "the payload is empty")


def _decode_json(payload: bytes, out: Readings) -> None:
    doc = _parse_json(payload)
    if isinstance(doc, list) and not _is_block(doc, out):
        out.odd = True
        _each(doc, _take_item, out)
    else:
        _take_item(doc, out)


def _parse_json(payload: bytes) -> Any:  # noqa: ANN401 (any JSON)
    try:
        return orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        if b"NaN" not in payload and b"Infinity" not in payload:
            raise DecodeError("json", str(error)) from error
    try:  # what many programs write for a missing value, though RFC 8259 has no such word
        return json.loads(payload.decode())
    except (ValueError, RecursionError) as error:
        raise DecodeError("json", str(error)) from error


def _is_block(doc: list[Any], out: Readings) -> bool:
    return out.target.single is not None and not any(isinstance(item, dict) for item in doc)


def _each(items: list[Any], take: Callable[[Any, Readings], None], out: Readings) -> None:
    """All items of one message: one that is refused does not hold back the others."""
    for item in items:
        try:
            take(item, out)
        except DecodeError as error:
            if len(out.refused) >= MAX_REFUSED:
                raise DecodeError("shape", "too much of it is refused") from error
            out.refuse(error)


def _take_item(item: object, out: Readings) -> None:
    """A top-level JSON value, or one of several in an array."""
    single = out.target.single
    if isinstance(item, dict):
        if single is not None:
            out.take(single, *unwrap(item, out.spec))
        else:
            _take_named(item, out)
    elif single is not None:
        out.take(single, item, None)
    else:
        raise DecodeError("shape", "no object with signal names")


def _take_named(doc: dict[str, Any], out: Readings) -> None:
    """An object of an asset: one reading a key."""
    at_us, status = stamp(doc, out.spec)
    own = {out.spec.time, out.spec.quality}
    for path, item in _walk(doc, out.target.named):
        wanted = out.target.named.get(path)
        if wanted is None:
            if path not in own:
                out.unknown = out.unknown or path
            continue
        try:
            out.take(wanted, item, at_us, status)
        except DecodeError as error:
            out.refuse(DecodeError(error.reason, f"{path}: {error.message}"))


def _walk(
    doc: dict[str, Any], known: dict[str, Wanted], prefix: str = "", depth: int = 0
) -> Iterator[tuple[str, object]]:
    """(dotted path, value) of what is known by that path, and of all leaves."""
    for key, item in doc.items():
        path = f"{prefix}{key}"
        if isinstance(item, dict) and path not in known and depth < MAX_DEPTH:
            yield from _walk(item, known, f"{path}.", depth + 1)
        else:
            yield path, item


def _decode_csv(payload: bytes, out: Readings) -> None:
    try:
        lines = payload.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise DecodeError("text", "the payload is not UTF-8") from error
    lines = [line for line in lines if line.strip()]
    if not lines:
        raise DecodeError("empty", "no line")
    out.odd = True
    _each(lines, _take_line, out)


def _take_line(line: str, out: Readings) -> None:
    spec, single = out.spec, out.target.single
    cells = [cell.strip() for cell in line.split(spec.separator)]
    names = spec.columns or ((spec.value,) if len(cells) == 1 else (spec.time, spec.value))
    if len(cells) != len(names):
        raise DecodeError("columns", f"{len(cells)} columns, not {len(names)}")
    row = zip(names, cells, strict=True)
    doc = {name: _cell_reader(name, spec)(cell) for name, cell in row if name}
    if single is None:
        _take_named(doc, out)
    else:
        out.take(single, *unwrap(doc, spec))


def _cell_reader(name: str, spec: Payload) -> Callable[[str], object]:
    if name == spec.time:
        return _time_cell
    return _quality_cell if name == spec.quality else _value_cell


def _value_cell(text: str) -> object:
    """A number, a truth value, or None; other text stays text and is refused as such."""
    if len(text) <= _MAX_NUMBER_CHARACTERS and _NUMBER.fullmatch(text):
        return float(text)
    word = text.lower()
    return None if word in _NO_NUMBER else _WORDS.get(word, text)


def _time_cell(text: str) -> object:
    value = _value_cell(text)
    return value if isinstance(value, float) else text or None


def _quality_cell(text: str) -> object:
    is_code = text.isascii() and text.isdigit() and len(text) <= _MAX_STATUS_DIGITS
    return int(text) if is_code else _WORDS.get(text.lower(), text)


def _decode_binary(payload: bytes, out: Readings) -> None:
    single, spec = out.target.single, out.spec
    if single is None:
        raise DecodeError("shape", "binary samples on a topic that names no signal")
    dtype = np.dtype(_SAMPLES[spec.format]).newbyteorder(spec.byte_order.value)
    length = len(payload) - spec.header
    if length <= 0 or length % dtype.itemsize:
        raise DecodeError("length", f"{length} bytes are no samples of {dtype.itemsize} bytes")
    out.take_block(single, np.frombuffer(payload, dtype, offset=spec.header), None)


_SAMPLES: Final[dict[Format, type[np.generic]]] = {
    Format.FLOAT32: np.float32,
    Format.INT16: np.int16,
}
FORMATS: Final[dict[Format | None, Callable[[bytes, Readings], None]]] = {
    None: _decode_nothing,
    Format.JSON: _decode_json,
    Format.CSV: _decode_csv,
    Format.FLOAT32: _decode_binary,
    Format.INT16: _decode_binary,
}
