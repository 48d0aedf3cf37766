"""Finds rows whose time another row has, and rows that step back in time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Mask = NDArray[np.bool_]
    Numbers = NDArray[np.int64]

_FEW_ROWS: Final = 3
_LONG_AGO: Final = int(np.iinfo(np.int64).min)


class Values(NamedTuple):
    """The values of some rows in their order, each [n]: number of the row, signal, time."""

    row: NDArray[np.intp]
    signal: NDArray[np.int32]
    time_us: Numbers


class TimeOrder:
    """Compares the times of the values of each signal, in the order of the rows of one file.

    backward: the newest row is the first.
    """

    def __init__(self, *, backward: bool) -> None:
        self._sign = -1 if backward else 1
        self._last_us = np.empty(0, np.int64)  # of the rows so far, by signal
        self._newest_us = _LONG_AGO
        self.rows = 0
        self.lost = 0  # rows that have a value of the same time as another row

    @property
    def is_coarse(self) -> bool:
        """True if most rows have the time of another row."""
        return self.rows >= _FEW_ROWS and 2 * self.lost > self.rows

    def check(self, time_us: Numbers, signal: NDArray[np.int32], keep: Mask) -> tuple[Mask, Mask]:
        """Masks of the rows with the time of another row, and of those with an earlier time.

        signal, keep: [rows, columns]: the signal of each cell, and true if its value is used.
        """
        row, column = np.nonzero(keep)
        found = Values(row, signal[row, column], self._sign * time_us[row])
        equal, earlier = np.zeros((2, len(keep)), np.bool_)
        self._grow(found.signal)
        if len(row) and not self._is_ascending(found):
            last_us = self._last_us[found.signal]
            equal[found.row[_repeated(found) | (found.time_us == last_us)]] = True
            earlier[found.row[_stepped_back(found) | (found.time_us < last_us)]] = True
        np.maximum.at(self._last_us, found.signal, found.time_us)
        self._newest_us = max(self._newest_us, int(found.time_us.max(initial=_LONG_AGO)))
        self.rows += len(np.unique(row))
        self.lost += int(equal.sum())
        return equal, earlier

    def _grow(self, signal: NDArray[np.int32]) -> None:
        more = int(signal.max(initial=-1)) + 1 - len(self._last_us)
        if more > 0:
            self._last_us = np.append(self._last_us, np.full(more, _LONG_AGO))

    def _is_ascending(self, found: Values) -> bool:
        """True if every row is later than all before it: the usual case."""
        new_row = np.diff(found.row) > 0
        later = np.diff(found.time_us) > 0
        return int(found.time_us[0]) > self._newest_us and bool(later[new_row].all())


def _repeated(found: Values) -> Mask:
    """True for a value of the same signal and time as one in a row above."""
    order = np.lexsort((found.row, found.time_us, found.signal))
    same = np.zeros(len(order), np.bool_)
    same[order[1:]] = (np.diff(found.signal[order]) == 0) & (np.diff(found.time_us[order]) == 0)
    return same


def _stepped_back(found: Values) -> Mask:
    """True for a value that is earlier than one of the same signal in a row above."""
    order = np.argsort(found.signal, kind="stable")
    # Ranks by signal, then time: a running maximum never leaves its signal.
    _, rank = np.unique(found.time_us[order], return_inverse=True)
    group = np.append(0, np.cumsum(np.diff(found.signal[order]) != 0))
    key = rank + group * len(order)
    back = np.zeros(len(order), np.bool_)
    back[order] = key < np.maximum.accumulate(key)
    return back
