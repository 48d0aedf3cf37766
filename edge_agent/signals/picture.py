"""Pictures on their way from a camera to a model: encoded as they came, then cut and scaled.

NumPy only: whoever decodes a picture (a child of the daemon, or a command) does it elsewhere. A
decoded picture is uint8 [height, width, 3], RGB.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.values import GOOD

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edge_agent.config.cameras import View

    Pixels = NDArray[np.uint8]
    Mask = NDArray[np.bool_]

HIDDEN: Final = 128  # the grey of what is not looked at: masked, or transparent
_PARTS: Final = 1 << 16  # of a weight
SIZE: Final = 224  # the side of the square that models see, unless their bundle says another


@dataclass(frozen=True, slots=True)
class EncodedPicture:
    """A picture as a source delivers it: JPEG or PNG, not yet decoded.

    camera: its name in the config; at_ns: when it was taken, by its source if it says so;
    received_ns: when it arrived; both nanoseconds since the epoch. part: the id of the part that it
    shows, if it is known. status: an OPC UA StatusCode; if it is Bad, data is empty.
    """

    camera: str
    data: bytes
    at_ns: int
    received_ns: int
    part: str | None = None
    status: int = GOOD


def cut(picture: Pixels, view: View, file_mask: Mask | None = None) -> tuple[Pixels, Mask | None]:
    """The part of a picture that is looked at: rotated, its region alone, the mask in grey.

    file_mask: that of `view.mask_file`, True where it is not looked at; of any size. Returns also
    what is hidden, bool [height, width]; None if nothing is.
    """
    turned = np.rot90(picture, -view.rotate // 90)
    height, width = turned.shape[:2]
    rows, columns = _region(view, height, width)
    pixels = turned[rows, columns].copy()
    hidden = _hidden(view, file_mask, height, width)
    if hidden is None:
        return pixels, None
    hidden = hidden[rows, columns]
    pixels[hidden] = HIDDEN
    return pixels, hidden


def _region(view: View, height: int, width: int) -> tuple[slice, slice]:
    """Rows and columns of the region, at least one pixel each."""
    left, top, right, bottom = view.region
    x, y = min(int(left * width), width - 1), min(int(top * height), height - 1)
    rows = slice(y, max(y + 1, round(bottom * height)))
    return rows, slice(x, max(x + 1, round(right * width)))


def _hidden(view: View, file_mask: Mask | None, height: int, width: int) -> Mask | None:
    """What is not looked at in a turned picture; None if nothing is masked."""
    found = _polygons(view.mask, height, width) if view.mask else None
    if file_mask is None:
        return found
    rows = np.arange(height) * file_mask.shape[0] // height
    columns = np.arange(width) * file_mask.shape[1] // width
    of_file: Mask = file_mask[rows[:, None], columns]
    return of_file if found is None else found | of_file


@lru_cache(maxsize=16)  # a camera has one size
def _polygons(mask: tuple[tuple[float, ...], ...], height: int, width: int) -> Mask:
    """True inside of any of the polygons, by the even-odd rule at the centres of the pixels."""
    inside = np.zeros((height, width), np.bool_)
    for corners in mask:
        x, y = np.array(corners[::2]) * width, np.array(corners[1::2]) * height
        inside |= _inside(x, y, height, width)
    inside.flags.writeable = False
    return inside


def _inside(x: NDArray[np.float64], y: NDArray[np.float64], height: int, width: int) -> Mask:
    rows, columns = np.arange(height) + 0.5, np.arange(width) + 0.5
    odd = np.zeros((height, width), np.bool_)
    for x0, y0, x1, y1 in zip(x, y, np.roll(x, -1), np.roll(y, -1), strict=True):
        crossed = np.flatnonzero((y0 <= rows) != (y1 <= rows))
        at = x0 + (rows[crossed] - y0) * (x1 - x0) / (y1 - y0) if crossed.size else rows[:0]
        odd[crossed] ^= columns < at[:, None]
    return odd


def to_square(picture: Pixels, size: int = SIZE) -> Pixels:
    """The picture [height, width, 3] as [size, size, 3], each side scaled by itself.

    This is the only way in which pictures are scaled for models, in learning, training and
    operation. Antialiased by a triangle as wide as the scale (as Pillow's BILINEAR): without it,
    fine patterns would look like defects. The weights are whole 65,536ths, so that all sums are
    exact and the result is the same on every machine.
    """
    rows = _scaled(picture, size)
    columns = _scaled(rows.transpose(1, 0, 2), size)
    return np.ascontiguousarray(np.floor(columns.transpose(1, 0, 2) + 0.5).astype(np.uint8))


def _scaled(picture: NDArray[np.generic], size: int) -> NDArray[np.float64]:
    """The first axis scaled to `size`; float64 [size, n, 3]."""
    length, others = picture.shape[0], picture.shape[1:]
    out = np.empty((size, others[0] * others[1]))
    for row, (start, weights) in enumerate(_weights(length, size)):
        part = picture[start : start + len(weights)].reshape(len(weights), -1)
        np.matmul(weights, part.astype(np.float64), out=out[row])
    return out.reshape(size, *others)


@lru_cache(maxsize=32)
def _weights(length: int, size: int) -> Sequence[tuple[int, NDArray[np.float64]]]:
    """By pixel of the result: the first pixel that it reads, and the weights from there on."""
    scale = length / size
    reach = max(scale, 1.0)
    found = []
    for row in range(size):
        centre = (row + 0.5) * scale
        start, end = max(0, int(centre - reach + 0.5)), min(length, int(centre + reach + 0.5))
        away = np.abs(np.arange(start, end) + 0.5 - centre) / reach
        weights = np.clip(1.0 - away, 0.0, None)
        whole = np.rint(weights / weights.sum() * _PARTS)
        whole[whole.argmax()] += _PARTS - whole.sum()
        found.append((start, whole / _PARTS))
    return found
