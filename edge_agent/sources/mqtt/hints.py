"""Explains a refused payload in plain words, with the keys of the config that would read it.

Called only when a refusal is logged, which is once for each topic.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, Final

from edge_agent.sources.mqtt.json_values import encoding_of
from edge_agent.sources.mqtt.paths import MISSING, find

if TYPE_CHECKING:
    from edge_agent.errors import DecodeError
    from edge_agent.sources.mqtt.readings import Readings

# Paths that identify a gateway's payload, and the keys that read it. See docs/recipes.md.
KNOWN: Final = (
    (
        "Kepware IoT Gateway",
        ("values[0].id", "values[0].v"),
        "{items: values, name: id, value: v, time: t, quality: q}",
    ),
    (
        "Siemens Industrial Edge S7 connector",
        ("vals[0].id", "vals[0].val"),
        "{items: vals, name: id, value: val, time: ts, quality: qc, quality_codes: siemens}",
    ),
    (
        "OPC Publisher, PubSub",
        ("Messages[0].Payload",),
        '{items: "Messages[].Payload", value: Value, time: SourceTimestamp, quality: StatusCode}',
    ),
    (
        "OPC Publisher, samples",
        ("Value.Value", "NodeId"),
        (
            "{name: DisplayName, value: Value.Value, time: Value.SourceTimestamp, "
            "quality: Value.StatusCode}"
        ),
    ),
    (
        "AWS IoT SiteWise",
        ("propertyValues[0].value",),
        (
            "{items: propertyValues, name: propertyAlias, value: value.doubleValue, "
            "time: timestamp.timeInSeconds}"
        ),
    ),
    ("Telegraf", ("metrics[0].fields",), '{items: "metrics[].fields", time: timestamp}'),
    ("Telegraf", ("fields", "timestamp"), "{items: fields, time: timestamp}"),
    ("ThingsBoard", ("values", "ts"), "{items: values, time: ts}"),
)
_MAX_KEYS: Final = 8
_MAX_LEAVES: Final = 100
_MAX_DEPTH: Final = 4


def recipe_of(doc: object) -> tuple[str, str] | None:
    """The gateway that writes such documents, and the `payload:` that reads them."""
    if isinstance(doc, list):
        doc = doc[0] if doc else None
    if not isinstance(doc, dict):
        return None
    for name, paths, payload in KNOWN:
        if all(find(doc, path) is not MISSING for path in paths):
            return name, payload
    return None


def hint_of(error: DecodeError | None, out: Readings, payload: bytes) -> str:
    """The keys that would read the message, in brackets; empty if unknown."""
    if error is not None and error.reason == "type" and isinstance(out.doc, str):
        return _of_binary(payload) if not (_is_text(payload) or out.doc.isprintable()) else ""
    if error is not None and error.reason not in {"value", "shape", "json", "text", "kind"}:
        return ""
    recipe = recipe_of(out.doc)
    if recipe is not None and not out.spec.items and not out.spec.name:
        return f" (it looks like {recipe[0]}: payload: {recipe[1]}, see docs/recipes.md)"
    if isinstance(out.doc, dict):
        return _of_object(out.doc, out)
    if out.doc is None and payload and not _is_text(payload):
        return _of_binary(payload)
    return ""


def _of_binary(payload: bytes) -> str:
    start = base64.b16encode(payload[:8]).decode()
    encoding = encoding_of(payload) or "see payload.format; Sparkplug B is protobuf"
    return f" (binary, it begins with {start}: {encoding})"


def _is_text(payload: bytes) -> bool:
    return all(byte >= 32 or byte in b"\t\r\n" for byte in payload[:64])  # noqa: PLR2004


def _of_object(doc: dict[str, Any], out: Readings) -> str:
    leaves = list(numbers_in(doc))
    if not leaves:
        return f" (its keys: {', '.join(list(map(str, doc))[:_MAX_KEYS])[:200]})"
    names = ", ".join(leaves[:_MAX_KEYS])[:300]
    if out.target.single is not None:
        return f" (numbers are under {names}: payload: {{value: {leaves[0][:100]}}} takes that)"
    return f" (numbers are under {names}: give a signal one of these as its address)"


def numbers_in(doc: Any, prefix: str = "", depth: int = 0) -> list[str]:  # noqa: ANN401
    """The paths of numbers, at most a hundred."""
    found: list[str] = []
    inner = doc.items() if isinstance(doc, dict) else enumerate(doc)
    for key, item in inner:
        path = f"{prefix}[{key}]" if isinstance(doc, list) else f"{prefix}.{key}".lstrip(".")
        if isinstance(item, dict | list) and depth < _MAX_DEPTH:
            found += numbers_in(item, path, depth + 1)
        elif isinstance(item, int | float) and not isinstance(item, bool):
            found.append(path)
        if len(found) >= _MAX_LEAVES:
            break
    return found[:_MAX_LEAVES]
