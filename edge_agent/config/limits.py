"""Limits of a signal: the keys that a user may write, and the types of their values.

The boundaries of vibration zones are figures of ISO 20816-3:2022, annex A (machines of group 1:
above 300 kW, or electrical with a shaft height from 315 mm; of group 2: 15 kW to 300 kW), and of
ISO 10816-1:1995, annex B (classes I to IV): RMS vibration velocity in mm/s, measured on
non-rotating parts, between the zones A/B, B/C and C/D.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Final, Literal, NewType, TypeAlias

from edge_agent.config.conditions import Condition  # noqa: TC001 (the loader reads the hints)
from edge_agent.config.problem import Wrong, shown
from edge_agent.config.types import Between, Duration
from edge_agent.messages import Ne107

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Kind: TypeAlias = Literal["above", "below", "rising", "falling"]
Bounds: TypeAlias = tuple[float, float, float]  # between the zones A/B, B/C and C/D

# Names that imply a direction, with their default severity.
KNOWN: Final[Mapping[str, tuple[Kind, int]]] = {
    "high_high": ("above", 800),
    "high": ("above", 500),
    "low": ("below", 500),
    "low_low": ("below", 800),
    "rate_high": ("rising", 500),
    "rate_low": ("falling", 500),
}
SPELLED: Final[Mapping[str, str]] = {
    "hh": "high_high", "hihi": "high_high", "high-high": "high_high", "h": "high", "hi": "high",
    "max": "high", "l": "low", "lo": "low", "min": "low", "ll": "low_low", "lolo": "low_low",
    "low-low": "low_low", "rate": "rate_high", "roc": "rate_high",
}  # fmt: skip
TAKEN: Final = frozenset({"quality", "drift", "flood", "silent"})  # names of other alarms
ZONES: Final = ("zone_c", "zone_d")
_PER: Final = {"s": 1.0, "sec": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_NUMBER: Final = r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
_LEVEL: Final = re.compile(rf"({_NUMBER})(?: ?/ ?([a-z]+))?")
_DEADBAND: Final = re.compile(rf"({_NUMBER}) ?(%?)")
_MAX_TEXT: Final = 64
_WHICH_CLASS: Final = (
    "write group: 1 (above 300 kW) or 2 (15 to 300 kW) with foundation: rigid or flexible; "
    "or machine_class: I, II, III or IV"
)

_MM_S: Final[Mapping[str, float]] = {
    "mm/s": 1.0, "cm/s": 0.1, "m/s": 1e-3, "µm/s": 1e3, "um/s": 1e3, "in/s": 1 / 25.4,
    "ips": 1 / 25.4, "inch/s": 1 / 25.4, "mm/sec": 1.0, "in/sec": 1 / 25.4, "mms-1": 1.0,
}  # fmt: skip
_GROUPS: Final[Mapping[tuple[int | None, str | None], Bounds]] = {
    (1, "rigid"): (2.3, 4.5, 7.1),
    (1, "flexible"): (3.5, 7.1, 11.0),
    (2, "rigid"): (1.4, 2.8, 4.5),
    (2, "flexible"): (2.3, 4.5, 7.1),
}
_CLASSES: Final[Mapping[str, Bounds]] = {
    "I": (0.71, 1.8, 4.5),
    "II": (1.12, 2.8, 7.1),
    "III": (1.8, 4.5, 11.2),
    "IV": (2.8, 7.1, 18.0),
}


@dataclass(frozen=True, slots=True)
class Level:
    """A number in the signal's unit; per_s: the unit of time after the `/` in s, 0 without one."""

    value: float
    per_s: float = 0.0


Rate = NewType("Rate", Level)


@dataclass(frozen=True, slots=True)
class Deadband:
    """In the signal's unit (or rate), or in percent of the limit."""

    value: float
    percent: bool = False


def to_level(text: str) -> Level:
    """`7.1`, or a rate: `5/min`, `0.2/s`, `30/h`."""
    match = _LEVEL.fullmatch(text) if len(text) <= _MAX_TEXT else None
    value = float(match[1]) if match else math.nan
    if match is None or not math.isfinite(value):
        raise Wrong(f"{shown(text)} is not a number", "write 7.1, or a rate: 5/min")
    if match[2] and match[2] not in _PER:
        raise Wrong(f"{shown(match[2])} is not a unit of time", f"one of: {', '.join(_PER)}")
    return Level(value, _PER[match[2]] if match[2] else 0.0)


def to_rate(text: str) -> Rate:
    """A change of the signal per unit of time."""
    level = to_level(text)
    if not level.per_s:
        raise Wrong(f"{shown(text)} has no time", "write 5/s, 5/min or 5/h")
    if level.value <= 0:
        raise Wrong("a rate must be above 0", "rising and falling already define the direction")
    return Rate(level)


def to_deadband(text: str) -> Deadband:
    """`0.2` in the signal's unit, `5 %` of the limit."""
    match = _DEADBAND.fullmatch(text) if len(text) <= _MAX_TEXT else None
    value = float(match[1]) if match else math.nan
    if match is None or not math.isfinite(value):
        raise Wrong(f"{shown(text)} is not a deadband", "write 0.2 (in the signal's unit) or 5 %")
    if value < 0 or (match[2] and value >= 100):  # noqa: PLR2004 (per cent)
        raise Wrong("must not be negative, and less than 100 %")
    return Deadband(value, bool(match[2]))


@dataclass(frozen=True, slots=True)
class Limit:
    """An alarm on a signal; `high: 7.1` is short for `high: {limit: 7.1}`.

    The names high_high, high, low, low_low, rate_high and rate_low imply their direction. A
    limit of another name has exactly one of above, below, rising, falling.
    """

    limit: Level | None = None
    above: float | None = None  # an alarm at this value and over it
    below: float | None = None  # an alarm at this value and under it
    rising: Rate | None = None  # by this amount or more: 5/min
    falling: Rate | None = None
    window: Annotated[Duration, Between(0.1, 7 * 86400)] = Duration(
        60
    )  # the time over which a rate is measured
    rolls_over_at: Annotated[float, Between(1, 1e18)] | None = None  # a counter restarts there
    deadband: Deadband = Deadband(1, percent=True)
    on_delay: Duration = Duration(0)
    off_delay: Duration = Duration(10)
    cooldown: Duration = Duration(0)
    severity: Annotated[int, Between(1, 1000)] | None = None  # default: 500, of HH and LL 800
    ne107: Ne107 = Ne107.OUT_OF_SPECIFICATION
    failure_mode: str = ""
    message: dict[str, str] = field(default_factory=dict)  # language -> text
    advice: dict[str, str] = field(default_factory=dict)
    when: Condition | None = None  # in addition to the template's
    enabled: bool = True

    @classmethod
    def from_text(cls, text: str) -> Limit:
        """The short form."""
        return cls(limit=to_level(text))


class Foundation(StrEnum):
    """The support of a machine, in the direction of the measurement."""

    RIGID = "rigid"
    FLEXIBLE = "flexible"


class MachineClass(StrEnum):
    """Small to large machines, by ISO 10816-1, annex B."""

    I = "I"  # noqa: E741 (its name in the standard)
    II = "II"
    III = "III"
    IV = "IV"


@dataclass(frozen=True, slots=True)
class Iso20816:
    """The class of a machine; its vibration zones become the limits zone_c and zone_d."""

    group: Annotated[int, Between(1, 2)] | None = None  # ISO 20816-3
    foundation: Foundation | None = None
    machine_class: MachineClass | None = None  # ISO 10816-1, in place of group and foundation
    on_delay: Duration = Duration(10)
    off_delay: Duration = Duration(30)

    @property
    def bounds_mm_s(self) -> Bounds | None:
        """The boundaries of the zones in mm/s; None if the machine's class is not given."""
        if self.machine_class is not None:
            return _CLASSES[self.machine_class]
        return _GROUPS.get((self.group, self.foundation))

    def problems(self) -> Iterator[tuple[str, str]]:
        """Keys that are missing, or contradict each other."""
        both = self.group is not None or self.foundation is not None
        if self.machine_class is not None and both:
            yield "machine_class", "has the same meaning as group and foundation: write one of them"
        elif self.bounds_mm_s is None:
            yield "", _WHICH_CLASS


def velocity_factor(unit: str) -> float | None:
    """1 mm/s in a unit of velocity; None for any other unit."""
    plain = re.sub(r"[ ,(]*(rms|r\.m\.s\.|eff)[)]?$", "", unit.strip().lower()).replace(" ", "")
    return _MM_S.get(plain)


def kind_of_limit(name: str, limit: Limit) -> Kind | None:
    """The direction of a limit; None if neither its name nor its keys define it."""
    if limit.above is not None:
        return "above"
    if limit.below is not None:
        return "below"
    if limit.rising is not None:
        return "rising"
    if limit.falling is not None:
        return "falling"
    return KNOWN[name][0] if name in KNOWN else None
