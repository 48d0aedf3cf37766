"""A second simulator of bearings, with other rules than the training one: only for judging.

The noise is that of a structure (poles drawn at random) instead of a smooth curve; a defect is
struck twice (in and out of the spall); slip is a random walk; the load zone is Stribeck's; speed
drifts; a gear adds tones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.signal import lfilter

from edge_agent.factory.bearing.features import LENGTH, RATE_HZ
from edge_agent.factory.bearing.sim import (
    BALL,
    CLASSES,
    INNER,
    NORMAL,
    OUTER,
    PARTS,
    Case,
    any_case,
    order_of,
    simulated,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_agent.config.bearing import Orders
    from edge_agent.factory.bearing.sim import Simulated

    Floats = NDArray[np.float64]

_SPEEDS_HZ: Final = (12.0, 55.0)
_PREFIX: Final = 4096
_POLES: Final = 5
_FAULTY: Final = 0.5  # share of machines with another fault
_LOAD_POWER: Final = 1.5  # of a ball; Stribeck


def other_machines(
    each: int, loudness_db: float, random: np.random.Generator, orders: Orders | None = None
) -> Simulated:
    """`each` machines of every class; all have the same ratio of the defect's power to all else.

    orders: the bearing of all, which is configured; without it any bearings, and machines with
    damage of an unknown part. Half of the healthy ones have another fault.
    """
    if orders is None:
        cases = [any_case(name, random) for name in CLASSES for _ in range(each)]
    else:
        known = (NORMAL, *PARTS)
        cases = [Case(orders, orders, name, name) for name in known for _ in range(each)]
    speeds = random.uniform(*_SPEEDS_HZ, len(cases))
    waves = [
        _machine(case.true, case.damage, speed_hz, loudness_db, random)
        for case, speed_hz in zip(cases, speeds, strict=True)
    ]
    return simulated(cases, speeds, waves)


def _machine(
    orders: Orders, kind: str, speed_hz: float, loudness_db: float, random: np.random.Generator
) -> NDArray[np.float32]:
    length = LENGTH + _PREFIX
    creep = np.linspace(1 - 0.002, 1 + 0.002, length) ** random.choice([-1, 0, 1])
    turns = np.cumsum(creep) * speed_hz / RATE_HZ
    structure = _structure(random)
    wave = _unit(lfilter([1.0], structure, random.normal(size=length)))
    wave = _unit(wave + random.uniform(0, 1.5) * _gear(turns, random))
    if random.random() < _FAULTY:
        wave = _unit(wave + random.uniform(0.2, 2) * _other_fault(turns, random))
    if kind != NORMAL:
        rung = lfilter([1.0], _structure(random), _strikes(orders, kind, turns, random))
        wave = wave + 10 ** (loudness_db / 20) * _unit(rung)
    return np.asarray(wave[_PREFIX:] * 10 ** random.uniform(-1, 1), np.float32)


def _structure(random: np.random.Generator) -> Floats:
    """The denominator of a filter with some lightly damped modes."""
    angle = random.uniform(0.1, 0.95, _POLES) * np.pi
    radius = random.uniform(0.85, 0.985, _POLES)
    poles = radius * np.exp(1j * angle)
    return np.asarray(np.poly(np.concatenate([poles, poles.conj()])).real)


def _other_fault(turns: Floats, random: np.random.Generator) -> Floats:
    """Unbalance with its clipped peaks, a rub once per turn, or a converter's pulses."""
    fault = random.integers(3)
    if fault == 0:
        swing = 2 * np.cos(2 * np.pi * (turns + random.random()))
        return np.asarray(np.clip(swing, -1, random.uniform(0.5, 2)))
    noise = lfilter([1.0], _structure(random), random.normal(size=len(turns)))
    if fault == 1:
        angle = 2 * np.pi * (turns + random.random())
        return _unit(noise * np.exp(random.uniform(1, 8) * (np.cos(angle) - 1)))
    seconds = np.arange(len(turns)) / RATE_HZ
    mains = np.abs(np.cos(2 * np.pi * (random.choice([50.0, 60.0]) * seconds + random.random())))
    return _unit(noise * mains ** float(random.uniform(1, 4)))


def _gear(turns: Floats, random: np.random.Generator) -> Floats:
    """A gear mesh and its harmonics, modulated once per turn."""
    teeth = random.integers(11, 60)
    swell = 1 + random.uniform(0, 0.5) * np.cos(2 * np.pi * (turns + random.random()))
    found = np.zeros_like(turns)
    for harmonic in range(1, 4):
        phase = 2 * np.pi * (harmonic * teeth * turns + random.random())
        found += random.uniform(0, 1) / harmonic * np.cos(phase)
    return found * swell


def _strikes(orders: Orders, kind: str, turns: Floats, random: np.random.Generator) -> Floats:
    """Pairs of impulses: a ball enters the spall and leaves it."""
    order = order_of(orders, kind)
    count = int(turns[-1] * order) - 1
    steps = 1 + random.normal(0, random.uniform(0.003, 0.01), count)
    due = (random.random() + np.cumsum(steps)) / order
    rotation = {OUTER: 0.0, INNER: 1.0, BALL: orders.cage}[kind]
    zone = np.cos(2 * np.pi * (rotation * due + random.random() * (rotation > 0)))
    extent = random.uniform(0.5, 1.2)
    weight = np.maximum(0.0, 1 - (1 - zone) / (2 * extent)) ** _LOAD_POWER
    if kind == BALL:
        weight[1::2] *= random.uniform(0.4, 1.0)
    index = np.searchsorted(turns, due)
    found = np.zeros_like(turns)
    for offset, size in ((0, 1.0), (random.integers(2, 9), random.uniform(0.3, 0.9))):
        at = index + offset
        inside = at < len(turns)
        np.add.at(found, at[inside], size * weight[inside])
    return found


def _unit(values: Floats) -> Floats:
    return np.asarray(values / (np.sqrt((values**2).mean()) + 1e-12))
