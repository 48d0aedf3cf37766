"""Checks of lines against their assets, signals and calendars."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_agent.config.assets import expand_range
from edge_agent.config.problem import KeyPath, Notes, shown
from edge_agent.config.schema import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from edge_agent.config.lines import Line, LineMachine
    from edge_agent.config.schema import Config, Signal


def check_lines(config: Config, notes: Notes) -> None:
    """Note machines, signals and calendars that do not exist, and machines in two lines."""
    if not config.lines:
        return
    signals = {asset: dict(found) for asset, found in _signals(config)}
    owner: dict[str, str] = {}
    for name, line in config.lines.items():
        base: KeyPath = ("lines", name)
        if line.shifts and line.shifts not in config.shifts:
            hint = notes.nearest(line.shifts, config.shifts)
            notes.add((*base, "shifts"), f"there is no calendar {shown(line.shifts)}", hint)
        for asset in line.machines:
            if owner.setdefault(asset, name) != name:
                text = f"{shown(asset)} is a machine of line {owner[asset]} already"
                notes.add((*base, "machines", asset), text)
        _machines(base, line, signals, notes)


def _signals(config: Config) -> Iterator[tuple[str, Mapping[str, Signal]]]:
    """The signals of every asset of the config, by their name."""
    for pattern, asset in config.assets.items():
        template = config.templates.get(asset.template)
        own = {**(template.signals if template else {}), **asset.signals}
        for asset_id in expand_range(pattern):
            yield asset_id, {str(name): one for name, one in own.items()}


def _machines(
    base: KeyPath, line: Line, signals: Mapping[str, Mapping[str, Signal]], notes: Notes
) -> None:
    for asset, machine in line.machines.items():
        path = (*base, "machines", asset)
        if asset not in signals:
            hint = notes.nearest(asset, list(signals))
            notes.add(path, f"there is no asset {shown(asset)}", hint)
        elif machine is not None:
            _names(path, asset, machine, signals, notes)


def _names(
    path: KeyPath,
    asset: str,
    machine: LineMachine,
    signals: Mapping[str, Mapping[str, Signal]],
    notes: Notes,
) -> None:
    for key, name in _named(machine):
        found = owner_of(asset, name, signals)
        if found is None:
            hint = notes.nearest(name, list(signals[asset]))
            text = f"there is no signal {shown(name)}"
            notes.add((*path, *key), text, hint or "of another machine: ASSET.SIGNAL")
        elif signals[found[0]][found[1]].kind is not Kind.SCALAR:
            notes.add((*path, *key), f"{shown(name)} is not a number")


def _named(machine: LineMachine) -> Iterator[tuple[KeyPath, str]]:
    for number, rule in enumerate(machine.states):
        for name in sorted(rule.when.signals if rule.when is not None else ()):
            yield ("states", number, "when"), name
    for key, count in machine.counts.items():
        yield (key,), count.signal
    for key in ("packml", "product"):
        if name := getattr(machine, key):
            yield (key,), name


def owner_of(
    asset: str, name: str, signals: Mapping[str, Mapping[str, object]]
) -> tuple[str, str] | None:
    """The asset and the signal that a name means: the asset's own, or `ASSET.SIGNAL`.

    signals: of all assets, by asset and by name; None if there is no such signal.
    """
    if name in signals.get(asset, {}):
        return asset, name
    at = name.find(".")
    while at > 0:
        other, rest = name[:at], name[at + 1 :]
        if rest in signals.get(other, {}):
            return other, rest
        at = name.find(".", at + 1)
    return None
