"""What a window is made of: its layout, its cells and their marks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_agent.config.schema import Resample


# Marks of a cell, in the order of trust.
MISSING: Final = 0  # no value yet
GOOD: Final = 1
UNCERTAIN: Final = 2
HELD: Final = 3  # repeated from an earlier row
GAP: Final = 4  # repeated for much longer than its input usually pauses
STALE: Final = 5  # held for longer than its input allows
BAD: Final = 6
SOUND: Final = np.array([False, True, True, False, False, False, False])  # a new value
KNOWN: Final = np.array([False, True, True, True, False, False, False])
USABLE: Final = np.array([False, True, True, True, True, False, False])
# A variability of repeated values is that of a sensor that is stuck: from these shares on, of all
# rows and of the newest third, which count most, it would be taken for one.
_PAUSED: Final = 0.2
_PAUSED_NEWEST: Final = 0.35
_NEWEST: Final = 3


@dataclass(frozen=True, slots=True)
class Layout:
    """The layout that a model needs: C inputs, `length` rows, a window every `hop` rows.

    least: rows before the first window, 0 for `length`; cells of rows before an asset's first are
    NaN and MISSING. precise: rows are kept in double precision, for inputs whose readings float32
    cannot represent (see `Reads`).
    """

    channels: int
    length: int
    hop: int
    step_us: int
    lateness_us: int
    resample: tuple[Resample, ...]
    least: int = 0
    precise: bool = False


@dataclass(frozen=True, slots=True)
class Reads:
    """How a model reads an asset's inputs [C], before the cast to float32.

    offset: subtracted value; counts: inputs that are replaced by their steps from row to row.
    """

    offset: NDArray[np.float64]
    counts: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class WindowSet:
    """Closed windows.

    asset [N] (row of `Windows`), start_us and end_us [N], x float32 [N, W, C], mark uint8
    [N, W, C]; raw: the newest unchanged rows [N, C], if x differs from them; again: windows that
    closed before without values that came late [N], if there are any.
    """

    asset: NDArray[np.intp]
    start_us: NDArray[np.int64]
    end_us: NDArray[np.int64]
    x: NDArray[np.float32]
    mark: NDArray[np.uint8]
    raw: NDArray[np.float64] | None = None
    again: NDArray[np.bool_] | None = None

    @property
    def last(self) -> NDArray[np.floating]:
        """The newest unchanged values of the inputs, [N, C]."""
        return self.x[:, -1] if self.raw is None else self.raw

    def coverage(self, known: NDArray[np.bool_] = USABLE) -> NDArray[np.float64]:
        """Share of usable cells of the worst input of each window, [N].

        known: the marks that count; KNOWN leaves out values that were repeated for too long.
        """
        share: NDArray[np.float64] = np.mean(known[self.mark], axis=1)
        worst: NDArray[np.float64] = share.min(axis=1)
        return worst

    def has_gap(self) -> bool:
        """True if an input paused for longer than usual in any window."""
        return bool((self.mark == GAP).any())

    def where(self, mask: NDArray[np.bool_]) -> WindowSet:
        """Only the windows for which `mask` [N] is true."""
        return WindowSet(
            self.asset[mask],
            self.start_us[mask],
            self.end_us[mask],
            self.x[mask],
            self.mark[mask],
            None if self.raw is None else self.raw[mask],
            None if self.again is None else self.again[mask],
        )

    def ends_usable(self) -> NDArray[np.bool_]:
        """True if every input is usable in the window's last row, [N]."""
        return _every(self.usable_inputs())

    def is_paused(self, expected: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """True for windows in which the delivery of values has paused, [N].

        expected: the inputs [N, C] that have a new value in every row. If all of their newest
        values are repeated, or too many are, the values that would have come are not known.
        """
        repeated = ((self.mark == HELD) | (self.mark == GAP)) & expected[:, None]
        if not repeated.any():
            return np.zeros(len(self.asset), np.bool_)
        newest = repeated[:, -(repeated.shape[1] // _NEWEST) :]
        nothing_new = expected.any(axis=1) & _every(repeated[:, -1] | ~expected)
        often = repeated.mean(axis=1) > _PAUSED
        often |= newest.mean(axis=1) > _PAUSED_NEWEST
        found: NDArray[np.bool_] = nothing_new | often.any(axis=1)
        return found

    def usable_inputs(self) -> NDArray[np.bool_]:
        """Which inputs are usable in the window's last row, [N, C]."""
        usable: NDArray[np.bool_] = USABLE[self.mark[:, -1]]
        return usable


def _every(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = np.logical_and.reduce(mask, axis=1)
    return found
