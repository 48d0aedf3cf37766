"""Parts from the signals that count them: counters with resets and roll-overs, and pulses."""

from __future__ import annotations

import math
from copy import copy
from typing import TYPE_CHECKING, NamedTuple

from edge_agent.config.lines import CountKind

if TYPE_CHECKING:
    from edge_agent.config.lines import Count


class Counted(NamedTuple):
    """Parts that were counted; over_gap: the signal was not known meanwhile."""

    parts: float
    over_gap: bool


class Counter:
    """One signal that counts, in the order of time.

    A counter that falls has rolled over (only if `rolls_over_at` says where, and the step over it
    is shorter than half the range), or it was reset to 0: then what it shows now was counted since.
    One that falls by less than half of its value was corrected by a person: nothing was counted.
    """

    def __init__(self, count: Count) -> None:
        self._count = count
        self._last = math.nan
        self._is_broken = False

    def accept(self, value: float) -> Counted | None:
        """The parts that a new value tells of; None if it tells of none. NaN: it is not known."""
        if math.isnan(value):
            self._is_broken = True
            return None
        last, self._last = self._last, value
        over_gap, self._is_broken = self._is_broken, False
        if math.isnan(last):
            return None
        if self._count.kind is CountKind.PULSE:
            step = float(not last and bool(value) and not over_gap)
        else:
            step = self._step(last, value)
        return Counted(step * self._count.parts, over_gap) if step > 0 else None

    def _step(self, last: float, value: float) -> float:
        if value >= last:
            return value - last
        if (end := self._count.rolls_over_at) is not None:
            step = value + end - last
            if 0 <= step < end / 2:
                return step
        return max(0.0, value) if value <= last / 2 else 0.0

    def copied(self) -> Counter:
        """The same at this time, independent of what comes."""
        return copy(self)

    @property
    def last(self) -> float:
        """The last known value; NaN if there is none."""
        return self._last

    def restore(self, value: float) -> None:
        """Continue from a value of before a stop of the service: what came since is over a gap."""
        self._last, self._is_broken = value, True
