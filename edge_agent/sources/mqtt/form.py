"""Recognises the form of an unknown payload: its kind, value, time and quality."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from edge_agent.errors import DecodeError
from edge_agent.findings import first_of
from edge_agent.sources.mqtt.form_leaves import SWITCHES, number_in
from edge_agent.sources.mqtt.form_objects import (
    Form,
    of_list,
    of_object,
    of_several,
)
from edge_agent.sources.mqtt.influx import fields_of
from edge_agent.sources.mqtt.json_values import encoding_of, inflated, parse
from edge_agent.sources.mqtt.payload_spec import TimeUnit
from edge_agent.sources.mqtt.payload_time import MIN_TIME_US, time_us

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["MAX_BYTES", "Form", "form_of", "form_of_topic"]

MAX_BYTES: Final = 16 << 10  # larger payloads are described by their size only
_SEPARATORS: Final = ";\t,"
_MAX_CELLS: Final = 64


def form_of_topic(topic: str, payloads: Sequence[bytes], arrival_us: int) -> Form:
    """The form of a topic from some of its payloads, the latest at the end; never raises."""
    form = form_of(topic, payloads[-1], arrival_us)
    if not form.kind.startswith("JSON object"):
        return form
    docs = []
    for payload in payloads:
        try:
            docs.append(parse(inflated(payload)[0], text=False)[0])
        except DecodeError:
            continue
    return of_several(docs, form, arrival_us)


def form_of(topic: str, payload: bytes, arrival_us: int) -> Form:
    """The form of one payload; never raises."""
    if topic.startswith("spBv1.0/"):
        return _of_sparkplug(payload)
    if not payload or len(payload) > MAX_BYTES:
        kind = f"large, {len(payload)} bytes" if payload else "empty"
        return Form(kind, usable=False)
    try:
        plain = inflated(payload)[0]
        doc, _ = parse(plain, text=True)
    except DecodeError as error:
        return _of_bytes(payload, error)
    if isinstance(doc, str) and _is_binary(plain):
        return _of_bytes(payload, DecodeError("text", "binary data"))
    return _of_json(doc, arrival_us)


def _is_binary(payload: bytes) -> bool:
    """True if bytes are no text: with a NUL, and neither UTF-8 nor UTF-16 with its mark."""
    try:
        return b"\0" in payload.decode().rstrip("\0").encode()
    except UnicodeDecodeError:
        return b"\0" in payload and payload[:2] not in {b"\xff\xfe", b"\xfe\xff"}


def _of_bytes(payload: bytes, error: DecodeError) -> Form:
    try:
        text = payload.decode().strip()
    except UnicodeDecodeError:
        text = ""
    if text and text.isprintable():
        note = "" if error.reason == "empty" else error.message
        return Form("text", usable=False, note=note[:100])
    if not text and error.reason == "empty":
        return Form("empty", usable=False)
    note = encoding_of(payload) or "format: float32 or int16?"
    return Form(f"binary, {len(payload)} bytes", usable=False, note=note)


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
        return of_object(doc, arrival_us)
    if isinstance(doc, list):
        return _of_list(doc, arrival_us)
    if isinstance(doc, str):
        return _of_text(doc.strip())
    if doc is None:
        return Form("null", usable=False)
    return Form("truth value" if isinstance(doc, bool) else "number", usable=True)


def _of_text(text: str) -> Form:
    found = number_in(text)
    if found is not None and text.casefold() not in SWITCHES:
        words = (
            "number",
            "with a decimal comma" if "decimal" in found else "",
            "with its unit" if "unit" in found else "",
        )
        kind = " ".join(filter(None, words))
        unit, decimal = found.get("unit", ""), found.get("decimal", "")
        return Form(kind, usable=True, unit=unit, decimal=decimal)
    if found is not None:
        return Form("truth value as text", usable=True)
    encoding = encoding_of(text.encode())
    if encoding:
        return Form("text", usable=False, note=encoding)
    return _of_influx(text) or _of_csv(text) or _of_words(text)


def _of_words(text: str) -> Form:
    lines = text.splitlines()
    if len(lines) > 1 or any(sign in text for sign in ";,\t"):
        cells = len(re.split("[;,\t]", lines[0])) if lines else 0
        return Form(f"text, {cells} columns", usable=False, note="format: csv with columns:")
    note = f"map: {{{text}: 1, ...}} of the signal reads it" if text.isalnum() else ""
    return Form("text", usable=False, note=note)


def _of_influx(text: str) -> Form | None:
    """Lines of InfluxDB: `pump,machine=P-1 flow=1.5 1767225600000000000`."""
    lines = [fields_of(line) for line in text.splitlines() if line.strip()]
    if not lines or None in lines:
        return None
    tags: dict[str, dict[str, list[str]]] = {}
    names: dict[str, None] = {}
    for tag, fields in filter(None, lines):
        names |= dict.fromkeys(fields)
        for key, value in tag.items():
            tags.setdefault(key, {}).setdefault(value, []).extend(fields)
    asset = next((key for key, values in tags.items() if len(values) > 1), next(iter(tags), ""))
    machines = {name: tuple(dict.fromkeys(found)) for name, found in tags.get(asset, {}).items()}
    return Form(
        f"lines of InfluxDB, {len(names)} fields",
        usable=bool(names),
        numbers=tuple(names),
        asset=asset,
        machines=machines,
        payload=(("format", "influx"),),
    )


def _of_csv(text: str) -> Form | None:
    """Numbers between separators, perhaps below their names and beside a time."""
    lines = [line for line in text.splitlines() if line.strip()]
    separator = next((one for one in _SEPARATORS if one in lines[-1]), "") if lines else ""
    if not separator:
        return None
    cells = [cell.strip().strip('"') for cell in lines[-1].split(separator)]
    times = [_is_time(cell) for cell in cells]
    numbers = [{} if time else number_in(cell) for cell, time in zip(cells, times, strict=True)]
    if len(cells) > _MAX_CELLS or None in numbers or all(times):
        return None
    head = [cell.strip().strip('"') for cell in lines[0].split(separator)]
    is_named = len(lines) > 1 and len(head) == len(cells) and not any(map(number_in, head))
    at = times.index(True) if True in times else -1
    names = [
        head[n] if is_named else "ts" if n == at else f"value_{n + 1}" for n in range(len(cells))
    ]
    decimal = any("decimal" in one for one in numbers if one)
    keys: dict[str, Any] = {"format": "csv", "columns": tuple(names)}
    keys |= {"separator": separator} if separator != "," else {}
    keys |= {"decimal": ","} if decimal else {}
    return Form(
        f"CSV, {len(cells)} columns",
        usable=True,
        numbers=tuple(name for n, name in enumerate(names) if n != at),
        time=names[at] if at >= 0 else "",
        payload=tuple(keys.items()),
    )


def _is_time(text: str) -> bool:
    try:
        return time_us(text, TimeUnit.AUTO) >= MIN_TIME_US
    except DecodeError:
        return False


def _of_list(doc: list[Any], arrival_us: int) -> Form:
    if doc and all(isinstance(one, int | float) for one in doc):
        note = "kind: waveform and rate_hz"
        return Form(f"JSON array of {len(doc)} numbers", usable=False, note=note)
    if not doc or not all(isinstance(one, dict) for one in doc):
        note = "let the sender write an object for each value" if doc else ""
        return Form("JSON array", usable=False, note=note)
    found = of_list(doc, arrival_us)
    if found is not None:
        return found
    merged = {key: value for one in doc for key, value in one.items()}
    inner = of_object(merged, arrival_us)
    return replace(inner, kind=f"JSON list of objects ({inner.kind})")
