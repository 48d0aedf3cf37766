"""Whether a camera sees anything: exposure and blur of a picture, by what learning saw.

A blind camera is a fault of the camera, never a defect of the part: its pictures are Bad.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass, fields
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from edge_agent.messages import Ne107
from edge_agent.values import BAD_OUT_OF_RANGE, BAD_SENSOR_FAILURE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from edge_agent.config.cameras import View
    from edge_agent.signals.picture import Mask, Pixels

# ITU-R BT.601: how bright red, green and blue look.
_LUMA: Final = np.array([0.299, 0.587, 0.114], np.float32)
_WHITE: Final = 250  # from here on a pixel is saturated
_DARK: Final = 40.0  # the brightest hundredth of a picture is darker: nothing can be seen
_BRIGHT: Final = 215.0  # the darkest hundredth is brighter
_SATURATED: Final = 0.6  # share of saturated pixels, and
_MORE_SATURATED: Final = 0.3  # so much more than in learning
_FLAT: Final = 2.0  # standard deviation of the brightness: a cap on the lens
_EDGE: Final = 0.05  # share of the pictures of learning that may look worse than the reference
_UPPER: Final = frozenset({"darkest", "saturated"})  # figures whose fault is a high value
_LIGHTEST: Final = 255
_NOISE: Final = 2.0  # grey levels; variance below it is noise and no structure


class Fault(NamedTuple):
    """A reason not to judge a picture: for the alarm, and the status that the picture gets."""

    ne107: Ne107
    text: str
    status: int


FAULTS: Final = {
    "dark": Fault(
        Ne107.OUT_OF_SPECIFICATION,
        "too dark: is the light on, the lens free?",
        BAD_OUT_OF_RANGE,
    ),
    "bright": Fault(
        Ne107.OUT_OF_SPECIFICATION,
        "too bright: exposure time, light, reflections?",
        BAD_OUT_OF_RANGE,
    ),
    "covered": Fault(
        Ne107.CHECK_FUNCTION, "nothing but one colour: is the lens covered?", BAD_SENSOR_FAILURE
    ),
    "blurred": Fault(
        Ne107.OUT_OF_SPECIFICATION,
        "blurred: is the lens dirty, the focus or the camera moved?",
        BAD_SENSOR_FAILURE,
    ),
    "frozen": Fault(
        Ne107.CHECK_FUNCTION,
        "the very same picture again and again: does the camera hang?",
        BAD_SENSOR_FAILURE,
    ),
}


@dataclass(frozen=True, slots=True)
class Look:
    """How a picture looks as a whole, on the square that models see.

    darkest, brightest: grey levels, 0 to 255, below and above which a hundredth of the pixels are;
    saturated: share of white pixels; contrast: standard deviation of the grey levels; sharpness:
    variance of the Laplacian divided by that of the grey levels, so that neither light nor contrast
    changes it.
    """

    darkest: float
    brightest: float
    saturated: float
    contrast: float
    sharpness: float


def look_at(square: Pixels, hidden: Mask | None = None) -> Look:
    """Measure a square [size, size, 3]; hidden: bool [size, size], what does not count."""
    grey = square @ _LUMA
    seen = grey.ravel() if hidden is None else grey[~hidden]
    if not seen.size:
        return Look(0.0, 255.0, 0.0, 0.0, 0.0)
    darkest, brightest = np.percentile(seen, (1, 99))
    variance = float(seen.var(dtype=np.float64))
    return Look(
        float(darkest),
        float(brightest),
        float((seen >= _WHITE).mean()),
        variance**0.5,
        _laplacian_variance(grey, hidden) / (variance + _NOISE**2),
    )


def _laplacian_variance(grey: NDArray[np.float32], hidden: Mask | None) -> float:
    inner = grey[1:-1, 1:-1]
    around = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    laplacian = around - 4 * inner
    if hidden is not None:  # the edge of a mask is always sharp
        beside = hidden[:-2, 1:-1] | hidden[2:, 1:-1] | hidden[1:-1, :-2] | hidden[1:-1, 2:]
        laplacian = laplacian[~(beside | hidden[1:-1, 1:-1])]
    return float(laplacian.var(dtype=np.float64)) if laplacian.size else 0.0


def reference_look(looks: Iterable[Look]) -> Look:
    """What nearly all good pictures of learning have: to compare later ones with.

    Of each figure the twentieth that is nearest to its fault. ValueError without any picture.
    """
    table = np.array([astuple(one) for one in looks])
    if not len(table):
        raise ValueError("no pictures")
    low, high = np.quantile(table, (_EDGE, 1 - _EDGE), axis=0)
    names = [field.name for field in fields(Look)]
    return Look(*np.where([name in _UPPER for name in names], high, low).tolist())


def faults_of(look: Look, view: View, reference: Look | None = None) -> tuple[str, ...]:
    """The faults of a picture, keys of FAULTS; reference: see `reference_look`.

    Without a reference, only what no scene can be by nature; blur is not known then.
    """
    found = _exposure(look, reference) if view.exposure else ()
    if not found and reference is not None and look.sharpness < view.blur * reference.sharpness:
        return ("blurred",)
    return found


def _exposure(look: Look, reference: Look | None) -> tuple[str, ...]:
    dark, bright, saturated, flat = _DARK, _BRIGHT, _SATURATED, _FLAT
    if reference is not None:  # a scene may be dark, white or plain by nature
        dark = min(dark, reference.brightest / 2)
        bright = max(bright, (_LIGHTEST + reference.darkest) / 2)
        saturated = max(saturated, reference.saturated + _MORE_SATURATED)
        flat = min(flat, reference.contrast / 2)
    if look.brightest < dark:
        return ("dark",)
    if look.darkest > bright or look.saturated > saturated:
        return ("bright",)
    return ("covered",) if look.contrast < flat else ()
