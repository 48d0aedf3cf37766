"""After how long without a value each signal is stale: told, or found from its own intervals.

A signal is observed for its first 16 intervals, and again after each silence. Until three are
known, it may be silent for 15 minutes, for five steps of its model, and for five times the longest
interval so far; then for five times the usual interval, and three times the longest. A single
outage among 16 intervals does not count. This is its longest usual pause, also of a signal whose
limit is told: a value that is repeated for longer is still used, but it is no good one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.clock import ENDLESS, NEVER, US_PER_S
from edge_agent.tables import Table, column

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

OBSERVED: Final = 16  # intervals of a signal
KNOWN: Final = 3  # intervals before which nothing is known
UNKNOWN_US: Final = 900 * US_PER_S
_USUAL: Final = 5  # times the median interval
_LONGEST: Final = 3  # times the longest interval


class SilenceLimits(Table):
    """Columns over all signals; rows are only added.

    stale_us: the present limit, for reading; pause_us: the longest usual pause, ENDLESS until it is
    known; observed: number of signals whose values are observed; changed: signals of which one of
    the two has changed since `drain_changes`.
    """

    stale_us = column(np.int64, ENDLESS)
    pause_us = column(np.int64, ENDLESS)
    _least_us = column(np.int64)
    _seen_us = column(np.int64, 0, OBSERVED)
    _count = column(np.int64)
    _is_found = column(np.bool_)
    _is_sampled = column(np.bool_)
    _is_observed = column(np.bool_)

    def __init__(self) -> None:
        super().__init__()
        self.observed = 0
        self.changed: set[int] = set()

    def add(
        self, stale_us: int | None, *, is_least: bool = False, is_sampled: bool = False
    ) -> None:
        """Add a signal; None: never stale. is_least: the limit is found, and not less than this.

        is_sampled: it reports every sample, not only changes, so that a pause means something.
        """
        row = self.grow()
        self.stale_us[row] = ENDLESS if stale_us is None else stale_us
        self._is_found[row] = is_least and stale_us is not None
        if self._is_found[row] and stale_us is not None:
            self._least_us[row] = stale_us
            self.stale_us[row] = max(stale_us, UNKNOWN_US)
        self._is_sampled[row] = self._is_observed[row] = is_sampled or self._is_found[row]
        self.observed += int(self._is_observed[row])

    def observe(
        self, signal: NDArray[np.integer], time_us: NDArray[np.int64], before_us: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Observe values [n], ordered by time; returns the limit of each before it came.

        before_us: time of the last value of every signal before these [S].
        """
        stale_us: NDArray[np.int64] = self.stale_us[signal]
        last: dict[int, int] = {}
        for i in np.flatnonzero(self._is_observed[signal]).tolist():
            row, at_us = int(signal[i]), int(time_us[i])
            stale_us[i] = self.stale_us[row]
            since_us = last.get(row, int(before_us[row]))
            last[row] = max(at_us, since_us)
            if self._is_observed[row] and NEVER < since_us < at_us:
                self._add_interval(row, at_us - since_us)
        return stale_us

    def expect(self, rows: Iterable[int], interval_us: int) -> None:
        """These signals are inputs of a model with this step: they may come as rarely."""
        for row in rows:
            if self._is_found[row] and self._is_observed[row] and self._count[row] < KNOWN:
                self._set(row, max(int(self.stale_us[row]), _USUAL * interval_us))

    def observe_again(self, row: int, silence_us: int) -> None:
        """A signal delivers again after a silence: its source may have another interval now."""
        if not self._is_sampled[row] or self._is_observed[row]:
            return
        self._count[row] = 0
        self._is_observed[row] = True
        self.observed += 1
        self._add_interval(row, silence_us)

    def _add_interval(self, row: int, interval_us: int) -> None:
        self._seen_us[row, self._count[row]] = interval_us
        self._count[row] += 1
        count = int(self._count[row])
        seen = np.sort(self._seen_us[row, :count])
        if count < KNOWN:
            self._set(row, max(int(self.stale_us[row]), _USUAL * int(seen[-1])))
            return
        is_over = count == OBSERVED
        longest = int(seen[-2] if is_over else seen[-1])
        pause_us = max(_USUAL * int(np.median(seen)), _LONGEST * longest)
        self._set(row, max(int(self._least_us[row]), pause_us), pause_us)
        if is_over:
            self._is_observed[row] = False
            self.observed -= 1

    def _set(self, row: int, stale_us: int, pause_us: int = ENDLESS) -> None:
        """Set the limit, unless it was told, and the longest usual pause."""
        if not self._is_found[row]:
            stale_us = int(self.stale_us[row])
        if (stale_us, pause_us) != (self.stale_us[row], self.pause_us[row]):
            self.stale_us[row], self.pause_us[row] = stale_us, pause_us
            self.changed.add(row)

    def drain_changes(self) -> Iterator[tuple[int, int, int]]:
        """Signals with changes since the last call: their limits and longest usual pauses."""
        changed, self.changed = self.changed, set()
        return ((row, int(self.stale_us[row]), int(self.pause_us[row])) for row in sorted(changed))

    def adopt_state(self, old: SilenceLimits, rows: dict[int, int]) -> None:
        """Copy what is known of signals of an earlier plant; rows: there and here."""
        for before, row in rows.items():
            if self._is_sampled[row] and old._is_sampled[before]:
                self.observed += int(old._is_observed[before]) - int(self._is_observed[row])
                for name in ("_seen_us", "_count", "_is_observed"):
                    getattr(self, name)[row] = getattr(old, name)[before]
                stale_us = max(int(old.stale_us[before]), int(self._least_us[row]))
                self._set(row, stale_us, int(old.pause_us[before]))
