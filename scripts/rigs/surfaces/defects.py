"""Drawn defects, small, at a place [pixels from the middle] of a picture [side, side, 3]."""

# ruff: noqa: PLR2004 (a drawing is made of grey levels and pixels)

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from scripts.rigs.surfaces.base import SIDE, grid, noise, soft, tone

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from scripts.rigs.surfaces.base import Floats, Random

    Place = tuple[float, float]
    Defect = Callable[[Floats, Random, Place], Floats]


def place(random: Random, *, is_object: bool) -> Place:
    """Where a defect is; on an object, around its middle."""
    if is_object:
        r, a = random.uniform(20, 70), random.uniform(0, 2 * np.pi)
        return float(r * np.sin(a)), float(r * np.cos(a))
    return random.uniform(-90, 90), random.uniform(-90, 90)


def _blob(random: Random, at: Place, size: float) -> Floats:
    y, x = grid(at, float(random.uniform(0, np.pi)))
    ratio = random.uniform(0.6, 1.6)
    return soft(np.hypot(y * ratio, x / ratio) + 0.25 * size * noise(random, size) - size, 1.2)


def _colour(random: Random, picture: Floats, mask: Floats, least: float = 35) -> Floats:
    """A colour that differs from what is there."""
    there = (picture * mask[..., None]).sum((0, 1)) / mask.sum()
    sign = 1 if there.mean() < 90 else -1 if there.mean() > 170 else random.choice([-1, 1])
    return np.asarray(there + sign * random.uniform(least, 90) * random.uniform(0.6, 1.0, 3))


def scratch(p: Floats, random: Random, at: Place) -> Floats:
    """A thin bent line."""
    y, x = grid(at, float(random.uniform(0, np.pi)))
    length, wide = random.uniform(12, 40), random.uniform(0.6, 1.6)
    bend = x**2 * random.normal(0, 0.003)
    m = soft(np.maximum(np.abs(y - bend) - wide, np.abs(x) - length), 0.6)
    return p + m[..., None] * (_colour(random, p, m) - p)


def spot(p: Floats, random: Random, at: Place) -> Floats:
    """A spot with an uneven edge."""
    m = _blob(random, at, random.uniform(3, 8))
    return p + m[..., None] * (_colour(random, p, m) - p)


def hole(p: Floats, random: Random, at: Place) -> Floats:
    """A hole with a bright rim."""
    size = random.uniform(4, 9)
    y, x = grid(at)
    r = np.hypot(y, x)
    p = p + (soft(r - size) * 0.95)[..., None] * (15 - p)
    return p + (soft(np.abs(r - size) - 1))[..., None] * 35


def stain(p: Floats, random: Random, at: Place) -> Floats:
    """A soft stain."""
    y, x = grid(at)
    size = random.uniform(9, 20)
    m = np.exp(-(((np.hypot(y, x) + 0.15 * size * noise(random, 8)) / size) ** 2)) * random.uniform(
        0.5, 0.9
    )
    return p + m[..., None] * (_colour(random, p, m, 45) - p)


def crack(p: Floats, random: Random, at: Place) -> Floats:
    """A fine crack."""
    steps = 60
    heading = random.uniform(0, 2 * np.pi) + np.cumsum(random.normal(0, 0.35, steps))
    ys = np.clip(at[0] + np.cumsum(np.sin(heading)), -108, 108)
    xs = np.clip(at[1] + np.cumsum(np.cos(heading)), -108, 108)
    y, x = grid()
    far = np.min(np.hypot(y[..., None] - ys, x[..., None] - xs), axis=2)
    m = soft(far - random.uniform(0.5, 1.2), 0.5)
    return p + (m * 0.8)[..., None] * (_colour(random, p, m) - p)


def tint(p: Floats, random: Random, at: Place) -> Floats:
    """Another colour."""
    m = _blob(random, at, random.uniform(12, 28))
    shift = random.permutation([random.uniform(25, 50), 0, -random.uniform(25, 50)])
    return np.asarray(p + m[..., None] * shift)


def warp(p: Floats, random: Random, at: Place) -> Floats:
    """The pattern is pulled."""
    y, x = grid(at)
    size = random.uniform(16, 28)
    m = np.exp(-((y / size) ** 2) - (x / size) ** 2)
    dy, dx = random.choice([-1, 1], 2) * random.uniform(6, 12, 2)
    yy, xx = np.mgrid[:SIDE, :SIDE]
    yy = np.clip(yy + m * dy, 0, SIDE - 1).round().astype(int)
    xx = np.clip(xx + m * dx, 0, SIDE - 1).round().astype(int)
    return np.asarray(p[yy, xx])


def smear(p: Floats, random: Random, at: Place) -> Floats:
    """The pattern is blurred."""
    m = _blob(random, at, random.uniform(12, 22))[..., None]
    blurred = p.copy()
    for axis in (0, 1):
        blurred = np.mean([np.roll(blurred, s, axis) for s in range(-5, 6)], axis=0)
    return p + m * (blurred - p)


def thread(p: Floats, random: Random, at: Place) -> Floats:
    """A thread that lies on it."""
    y, x = grid(at, float(random.uniform(0, np.pi)))
    m = soft(
        np.maximum(np.abs(y - 9 * np.sin(x / random.uniform(8, 14))) - 1.1, np.abs(x) - 28), 0.6
    )
    return p + m[..., None] * (tone(random, random.choice([25, 235]), 60) - p)


def paste(p: Floats, random: Random, at: Place) -> Floats:
    """A turned piece of another place."""
    size = int(random.uniform(9, 18))
    cy, cx = (int(np.clip(v + SIDE / 2, size, SIDE - size)) for v in at)
    sy, sx = random.integers(size, SIDE - size, 2)
    out = p.copy()
    part = np.rot90(p[sy - size : sy + size, sx - size : sx + size])
    out[cy - size : cy + size, cx - size : cx + size] = part
    return out


DEFECTS: Final[Mapping[str, Defect]] = {
    "scratch": scratch,
    "spot": spot,
    "hole": hole,
    "stain": stain,
    "crack": crack,
    "tint": tint,
    "warp": warp,
    "smear": smear,
    "thread": thread,
    "paste": paste,
}
