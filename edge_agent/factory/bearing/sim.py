"""Simulated bearings: waveforms of machines with other resonances, speeds and noise.

The usual model of a local defect (McFadden, Smith: Model for the vibration produced by a single
point defect in a rolling element bearing, JSV 96, 1984; Antoni, Randall: the slip of the rolling
elements, MSSP 17, 2003): each strike excites the structure's modes, strikes occur at the defect's
order with slip, weighted by the load zone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from edge_agent.config.bearing import MODELS, Bearing, Geometry, Orders, orders_of
from edge_agent.factory.bearing.features import LENGTH, RATE_HZ

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

CLASSES: Final = (
    "normal",
    "bearing_ball",
    "bearing_inner_race",
    "bearing_outer_race",
    "bearing_damage",  # its part is not known: no geometry, or damage where it has no lines
)
NORMAL, BALL, INNER, OUTER, UNKNOWN = CLASSES
PARTS: Final = CLASSES[1:4]
SPEEDS_HZ: Final = (10.0, 60.0)
_PREFIX: Final = 2048  # samples until the ringing is stationary; cut off
_SHOCKED: Final = 0.3  # share of healthy machines with shocks
_RING: Final = 1024  # samples of a mode's response
_KNOTS: Final = 9
_FAULTY: Final = 0.5  # share of machines with another fault
_NO_GEOMETRY: Final = 0.3  # share of machines whose bearing is not configured
_CATALOGUED: Final = 0.4
_TOO_NEAR: Final = 0.04
UNKNOWN_ORDERS: Final = Orders(0.0, 0.0, 0.0, 0.0)
_FOREIGN: Final = 0.6  # share of tone families that are unrelated to the shaft


class Simulated(NamedTuple):
    """Machines [N]; label: a number of CLASSES; orders [N, 4]: as configured, 0 if unknown."""

    rpm: NDArray[np.float32]
    waveforms: NDArray[np.float32]
    orders: NDArray[np.float32]
    label: NDArray[np.int64]


class Case(NamedTuple):
    """A machine to simulate: its true bearing, what the config says, its damage and its name."""

    true: Orders
    told: Orders
    damage: str
    name: str


def simulate(each: int, random: np.random.Generator, loudness_db: tuple[float, float]) -> Simulated:
    """`each` machines of every class; loudness_db: range of the defect's power to all else."""
    cases = [any_case(name, random) for name in CLASSES for _ in range(each)]
    speeds = random.uniform(*SPEEDS_HZ, len(cases))
    waves = [
        machine(case.true, case.damage, fr, random.uniform(*loudness_db), random)
        for case, fr in zip(cases, speeds, strict=True)
    ]
    return simulated(cases, speeds, waves)


def simulated(
    cases: Sequence[Case], speeds_hz: Floats, waves: Sequence[NDArray[np.float32]]
) -> Simulated:
    """The cases with their waveforms."""
    told = np.array([case.told for case in cases], np.float32)
    label = np.array([CLASSES.index(case.name) for case in cases])
    return Simulated((speeds_hz * 60.0).astype(np.float32), np.stack(waves), told, label)


def any_case(name: str, random: np.random.Generator) -> Case:
    """A machine of a class, with any bearing.

    Damage of an unknown part: no geometry is configured, or that of another bearing.
    """
    true = any_bearing(random)
    if name in PARTS:
        return Case(true, true, name, name)
    told = UNKNOWN_ORDERS if random.random() < _NO_GEOMETRY else any_bearing(random)
    if name == NORMAL:
        return Case(true, told, name, name)
    damage = str(random.choice(PARTS))
    while _could_be(order_of(true, damage), told):
        told = any_bearing(random)
    return Case(true, told, damage, name)


def any_bearing(random: np.random.Generator) -> Orders:
    """The orders of a ball or roller bearing of usual proportions; often of a known one."""
    if random.random() < _CATALOGUED:
        return Bearing(model=str(random.choice(list(MODELS)))).orders
    pitch = random.uniform(0.14, 0.32)
    balls = round(np.pi / pitch * random.uniform(0.5, 0.7))
    angle = random.choice([0.0, 0.0, random.uniform(5, 40)])
    return orders_of(Geometry(int(np.clip(balls, 6, 20)), pitch, 1.0, float(angle)))


def _could_be(order: float, told: Orders) -> bool:
    """True if damage of this order would be at a line of the configured bearing."""
    lines = np.outer(np.array([*told, told.inner - 1, told.inner + 1]), [1, 2, 3, 1 / 2, 1 / 3])
    return bool((np.abs(lines / order - 1) < _TOO_NEAR).any())


def machine(
    orders: Orders, kind: str, speed_hz: float, loudness_db: float, random: np.random.Generator
) -> NDArray[np.float32]:
    """One waveform [LENGTH] of a newly drawn machine."""
    length = LENGTH + _PREFIX
    quiet = _unit(_background(length, random)) + _rotor(length, speed_hz, random)
    wave = _unit(quiet)
    if random.random() < _FAULTY:
        wave = _unit(wave + _other_fault(length, speed_hz, random))
    if kind != NORMAL:
        strikes = _strikes(orders, kind, speed_hz, length, random)
        wave = wave + 10 ** (loudness_db / 20) * _unit(_ringing(strikes, random))
    elif random.random() < _SHOCKED:  # shocks without a period are not a bearing fault
        shocks = (random.random(length) < random.uniform(2, 60) / RATE_HZ) * random.normal(
            size=length
        )
        wave = wave + 10 ** (loudness_db / 20) * _unit(_ringing(shocks, random))
    gain = 10 ** random.uniform(-2, 1)
    return (gain * wave[_PREFIX:]).astype(np.float32)


def _other_fault(length: int, speed_hz: float, random: np.random.Generator) -> Floats:
    """Looseness (strikes of the shaft), unbalance, or noise in time with the mains or a turn."""
    t = np.arange(length) / RATE_HZ
    fault = random.integers(4)
    size = random.uniform(0.1, 1.5)
    if fault == 0:
        rate_hz = speed_hz * random.choice([0.5, 1.0, 1.0, 2.0])
        at = (np.arange(int(t[-1] * rate_hz) + 1) + random.random()) / rate_hz
        at += random.normal(0, 0.02 / rate_hz, len(at))
        index = np.clip(np.round(at * RATE_HZ).astype(int), 0, length - 1)
        strikes = np.zeros(length)
        np.add.at(strikes, index, random.lognormal(0, 0.4, len(at)))
        return size * _unit(_ringing(strikes, random))
    if fault == 1:
        return 3 * size * np.cos(2 * np.pi * (speed_hz * t + random.random()))
    mains_hz = random.choice([50.0, 100.0, 60.0, 120.0])
    swell_hz = mains_hz if fault == 2 else speed_hz * random.choice([0.5, 1.0, 1.0, 2.0])  # noqa: PLR2004
    swell = 0.5 + 0.5 * np.cos(2 * np.pi * (swell_hz * t + random.random()))
    return size * _unit(_background(length, random) * swell ** float(random.uniform(0.3, 8)))


def order_of(orders: Orders, kind: str) -> float:
    """The number of strikes on a defect of a class of CLASSES per turn of the shaft."""
    return {BALL: orders.ball, INNER: orders.inner, OUTER: orders.outer}[kind]


def _strikes(
    orders: Orders, kind: str, speed_hz: float, length: int, random: np.random.Generator
) -> Floats:
    """Impulses [length] of a defect: with slip, weighted by the load zone."""
    order = order_of(orders, kind)
    rate_hz = order * speed_hz * (1 + random.uniform(-0.006, 0.006))
    count = int(length / RATE_HZ * rate_hz) + 2
    slip = random.normal(0, random.uniform(0.002, 0.012), count)
    at_s = (np.arange(count) + random.random() + slip) / rate_hz
    weight = random.lognormal(0, 0.25, count) * _load(orders, kind, speed_hz, at_s, random)
    if kind == BALL:  # the two races respond differently
        weight[::2] *= random.uniform(0.3, 1.0)
    impulses = np.zeros(length)
    index = np.round(at_s * RATE_HZ).astype(int)
    inside = (index >= 0) & (index < length)
    np.add.at(impulses, index[inside], weight[inside])
    return impulses


def _load(
    orders: Orders, kind: str, speed_hz: float, at_s: Floats, random: np.random.Generator
) -> Floats:
    """The force of each strike: an inner race turns with the shaft, a ball with the cage."""
    if kind == OUTER:
        return np.ones_like(at_s)
    turns_hz = speed_hz * (1.0 if kind == INNER else orders.cage)
    depth = random.uniform(0.2, 1.0)
    phase = random.uniform(0, 2 * np.pi)
    return np.maximum(0.0, 1.0 + depth * np.cos(2 * np.pi * turns_hz * at_s + phase))


def _ringing(impulses: Floats, random: np.random.Generator) -> Floats:
    """The response of one to three modes to impulses."""
    t = np.arange(_RING) / RATE_HZ
    response = np.zeros(_RING)
    for _ in range(random.integers(1, 4)):
        mode_hz = random.uniform(900, 5600)
        decay = 2 * np.pi * mode_hz * random.uniform(0.015, 0.08)
        response += random.uniform(0.3, 1) * np.exp(-decay * t) * np.sin(2 * np.pi * mode_hz * t)
    return _filtered(impulses, np.fft.rfft(response, len(impulses)))


def _background(length: int, random: np.random.Generator) -> Floats:
    """Noise whose spectrum is a random smooth curve."""
    noise = random.normal(size=length)
    knots_db = random.uniform(-15, 15, _KNOTS)
    bins = np.linspace(0, _KNOTS - 1, length // 2 + 1)
    curve_db = np.interp(bins, np.arange(_KNOTS), knots_db)
    return _filtered(noise, 10 ** (curve_db / 20))


def _rotor(length: int, speed_hz: float, random: np.random.Generator) -> Floats:
    """Shaft harmonics, and families of tones (gears, currents) of any spacing."""
    t = np.arange(length) / RATE_HZ
    found = np.zeros(length)
    for multiple in range(1, 7):
        size = random.exponential(0.3) / multiple
        found += size * np.cos(2 * np.pi * (multiple * speed_hz * t + random.random()))
    for _ in range(random.integers(0, 6)):
        found += _family(t, speed_hz, random)
    return found


def _family(t: Floats, speed_hz: float, random: np.random.Generator) -> Floats:
    """A tone with sidebands at multiples of the shaft's speed or of an unrelated rate."""
    center_hz = random.uniform(50, 5500)
    own = random.random() < _FOREIGN
    spacing_hz = random.uniform(3, 400) if own else speed_hz * random.integers(1, 4)
    found = np.zeros_like(t)
    size = random.exponential(0.3)
    for side in range(-random.integers(0, 4), random.integers(1, 5)):
        tone_hz = center_hz + side * spacing_hz
        found += random.exponential(size) * np.cos(2 * np.pi * (tone_hz * t + random.random()))
    return found


def _filtered(values: Floats, response: NDArray[np.inexact]) -> Floats:
    return np.fft.irfft(np.fft.rfft(values) * response, len(values))


def _unit(values: Floats) -> Floats:
    return np.asarray(values / (np.sqrt((values**2).mean()) + 1e-12))
