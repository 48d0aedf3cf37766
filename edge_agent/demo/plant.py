"""A simulated pump station: readings of its sensors with healthy and with faulty pumps.

Each pump feeds its own loop. Quasi-steady hydraulics, one first-order lag each for speed and
heat; all pumps at once as numpy arrays [P]. The formulas:

- Head and flow: Hs s² - k Q² with s = n / n0 (affinity laws), met by the system curve
  Hg + (R + Rv) Q²; efficiency a parabola about the best point. Gülich, Centrifugal Pumps, 4th ed.,
  2.2 and 11.1; valve: equal percentage, IEC 60534-2-4.
- Cavitation: NPSH available (ps + pa - pv) / (rho g) against NPSH required, growing with Q²; below
  it head breaks down and broadband vibration rises. Gülich, 6.2.
- Motor: real power / (sqrt(3) U cos phi eta) and a magnetising current at right angles to it.
- Bearing: Newton's law of cooling, friction with speed and load as its heat.
- Vibration velocity (RMS, 10-1000 Hz, bearing housing): unbalance with s², more away from the best
  point. ISO 20816-1; up to 2.3 mm/s is zone A of ISO 20816-3, from 4.5 mm/s on zone C begins.

Nothing here waits or reads a clock: `step` advances the plant's own time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

G: Final = 9.81
WATER_DENSITY: Final = 998.0  # kg/m3
VAPOUR_BAR: Final = 0.023  # at 20 degC
AMBIENT_BAR: Final = 1.013
BAR_PER_M: Final = WATER_DENSITY * G / 1e5

RATED_RPM: Final = 2950.0
SHUTOFF_M: Final = 40.0
PUMP_M: Final = 4.0e-4  # m per (m3/h)2
STATIC_M: Final = 12.0
PIPE_M: Final = 1.5e-3
VALVE_M: Final = 2.0e-4  # the valve fully open
RANGEABILITY: Final = 50.0
BEST_M3H: Final = 105.0
BEST_EFFICIENCY: Final = 0.78

SUCTION_BAR: Final = 0.35  # gauge, at no flow
SUCTION_M: Final = 1.2e-4  # strainer and pipe
NPSH_M: Final = (1.5, 2.0e-4)  # required: at no flow, and with Q²

VOLTS: Final = 400.0
POWER_FACTOR: Final = 0.88
MOTOR_EFFICIENCY: Final = 0.92
MAGNETISING_A: Final = 7.0

SPEED_LAG_S: Final = 6.0
HEAT_LAG_S: Final = 600.0
FRICTION_K: Final = (22.0, 9.0)  # above the hall at rated speed: alone, and from rated power
RATED_KW: Final = 12.0
HALL_C: Final = 22.0
VIBRATION_MM_S: Final = (1.1, 1.5)  # at rated speed: balanced, and (Q / best - 1)²

DEMAND: Final = ((290.0, 0.035), (170.0, 0.02))  # period in s, share of the speed
HALL: Final = (410.0, 0.3)  # period in s, K


@dataclass(frozen=True, slots=True)
class Sensor:
    """An instrument: noise (standard deviation) and resolution in its unit, and its range."""

    unit: str
    noise: float
    resolution: float
    low: float
    high: float


SENSORS: Final = {
    "speed": Sensor("rpm", 2.0, 1.0, 0, 4000),
    "flow": Sensor("m3/h", 0.3, 0.1, 0, 200),
    "suction_pressure": Sensor("bar", 0.004, 0.001, -1, 6),
    "discharge_pressure": Sensor("bar", 0.05, 0.01, -1, 16),
    "current": Sensor("A", 0.12, 0.02, 0, 63),
    "bearing_temperature": Sensor("degC", 0.12, 0.05, -20, 150),
    "vibration": Sensor("mm/s", 0.05, 0.01, 0, 50),
    "valve": Sensor("%", 0.15, 0.05, 0, 100),
}
NAMES: Final = tuple(SENSORS)


@dataclass(frozen=True, slots=True)
class Fault:
    """A kind of fault: `leading` is the input that must be the first contributor.

    ramp_s: time from its onset to its full extent.
    """

    text: str
    leading: str
    ramp_s: float


FAULTS: Final = {
    "bearing_wear": Fault("drive-end bearing wears out", "vibration", 300.0),
    "cavitation": Fault("suction strainer clogs, the pump cavitates", "suction_pressure", 240.0),
    "blocked_valve": Fault("discharge valve is blocked, though it reads open", "flow", 180.0),
    "stuck_sensor": Fault("bearing temperature sensor is stuck", "bearing_temperature", 1e-9),
    "lost_sensor": Fault("vibration sensor is lost", "vibration", 1e-9),
}
_WARM_UP_S: Final = 3600.0
_WARM_UP_STEP_S: Final = 10.0
_WORN_MM_S: Final = 5.0
_WORN_K: Final = 35.0
_CLOGGED_M: Final = 8.0  # times the clean strainer's
_BLOCKED_M: Final = 4.0e-3
_CAVITATING_MM_S: Final = 4.0
_HEAD_BREAKDOWN: Final = 0.25


class PumpPlant:
    """`pumps` pumps that run and fail; the same seed gives the same readings.

    Times are the plant's own seconds.
    """

    def __init__(self, pumps: int, seed: int = 1) -> None:
        self.time_s = -_WARM_UP_S
        self._random = np.random.default_rng(seed)
        self._phase = self._random.uniform(0, 2 * np.pi, (3, pumps))
        self._build = self._random.normal(1.0, 0.02, (3, pumps))  # all pumps differ
        self._onset_s = {name: np.full(pumps, np.inf) for name in FAULTS}
        self._speed = self._wanted_speed()
        self._flow = np.full(pumps, BEST_M3H)
        self._bearing_c = np.full(pumps, HALL_C + sum(FRICTION_K))
        self._true = np.zeros((pumps, len(NAMES)))
        self._readings = np.zeros((pumps, len(NAMES)))
        while self.time_s < 0:
            self.step(_WARM_UP_STEP_S)

    def inject(self, pump: int, fault: str) -> None:
        """Start a fault now."""
        self._onset_s[fault][pump] = self.time_s

    def repair(self, pump: int) -> None:
        """End all faults of a pump; its bearing cools down slowly."""
        for onset_s in self._onset_s.values():
            onset_s[pump] = np.inf

    def step(self, seconds: float) -> None:
        """Advance the time, then read all sensors."""
        self.time_s += seconds
        self._move(seconds)
        self._measure()

    @property
    def readings(self) -> Floats:
        """The sensor readings, [pumps, sensors] in the order of NAMES; NaN if a sensor is lost."""
        return self._readings.copy()

    # -- physics ------------------------------------------------------------------------------

    def _extent(self, fault: str) -> Floats:
        """The extent of a fault, 0..1."""
        since_s = np.maximum(self.time_s - self._onset_s[fault], 0.0)
        return np.asarray(np.minimum(since_s / FAULTS[fault].ramp_s, 1.0))

    def _wanted_speed(self) -> Floats:
        waves = [
            share * np.sin(2 * np.pi * self.time_s / period_s + phase)
            for (period_s, share), phase in zip(DEMAND, self._phase[:2], strict=True)
        ]
        return np.asarray(RATED_RPM * (0.97 + waves[0] + waves[1]))

    def _move(self, seconds: float) -> None:
        self._speed += (self._wanted_speed() - self._speed) * _share(seconds, SPEED_LAG_S)
        s = self._speed / RATED_RPM
        valve = np.full_like(s, 70.0)
        suction_bar, cavitating = self._suction()
        head_m = self._meet_system(s, valve, cavitating)
        kw = self._shaft_kw(s, head_m)
        self._bearing_c += self._heating(s, kw) * _share(seconds, HEAT_LAG_S)
        discharge_bar = suction_bar + head_m * BAR_PER_M
        vibration = self._vibration(s, cavitating)
        current = np.hypot(
            kw * 1e3 / (np.sqrt(3) * VOLTS * POWER_FACTOR * MOTOR_EFFICIENCY), MAGNETISING_A
        )
        self._true = np.column_stack(
            [
                self._speed,
                self._flow,
                suction_bar,
                discharge_bar,
                current,
                self._bearing_c,
                vibration,
                valve,
            ]
        )

    def _suction(self) -> tuple[Floats, Floats]:
        """Suction pressure (bar gauge), and the degree of cavitation (0..1)."""
        clogged = 1.0 + (_CLOGGED_M - 1.0) * self._extent("cavitation")
        loss_m = SUCTION_M * clogged * self._flow**2
        bar = SUCTION_BAR - loss_m * BAR_PER_M
        available_m = (bar + AMBIENT_BAR - VAPOUR_BAR) / BAR_PER_M
        required_m = NPSH_M[0] + NPSH_M[1] * self._flow**2
        return bar, np.clip(1.5 - available_m / required_m, 0.0, 1.0)

    def _meet_system(self, s: Floats, valve: Floats, cavitating: Floats) -> Floats:
        """Set the flow at which pump and system curve meet; returns its head (m)."""
        shutoff_m = SHUTOFF_M * self._build[0] * (1.0 - _HEAD_BREAKDOWN * cavitating) * s**2
        opening = RANGEABILITY ** (valve / 100.0 - 1.0)
        outlet_m = VALVE_M / opening**0.5 + _BLOCKED_M * self._extent("blocked_valve")
        squared = (shutoff_m - STATIC_M) / (PUMP_M + PIPE_M + outlet_m)
        self._flow = np.sqrt(np.maximum(squared, 1.0))
        return np.asarray(shutoff_m - PUMP_M * self._flow**2)

    def _shaft_kw(self, s: Floats, head_m: Floats) -> Floats:
        off_best = self._flow / (BEST_M3H * s) - 1.0
        efficiency = BEST_EFFICIENCY * np.maximum(1.0 - off_best**2, 0.3)
        return WATER_DENSITY * G * (self._flow / 3600) * head_m / efficiency / 1e3

    def _heating(self, s: Floats, kw: Floats) -> Floats:
        """The final temperature rise of the bearing (K)."""
        period_s, share_k = HALL
        hall_c = HALL_C + share_k * np.sin(2 * np.pi * self.time_s / period_s + self._phase[2])
        friction_k = (FRICTION_K[0] * s + FRICTION_K[1] * kw / RATED_KW) * self._build[1]
        worn_k = _WORN_K * self._extent("bearing_wear")
        return np.asarray(hall_c + friction_k + worn_k - self._bearing_c)

    def _vibration(self, s: Floats, cavitating: Floats) -> Floats:
        off_best = self._flow / (BEST_M3H * s) - 1.0
        steady = (VIBRATION_MM_S[0] + VIBRATION_MM_S[1] * off_best**2) * s**2 * self._build[2]
        worn = _WORN_MM_S * self._extent("bearing_wear")
        collapsing = _CAVITATING_MM_S * cavitating * self._random.uniform(0.7, 1.3, len(s))
        return np.asarray(np.sqrt(steady**2 + worn**2 + collapsing**2))

    # -- sensors ------------------------------------------------------------------------------

    def _measure(self) -> None:
        noise = np.array([sensor.noise for sensor in SENSORS.values()])
        step = np.array([sensor.resolution for sensor in SENSORS.values()])
        found = self._true + noise * self._random.standard_normal(self._true.shape)
        found = np.round(np.round(found / step) * step, 6)
        low = [sensor.low for sensor in SENSORS.values()]
        high = [sensor.high for sensor in SENSORS.values()]
        found = np.clip(found, low, high)
        for fault, frozen in (("stuck_sensor", True), ("lost_sensor", False)):
            column = NAMES.index(FAULTS[fault].leading)
            hit = self._onset_s[fault] < np.inf
            found[hit, column] = self._readings[hit, column] if frozen else np.nan
        self._readings = found


def _share(seconds: float, lag_s: float) -> float:
    """The share of its final change that a first-order lag reaches in that time."""
    return float(1.0 - np.exp(-seconds / lag_s))
