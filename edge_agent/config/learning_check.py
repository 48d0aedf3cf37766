"""Refuses learning that could never finish, before it begins."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from edge_agent.config.bearing import turns_per_s
from edge_agent.config.problem import shown
from edge_agent.config.schema import DEFAULT_LENGTH, Kind
from edge_agent.config.types import Name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from edge_agent.config.problem import KeyPath, Notes
    from edge_agent.config.schema import Config, Learn, Signal

_MINUTE_S = 60.0
_HOUR_S = 3600.0
_DAY_S = 86_400.0
_LONG_S = 3 * _DAY_S
_UNITS = ((_LONG_S, _DAY_S, "d"), (_HOUR_S, _HOUR_S, "h"), (_MINUTE_S, _MINUTE_S, "m"))


def check_learning(config: Config, notes: Notes) -> None:
    """Note settings that prevent learning: too short a time, a path that is not a folder."""
    _check_conditions(config, notes)
    _check_speeds(config, notes)
    learners = [
        (name, template.learn)
        for name, template in config.templates.items()
        if template.learn is not None and template.learn.by_itself
    ]
    for name, learn in learners:
        base: KeyPath = ("templates", name, "learn")
        if base not in notes.broken:
            _check_duration(learn, (*base, "duration"), notes)
    folder = _nearest(config.models_dir)
    if learners and not os.path.isdir(folder):  # noqa: PTH112 (Path raises on odd names)
        message = f"{shown(config.models_dir)}: {shown(folder)} is not a folder"
        notes.add(("models_dir",), message, "learned models are written there")


def _check_conditions(config: Config, notes: Notes) -> None:
    """Conditions and the start of a cycle are numbers, and something else is judged."""
    for name, template in config.templates.items():
        learn, signals = template.learn, template.signals
        base: KeyPath = ("templates", name, "learn")
        if learn is None or base in notes.broken:
            continue
        for number, mode in enumerate(learn.mode):
            _check_number(signals.get(mode), (*base, "mode", number), notes)  # type: ignore[call-overload]
        if learn.cycle is not None:
            start = signals.get(learn.cycle.start)  # type: ignore[call-overload]
            _check_number(start, (*base, "cycle"), notes)
        judged = set(learn.inputs or signals) - set(learn.mode)
        if learn.mode and signals and not judged:
            hint = "mark only set points and states of the machine"
            notes.add((*base, "mode"), "no input is left to judge: all are conditions", hint)


def _check_speeds(config: Config, notes: Notes) -> None:
    """The speed of a bearing is a signal of its asset, with the unit of a speed."""
    for pattern, asset in config.assets.items():
        template = config.templates.get(asset.template)
        if template is None:
            continue
        base: KeyPath = ("assets", pattern, "bearing")
        bearing = asset.bearing
        if bearing is None:
            base, bearing = ("templates", asset.template, "bearing"), template.bearing
        if bearing is not None and bearing.speed and base not in notes.broken:
            signals = {**template.signals, **asset.signals}
            _check_speed(bearing.speed, signals, (*base, "speed"), notes)


def _check_speed(name: str, signals: Mapping[Name, Signal], path: KeyPath, notes: Notes) -> None:
    if path in notes.broken:  # by another asset of the template
        return
    signal = signals.get(Name(name))
    if signal is None:
        notes.add(path, f"there is no signal {shown(name)}", notes.nearest(name, signals))
    elif not signal.is_number:
        hint = "choose a signal with single values; a tacho needs pulses_per_turn"
        notes.add(path, f"is a {signal.kind}, not a number", hint)
    elif not turns_per_s(signal.unit):
        unit = f"the unit {shown(signal.unit)}, not that of a speed" if signal.unit else "no unit"
        notes.add(path, f"{shown(name)} has {unit}", "write unit: 1/min, or unit: Hz")


def _check_number(signal: Signal | None, path: KeyPath, notes: Notes) -> None:
    if signal is not None and signal.kind is not Kind.SCALAR:
        notes.add(path, f"is a {signal.kind}, not a number", "choose a signal with single values")


def _check_duration(learn: Learn, path: KeyPath, notes: Notes) -> None:
    """If no step is told, learning continues until there are enough rows, unless a unit is missing.

    So only a duration below a minute is refused then.
    """
    duration, step = learn.duration, learn.step
    if duration is None or (step is None and duration >= _MINUTE_S):
        return
    step_s = float(step or 1.0)
    rows = int(duration / step_s)
    if rows >= learn.rows_needed:
        return
    length, needed = learn.length or DEFAULT_LENGTH, _duration_text(learn.rows_needed * step_s)
    message = (
        f"{_duration_text(duration)} is {rows} rows of {_duration_text(step_s)}; "
        f"{learn.rows_needed} are needed to learn from: 4 windows of {length}, at least 128"
    )
    hint = f"{needed} at least, or leave it out: then there are enough rows"
    if duration < _MINUTE_S:
        hint += f"; a number without a unit is in seconds: {duration:g}h?"
    if step is None:
        hint += "; tell the step if it is shorter than 1s"
    notes.add(path, message, hint)


def learning_warnings(config: Config) -> Iterator[str]:
    """Warnings: valid settings of learning that are probably not intended."""
    for name, template in config.templates.items():
        learn = template.learn
        if learn is None:
            continue
        if learn.by_itself and not os.access(_nearest(config.models_dir), os.W_OK):
            yield f"models_dir: this user cannot write there; {name} learns into it"
        elif learn.auto is None and not template.models:
            yield (
                f"templates.{name}.learn: nothing learns by itself, only "
                "`edge-agent learn` does; write auto: true"
            )
        yield from _long_warnings(name, learn)


def _long_warnings(name: str, learn: Learn) -> Iterator[str]:
    """At a long step that is told, learning takes longer than the day that a user expects."""
    if learn.step is None or learn.duration is not None or not learn.by_itself:
        return
    full_s = learn.rows_wanted(learn.step) * learn.step
    if full_s >= _LONG_S:
        first_s = max(learn.first_after, learn.rows_needed * learn.step)
        step, first, full = map(_duration_text, (learn.step, first_s, full_s))
        yield (
            f"templates.{name}.learn: at a step of {step}, the first baseline takes {first} "
            f"of good data, the full one {full}"
        )


def _nearest(folder: Path) -> Path:
    """The folder, or its nearest parent that exists."""
    found = folder.absolute()
    while not os.path.lexists(found) and found != found.parent:
        found = found.parent
    return found


def _duration_text(seconds: float) -> str:
    """A duration as the config writes it."""
    for least, size, unit in _UNITS:
        if seconds >= least:
            return f"{seconds / size:.3g}{unit}"
    return f"{seconds:.3g}s"
