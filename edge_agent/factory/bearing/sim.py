"""Simulated bearings: waveforms of machines with other resonances, speeds and noise.

The usual model of a local defect (McFadden, Smith: Model for the vibration produced by a single
point defect in a rolling element bearing, JSV 96, 1984; Antoni, Randall: the slip of the rolling
elements, MSSP 17, 2003): each strike excites the structure's modes, strikes occur at the defect's
order with slip, weighted by the load zone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from edge_agent.factory.bearing.features import LENGTH, RATE_HZ

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_agent.config.bearing import Orders

    Floats = NDArray[np.float64]

CLASSES: Final = ("normal", "bearing_ball", "bearing_inner_race", "bearing_outer_race")
SPEEDS_HZ: Final = (10.0, 60.0)
_PREFIX: Final = 2048  # samples until the ringing is stationary; cut off
_SHOCKED: Final = 0.3  # share of healthy machines with shocks
_RING: Final = 1024  # samples of a mode's response
_KNOTS: Final = 9
_FOREIGN: Final = 0.6  # share of tone families that are unrelated to the shaft


class Simulated(NamedTuple):
    """rpm [N]; waveforms float32 [N, LENGTH]; label [N], a number of CLASSES."""

    rpm: NDArray[np.float32]
    waveforms: NDArray[np.float32]
    label: NDArray[np.int64]


def simulate(
    orders: Orders, each: int, random: np.random.Generator, loudness_db: tuple[float, float]
) -> Simulated:
    """`each` machines of every class; loudness_db: range of the defect's power to all else."""
    label = np.repeat(np.arange(len(CLASSES)), each)
    speeds = random.uniform(*SPEEDS_HZ, len(label))
    waves = [
        machine(orders, CLASSES[k], fr, random.uniform(*loudness_db), random)
        for k, fr in zip(label, speeds, strict=True)
    ]
    return Simulated((speeds * 60.0).astype(np.float32), np.stack(waves), label)


def machine(
    orders: Orders, kind: str, speed_hz: float, loudness_db: float, random: np.random.Generator
) -> NDArray[np.float32]:
    """One waveform [LENGTH] of a newly drawn machine."""
    length = LENGTH + _PREFIX
    quiet = _unit(_background(length, random)) + _rotor(length, speed_hz, random)
    wave = _unit(quiet)
    if kind != CLASSES[0]:
        strikes = _strikes(orders, kind, speed_hz, length, random)
        wave = wave + 10 ** (loudness_db / 20) * _unit(_ringing(strikes, random))
    elif random.random() < _SHOCKED:  # shocks without a period are not a bearing fault
        shocks = (random.random(length) < random.uniform(2, 60) / RATE_HZ) * random.normal(
            size=length
        )
        wave = wave + 10 ** (loudness_db / 20) * _unit(_ringing(shocks, random))
    gain = 10 ** random.uniform(-2, 1)
    return (gain * wave[_PREFIX:]).astype(np.float32)


def order_of(orders: Orders, kind: str) -> float:
    """The number of strikes on a defect of a class of CLASSES per turn of the shaft."""
    return dict(zip(CLASSES[1:], (orders.ball, orders.inner, orders.outer), strict=True))[kind]


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
    if kind == CLASSES[1]:  # the two races respond differently
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
    if kind == CLASSES[3]:
        return np.ones_like(at_s)
    turns_hz = speed_hz * (1.0 if kind == CLASSES[2] else orders.cage)
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
