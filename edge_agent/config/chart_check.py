"""Checks of control charts against the assets and signals of the config."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge_agent.config.assets import MAX_ASSETS, expand_range, range_size
from edge_agent.config.problem import KeyPath, Notes, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_agent.config.control_charts import ControlChart
    from edge_agent.config.schema import Config, Signal

_MAX_PATTERN: Final = 256


def check_charts(config: Config, notes: Notes, *, discovers: bool) -> None:
    """Note every chart of an asset or a signal that does not exist; discovers: assets may come."""
    for name, chart in config.control_charts.items():
        path: KeyPath = ("control_charts", name)
        if path in notes.broken or not chart.asset:
            continue
        if len(chart.asset) > _MAX_PATTERN or not 0 < range_size(chart.asset) <= MAX_ASSETS:
            hint = "write an id, a range like P-{01..12}, or a pattern like P-*"
            notes.add((*path, "asset"), f"{shown(chart.asset)} names no assets", hint)
            continue
        known = list(_assets_of(config, chart))
        if not known and not discovers:
            hint = notes.nearest(chart.asset, config.assets)
            notes.add((*path, "asset"), f"there is no asset {shown(chart.asset)}", hint)
        for signals in known:
            _inputs(path, chart, signals, notes)


def _assets_of(config: Config, chart: ControlChart) -> Iterator[dict[str, Signal]]:
    """The signals of the assets that a chart covers, once for each entry of the config."""
    for pattern, asset in config.assets.items():
        template = config.templates.get(asset.template)
        if template is not None and any(map(chart.covers, expand_range(pattern))):
            merged = {**template.signals, **asset.signals}
            yield {str(name): signal for name, signal in merged.items()}


def _inputs(path: KeyPath, chart: ControlChart, signals: dict[str, Signal], notes: Notes) -> None:
    for key, name in _named(chart):
        if name not in signals:
            hint = notes.nearest(name, signals)
            notes.add((*path, *key), f"the asset has no signal {shown(name)}", hint)
        elif not signals[name].is_number:
            notes.add((*path, *key), f"{shown(name)} is no number", "name a scalar signal")


def _named(chart: ControlChart) -> Iterator[tuple[KeyPath, str]]:
    """Every signal that a chart names, with its key."""
    single: tuple[tuple[KeyPath, str], ...] = (
        (("signal",), chart.signal),
        (("part", "trigger"), chart.part.trigger),
        (("part", "id"), chart.part.id),
        (("sample_signal",), chart.sample_signal),
        (("product",), chart.product),
        (("reset",), chart.reset),
    )
    yield from ((key, name) for key, name in single if name)
    yield from ((("process", number), name) for number, name in enumerate(chart.process))
