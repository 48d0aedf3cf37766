"""Asset ids and the placeholders of their addresses, after a check of their number."""

from __future__ import annotations

import math
import re
from itertools import islice
from typing import TYPE_CHECKING, Final

from edge_agent.config.problem import KeyPath, Notes, shown
from edge_agent.config.scalars import MAX_NAME, is_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from edge_agent.config.schema import Asset, Config, Signal
    from edge_agent.config.types import Name

_RANGE = re.compile(r"\{([0-9]+)\.\.([0-9]+)\}")
MAX_ASSETS = 100_000
MAX_SIGNALS = 1_000_000
_BUILT_IN: Final = frozenset({"asset", "line", "signal"})
# Only texts like a name: other braces (a GUID, a JSON path) belong to the address.
_PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
_MAX_PATTERN: Final = 4 * MAX_NAME  # also limits the digits of a range
_MAX_UNIQUE_REPORTS: Final = 10


def check_assets(config: Config, notes: Notes) -> None:
    """Note ids that are wrong or defined twice, and placeholders without a value."""
    for pattern, asset in config.assets.items():
        for name in _BUILT_IN & asset.variables.keys():
            path = ("assets", pattern, "variables", name)
            notes.add(path, f"{shown(name)} is always the asset's own", "choose another name")
    if _few_enough(config, notes):
        _unique_ids(config, notes)
        _placeholders(config, notes)


def _few_enough(config: Config, notes: Notes) -> bool:
    assets = signals = 0
    for pattern, asset in config.assets.items():
        path: KeyPath = ("assets", pattern)
        if len(pattern) > _MAX_PATTERN:
            notes.add(path, f"is longer than {_MAX_PATTERN} characters")
            return False
        size = range_size(pattern)
        if size == 0:
            notes.add(path, "the range is empty", "write the lower number first: {001..500}")
        template = config.templates.get(asset.template)
        names = set(asset.signals).union(template.signals if template else ())
        assets, signals = assets + size, signals + size * len(names)
        if assets > MAX_ASSETS or signals > MAX_SIGNALS:
            limits = f"more than {MAX_ASSETS} assets or {MAX_SIGNALS} signals"
            notes.add(path, limits, "counted up to this asset")
            return False
    return True


def _unique_ids(config: Config, notes: Notes) -> None:
    owner: dict[str, str] = {}
    for pattern in config.assets:
        path: KeyPath = ("assets", pattern)
        reports = 0
        for asset_id in expand_range(pattern):
            if not is_name(asset_id):
                hint = (
                    f"letters, digits, '_', '.' and '-', at most {MAX_NAME}; ranges: {{001..500}}"
                )
                notes.add(path, f"{shown(asset_id)} is not a name", hint)
                break
            first = owner.setdefault(asset_id, pattern)
            if first != pattern and reports < _MAX_UNIQUE_REPORTS:
                reports += 1
                at = notes.at(("assets", first))
                notes.add(path, f"asset {asset_id} is defined twice", f"first at {at}")


def _placeholders(config: Config, notes: Notes) -> None:
    wanted = {name: _wanted(template.signals) for name, template in config.templates.items()}
    reported: set[KeyPath] = set()
    for pattern, asset in config.assets.items():
        own = {("assets", pattern): _wanted(asset.signals)}
        shared = {("templates", asset.template): wanted.get(asset.template, {})}
        known = _BUILT_IN | asset.variables.keys()
        for base, signals in (shared | own).items():
            for name, places in signals.items():
                path = (*base, "signals", name, "address")
                overridden = base[0] == "templates" and name in asset.signals
                unknown = sorted(places - known)
                if unknown and not overridden and path not in reported:
                    reported.add(path)
                    _unknown_placeholder(unknown[0], pattern, asset, path, notes)


def _unknown_placeholder(
    name: str, pattern: str, asset: Asset, path: KeyPath, notes: Notes
) -> None:
    known = sorted(_BUILT_IN | asset.variables.keys())
    message = f"nothing is known for {{{name}}} of asset {shown(pattern)}"
    notes.add(path, message, notes.nearest(name, known))


def _wanted(signals: Mapping[Name, Signal]) -> dict[Name, set[str]]:
    """By signal, the placeholders of its address, if it has any."""
    found = ((name, set(_PLACEHOLDER.findall(s.address))) for name, s in signals.items())
    return {name: places for name, places in found if places}


def expand_range(pattern: str) -> Iterator[str]:
    """`P-{001..003}` yields P-001, P-002, P-003; a name without a range yields itself.

    Of more than MAX_ASSETS, which the config's check refuses, only the first ones: other checks run
    all the same.
    """
    return islice(_expanded(pattern), MAX_ASSETS)


def _expanded(pattern: str) -> Iterator[str]:
    match = _RANGE.search(pattern)
    if match is None:
        yield pattern
        return
    low, high = match.groups()
    for number in range(int(low), int(high) + 1):
        middle = str(number).zfill(len(low))
        yield from _expanded(pattern[: match.start()] + middle + pattern[match.end() :])


def range_size(pattern: str) -> int:
    """The number of ids that `expand_range` yields, without expanding."""
    sizes = (max(0, int(high) - int(low) + 1) for low, high in _RANGE.findall(pattern))
    return math.prod(sizes)
