"""Checks of limits and conditions against each other and against their signals."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from edge_agent.config.limit_rules import LimitRule, rules_of, zone_limits
from edge_agent.config.limits import KNOWN, SPELLED, TAKEN, Limit, kind_of_limit, velocity_factor
from edge_agent.config.problem import KeyPath, Notes, shown
from edge_agent.config.schema import Kind
from edge_agent.config.types import Name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from edge_agent.config.conditions import Condition
    from edge_agent.config.schema import Asset, Config, Signal, Template

_LEVELS: Final = ("limit", "above", "below", "rising", "falling")
_ONLY_RATES: Final = ("window", "rolls_over_at")
_ORDER: Final = ("low_low", "low", "high", "high_high")


@dataclass(frozen=True, slots=True)
class _Names:
    """Names that a condition may use: known; some: names that only some assets have."""

    known: set[str]
    signals: Mapping[Name, Signal]
    some: set[str]


def check_limits(config: Config, notes: Notes) -> None:
    """Note every limit that makes no sense, alone or with the others of its signal."""
    for path, signal in _signals(config):
        _zones(path, signal, notes)
        _signal(path, signal, signal.limits, notes)
    for pattern, asset in config.assets.items():
        template = config.templates.get(asset.template)
        if template is not None:
            _overrides(("assets", pattern, "limits"), asset, template, notes)
    for name, template in config.templates.items():
        _ids(("templates", name), template, notes)


def check_conditions(
    config: Config, notes: Notes, own: Mapping[str, set[str]], extra: Mapping[str, set[str]]
) -> None:
    """Note every condition on a signal that does not exist, or is not a number.

    own: by template, the signals that each of its assets adds; extra: those that any of them adds.
    """
    for name, template in config.templates.items():
        base: KeyPath = ("templates", name)
        known = set[str](template.signals) | own.get(name, set())
        if (*base, "signals") not in notes.broken:
            for path, condition in _conditions(template):
                some = extra.get(name, set()) - known
                names = _Names(known, template.signals, some)
                _condition((*base, *path), condition, names, notes)
    for pattern, asset in config.assets.items():
        made = config.templates.get(asset.template)
        signals = {**(made.signals if made else {}), **asset.signals}
        for path, condition in _own_conditions(asset):
            whole = ("assets", pattern, *path)
            _condition(whole, condition, _Names(set(signals), signals, set()), notes)


def _signals(config: Config) -> Iterator[tuple[KeyPath, Signal]]:
    for name, template in config.templates.items():
        for key, signal in template.signals.items():
            yield ("templates", name, "signals", key), signal
    for pattern, asset in config.assets.items():
        for key, signal in asset.signals.items():
            yield ("assets", pattern, "signals", key), signal


def _overrides(base: KeyPath, asset: Asset, template: Template, notes: Notes) -> None:
    """Limits that an asset adds to its signals, or that replace the template's."""
    signals = {**template.signals, **asset.signals}
    for name, limits in asset.limits.items():
        path = (*base, name)
        if name not in signals:
            hint = notes.nearest(name, sorted(signals))
            notes.add(path, f"there is no signal {shown(name)}", hint)
            continue
        merged = replace(signals[name], limits={**signals[name].limits, **limits})
        _signal((*path,), merged, limits, notes, inner=())


def _signal(
    path: KeyPath,
    signal: Signal,
    limits: Mapping[Name, Limit],
    notes: Notes,
    *,
    inner: KeyPath = ("limits",),
) -> None:
    """The limits that are written at `path`; signal: the merged signal."""
    if not limits:
        return
    base = (*path, *inner)
    if signal.kind is not Kind.SCALAR:
        notes.add(base, f"a {signal.kind} has no limits", "use a signal that is a number: its RMS")
        return
    noted = len(notes.problems)
    for name, limit in limits.items():
        _alone((*base, name), name, limit, notes)
    if noted < len(notes.problems):
        return
    rules = {rule.name: rule for rule in rules_of(signal)}
    for name in limits:
        if name in rules:
            _within((*base, name), signal, rules[name], notes)
    _ordered(base, rules, limits, notes)


def _alone(path: KeyPath, name: str, limit: Limit, notes: Notes) -> None:
    if name in TAKEN:
        notes.add(path, f"{shown(name)} is the name of another alarm", "choose another name")
        return
    given = [key for key in _LEVELS if getattr(limit, key) is not None]
    kind = kind_of_limit(name, limit)
    if name not in KNOWN and (kind is None or given == ["limit"]):
        instead = SPELLED.get(name.lower())
        hint = f"did you mean {instead!r}?" if instead else f"known names: {', '.join(KNOWN)}"
        notes.add(
            path, "its direction is unknown: write one of above, below, rising, falling", hint
        )
    elif len(given) != 1:
        notes.add(path, f"has {len(given)} limits", f"write exactly one of: {', '.join(_LEVELS)}")
    elif name in KNOWN and kind != KNOWN[name][0]:
        notes.add((*path, given[0]), f"{name} means {KNOWN[name][0]}", "choose another name")
    else:
        _rate_or_value(path, limit, is_rate=kind in {"rising", "falling"}, notes=notes)


def _rate_or_value(path: KeyPath, limit: Limit, *, is_rate: bool, notes: Notes) -> None:
    level = limit.limit
    if level is not None and is_rate and (not level.per_s or level.value <= 0):
        notes.add(path, "a rate is a number above 0 in a time", "write 5/s, 5/min or 5/h")
    elif level is not None and level.per_s and not is_rate:
        notes.add(path, "is not a rate", "write a number, or name it rate_high")
    for key in () if is_rate else _ONLY_RATES:
        if (*path, key) in notes.marks:
            notes.add((*path, key), "has no effect on a limit of the value", "remove it")
    rule = level or limit.rising or limit.falling
    value = limit.above if limit.above is not None else limit.below
    size = rule.value if rule is not None else value
    if size == 0 and limit.deadband.percent and (*path, "deadband") in notes.marks:
        notes.add((*path, "deadband"), "a percentage of 0 is 0", "write it in the signal's unit")


def _within(path: KeyPath, signal: Signal, rule: LimitRule, notes: Notes) -> None:
    if rule.is_rate or signal.valid is None or None in signal.valid:
        return
    low, high = signal.valid
    if not low <= rule.limit <= high:
        hint = f"a value outside [{low:g}, {high:g}] counts as no data, so it is never compared"
        notes.add(path, f"{rule.limit:g} is outside the signal's valid range", hint)


def _ordered(
    base: KeyPath, rules: Mapping[str, LimitRule], written: Mapping[Name, Limit], notes: Notes
) -> None:
    """low_low < low < high < high_high, with space for the deadbands between low and high."""
    found = [rules[name] for name in _ORDER if name in rules]
    for lower, upper in pairwise(found):
        path = (*base, upper.name if upper.name in written else lower.name)
        if lower.limit >= upper.limit:
            message = f"{lower.name} ({lower.limit:g}) is not below {upper.name} ({upper.limit:g})"
            notes.add(path, message, f"the order is {' < '.join(_ORDER)}")
        elif lower.kind != upper.kind and (
            lower.limit + lower.deadband >= upper.limit
            or upper.limit - upper.deadband <= lower.limit
        ):
            notes.add(path, f"the deadband reaches beyond {lower.name}", "make it smaller")


def _zones(path: KeyPath, signal: Signal, notes: Notes) -> None:
    if signal.iso20816 is None:
        return
    base = (*path, "iso20816")
    if signal.kind is not Kind.SCALAR:
        notes.add(base, f"a {signal.kind} has no zones", "use a signal with its RMS velocity")
    elif velocity_factor(signal.unit) is None:
        unit = f"unit {shown(signal.unit)}" if signal.unit else "the signal has no unit: it"
        hint = "zones are of the RMS velocity: mm/s, m/s or in/s"
        notes.add(base, f"{unit} is not a velocity", hint)


def _ids(base: KeyPath, template: Template, notes: Notes) -> None:
    """A limit's alarm must not have the id of another alarm of the asset."""
    places = [use.name or use.bundle for use in template.models]
    taken = {*places, *(f"{place}.drift" for place in places)}
    taken |= {f"{name}.quality" for name in template.signals}
    for name, signal in template.signals.items():
        for limit in (*zone_limits(signal), *signal.limits):
            alarm = f"{name}.{limit}"
            if alarm in taken:
                path = (*base, "signals", name, "limits", limit)
                notes.add(path, f"another alarm is called {shown(alarm)}", "choose another name")
            taken.add(alarm)


def _conditions(template: Template) -> Iterator[tuple[KeyPath, Condition]]:
    if template.when is not None:
        yield ("when",), template.when
    if template.learn is not None and template.learn.when is not None:
        yield ("learn", "when"), template.learn.when
    for number, use in enumerate(template.models):
        if use.when is not None:
            yield ("models", number, "when"), use.when
    yield from _limit_conditions(template.signals)


def _own_conditions(asset: Asset) -> Iterator[tuple[KeyPath, Condition]]:
    if asset.when is not None:
        yield ("when",), asset.when
    yield from _limit_conditions(asset.signals)
    for name, limits in asset.limits.items():
        for key, limit in limits.items():
            if limit.when is not None:
                yield ("limits", name, key, "when"), limit.when


def _limit_conditions(signals: Mapping[Name, Signal]) -> Iterator[tuple[KeyPath, Condition]]:
    for name, signal in signals.items():
        for key, limit in signal.limits.items():
            if limit.when is not None:
                yield ("signals", name, "limits", key, "when"), limit.when


def _condition(path: KeyPath, condition: Condition, names: _Names, notes: Notes) -> None:
    texts = {text: number for s in names.signals.values() for text, number in s.map.items()}
    for name in sorted(condition.signals):
        signal = names.signals.get(Name(name))
        if signal is not None and signal.kind is not Kind.SCALAR:
            notes.add(path, f"{shown(name)} is a {signal.kind}", "a condition compares numbers")
        elif name in names.some:
            notes.add(path, f"not every asset has the signal {shown(name)}", "write it there")
        elif name not in names.known:
            hint = notes.nearest(name, sorted(names.known))
            if name in texts:
                hint = f"it is a text of a signal's map: write its number, {texts[name]:g}"
            notes.add(path, f"there is no signal {shown(name)}", hint)
