"""A simulated pump at varying speed and load, with a damaged outer race if wanted."""

from __future__ import annotations

from typing import Final

import numpy as np

from edge_agent.config.bearing import Bearing

RATE_HZ: Final = 12_000.0
LENGTH: Final = 4096
OUTER: Final = Bearing(model="6205").orders.outer


def machine(
    rpm: np.ndarray, seed: int, load: np.ndarray | float = 50.0, fault: float = 0.0
) -> np.ndarray:
    """Windows [n, LENGTH] of a pump at these speeds [n]; fault: RMS of outer race strikes.

    Its level rises with the square of the speed and with the load, the spectrum of its noise is
    never the same (15 %), as in a flow, its five vanes modulate it, and the strikes slip by 1 %.
    """
    random = np.random.default_rng(seed)
    n = len(rpm)
    t = np.arange(LENGTH) / RATE_HZ
    hz = rpm[:, None] / 60
    noise = coloured(random.standard_normal((n, LENGTH)), random)
    for order, depth in ((1, 0.2), (5, 0.4)):
        noise *= 1 + depth * np.cos(2 * np.pi * order * hz * t + random.uniform(0, 6, (n, 1)))
    wave = noise + sum(
        size * np.sin(2 * np.pi * order * hz * t + random.uniform(0, 6, (n, 1)))
        for order, size in ((1, 0.8), (2, 0.4), (3, 0.2))
    )
    if fault:
        k = np.arange(60)
        ring = np.exp(-k / 10) * np.sin(0.6 * np.pi * k)
        for row in range(n):
            every_s = 60 / rpm[row] / OUTER
            at = np.arange(random.uniform(0, every_s), LENGTH / RATE_HZ, every_s)
            at += random.normal(0, 0.01 * every_s, len(at))
            strikes = np.zeros(LENGTH)
            strikes[np.clip((at * RATE_HZ).astype(int), 0, LENGTH - 1)] = 1
            rung = np.convolve(strikes, ring)[:LENGTH]
            wave[row] += fault * rung / rung.std()
    level = (rpm / 1500) ** 2 * (1 + np.broadcast_to(load, n) / 100)
    return np.asarray(wave * level[:, None], np.float32)


def coloured(noise: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Noise with a spectrum that varies smoothly, differently in each window."""
    spectrum = np.fft.rfft(noise)
    octaves = np.linspace(0, 8, 9)
    place = np.clip(np.log2(np.maximum(np.arange(spectrum.shape[1]), 1)) - 3, 0, 8)
    gains = random.normal(0, 0.15, (len(noise), len(octaves)))
    gain = np.stack([np.interp(place, octaves, each) for each in gains])
    return np.fft.irfft(spectrum * np.exp(gain), LENGTH)


def speeds(n: int, seed: int) -> np.ndarray:
    """A drive that goes from set point to set point, between 900 and 2100 1/min."""
    random = np.random.default_rng(seed)
    points = random.uniform(900, 2100, n // 20 + 2)
    return np.interp(np.arange(n) / 20, np.arange(len(points)), points)
