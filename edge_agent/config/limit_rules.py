"""The limits of a signal, its own and those of its vibration class, as plain rules."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edge_agent.config.limits import (
    KNOWN,
    ZONES,
    Bounds,
    Kind,
    Level,
    Limit,
    kind_of_limit,
    velocity_factor,
)
from edge_agent.config.types import Name
from edge_agent.messages import Ne107

if TYPE_CHECKING:
    from edge_agent.config.schema import Signal

_SEVERITY: Final = 500
_SECONDS_NAME: Final = {1.0: "s", 60.0: "min", 3600.0: "h", 86400.0: "d"}


@dataclass(frozen=True, slots=True)
class LimitRule:
    """One limit of a signal, ready for use.

    limit, deadband: in the signal's unit, for rates in its unit per second; per_s: the unit of
    time in which a rate is shown, in seconds; zone: of ISO 20816, that begins at the limit.
    """

    name: str
    kind: Kind
    limit: float
    deadband: float
    severity: int
    config: Limit
    per_s: float = 0.0
    zone: str = ""

    @property
    def is_rate(self) -> bool:
        """True if it limits the rate of change of the signal."""
        return self.kind in {"rising", "falling"}

    @property
    def per(self) -> str:
        """The unit of time of a rate, empty for a value."""
        return _SECONDS_NAME.get(self.per_s, "")


def rules_of(signal: Signal) -> tuple[LimitRule, ...]:
    """All limits of a signal that passed the checks; own limits override those of its zones."""
    made = {**zone_limits(signal), **signal.limits}
    return tuple(_rule(name, limit) for name, limit in made.items() if limit.enabled)


def zone_limits(signal: Signal) -> dict[Name, Limit]:
    """The limits of a vibration class."""
    bounds = zone_bounds(signal)
    iso = signal.iso20816
    if iso is None or bounds is None:
        return {}
    severities = (600, 850)
    classes = (Ne107.MAINTENANCE_REQUIRED, Ne107.OUT_OF_SPECIFICATION)
    return {
        Name(name): Limit(
            above=bound,
            on_delay=iso.on_delay,
            off_delay=iso.off_delay,
            severity=severity,
            ne107=ne107,
        )
        for name, bound, severity, ne107 in zip(ZONES, bounds[1:], severities, classes, strict=True)
    }


def zone_bounds(signal: Signal) -> Bounds | None:
    """The boundaries A/B, B/C and C/D in the signal's own unit; None if it has none."""
    bounds = None if signal.iso20816 is None else signal.iso20816.bounds_mm_s
    factor = velocity_factor(signal.unit)
    if bounds is None or factor is None:
        return None
    low, middle, high = (float(f"{bound * factor:.4g}") for bound in bounds)
    return low, middle, high


def zone_of(bounds: Bounds, value: float) -> str:
    """The zone A to D of a vibration velocity."""
    return "ABCD"[sum(value >= bound for bound in bounds)]


def _rule(name: str, limit: Limit) -> LimitRule:
    kind = kind_of_limit(name, limit) or "above"
    rate = limit.rising or limit.falling
    value = limit.above if limit.above is not None else limit.below
    level = limit.limit or rate or Level(math.nan if value is None else value)
    per_s = level.per_s
    deadband = limit.deadband.value
    if limit.deadband.percent:
        deadband = abs(level.value) * deadband / 100
    severity = limit.severity or KNOWN.get(name, (kind, _SEVERITY))[1]
    zone = name[-1].upper() if name in ZONES else ""
    return LimitRule(
        name,
        kind,
        level.value / (per_s or 1),
        deadband / (per_s or 1),
        severity,
        limit,
        per_s,
        zone,
    )
