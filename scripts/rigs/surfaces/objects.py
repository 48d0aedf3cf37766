"""Drawn objects, which lie a little differently each time; missing: the part that is not there."""

# ruff: noqa: PLR2004 (a drawing is made of grey levels and pixels)

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from scripts.rigs.surfaces.base import coloured, grid, moved, noise, soft, tone

if TYPE_CHECKING:
    from scripts.rigs.surfaces.base import Floats, Random


def ring(style: Random, each: Random) -> Floats:
    """A washer on a belt."""
    outer, inner = style.uniform(70, 95), style.uniform(25, 50)
    y, x = moved(each)
    r = np.hypot(y, x)
    inside = soft(r - outer) * (1 - soft(r - inner))
    belt = coloured(0.3 + 0.05 * noise(each, 3), tone(style, 20), tone(style, 120))
    metal = 0.65 + 0.1 * np.cos(2 * np.arctan2(y, x) + 1) + 0.04 * noise(each, 2)
    metal = metal - 0.2 * soft(np.abs(r - outer + 6) - 1.5)
    return belt + inside[..., None] * (
        coloured(metal, tone(style, 50, 8), tone(style, 230, 8)) - belt
    )


def board(style: Random, each: Random, missing: int = -1) -> Floats:
    """A circuit board with parts and pads."""
    y, x = moved(each, 2, 0.01)
    ground = coloured(
        0.5 + 0.05 * noise(each, 3), np.array([0.0, 50, 20]), np.array([40.0, 150, 80])
    )
    tracks = soft(np.abs((x + 0.5 * np.abs(y)) % 28 - 14) - 1.5)[..., None]
    picture = ground + tracks * 0.4 * (np.array([90.0, 190, 120]) - ground)
    for part in range(9):
        cy, cx = style.uniform(-85, 85, 2)
        h, w = style.uniform(6, 22, 2)
        colour = tone(style, style.choice([40, 90, 180]), 30)
        if part == missing:
            continue
        box = np.maximum(np.abs(y - cy) - h, np.abs(x - cx) - w)
        picture = picture + soft(box - 3)[..., None] * (np.array([190.0, 190, 180]) - picture)
        picture = picture + soft(box)[..., None] * (
            colour + 5 * noise(each, 2)[..., None] - picture
        )
    return picture


def plate(style: Random, each: Random, missing: int = -1) -> Floats:
    """A painted plate with screws."""
    y, x = moved(each)
    n = int(style.integers(4, 7))
    paint = coloured(0.6 + 0.03 * noise(each, 2), tone(style, 30, 50), tone(style, 200, 50))
    box = np.maximum(np.abs(y) - 90, np.abs(x) - 90)
    picture = 40 + 5 * noise(each, 3)[..., None] + 0 * paint
    picture = picture + soft(box, 1.5)[..., None] * (paint - picture)
    for screw in range(n):
        angle = 2 * np.pi * screw / n
        r = np.hypot(y - 62 * np.sin(angle), x - 62 * np.cos(angle))
        turn = each.uniform(0, np.pi)
        slot = np.abs(
            (y - 62 * np.sin(angle)) * np.cos(turn) + (x - 62 * np.cos(angle)) * np.sin(turn)
        )
        if screw == missing:
            continue
        head = 190 - 110 * soft(slot - 1.5) - 60 * soft(np.abs(r - 12) - 1.5)
        picture = picture + soft(r - 13)[..., None] * (head[..., None] - picture)
    return picture


def cap(style: Random, each: Random) -> Floats:
    """A bottle cap with teeth, at any turn, and a printed ring."""
    teeth = int(style.integers(16, 30))
    y, x = grid(tuple(each.normal(0, 3, 2)), float(each.uniform(0, 2 * np.pi)))
    r, a = np.hypot(y, x), np.arctan2(y, x)
    edge = soft(r - 88 - 4 * np.cos(teeth * a), 1.0)
    lid = coloured(
        0.6 + 0.1 * np.cos(r / 9) * (r < 70) + 0.02 * noise(each, 2),
        tone(style, 40, 60),
        tone(style, 200, 60),
    )
    lid = lid - 60 * soft(np.abs(r - 50) - 4)[..., None]
    ground = 225 + 3 * noise(each, 4)[..., None] + 0 * lid
    return ground + edge[..., None] * (lid - ground)


def pins(style: Random, each: Random, missing: int = -1) -> Floats:
    """A connector: two rows of pins in a housing."""
    n = int(style.integers(6, 11))
    y, x = moved(each, 2.5, 0.015)
    body = soft(np.maximum(np.abs(y) - 60, np.abs(x) - 100), 1.2)[..., None]
    picture = 180 + 4 * noise(each, 3)[..., None] + np.zeros(3)
    picture = picture + body * (tone(style, 40) + 4 * noise(each, 2)[..., None] - picture)
    for pin in range(2 * n):
        cy, cx = (pin % 2 - 0.5) * 60, ((pin // 2) - (n - 1) / 2) * 180 / n
        box = np.maximum(np.abs(y - cy) - 13, np.abs(x - cx) - 4)
        if pin != missing:
            gold = np.array([215.0, 180, 90]) - 25 * np.abs(x - cx)[..., None] / 4
            picture = picture + soft(box)[..., None] * (gold - picture)
    return picture


def pill(style: Random, each: Random) -> Floats:
    """A pill with a groove and dots."""
    y, x = moved(each, 4, 0.1)
    inside = soft(np.hypot(y / 0.65, x) - 88, 1.5)[..., None]
    lump = 0.85 - 0.2 * (np.hypot(y / 0.65, x) / 88) ** 2 + 0.02 * noise(each, 2)
    body = coloured(lump - 0.25 * soft(np.abs(x) - 2.5), tone(style, 60, 40), tone(style, 240, 30))
    dots = (noise(style, 5) > 1.4) * 25.0 + (noise(each, 3) > 2.4) * 10
    ground = 30 + 4 * noise(each, 3)[..., None] + 0 * body
    return ground + inside * (body - dots[..., None] * 0.5 - ground)


def gear(style: Random, each: Random, missing: int = -1) -> Floats:
    """A gear wheel with holes."""
    teeth, holes = int(style.integers(18, 34)), int(style.integers(3, 7))
    y, x = moved(each, 3, 0.03)
    r, a = np.hypot(y, x), np.arctan2(y, x)
    edge = soft(r - 86 - 7 * np.tanh(4 * np.cos(teeth * a)))
    for hole in range(holes):
        b = 2 * np.pi * hole / holes
        if hole != missing:
            edge = edge * (1 - soft(np.hypot(y - 48 * np.sin(b), x - 48 * np.cos(b)) - 13))
    edge = edge * (1 - soft(r - 16))
    steel = coloured(
        0.6 + 0.08 * np.cos(r / 2.5) + 0.03 * noise(each, 2),
        tone(style, 60, 8),
        tone(style, 220, 8),
    )
    ground = coloured(0.5 + 0.1 * noise(each, 6), tone(style, 20), tone(style, 80))
    return ground + edge[..., None] * (steel - ground)
