"""Decodes one MQTT payload at a time, carefully: every doubtful part is refused with a reason.

A decoder is one row of `FORMATS`: a function from the payload's bytes to calls of `Readings`. It
gets the whole message, so that a format that is not JSON is only one more row.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edge_agent.errors import DecodeError
from edge_agent.sources.mqtt.influx import decode_influx
from edge_agent.sources.mqtt.json_values import decoded, inflated, parse
from edge_agent.sources.mqtt.objects import MAX_REFUSED, read_each, read_item, read_named
from edge_agent.sources.mqtt.payload_spec import BINARY, Format, Payload, Target
from edge_agent.sources.numbers import NO_NUMBERS

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.sources.mqtt.readings import Readings

__all__ = ["FORMATS", "MAX_REFUSED", "decode"]

_MAX_NUMBER_CHARACTERS: Final = 64
_MAX_STATUS_DIGITS: Final = 10
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_WORDS: Final = {"true": True, "false": False}


def decode(
    payload: bytes, out: Readings, target: Target, spec: Payload, *, retained: bool = False
) -> None:
    """Add a message's readings to `out`. Never raises: `out.refused` holds what was refused."""
    out.start_message(target, spec, retained=retained)
    try:
        if spec.format not in BINARY:
            payload, oddity = inflated(payload)
            if oddity:
                out.record_deviation("compressed", oddity)
        FORMATS[spec.format if payload else None](payload, out)
    except DecodeError as error:
        out.refuse(error)


def _decode_nothing(_payload: bytes, _out: Readings) -> None:
    """An empty payload: a retained message was deleted (MQTT 5, 3.3.1.3)."""
    raise DecodeError("empty", "the payload is empty")


def _decode_json(payload: bytes, out: Readings) -> None:
    doc, oddity = parse(payload, text=out.target.single is not None)
    out.doc = doc
    if oddity:
        out.record_deviation(oddity, oddity)
    if isinstance(doc, list) and not _is_block(doc, out):
        out.odd = True
        read_each(doc, read_item, out)
    else:
        read_item(doc, out)


def _is_block(doc: list[Any], out: Readings) -> bool:
    return out.target.single is not None and not any(isinstance(item, dict) for item in doc)


def _decode_csv(payload: bytes, out: Readings) -> None:
    text, oddity = decoded(payload)
    if oddity:
        out.record_deviation(oddity, oddity)
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        raise DecodeError("empty", "no line")
    out.odd = True
    if _is_header(lines[0], out.spec):
        lines = lines[1:]
    read_each(lines, _read_line, out)


def _names(cells: list[str], spec: Payload) -> tuple[str, ...]:
    return spec.columns or ((spec.value,) if len(cells) == 1 else (spec.time, spec.value))


def _is_header(line: str, spec: Payload) -> bool:
    """True if a first line contains the names of the columns."""
    cells = [cell.strip(' "').casefold() for cell in line.split(spec.separator)]
    names = [name.casefold() for name in _names(cells, spec)]
    if len(cells) != len(names) or any(cell[:1].isdigit() for cell in cells):
        return False
    named = sum(bool(name) and cell == name for cell, name in zip(cells, names, strict=True))
    return named > 0


def _read_line(line: str, out: Readings) -> None:
    spec, single = out.spec, out.target.single
    cells = [cell.strip() for cell in line.split(spec.separator)]
    names = _names(cells, spec)
    if len(cells) != len(names):
        raise DecodeError("columns", f"{len(cells)} columns, not {len(names)}")
    row = zip(names, cells, strict=True)
    doc = {
        name: _cell_reader(name, spec)(_unquoted(cell))
        for name, cell in row
        if name and (cell or name != spec.quality)  # blank: no quality, so the value counts as Good
    }
    if single is None:
        read_named(doc, out)
    else:
        out.add_value(single, *out.unwrap(doc))


def _unquoted(cell: str) -> str:
    return cell[1:-1] if len(cell) > 1 and cell[0] == cell[-1] == '"' else cell


def _cell_reader(name: str, spec: Payload) -> Callable[[str], object]:
    if name == spec.time:
        return _time_cell
    if name == spec.quality:
        return _quality_cell
    return _value_cell if spec.decimal == "." else str


def _value_cell(text: str) -> object:
    """A number, a boolean, or None; other text is interpreted by its signal."""
    if len(text) <= _MAX_NUMBER_CHARACTERS and _NUMBER.fullmatch(text):
        return float(text)
    word = text.lower()
    return None if word in NO_NUMBERS else _WORDS.get(word, text)


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
    out.add_block(single, np.frombuffer(payload, dtype, offset=spec.header), None)


_SAMPLES: Final[dict[Format, type[np.generic]]] = {
    Format.FLOAT32: np.float32,
    Format.INT16: np.int16,
}
FORMATS: Final[dict[Format | None, Callable[[bytes, Readings], None]]] = {
    None: _decode_nothing,
    Format.JSON: _decode_json,
    Format.CSV: _decode_csv,
    Format.INFLUX: decode_influx,
    Format.FLOAT32: _decode_binary,
    Format.INT16: _decode_binary,
}
