"""Faults of one input, for `scripts/other-machines`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from scripts.machines.parts import Floats, Random

FAULT_ROWS: Final = 600
_SIZE: Final = 3.0  # of the channel's healthy spread


def inject(
    random: Random, kind: str, values: Floats, channel: int, begin: int, spread: float
) -> Floats:
    """The readings with a fault of FAULT_ROWS rows on a channel.

    spread: the channel's healthy standard deviation, the unit of a fault's size.
    """
    found = values.copy()
    rows = slice(begin, begin + FAULT_ROWS)
    column = found[:, channel]
    ramp = np.linspace(0, 1, FAULT_ROWS)
    if kind == "offset":
        column[rows] += random.choice([-1, 1]) * _SIZE * spread
    elif kind == "drift":
        column[rows] += random.choice([-1, 1]) * 2 * _SIZE * spread * ramp
    elif kind == "noise":
        column[rows] += random.standard_normal(FAULT_ROWS) * spread
    elif kind == "oscillation":
        column[rows] += 1.5 * spread * np.sin(2 * np.pi * np.arange(FAULT_ROWS) / 12)
    elif kind == "stuck":
        column[rows] = column[begin - 1]
    else:  # values of another time: valid alone, inconsistent with the other channels
        column[rows] = values[begin - 2 * FAULT_ROWS : begin - FAULT_ROWS, channel]
    return found


KINDS: Final = ("offset", "drift", "noise", "oscillation", "stuck", "shifted")
