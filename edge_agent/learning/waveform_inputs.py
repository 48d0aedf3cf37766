"""The inputs of a baseline of waveforms: the waveforms, and what they may depend on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from edge_agent.config.bearing import turns_per_s
from edge_agent.config.schema import Kind, Resample
from edge_agent.learning.waveform import defect_lines, order_ranges
from edge_agent.models import InputSpec

if TYPE_CHECKING:
    from edge_agent.config.schema import Learn
    from edge_agent.plant import PlantAsset, PlantSignal

_MOST_CONDITIONS: Final = 4
_LOADS: Final = frozenset(("a", "ma", "ka", "w", "kw", "mw", "nm", "n·m", "n m", "knm", "kn·m"))
_DEFECTS: Final = {"outer": "outer race", "inner": "inner race", "ball": "ball", "cage": "cage"}


def wave_inputs(config: Learn, first: PlantAsset) -> list[str]:
    """The waveforms to learn from: the configured ones, else all but tachos of the template."""
    shared = config.inputs or first.template.signals or first.signals
    waves = {n for n, s in first.signals.items() if s.config.kind is Kind.WAVEFORM}
    known = {name for name in waves if not first.signals[name].config.is_number}
    return [name for name in shared if name in known]


def conditions_of(config: Learn, asset: PlantAsset) -> tuple[InputSpec, ...]:
    """What the waveforms of an asset may depend on: its speed first, told conditions, loads."""
    bearing = asset.bearing
    speed = [bearing.speed] if bearing is not None and bearing.speed in asset.signals else []
    shared = config.inputs or asset.template.signals or asset.signals
    loads = [name for name in shared if _is_load(asset.signals.get(name))]
    names = [
        name for name in dict.fromkeys((*speed, *config.mode, *loads)) if name in asset.signals
    ]
    signals = [asset.signals[name] for name in names]
    found = [
        InputSpec(
            signal.name,
            signal.config.unit,
            resample=signal.config.resample if signal.name in config.mode else Resample.MEAN,
        )
        for signal in signals
        if signal.config.is_number
    ]
    return tuple(found[:_MOST_CONDITIONS])


def _is_load(signal: PlantSignal | None) -> bool:
    """True for a speed, a current, a power or a torque, by its unit."""
    if signal is None:
        return False
    unit = signal.config.unit.strip().lower()
    return bool(turns_per_s(unit)) or unit in _LOADS


def measured_at(asset: PlantAsset) -> dict[str, Any]:
    """What a recipe knows of an asset's bearing: defect frequencies or orders, and its speed."""
    bearing = asset.bearing
    if bearing is None:
        return {}
    orders = {_DEFECTS[name]: order for name, order in bearing.orders._asdict().items()}
    speed = asset.signals.get(bearing.speed) if bearing.speed else None
    if speed is not None:
        turns = turns_per_s(speed.config.unit) * bearing.speed_ratio
        return {"orders": order_ranges(orders), "speed_hz": turns} if turns else {}
    return {"lines": defect_lines(orders, bearing.rpm / 60)}
