"""The pictures of a folder as squares for learning: decoded, cut, and each looked at."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.errors import DecodeError, ModelError
from edge_agent.learning.pictures.fit import LEAST, MOST
from edge_agent.models.runtime import picture_decode
from edge_agent.signals import (
    FAULTS,
    Look,
    cut,
    faults_of,
    look_at,
    reference_look,
    to_square,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from edge_agent.config.cameras import View

    Pixels = NDArray[np.uint8]

SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png"})
_MANY: Final = 0.2  # of the pictures: if more cannot be used, something is wrong with all


@dataclass(frozen=True, slots=True)
class Squares:
    """Pictures that may be learned [N, side, side, 3], with their files.

    look: what nearly all of them have. refused: by file, why it is not among them.
    """

    pixels: Pixels
    files: tuple[str, ...]
    look: Look
    refused: dict[str, str]


def picture_files(folder: Path) -> list[Path]:
    """The pictures in a folder by name, of more than MOST every n-th; ModelError without any."""
    try:
        found = sorted(f for f in folder.iterdir() if f.suffix.lower() in SUFFIXES and f.is_file())
    except OSError as error:
        raise ModelError(f"cannot be read: {error.strerror}", where=str(folder)) from error
    if not found:
        raise ModelError("no picture", where=str(folder), hint="files that end with .jpg or .png")
    places = np.linspace(0, len(found) - 1, min(MOST, len(found))).round().astype(int)
    return [found[place] for place in dict.fromkeys(places.tolist())]


def read_squares(
    files: Sequence[Path], view: View, side: int, report: Callable[[float], None]
) -> Squares:
    """The pictures of files that can be learned; ModelError if they are too few, and the mend."""
    pixels: dict[str, Pixels] = {}
    refused: dict[str, str] = {}
    seen: dict[str, str] = {}
    for number, file in enumerate(files):
        try:
            raw = file.read_bytes()
            same = seen.setdefault(sha256(raw).hexdigest(), file.name)
            if same != file.name:
                refused[file.name] = f"the same picture as {same}"
            else:
                pixels[file.name] = to_square(cut(picture_decode.decode(raw), view)[0], side)
        except OSError as error:
            refused[file.name] = f"cannot be read: {error.strerror}"
        except DecodeError as error:
            refused[file.name] = str(error)
        report((number + 1) / len(files))
    return _fit_for_learning(pixels, refused, view)


def _fit_for_learning(pixels: dict[str, Pixels], refused: dict[str, str], view: View) -> Squares:
    """Without those that show nothing, by what the others look like."""
    looks = {name: look_at(square) for name, square in pixels.items()}
    _expect_enough(len(looks), refused)
    # Of the middle one: a fifth of them may be dark, and all may be so by nature.
    usual = Look(*np.median([astuple(look) for look in looks.values()], axis=0).tolist())
    for name, look in looks.items():
        if found := faults_of(look, view, usual):
            refused[name] = FAULTS[found[0]].text
    kept = [name for name in pixels if name not in refused]
    _expect_enough(len(kept), refused)
    reference = reference_look(looks[name] for name in kept)
    return Squares(np.stack([pixels[name] for name in kept]), tuple(kept), reference, refused)


def _expect_enough(count: int, refused: dict[str, str]) -> None:
    """ModelError if so few pictures are left."""
    why = f"; {len(refused)} cannot be used, such as {_first(refused)}" if refused else ""
    if count < LEAST:
        raise ModelError(
            f"{count} different good pictures{why}",
            hint=f"take at least {LEAST}, better 200, over all shifts and lots",
        )
    if len(refused) > _MANY * (count + len(refused)):
        raise ModelError(
            f"{len(refused)} of {count + len(refused)} pictures cannot be used, "
            f"such as {_first(refused)}",
            hint="look at the camera, or remove these files",
        )


def _first(refused: dict[str, str]) -> str:
    name, reason = next(iter(refused.items()))
    return f"{name} ({reason})"
