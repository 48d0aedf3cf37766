"""Drawn textures: `style` is of the product, `each` of one picture."""

# ruff: noqa: PLR2004 (a drawing is made of grey levels and pixels)

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from scripts.rigs.surfaces.base import SIDE, coloured, grid, moved, noise, soft, tone

if TYPE_CHECKING:
    from scripts.rigs.surfaces.base import Floats, Random


def weave(style: Random, each: Random) -> Floats:
    """Woven threads, over and under."""
    period, turn = style.uniform(7, 16), style.uniform(-0.3, 0.3)
    y, x = grid(tuple(each.uniform(-50, 50, 2)), turn)
    y, x = y + 0.8 * noise(each, 25), x + 0.8 * noise(each, 25)
    over = np.sin(np.pi * x / period) * np.sin(np.pi * y / period) > 0
    thread = np.where(over, np.abs(np.cos(np.pi * x / period)), np.abs(np.cos(np.pi * y / period)))
    gray = 0.75 * thread + 0.15 * over + 0.05 * noise(each, 2)
    return coloured(gray, tone(style, 60), tone(style, 190))


def brushed(style: Random, each: Random) -> Floats:
    """Brushed metal."""
    long = style.uniform(15, 60)
    gray = 0.5 + 0.12 * noise(each, 2, stretch=long) + 0.05 * noise(each, 60)
    return coloured(gray, tone(style, 70, 8), tone(style, 200, 8))


def wood(style: Random, each: Random) -> Floats:
    """Rings of wood, and fibres."""
    period, bend = style.uniform(10, 24), style.uniform(4, 12)
    y, x = grid(tuple(each.uniform(-200, 200, 2)))
    rings = np.sin(2 * np.pi * (y + 0.1 * x + bend * noise(each, 50, stretch=4)) / period)
    gray = 0.5 + 0.25 * rings + 0.08 * noise(each, 2, stretch=25)
    return coloured(gray, tone(style, 1) * 0.2 + [95, 60, 30], np.array([205.0, 160, 105]))


def tile(style: Random, each: Random) -> Floats:
    """Tiles with joints, and speckles."""
    period, joint = style.uniform(40, 75), style.uniform(1.5, 3.5)
    y, x = grid(tuple(each.uniform(-80, 80, 2)))
    far = np.minimum(
        np.abs((y + period / 2) % period - period / 2),
        np.abs((x + period / 2) % period - period / 2),
    )
    speckle = (noise(each, 3) > 1.6) * 0.25
    gray = (0.75 + 0.04 * noise(each, 10) - speckle) * (1 - 0.6 * soft(far - joint))
    return coloured(gray, tone(style, 30), tone(style, 220))


def paper(style: Random, each: Random) -> Floats:
    """Paper with fibres."""
    fibres = (np.abs(noise(each, 6, stretch=3)) < 0.05) + (np.abs(noise(each, 6)) < 0.05)
    gray = 0.8 + 0.03 * noise(each, 2) + 0.03 * noise(each, 12) - 0.06 * fibres
    return coloured(gray, tone(style, 60), tone(style, 240, 12))


def leather(style: Random, each: Random) -> Floats:
    """Cells with folds between them."""
    size = style.uniform(4, 8)
    folds = np.exp(-((noise(each, size, size * 3) / 0.35) ** 2))
    gray = 0.7 - 0.4 * folds + 0.06 * noise(each, 2)
    return coloured(gray, tone(style, 25), tone(style, 150, 50))


def concrete(style: Random, each: Random) -> Floats:
    """Grains of several sizes, and pores."""
    pores = (noise(each, 4) > 2.2) * 0.3
    gray = 0.55 + 0.08 * noise(each, 2) + 0.06 * noise(each, 15) - pores
    return coloured(gray, tone(style, 40, 10), tone(style, 210, 10))


def mesh(style: Random, each: Random) -> Floats:
    """A wire mesh before a dark ground."""
    period, wire, turn = style.uniform(14, 26), style.uniform(1.5, 3), style.uniform(0, 0.8)
    y, x = grid(tuple(each.uniform(-50, 50, 2)), turn)
    far = np.minimum(np.abs(y % period - period / 2), np.abs(x % period - period / 2))
    gray = 0.1 + 0.75 * soft(far - wire, 0.7) + 0.04 * noise(each, 2)
    return coloured(gray, tone(style, 20), tone(style, 210))


def cell(style: Random, each: Random) -> Floats:
    """A solar cell: bus bars, fingers, grains of silicon; gray."""
    bars, period = style.integers(2, 5), style.uniform(3.5, 5)
    y, x = moved(each, 2, 0.005)
    gray = (
        0.5
        + 0.07 * noise(each, 20, 60)
        + 0.05 * noise(each, 8)
        + 0.03 * np.cos(2 * np.pi * x / period)
    )
    for bar in (np.arange(bars) - (bars - 1) / 2) * SIDE / bars:
        gray = gray * (1 - 0.7 * soft(np.abs(y - bar) - 3))
    edge = np.maximum(np.abs(y), np.abs(x)) - 105
    return coloured(gray * soft(edge, 2), np.full(3, 15.0), np.full(3, 200.0))


def ribs(style: Random, each: Random) -> Floats:
    """Corrugated sheet with a light from the side."""
    period, turn = style.uniform(12, 30), style.uniform(-0.5, 0.5)
    y, _ = grid((float(each.uniform(-30, 30)), 0), turn)
    gray = (
        0.5 + 0.3 * np.sin(2 * np.pi * (y + 0.7 * noise(each, 40)) / period) + 0.05 * noise(each, 3)
    )
    return coloured(gray, tone(style, 50), tone(style, 200))
