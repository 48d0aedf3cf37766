"""Recognises the parts of a JSON object that nobody has described: values, time, quality, machine.

The result is a `Form`, which `proposals` turns into a subscription. Nothing here raises: what is
not recognised is left out, and `note` says why.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import yaml

from edge_agent.findings import first_of
from edge_agent.sources.mqtt.form_leaves import (
    MAX_KEYS,
    VALUE_KEYS,
    Leaves,
    is_number,
    last_of,
    leaves_of,
    number_under,
    only_of,
    quality_of,
    time_of,
    unit_beside,
    walk,
    without_value,
)
from edge_agent.sources.mqtt.hints import recipe_of
from edge_agent.sources.mqtt.paths import MISSING, each, find

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_NAME_KEYS: Final = re.compile(
    r"(id|n|key|item|(tag|signal|variable|metric|point|parameter|param|channel|property|display|var|"
    r"field|measurement|browse|node)?_?(name|id|key)|tag|signal|variable|metric|point|parameter|"
    r"channel|property|measurement|register)"
)
_MACHINE_KEYS: Final = re.compile(
    r"(device|machine|asset|equipment|thing|station|unit|source|src|node|host|client|plc|pump|motor|"
    r"sensor|gateway)(_?(id|name|no|nr|number|key|eui|tag))?|dev_?(eui|id)|mac|serial(_?(no|number))?|"
    r"sn|id|name"
)


@dataclass(frozen=True, slots=True)
class Form:
    """The form of a payload. Paths are dotted keys.

    kind: in words. value: the path of the only number, empty if the payload itself is the number.
    numbers: paths of all numbers, or names of all records, if there are several. time_form: such as
    `ms` or `ISO 8601`. offset_us: time stamp minus arrival; None without a time. items, name: the
    path of records, and their key that names the signal. asset: the key that names the machine;
    machines: the numbers of each. about: unit and decimal mark of a number. payload: further keys
    of `payload:`. usable: it can be mapped.
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
    asset: str = ""
    machines: dict[str, tuple[str, ...]] = field(default_factory=dict)
    about: dict[str, dict[str, str]] = field(default_factory=dict)
    payload: tuple[tuple[str, Any], ...] = ()


def of_object(doc: dict[str, Any], arrival_us: int) -> Form:
    """The form of one object."""
    leaves = leaves_of(doc)
    for form in (
        _of_known(doc, leaves, arrival_us),
        *(of_list(items, arrival_us, path) for path, items in leaves.lists.items()),
    ):
        if form is not None and form.usable:
            return form if form.time else _with_time(form, leaves, arrival_us)
    return _of_leaves(leaves, arrival_us)


def of_list(items: list[Any], arrival_us: int, path: str = "") -> Form | None:
    """The form of a list of records or machines; None if it is another list."""
    docs = [one for one in items if isinstance(one, dict)]
    if not docs or len(docs) < len(items):
        return None
    return _of_records(path, docs, arrival_us) or _of_machines(path, docs, arrival_us)


def of_several(docs: Sequence[Any], form: Form, arrival_us: int) -> Form:
    """The form of a topic from several of its payloads: they may be of many machines or signals."""
    records = [one for one in docs if isinstance(one, dict)]
    if form.items or form.name or form.asset or len(records) < 2:  # noqa: PLR2004
        return form
    machine = _varying(records, _MACHINE_KEYS)
    signal = _varying(records, _NAME_KEYS, beside=machine)
    single = bool(form.value) and bool(VALUE_KEYS.fullmatch(last_of(form.value).lower()))
    if single and machine and not signal:  # one value each: the key names the signal
        machine, signal = "", machine
    if single and signal:
        return _by_name(records, form, machine, signal)
    return _by_machine("", records, form, machine, arrival_us) if machine else form


def _by_name(records: list[dict[str, Any]], form: Form, machine: str, signal: str) -> Form:
    """Each message is one value of a signal that it names, perhaps of a machine that it names."""
    machines: dict[str, tuple[str, ...]] = {}
    for one in records:
        name, asset = str(find(one, signal)), str(find(one, machine)) if machine else ""
        machines[asset] = tuple(dict.fromkeys([*machines.get(asset, ()), name]))[:MAX_KEYS]
    names = tuple(dict.fromkeys(name for names in machines.values() for name in names))
    kind = f"JSON object that names its signal under {signal!r}"
    return replace(
        form,
        kind=kind + (f" and its machine under {machine!r}" if machine else ""),
        numbers=names[:MAX_KEYS],
        name=signal,
        asset=machine,
        machines=machines if machine else {},
    )


def _by_machine(
    path: str, records: list[dict[str, Any]], form: Form, machine: str, arrival_us: int
) -> Form:
    """Each record is an object of the machine that it names."""
    machines: dict[str, tuple[str, ...]] = {}
    about: dict[str, dict[str, str]] = {}
    for one in records:
        inner = _of_leaves(leaves_of(one), arrival_us)
        found = inner.numbers or ((inner.value,) if inner.value else ())
        numbers = tuple(number for number in found if number != machine)
        asset = str(find(one, machine))
        machines[asset] = tuple(dict.fromkeys([*machines.get(asset, ()), *numbers]))[:MAX_KEYS]
        about |= inner.about
    names = tuple(dict.fromkeys(name for names in machines.values() for name in names))
    under = f" in a list under {path!r}" if path else ""
    return replace(
        form,
        kind=f"JSON objects of {len(machines)} machines, named under {machine!r}{under}",
        usable=bool(names),
        value="",
        numbers=names[:MAX_KEYS],
        items=path,
        asset=machine,
        machines=machines,
        about=about,
    )


def _varying(records: list[dict[str, Any]], keys: re.Pattern[str], beside: str = "") -> str:
    """The first key of this meaning whose text differs between the records."""
    for path, value in walk(records[-1]):
        if path == beside or not isinstance(value, str | int) or isinstance(value, bool):
            continue
        if not keys.fullmatch(last_of(path).lower()):
            continue
        found = {str(one) for doc in records if (one := find(doc, path)) is not MISSING}
        repeats = len(found) < len(records) or isinstance(value, str)
        if len(found) > 1 and repeats:
            return path
    return ""


def _of_known(doc: dict[str, Any], leaves: Leaves, arrival_us: int) -> Form | None:
    """The form of a payload of a known gateway (docs/recipes.md), if its names can be listed."""
    recipe = recipe_of(doc)
    if recipe is None:
        return None
    keys = dict(_keys_of(recipe[1]))
    items, name = keys.pop("items", ""), keys.pop("name", "")
    names = tuple(dict.fromkeys(_names_of(doc, items, name)))[:MAX_KEYS]
    if not names:
        return None
    if find(doc, f"{items.replace('[]', '[0]')}.{names[0]}.Body") is not MISSING:
        keys["value"] = "Body"  # a Variant of OPC UA (Part 6, 5.4.2.17)
    return Form(
        f"JSON of {recipe[0]}, {len(names)} signals",
        usable=True,
        value=keys.pop("value", "value"),
        numbers=names,
        time=keys.pop("time", ""),
        quality=keys.pop("quality", ""),
        items=items,
        name=name,
        offset_us=time_of(leaves, arrival_us)[2],
        payload=tuple(keys.items()),
    )


@lru_cache(maxsize=32)
def _keys_of(payload: str) -> tuple[tuple[str, str], ...]:
    return tuple(yaml.safe_load(payload).items())


def _names_of(doc: Any, items: str, name: str) -> Iterator[str]:  # noqa: ANN401 (any JSON)
    """The names of the records of a payload."""
    for place, _ in each(doc, items):
        records = place if isinstance(place, list) else [place]
        for one in records if name else ():
            raw = find(one, name)
            if isinstance(raw, str | int):
                yield str(raw)
        if not name and isinstance(place, dict):
            yield from (key for key, value in place.items() if _is_value(value))


def _is_value(value: object) -> bool:
    if isinstance(value, dict):
        return any(key.lower() in {"value", "val", "v", "body"} for key in value)
    return isinstance(value, int | float)


def _of_records(path: str, items: list[dict[str, Any]], arrival_us: int) -> Form | None:
    """A list whose items each name a signal: Kepware, S7 connector and others."""
    name = _common(items, _NAME_KEYS, str)
    value = _common(items, VALUE_KEYS, object)
    if not name or not value or not any(map(_is_value, (find(one, value) for one in items))):
        return None
    first = next(one for one in items if value in one and name in one)
    inner = _of_leaves(leaves_of({key: v for key, v in first.items() if key != name}), arrival_us)
    machine = _varying(items, _MACHINE_KEYS, beside=name) if len(items) > 1 else ""
    form = Form(
        "JSON list of name and value" + (f" under {path!r}" if path else ""),
        usable=True,
        value=value,
        numbers=tuple(dict.fromkeys(str(one[name]) for one in items if name in one))[:MAX_KEYS],
        time=inner.time,
        time_form=inner.time_form,
        offset_us=inner.offset_us,
        quality=inner.quality,
        items=path,
        name=name,
    )
    return replace(_by_name(items, form, machine, name), items=path) if machine else form


def _common(items: list[dict[str, Any]], keys: re.Pattern[str], kind: type) -> str:
    """The key of this meaning that most items have."""
    found: dict[str, int] = {}
    for one in items:
        for key, value in one.items():
            if isinstance(value, kind) and keys.fullmatch(key.lower()):
                found[key] = found.get(key, 0) + 1
    best = max(found, key=lambda key: found[key], default="")
    return best if best and 2 * found[best] > len(items) else ""


def _of_machines(path: str, items: list[dict[str, Any]], arrival_us: int) -> Form | None:
    """A list whose items are the values of one machine each."""
    machine = _varying(items, _MACHINE_KEYS) if len(items) > 1 else ""
    if not machine:
        return None
    inner = _of_leaves(leaves_of(items[-1]), arrival_us)
    form = _by_machine(path, items, inner, machine, arrival_us)
    return form if form.usable else None


def _with_time(form: Form, leaves: Leaves, arrival_us: int) -> Form:
    """A form whose time is beside its records."""
    time, time_form, offset_us = time_of(leaves, arrival_us)
    return replace(form, time=time, time_form=time_form, offset_us=offset_us)


def _of_leaves(leaves: Leaves, arrival_us: int) -> Form:
    time, time_form, offset_us = time_of(leaves, arrival_us)
    quality = quality_of(leaves)
    numbers = [path for path in leaves.numbers if is_number(path, leaves, time, quality)]
    about = {path: unit_beside(path, leaves) for path in numbers}
    for path, text in leaves.texts.items():
        found = number_under(path, text)
        if found is not None and path != time:
            numbers.append(path)
            about[path] = unit_beside(path, leaves) | found
    only = only_of(numbers)
    kind = f"JSON object, {len(numbers)} numbers" if len(numbers) != 1 else "JSON object"
    if not only:
        about = {without_value(path): one for path, one in about.items()}
        numbers = list(map(without_value, numbers))
    own = about.get(only, {})
    return Form(
        kind,
        bool(numbers),
        only,
        () if only else tuple(numbers),
        time,
        time_form,
        offset_us,
        quality,
        own.get("unit", ""),
        own.get("decimal", ""),
        note=_note(leaves, numbers),
        about={path: one for path, one in about.items() if one},
    )


def _note(leaves: Leaves, numbers: list[str]) -> str:
    """What of an object cannot be mapped by itself."""
    lists = [path for path, items in leaves.lists.items() if _is_samples(items)]
    if lists:
        return f"an array of numbers under {lists[0]!r}: kind: waveform"
    nested = [path for path, items in leaves.lists.items() if items]
    if nested and not numbers:
        return f"lists under {first_of(nested)}: payload.items, see docs/recipes.md"
    if not numbers and leaves.texts:
        return f"its texts are {first_of(list(leaves.texts))}: map: of a signal reads words"
    return ""


def _is_samples(items: list[Any]) -> bool:
    return len(items) > 1 and all(isinstance(one, int | float) for one in items)
