"""The leaves of a JSON object that nobody has described: which are times, qualities and values."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from edge_agent.errors import DecodeError
from edge_agent.sources.mqtt.payload_spec import TimeUnit
from edge_agent.sources.mqtt.payload_time import MIN_TIME_US, time_us
from edge_agent.sources.numbers import TextRules
from edge_agent.sources.qualities import status_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAX_KEYS: Final = 200
_MAX_DEPTH: Final = 8
_TIME_KEYS: Final = re.compile(
    r"_*(t|ts|tst|dt|utc|epoch|([a-z]+_?)*(time_?stamp|date_?time|time|date|stamp|_ts|_at)"
    r"(_?(ms|us|ns|s|utc|iso|unix))?)"
)
# A number or text under these is never a value of the machine, even if it cannot be read as a time.
_SURELY_TIME: Final = re.compile(
    r"_*(ts|time_?stamp|date_?time|time|date|stamp)(_?(ms|us|ns|s|utc))?"
)
_DATE: Final = re.compile(r"[0-9]{4}-?[0-9]{2}-?[0-9]{2}")
_SECONDS: Final = frozenset({"sec", "secs", "seconds"})
_PARTS_OF_SECONDS: Final = frozenset({"nsec", "nanosec", "nanos", "nanoseconds", "usec"})
_QUALITY_KEYS: Final = re.compile(r"(q|qc|quality|status_?code|good)")
_UNIT_KEYS: Final = re.compile(r"(unit|units|uom|eu|eng_?units?|engineering_?units?)")
VALUE_KEYS: Final = re.compile(r"(data_?)?(value|val|v|reading|measurement)")
# Numbers and texts that identify or count messages; they say nothing about the machine.
_NO_VALUE_KEYS: Final = re.compile(
    r"_*(seq|sequence(_?(no|nr|num|number))?|([a-z]+_?)*id|f_?cnt|f_?port|(fw|hw|sw|schema|spec)?_?"
    r"version|fw|firmware|crc|checksum|serial(_?(no|number))?|sn|mac|ip|name|model|type|data_?type|"
    r"uuid|guid|address|cid)"
)


@dataclass(slots=True)
class Leaves:
    """The leaves of a JSON object by their type; texts are those that are no numbers."""

    numbers: dict[str, float] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    lists: dict[str, list[Any]] = field(default_factory=dict)
    about: dict[str, dict[str, str]] = field(default_factory=dict)


def is_value_key(key: str) -> bool:
    """True if a key only says that something is a value (`value`, `v`), or is a unit (`C`)."""
    return len(key) <= 2 or bool(VALUE_KEYS.fullmatch(key.lower()))  # noqa: PLR2004


def leaves_of(doc: dict[str, Any]) -> Leaves:
    """The first `MAX_KEYS` leaves of an object."""
    leaves = Leaves()
    for number, (path, value) in enumerate(walk(doc)):
        if number >= MAX_KEYS:
            break
        if isinstance(value, bool | int | float):
            leaves.numbers[path] = value
        elif isinstance(value, str):
            leaves.texts[path] = value
        elif isinstance(value, list):
            leaves.lists[path] = value
    return leaves


def is_number(path: str, leaves: Leaves, time: str, quality: str) -> bool:
    """True if a number may be a value of the machine: no time, quality or number of a message."""
    around, _, last = path.lower().rpartition(".")
    if path in {time, quality} or last in _PARTS_OF_SECONDS or _is_quality(path, leaves.numbers):
        return False
    if isinstance(leaves.numbers[path], bool):
        return True
    if last in _SECONDS and _TIME_KEYS.fullmatch(last_of(around)):
        return False
    is_time = _SURELY_TIME.fullmatch(last) or _moment(path, leaves.numbers[path]) is not None
    return not is_time and not _NO_VALUE_KEYS.fullmatch(last)


def unit_beside(path: str, leaves: Leaves) -> dict[str, str]:
    """The unit beside a number."""
    around, _, last = path.rpartition(".")
    if not VALUE_KEYS.fullmatch(last.lower()):
        return {}
    beside = {p: text for p, text in leaves.texts.items() if p.rpartition(".")[0] == around}
    unit = beside.get(_first(beside, _UNIT_KEYS), "")
    return {"unit": unit} if unit else {}


def number_under(path: str, text: str) -> dict[str, str] | None:
    """Unit and decimal mark of a text that is a number; None if it is none, or only an id."""
    last = last_of(path).lower()
    known = _SURELY_TIME.fullmatch(last) or _NO_VALUE_KEYS.fullmatch(last)
    if known or _UNIT_KEYS.fullmatch(last) or _moment(path, text) is not None:
        return None
    return number_in(text)


def number_in(text: str) -> dict[str, str] | None:
    """Unit and decimal mark of a text that is a number; None if it is none."""
    found = _WITH_UNIT.fullmatch(text.strip())
    if found is None:
        return {} if text.strip().casefold() in SWITCHES else None
    unit, decimal = found[2].strip(), "," if "," in found[1] else ""
    try:
        TextRules(None, decimal).number(text)
    except DecodeError:
        return None
    parts = {"unit": unit, "decimal": decimal}
    return {key: part for key, part in parts.items() if part}


_WITH_UNIT: Final = re.compile(
    r"([+-]?(?:[0-9]+(?:[.,][0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)\s*((?:[A-Za-z°%µ²³/].{0,15})?)"
)
SWITCHES: Final = frozenset({"true", "false", "on", "off"})


def quality_of(leaves: Leaves) -> str:
    """The key of a quality: a text, or a number that is one of the known codes."""
    numbers = {
        path: one for path, one in leaves.numbers.items() if _is_quality(path, leaves.numbers)
    }
    return _first({**leaves.texts, **numbers}, _QUALITY_KEYS)


def _is_quality(path: str, numbers: dict[str, float]) -> bool:
    """`q: 192` is a quality, `q: 12.5` a flow."""
    last = last_of(path).lower()
    if not _QUALITY_KEYS.fullmatch(last):
        return False
    return (
        last not in {"q", "good"} or isinstance(numbers[path], bool) or _has_status(numbers[path])
    )


def _has_status(raw: float) -> bool:
    return status_of(raw, key="q") is not None or raw == 0


def walk(doc: dict[str, Any], prefix: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """(dotted path, value) of each leaf; a list is a leaf."""
    for key, value in doc.items():
        path = f"{prefix}{key}"
        if isinstance(value, dict) and depth < _MAX_DEPTH:
            yield from walk(value, f"{path}.", depth + 1)
        else:
            yield path, value


def last_of(path: str) -> str:
    """The last key of a path."""
    return path.rpartition(".")[2]


def _first(leaves: Iterable[str], keys: re.Pattern[str]) -> str:
    """The first path whose last key is one of these words; empty if there is none."""
    return next((p for p in leaves if keys.fullmatch(last_of(p).lower())), "")


def time_of(leaves: Leaves, arrival_us: int) -> tuple[str, str, int | None]:
    """Path, form and offset of a time stamp that can be read; empty if there is none."""
    stamps: dict[str, float | str] = {**leaves.numbers, **leaves.texts}
    for path, raw in stamps.items():
        at_us = _moment(path, raw)
        if at_us is not None:
            return path, _time_form(raw, at_us), at_us - arrival_us
    return "", "", None


def _moment(path: str, raw: float | str) -> int | None:
    """The time in microseconds that a leaf is by its key and its value; None if it is none."""
    around, _, last = path.lower().rpartition(".")
    is_time = _TIME_KEYS.fullmatch(last) or (
        last in _SECONDS and _TIME_KEYS.fullmatch(last_of(around))
    )
    if (
        isinstance(raw, bool)
        or not is_time
        or (isinstance(raw, str) and _DATE.fullmatch(raw.strip()))
    ):
        return None  # a date alone is no time: all values of a day would have one
    try:
        at_us = time_us(raw, TimeUnit.AUTO)
    except DecodeError:
        return None
    return at_us if at_us >= MIN_TIME_US else None  # else it only looks like a time


def _time_form(raw: float | str, at_us: int) -> str:
    if isinstance(raw, str):
        has_zone = raw.endswith("Z") or re.search(r"[+-][0-9]{2}:?[0-9]{2}$", raw)
        return "ISO 8601" if has_zone else "ISO 8601 without zone"
    for unit, factor in (("s", 1e6), ("ms", 1e3), ("us", 1.0), ("ns", 1e-3)):
        if abs(raw * factor - at_us) <= max(1.0, factor):
            return unit
    return "number"


def only_of(numbers: list[str]) -> str:
    """The path of the one value of an object; empty if the object has several."""
    if len(numbers) == 1:
        return numbers[0]
    values = [path for path in numbers if VALUE_KEYS.fullmatch(last_of(path).lower())]
    if len(values) != 1:
        return ""
    around = values[0].rpartition(".")[0]
    inside = [path for path in numbers if path.rpartition(".")[0] == around]
    return values[0] if len(inside) == len(numbers) else ""


def without_value(path: str) -> str:
    """`Temperature` of `Temperature.value`: an object around a value is read as the value."""
    around, _, last = path.rpartition(".")
    return around if around and last == "value" else path
