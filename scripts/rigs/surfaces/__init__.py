"""Surfaces and defects that are drawn, to judge learning from good pictures: no data of others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from scripts.rigs.surfaces import objects, textures
from scripts.rigs.surfaces.base import SIDE, lit
from scripts.rigs.surfaces.defects import DEFECTS, place

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from scripts.rigs.surfaces.base import Floats, Random

    Draw = Callable[[Random, Random], Floats]
    DrawWithout = Callable[[Random, Random, int], Floats]

TEXTURES: Final[Mapping[str, Draw]] = {
    one.__name__: one
    for one in (
        textures.weave,
        textures.brushed,
        textures.wood,
        textures.tile,
        textures.paper,
        textures.leather,
        textures.concrete,
        textures.mesh,
        textures.cell,
        textures.ribs,
    )
}
WHOLE: Final[Mapping[str, Draw]] = {
    one.__name__: one for one in (objects.ring, objects.cap, objects.pill)
}
# With the least number of its parts, of which one may be missing.
OF_PARTS: Final[Mapping[str, tuple[DrawWithout, int]]] = {
    "board": (objects.board, 9),
    "plate": (objects.plate, 4),
    "pins": (objects.pins, 12),
    "gear": (objects.gear, 3),
}
# What the defaults were chosen on, and what they are judged on: other kinds, defects and seeds.
TUNED: Final = ("weave", "brushed", "tile", "leather", "ribs", "ring", "board", "plate")
TUNED_DEFECTS: Final = ("scratch", "spot", "stain", "crack", "tint", "paste")
JUDGED: Final = ("wood", "paper", "concrete", "mesh", "cell", "cap", "pins", "pill", "gear")
JUDGED_DEFECTS: Final = ("scratch", "hole", "spot", "stain", "tint", "warp", "smear", "thread")
MISSING: Final = "missing"

_STYLE, _EACH, _DEFECT = 1, 2, 3  # the second word of a seed


def draw(kind: str, seed: int, number: int, *, misses: bool = False) -> NDArray[np.uint8]:
    """Picture `number` of product `seed` of a kind; misses: without one of its parts."""
    style, each = (
        np.random.default_rng([seed, _STYLE]),
        np.random.default_rng([seed, _EACH, number]),
    )
    if kind in OF_PARTS:
        drawing, parts = OF_PARTS[kind]
        picture = drawing(style, each, int(each.integers(parts)) if misses else -1)
    else:
        picture = {**TEXTURES, **WHOLE}[kind](style, each)
    return lit(picture, each).clip(0, 255).astype(np.uint8)


def spoil(
    picture: NDArray[np.uint8], random: Random, defect: str, *, is_object: bool
) -> NDArray[np.uint8]:
    """A picture with a drawn defect."""
    at = place(random, is_object=is_object)
    return DEFECTS[defect](picture.astype(float), random, at).clip(0, 255).astype(np.uint8)


def draw_spoiled(kind: str, seed: int, number: int, defect: str) -> NDArray[np.uint8]:
    """Picture `number` with a defect: a key of DEFECTS, or MISSING."""
    if defect == MISSING:
        return draw(kind, seed, number, misses=True)
    random = np.random.default_rng([seed, _DEFECT, number])
    return spoil(draw(kind, seed, number), random, defect, is_object=kind not in TEXTURES)


__all__ = [
    "DEFECTS",
    "JUDGED",
    "JUDGED_DEFECTS",
    "MISSING",
    "OF_PARTS",
    "SIDE",
    "TEXTURES",
    "TUNED",
    "TUNED_DEFECTS",
    "WHOLE",
    "draw",
    "draw_spoiled",
    "spoil",
]
