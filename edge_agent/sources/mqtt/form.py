"""Recognises the form of an unknown payload: its kind, value, time and quality."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import orjson

from edge_agent.errors import DecodeError
from edge_agent.findings import first_of
from edge_agent.sources.mqtt.payload_spec import TimeUnit
from edge_agent.sources.mqtt.payload_time import MIN_TIME_US, time_us

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_BYTES: Final = 16 << 10  # larger payloads are described by their size only
_MAX_KEYS: Final = 200
_MAX_DEPTH: Final = 8
_WITH_UNIT: Final = re.compile(
    r"([+-]?(?:[0-9]+(?:[.,][0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)\s*((?:[A-Za-z°%µ²³/].{0,15})?)"
)
_SWITCHES: Final = frozenset({"true", "false", "on", "off"})
_TIME_KEYS: Final = re.compile(
    r"(ts|t|time|timestamp|time_?stamp(_ms)?|date_?time|(source|server)_?time(stamp)?|utc|epoch)"
)
_QUALITY_KEYS: Final = re.compile(r"(q|qc|quality|status_?code|good)")
_UNIT_KEYS: Final = re.compile(r"(unit|units|uom|eu|eng_?units?|engineering_?units?)")
_VALUE_KEYS: Final = re.compile(r"(value|val|v|reading|measurement)")
_NAME_KEYS: Final = frozenset({"id", "name", "tag", "key", "n", "nodeid", "signal", "variable"})


@dataclass(frozen=True, slots=True)
class Form:
    """The form of a payload. Paths are dotted keys.

    kind: in words. value: the path of the only number, empty if the payload itself is the number.
    numbers: paths of all numbers, or names of all records, if there are several. time_form: such as
    `ms` or `ISO 8601`. offset_us: time stamp minus arrival; None without a time. items, name: the
    path of records, and their key that names the signal. usable: it can be mapped.
    """

    kind: str
    usable: bool
    value: str = ""
    numbers: tuple[str, ...] = ()
    time: str = ""
    time_form: str = ""
    offset_us: int | None = None
    quality: str = ""
    unit: str = ""
    decimal: str = ""
    items: str = ""
    name: str = ""
    note: str = ""


@dataclass(slots=True)
class _Leaves:
    """The leaves of a JSON object by their type."""

    numbers: dict[str, float] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    lists: dict[str, list[Any]] = field(default_factory=dict)


def form_of(topic: str, payload: bytes, arrival_us: int) -> Form:
    """The form of one payload; never raises."""
    if topic.startswith("spBv1.0/"):
        return _of_sparkplug(payload)
    if not payload or len(payload) > MAX_BYTES:
        kind = f"large, {len(payload)} bytes" if payload else "empty"
        return Form(kind, usable=False)
    try:
        doc = orjson.loads(payload)
    except orjson.JSONDecodeError:
        return _of_bytes(payload)
    return _of_json(doc, arrival_us)


def _of_sparkplug(payload: bytes) -> Form:
    """The names in a message: births name every metric, data often contains only aliases."""
    # Imported here, as in the source: a plant without Sparkplug need not load protobuf.
    from edge_agent.sources.mqtt.sparkplug_wire import metrics_of, parse_payload  # noqa: PLC0415

    note = "a source with `sparkplug:` reads it, see docs/recipes.md"
    try:
        metrics = list(metrics_of(parse_payload(payload)))
    except DecodeError:
        return Form("Sparkplug B, not to be read", usable=False, note=note)
    names = [one.name for one in metrics if one.name]
    kind = f"Sparkplug B, {len(metrics)} metrics"
    return Form(f"{kind}: {first_of(names)}" if names else kind, usable=False, note=note)


def _of_json(doc: Any, arrival_us: int) -> Form:  # noqa: ANN401 (any JSON)
    if isinstance(doc, dict):
        return _of_object(doc, arrival_us)
    if isinstance(doc, list):
        return _of_list(doc, arrival_us)
    if isinstance(doc, str):
        return _of_text(doc)
    if doc is None:
        return Form("null", usable=False)
    return Form("truth value" if isinstance(doc, bool) else "number", usable=True)


def _of_bytes(payload: bytes) -> Form:
    try:
        return _of_text(payload.decode().strip())
    except UnicodeDecodeError:
        return Form(f"binary, {len(payload)} bytes", usable=False, note="format: float32 or int16?")


def _of_text(text: str) -> Form:
    found = _WITH_UNIT.fullmatch(text)
    if found:
        unit, decimal = found[2].strip(), "," if "," in found[1] else ""
        words = (
            "number",
            "with a decimal comma" if decimal else "",
            "with its unit" if unit else "",
        )
        kind = " ".join(word for word in words if word)
        return Form(kind, usable=True, unit=unit, decimal=decimal)
    if text.casefold() in _SWITCHES:
        return Form("truth value as text", usable=True)
    lines = text.splitlines()
    if len(lines) > 1 or any(sign in text for sign in ";,\t"):
        cells = len(re.split("[;,\t]", lines[0])) if lines else 0
        return Form(f"text, {cells} columns", usable=False, note="format: csv with columns:")
    note = f"map: {{{text}: 1, ...}} of the signal reads it" if text.isalnum() else ""
    return Form("text", usable=False, note=note)


def _of_list(doc: list[Any], arrival_us: int) -> Form:
    if doc and all(isinstance(one, int | float) for one in doc):
        note = "kind: waveform and rate_hz"
        return Form(f"JSON array of {len(doc)} numbers", usable=False, note=note)
    if doc and all(isinstance(one, dict) for one in doc):
        if _are_records(doc):
            return _of_records("", doc, arrival_us)
        inner = _of_object(doc[-1], arrival_us)
        return Form(
            f"JSON list of objects ({inner.kind})",
            inner.usable,
            inner.value,
            inner.numbers,
            inner.time,
            inner.time_form,
            inner.offset_us,
            inner.quality,
            inner.unit,
        )
    return Form("JSON array", usable=False)


def _are_records(items: list[Any]) -> bool:
    """True if each item contains the name of a signal and its value."""
    return all(
        isinstance(one, dict)
        and any(key.lower() in _NAME_KEYS and isinstance(one[key], str) for key in one)
        and any(_VALUE_KEYS.fullmatch(key.lower()) for key in one)
        for one in items
    )


def _of_records(path: str, items: list[dict[str, Any]], arrival_us: int) -> Form:
    """A list whose items each name a signal: Kepware, S7 connector and others."""
    first = items[0]
    name = next(key for key in first if key.lower() in _NAME_KEYS and isinstance(first[key], str))
    value = next(key for key in first if _VALUE_KEYS.fullmatch(key.lower()))
    inner = _of_object({key: one for key, one in first.items() if key != name}, arrival_us)
    names = tuple(dict.fromkeys(str(one[name]) for one in items[:_MAX_KEYS] if name in one))
    return Form(
        "JSON list of name and value" + (f" under {path!r}" if path else ""),
        usable=True,
        value=value,
        numbers=names,
        time=inner.time,
        time_form=inner.time_form,
        offset_us=inner.offset_us,
        quality=inner.quality,
        items=path,
        name=name,
    )


def _of_object(doc: dict[str, Any], arrival_us: int) -> Form:
    leaves = _Leaves()
    for number, (path, value) in enumerate(_walk(doc)):
        if number >= _MAX_KEYS:
            break
        if isinstance(value, bool | int | float):
            leaves.numbers[path] = value
        elif isinstance(value, str):
            leaves.texts[path] = value
        elif isinstance(value, list):
            leaves.lists[path] = value
    for path, items in leaves.lists.items():
        if items and _are_records(items):
            return _of_records(path, items, arrival_us)
    time, time_form, offset_us = _time(leaves, arrival_us)
    quality = _first({**leaves.texts, **leaves.numbers}, _QUALITY_KEYS)
    unit = leaves.texts.get(_first(leaves.texts, _UNIT_KEYS), "")
    numbers = [path for path in leaves.numbers if path not in {time, quality}]
    numbers += [] if numbers else [path for path in leaves.texts if _is_text_value(path, leaves)]
    only = numbers[0] if len(numbers) == 1 else _first(dict.fromkeys(numbers), _VALUE_KEYS)
    lists = [path for path, items in leaves.lists.items() if _is_samples(items)]
    kind = f"JSON object, {len(numbers)} numbers" if len(numbers) != 1 else "JSON object"
    note = f"an array of numbers under {lists[0]!r}: kind: waveform" if lists else ""
    return Form(
        kind,
        bool(numbers),
        only,
        () if only else tuple(numbers),
        time,
        time_form,
        offset_us,
        quality,
        unit,
        note,
    )


def _is_text_value(path: str, leaves: _Leaves) -> bool:
    """True if a text's key looks like that of a value, and the text is a number."""
    key = path.rpartition(".")[2].lower()
    return bool(_VALUE_KEYS.fullmatch(key)) and _of_text(leaves.texts[path].strip()).usable


def _is_samples(items: list[Any]) -> bool:
    return len(items) > 1 and all(isinstance(one, int | float) for one in items)


def _walk(doc: dict[str, Any], prefix: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    for key, value in doc.items():
        path = f"{prefix}{key}"
        if isinstance(value, dict) and depth < _MAX_DEPTH:
            yield from _walk(value, f"{path}.", depth + 1)
        else:
            yield path, value


def _first(leaves: dict[str, Any], keys: re.Pattern[str]) -> str:
    """The first path whose last key is one of these words; empty if there is none."""
    return next((p for p in leaves if keys.fullmatch(p.rpartition(".")[2].lower())), "")


def _time(leaves: _Leaves, arrival_us: int) -> tuple[str, str, int | None]:
    """Path, form and offset of a time stamp that can be read; empty if there is none."""
    stamps: dict[str, float | str] = {**leaves.numbers, **leaves.texts}
    for path, raw in stamps.items():
        if isinstance(raw, bool) or not _TIME_KEYS.fullmatch(path.rpartition(".")[2].lower()):
            continue
        try:
            at_us = time_us(raw, TimeUnit.AUTO)
        except DecodeError:
            continue
        if at_us < MIN_TIME_US:  # a number that only looks like a time
            continue
        return path, _time_form(raw, at_us), at_us - arrival_us
    return "", "", None


def _time_form(raw: float | str, at_us: int) -> str:
    if isinstance(raw, str):
        has_zone = raw.endswith("Z") or re.search(r"[+-][0-9]{2}:?[0-9]{2}$", raw)
        return "ISO 8601" if has_zone else "ISO 8601 without zone"
    for unit, factor in (("s", 1e6), ("ms", 1e3), ("us", 1.0), ("ns", 1e-3)):
        if abs(raw * factor - at_us) <= max(1.0, factor):
            return unit
    return "number"
