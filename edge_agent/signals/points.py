"""Values that limits and conditions look at: NaN where a value is not known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Points:
    """Columns of equal length, ordered by time; number: of a signal, or of what is made of it."""

    number: NDArray[np.integer]
    time_us: NDArray[np.int64]
    value: NDArray[np.float64]

    def where(self, which: NDArray[np.generic]) -> Points:
        """Some of them: a mask, or their order."""
        return Points(self.number[which], self.time_us[which], self.value[which])

    def among(self, used: NDArray[np.bool_]) -> Points | None:
        """Those with a number that is `used`; None where there is none."""
        known = self.number < len(used)
        mine = known.copy()
        mine[known] = used[self.number[known]]
        if not mine.any():
            return None
        return self if mine.all() else self.where(mine)

    def rows(self) -> Iterator[tuple[int, int, float]]:
        """(number, time, value) of each."""
        return zip(self.number.tolist(), self.time_us.tolist(), self.value.tolist(), strict=True)


def joined(parts: Sequence[Points]) -> Points:
    """All of them, in the order of time; of one time, in the order of the parts."""
    if len(parts) == 1:
        return parts[0]
    time_us = np.concatenate([part.time_us for part in parts])
    order = np.argsort(time_us, kind="stable")
    return Points(
        np.concatenate([part.number for part in parts])[order],
        time_us[order],
        np.concatenate([part.value for part in parts])[order],
    )
