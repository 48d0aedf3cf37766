"""Values for limits and conditions: NaN if a value is unknown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Points:
    """Columns of equal length, ordered by time; number: of a signal, or of a derived value."""

    number: NDArray[np.integer]
    time_us: NDArray[np.int64]
    value: NDArray[np.float64]

    def where(self, which: NDArray[np.generic]) -> Points:
        """Some rows, by a mask or by indices."""
        return Points(self.number[which], self.time_us[which], self.value[which])

    def among(self, used: NDArray[np.bool_]) -> Points | None:
        """The rows whose number is `used`; None if there is none."""
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
    """All parts as one, ordered by time; rows of the same time in the order of the parts."""
    if len(parts) == 1:
        return parts[0]
    time_us = np.concatenate([part.time_us for part in parts])
    order = np.argsort(time_us, kind="stable")
    return Points(
        np.concatenate([part.number for part in parts])[order],
        time_us[order],
        np.concatenate([part.value for part in parts])[order],
    )
