"""InfluxDB line protocol: `pump,asset=P-1 flow=1.5,state="on" 1767225600000000000`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from edge_agent.errors import DecodeError
from edge_agent.sources.mqtt.json_values import decoded
from edge_agent.sources.mqtt.objects import read_each, read_named

if TYPE_CHECKING:
    from edge_agent.sources.mqtt.readings import Readings

_BLANK: Final = re.compile(r'((?:[^\\ "]|\\.|"(?:[^"\\]|\\.)*+")++)(?: +|$)')
_COMMA: Final = re.compile(r'((?:[^\\,"]|\\.|"(?:[^"\\]|\\.)*+")++)(?:,|$)')
_PAIR: Final = re.compile(r"((?:[^\\=]|\\.)+)=(.*)", re.DOTALL)
_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?[iu]?")
_TRUE: Final = frozenset({"t", "T", "true", "True", "TRUE"})
_FALSE: Final = frozenset({"f", "F", "false", "False", "FALSE"})
_MAX_LINE: Final = 64 << 10
_MAX_DIGITS: Final = 20  # of a time in nanoseconds


def decode_influx(payload: bytes, out: Readings) -> None:
    """Reads each line as an object: tags, fields, the measurement, and the time under `time`."""
    text, oddity = decoded(payload)
    if oddity:
        out.record_deviation(oddity, oddity)
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if not lines:
        raise DecodeError("empty", "no line")
    out.odd = True
    read_each(lines, _read_line, out)


def _read_line(line: str, out: Readings) -> None:
    parts = _split(_BLANK, line.strip()) if len(line) <= _MAX_LINE else []
    if len(parts) not in {2, 3}:
        raise DecodeError("columns", "no line of measurement,tags fields time")
    measurement, *tags = _split(_COMMA, parts[0]) or [""]
    fields = _split(_COMMA, parts[1])
    if not (measurement and fields):
        raise DecodeError("columns", "no line of measurement,tags fields time")
    doc: dict[str, Any] = {"measurement": _plain(measurement)}
    doc |= {key: _plain(value) for key, value in map(_pair, tags)}
    doc |= {key: _value(value) for key, value in map(_pair, fields)}
    if len(parts) > 2 and out.spec.time:  # noqa: PLR2004
        is_time = parts[2].isascii() and parts[2].isdigit() and len(parts[2]) <= _MAX_DIGITS
        doc[out.spec.time] = int(parts[2]) if is_time else parts[2]
    single = out.target.single
    if single is None:
        read_named(doc, out)
    else:
        out.add_value(single, *out.unwrap(doc))


def fields_of(line: str) -> tuple[dict[str, str], list[str]] | None:
    """The tags of a line and the names of its fields; None if it is no line of InfluxDB."""
    parts = _split(_BLANK, line.strip()) if len(line) <= _MAX_LINE else []
    if len(parts) not in {2, 3} or not all(part.isdigit() for part in parts[2:]):
        return None
    try:
        measurement, *tags = _split(_COMMA, parts[0])
        pairs = [_pair(text) for text in tags]
        fields = [_pair(text)[0] for text in _split(_COMMA, parts[1])]
    except (DecodeError, ValueError):
        return None
    if "=" in measurement:
        return None
    return {key: _plain(value) for key, value in pairs}, fields


def _split(piece: re.Pattern[str], text: str) -> list[str]:
    """The pieces of a text; none if one of them does not fit: in linear time, unlike `findall`."""
    pieces, at = [], 0
    while at < len(text):
        found = piece.match(text, at)
        if found is None:
            return []
        pieces.append(found[1])
        at = found.end()
    return pieces


def _pair(text: str) -> tuple[str, str]:
    found = _PAIR.fullmatch(text)
    if found is None:
        raise DecodeError("columns", "a field or tag without '='")
    return _plain(found[1]), found[2]


def _plain(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)


def _value(text: str) -> object:
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    if _NUMBER.fullmatch(text):
        return float(text.rstrip("iu"))
    return _plain(text[1:-1]) if text[:1] == text[-1:] == '"' else text
