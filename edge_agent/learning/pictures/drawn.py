"""Defects that are drawn into good pictures: to see what a model finds, never to learn from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]
    Floats = NDArray[np.float64]
    Draw = Callable[[Floats, np.random.Generator], Floats]

_INNER: Final = 0.6  # defects lie in this middle part of a picture, where the object is


def _place(picture: Floats, random: np.random.Generator) -> tuple[Floats, Floats]:
    """Coordinates around a place in the middle part, turned; in sides of the picture."""
    side = picture.shape[0]
    middle = random.uniform(-0.5, 0.5, (2, 1, 1)) * _INNER
    rows, columns = np.mgrid[:side, :side] / side - 0.5 - middle
    turn = random.uniform(0, np.pi)
    cosine, sine = np.cos(turn), np.sin(turn)
    return cosine * rows + sine * columns, cosine * columns - sine * rows


def _inside(distance: Floats, picture: Floats) -> Floats:
    """1 where a distance is negative, over a pixel; [side, side, 1]."""
    steep = np.clip(distance * picture.shape[0] / 0.7, -30, 30)
    return np.asarray(1 / (1 + np.exp(steep)))[..., None]


def _painted(picture: Floats, mask: Floats, random: np.random.Generator) -> Floats:
    """Another colour there: darker or brighter by 40 to 90 of 255, the same for all colours."""
    level = (picture * mask).sum((0, 1)) / max(mask.sum(), 1e-9)
    up = level.mean() < random.uniform(80, 175)
    change = random.uniform(40, 90) * (1 if up else -1)
    return np.asarray(picture + mask * (level + change - picture))


def scratch(picture: Floats, random: np.random.Generator) -> Floats:
    """A thin line, a tenth to a fifth of the picture long."""
    across, along = _place(picture, random)
    width, length = random.uniform(0.002, 0.006), random.uniform(0.05, 0.1)
    size = np.maximum(np.abs(across) - width, np.abs(along) - length)
    return _painted(picture, _inside(size, picture), random)


def spot(picture: Floats, random: np.random.Generator) -> Floats:
    """A round spot, 3 to 7 % of the picture wide."""
    size = np.hypot(*_place(picture, random)) - random.uniform(0.015, 0.035)
    return _painted(picture, _inside(size, picture), random)


def stain(picture: Floats, random: np.random.Generator) -> Floats:
    """A soft stain, about a sixth of the picture wide."""
    away = np.hypot(*_place(picture, random)) / random.uniform(0.05, 0.1)
    return _painted(picture, 0.6 * np.exp(-np.square(away))[..., None], random)


def moved(picture: Floats, random: np.random.Generator) -> Floats:
    """A piece of the picture, a tenth of it wide, at another place and turned."""
    side = picture.shape[0]
    size = int(side * random.uniform(0.08, 0.14))
    row, column, other, another = random.integers(side // 5, side - side // 5 - size, 4)
    found = picture.copy()
    piece = np.rot90(picture[other : other + size, another : another + size])
    found[row : row + size, column : column + size] = piece
    return found


DEFECTS: Final[Mapping[str, Draw]] = {
    "scratch": scratch,
    "spot": spot,
    "stain": stain,
    "moved": moved,
}


def with_defects(squares: Pixels, seed: int = 0) -> tuple[Pixels, tuple[str, ...]]:
    """A defect in each picture [N, side, side, 3], and which: the kinds take turns."""
    random, names = np.random.default_rng(seed), tuple(DEFECTS)
    kinds = tuple(names[n % len(names)] for n in range(len(squares)))
    pairs = zip(kinds, squares, strict=True)
    found = np.empty_like(squares)
    for number, (kind, square) in enumerate(pairs):
        found[number] = DEFECTS[kind](square.astype(float), random).clip(0, 255).round()
    return found, kinds
