"""Faults that are injected into simulated machines: `scripts/other-machines`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from scripts.machines.parts import Floats, Random

FAULT_ROWS: Final = 600
EVENT_ROWS: Final = 20
PART: Final = "part"
PART_ROWS: Final = 6  # after each rise, by one spread
WEAR_ROWS: Final = 3000  # at most half of the healthy time
_SIZE: Final = 3.0  # of the channel's healthy spread


def rows_of(kind: str, healthy_rows: int) -> int:
    """The length of a fault of this kind in `healthy_rows`."""
    if kind == "wear":
        return min(WEAR_ROWS, healthy_rows // 2)
    return EVENT_ROWS if kind == "event" else FAULT_ROWS


def inject(
    random: Random, kind: str, values: Floats, channel: int, begin: int, spread: float
) -> Floats:
    """The readings with a fault on a channel from row `begin`.

    spread: the channel's healthy standard deviation, the unit of a fault's size.
    """
    found = values.copy()
    length = rows_of(kind, len(values))
    rows = slice(begin, begin + length)
    column = found[:, channel]
    ramp = np.linspace(0, 1, length)
    if kind in ("offset", "event"):
        column[rows] += random.choice([-1, 1]) * _SIZE * spread
    elif kind in ("drift", "wear"):
        column[rows] += random.choice([-1, 1]) * 2 * _SIZE * spread * ramp
    elif kind == "noise":
        column[rows] += random.standard_normal(length) * spread
    elif kind == "oscillation":
        column[rows] += 1.5 * spread * np.sin(2 * np.pi * np.arange(length) / 12)
    elif kind == PART:  # in a short part of each cycle: just after the channel has risen
        high = column[rows] > np.nanmean(column)
        rises = np.flatnonzero(high[1:] & ~high[:-1])
        at = np.unique(np.minimum(rises[:, None] + np.arange(1, PART_ROWS + 1), length - 1))
        column[begin + at] += random.choice([-1, 1]) * spread
    elif kind == "stuck":
        column[rows] = column[begin - 1]
    else:  # values of another time: valid alone, inconsistent with the other channels
        column[rows] = values[begin - 2 * FAULT_ROWS : begin - FAULT_ROWS, channel]
    return found


LASTING: Final = (
    "offset",
    "drift",
    "noise",
    "oscillation",
    "stuck",
    "shifted",
    PART,
)  # FAULT_ROWS each
KINDS: Final = (*LASTING[:-1], "event", "wear")
