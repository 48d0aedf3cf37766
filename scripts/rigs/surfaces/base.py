"""What drawn surfaces are made of: noise, coordinates, soft edges, colours, light."""

# ruff: noqa: PLR2004 (a drawing is made of grey levels and pixels)

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Random = np.random.Generator

SIDE: Final = 224


def noise(random: Random, low: float, high: float = 1e9, stretch: float = 1.0) -> Floats:
    """Noise [side, side] of variance 1, of waves from `low` to `high` pixels long.

    stretch: how much longer it is along x.
    """
    fy = np.fft.fftfreq(SIDE)[:, None]
    fx = np.fft.rfftfreq(SIDE)[None, :] * stretch
    f = np.hypot(fx, fy)
    band = np.exp(-((f * low) ** 2)) - np.exp(-((f * high) ** 2)) * (high < 1e8)
    wave = np.fft.irfft2(np.fft.rfft2(random.standard_normal((SIDE, SIDE))) * band, (SIDE, SIDE))
    return np.asarray((wave - wave.mean()) / (wave.std() + 1e-9))


def grid(shift: tuple[float, float] = (0, 0), turn: float = 0.0) -> tuple[Floats, Floats]:
    """Coordinates from the middle of the picture, in pixels, after a shift and a turn."""
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2.0
    y, x = y - shift[0], x - shift[1]
    c, s = np.cos(turn), np.sin(turn)
    return c * y + s * x, c * x - s * y


def soft(distance: Floats, width: float = 1.0) -> Floats:
    """1 inside (a negative distance), 0 outside, over `width` pixels."""
    return np.asarray(1.0 / (1.0 + np.exp(np.clip(distance / width, -40, 40))))


def coloured(gray: Floats, low: Floats, high: Floats) -> Floats:
    """Colours [side, side, 3] from `low` (0) to `high` (1)."""
    return np.asarray(low + (high - low) * gray[..., None])


def tone(style: Random, around: float, spread: float = 25.0) -> Floats:
    """A colour of the product."""
    return np.asarray(around + style.normal(0, spread / 2) + style.normal(0, spread, 3) * 0.5)


def lit(picture: Floats, each: Random, amount: float = 0.05) -> Floats:
    """Other light: brightness, a slope of it, and the noise of the camera."""
    y, x = grid()
    slope = each.normal(0, amount / 2, 2) / SIDE
    light = 1 + each.normal(0, amount) + slope[0] * y + slope[1] * x
    return np.asarray(picture * light[..., None] + each.normal(0, 2.0, picture.shape))


def moved(each: Random, pixels: float = 3.0, turn: float = 0.02) -> tuple[Floats, Floats]:
    """Coordinates of an object that lies a little differently each time."""
    return grid(tuple(each.normal(0, pixels, 2)), float(each.normal(0, turn)))
