"""A rolling bearing of a machine: the keys that a user may write, and its defect orders."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final, NamedTuple

from edge_agent.config.problem import Wrong, shown
from edge_agent.config.types import Between

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_LEAST_BALLS: Final = 3
_MAX_LISTED: Final = 64  # characters of a wrong type in a message


class Orders(NamedTuple):
    """Defect frequencies of a bearing as multiples of shaft speed; all 0 if they are unknown.

    outer: ball pass frequency of the outer race; inner: of the inner race; ball: twice the ball
    spin frequency (a defect strikes both races); cage: fundamental train frequency.
    """

    outer: float
    inner: float
    ball: float
    cage: float


class Geometry(NamedTuple):
    """Rolling elements: number, diameter and pitch diameter in mm, contact angle in degrees."""

    balls: int
    ball_mm: float
    pitch_mm: float
    contact_deg: float = 0.0


# Published with recordings of these bearings. Standards fix only bore, width and outside diameter:
# bearings of the same type by another maker may differ by a ball, or by some percent in diameter.
MODELS: Final[Mapping[str, Geometry]] = {
    "6203": Geometry(8, 6.746, 28.499),  # SKF 6203-2RS; Case Western Reserve University
    "6204": Geometry(8, 7.938, 33.5),  # 5/16 in; pitch: mean of bore and outside diameter
    "6205": Geometry(9, 7.94, 39.04),  # SKF 6205-2RS; Case Western Reserve University
    "6206": Geometry(9, 9.525, 46.0),  # 3/8 in; pitch: mean of bore and outside diameter
    "6804": Geometry(13, 3.5, 25.6),  # NSK 6804DD; PRONOSTIA, IEEE PHM 2012
    "ER16K": Geometry(9, 7.938, 38.506),  # MB Manufacturing; SpectraQuest, University of Ottawa
    "NICE": Geometry(8, 5.969, 31.623),  # Machinery Failure Prevention Technology (MFPT)
    "UER204": Geometry(8, 7.92, 34.55),  # LDK UER204; Xi'an Jiaotong University (XJTU-SY)
    "ZA-2115": Geometry(16, 8.407, 71.501, 15.17),  # Rexnord ZA-2115; University of Cincinnati
}
_HINT: Final = f"known: {', '.join(MODELS)}; of another one write balls and diameters"
_SUFFIXES: Final = "-/ "  # after them, a designation lists seals, cage and clearance


# Units of a speed, and their turns per second.
_HZ: Final = ("hz", "1/s", "s-1", "s^-1", "s⁻¹", "r/s", "rps", "rev/s", "u/s")
_RPM: Final = ("1/min", "min-1", "min^-1", "min⁻¹", "rpm", "r/min", "rev/min", "u/min", "tr/min")
_TURNS: Final = {**dict.fromkeys(_HZ, 1.0), **dict.fromkeys(_RPM, 1 / 60)}


def turns_per_s(unit: str) -> float:
    """Turns per second of a speed of one such unit; 0 if it is no unit of a speed."""
    return _TURNS.get(unit.strip().lower(), 0.0)


@dataclass(frozen=True, slots=True)
class Bearing:
    """A rolling bearing: a key of MODELS, its geometry, or its defect orders from a data sheet.

    bpfo, bpfi, bsf, ftf: per turn of the shaft. rpm: a fixed speed; 0: a signal has the speed.
    speed: the name of that signal; speed_ratio: turns of this bearing's shaft for each of its turns
    (a gear).
    """

    model: str = ""
    balls: Annotated[int, Between(0, 1000)] = 0
    ball_diameter_mm: Annotated[float, Between(0, 1e4)] = 0.0
    pitch_diameter_mm: Annotated[float, Between(0, 1e5)] = 0.0
    contact_angle_deg: Annotated[float, Between(0, 89)] = 0.0
    bpfo: Annotated[float, Between(0, 1e3)] = 0.0
    bpfi: Annotated[float, Between(0, 1e3)] = 0.0
    bsf: Annotated[float, Between(0, 1e3)] = 0.0
    ftf: Annotated[float, Between(0, 1)] = 0.0
    rpm: Annotated[float, Between(0, 1e6)] = 0.0
    speed: str = ""
    speed_ratio: Annotated[float, Between(1e-6, 1e6)] = 1.0

    @classmethod
    def from_text(cls, text: str) -> Bearing:
        """`bearing: 6205`."""
        if geometry_of(text) is None:
            wrong = shown(text[:_MAX_LISTED])
            raise Wrong(f"bearing {wrong} is not known", _HINT)
        return cls(model=text)

    def problems(self) -> Iterator[tuple[str, str]]:
        """Contradictions, as (key, message)."""
        if self.speed and self.rpm:
            yield "speed", "rpm is a fixed speed: write only one of them"
        if self.speed_ratio != 1 and not self.speed:
            yield "speed_ratio", "has no effect without speed, a signal"
        ways = [bool(self.model), self._has_geometry, self._has_orders]
        if sum(ways) > 1:
            yield "", "write its model, or its geometry, or bpfo, bpfi, bsf and ftf: only one"
        elif self.model and geometry_of(self.model) is None:
            yield "model", f"{shown(self.model[:_MAX_LISTED])} is not known; {_HINT}"
        elif self._has_geometry:
            yield from self._geometry_problems()
        elif self._has_orders and not all((self.bpfo, self.bpfi, self.bsf, self.ftf)):
            yield "", "bpfo, bpfi, bsf and ftf are needed together"
        elif not any(ways) and not (self.rpm or self.speed):
            yield (
                "",
                "has no geometry: write model, or balls and diameters, or bpfo, bpfi, bsf, ftf",
            )

    def _geometry_problems(self) -> Iterator[tuple[str, str]]:
        if self.balls < _LEAST_BALLS:
            yield "balls", f"a bearing has at least {_LEAST_BALLS}"
        if not 0 < self.ball_diameter_mm < self.pitch_diameter_mm:
            yield "ball_diameter_mm", "must be above 0 and below pitch_diameter_mm"

    @property
    def _has_geometry(self) -> bool:
        return any((self.balls, self.ball_diameter_mm, self.pitch_diameter_mm))

    @property
    def _has_orders(self) -> bool:
        return any((self.bpfo, self.bpfi, self.bsf, self.ftf))

    @property
    def orders(self) -> Orders:
        """The orders of its defects; all 0 if only its speed is known."""
        known = geometry_of(self.model)
        if known is None and not self._has_geometry:
            return Orders(self.bpfo, self.bpfi, 2 * self.bsf, self.ftf)
        return orders_of(known or self._geometry)

    @property
    def constants(self) -> dict[str, tuple[float, ...]]:
        """What models may ask for: `bearing`, its orders, and `speed`, if it is fixed."""
        known = {"bearing": tuple(self.orders)} if any(self.orders) else {}
        return known | ({"speed": (self.rpm,)} if self.rpm else {})

    @property
    def _geometry(self) -> Geometry:
        ball_mm, pitch_mm = self.ball_diameter_mm, self.pitch_diameter_mm
        return Geometry(self.balls, ball_mm, pitch_mm, self.contact_angle_deg)


def geometry_of(designation: str) -> Geometry | None:
    """The geometry of a type, with or without suffixes such as -2RS; None if it is not known."""
    name = designation.strip().upper()
    if name in MODELS:
        return MODELS[name]
    for suffix in _SUFFIXES:
        name = name.split(suffix)[0]
    return MODELS.get(name)


def orders_of(geometry: Geometry) -> Orders:
    """Orders of a bearing with a stationary outer ring."""
    balls, ball_mm, pitch_mm, contact_deg = geometry
    ratio = ball_mm / pitch_mm
    slope = ratio * math.cos(math.radians(contact_deg))
    spin = (1 - slope**2) / ratio
    return Orders(balls * (1 - slope) / 2, balls * (1 + slope) / 2, spin, (1 - slope) / 2)
