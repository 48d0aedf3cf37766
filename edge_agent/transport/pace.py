"""The pause of a loop between two turns, only as long as it is useful.

A turn has a fixed cost, for one value or thousands; the longer the pause before it, the more values
share that cost, and the later each of them leaves. So the pauses follow the processor time of this
process, up to the limits of the config (`coalesce`, `tuning.tick`). All of its time counts, not
only the loop's own: the values of a source cause work in pipeline, models and sinks, and several
sources share one core.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

# Seconds of pause for each second of work: frequent turns use at most a sixth of a core. Above that
# load the pause of a reader grows to its limit.
RESTS_PER_WORK: Final = 5.0
_MEMORY: Final = 32  # number of turns in the mean of the work: a burst does not change it
FREE: Final = 0.2  # share of a core up to which the pipeline follows its sources without a pause
BUSY: Final = 0.3  # and from which the pause is at its limit
_LOAD_MEMORY_S: Final = 0.5


class ReaderPace:
    """The pauses of a loop that reads; cpu_s: processor time of this process, seconds."""

    def __init__(self, cpu_s: Callable[[], float] = time.process_time) -> None:
        self._cpu_s = cpu_s
        self._since_s = cpu_s()
        self._work_s = 0.0

    def wake_up(self) -> None:
        """Data arrived after a time without work: earlier processor time does not count."""
        self._since_s = self._cpu_s()

    def pause_s(self, longest_s: float) -> float:
        """Return the pause now, from the mean work of a turn until now."""
        before_s, self._since_s = self._since_s, self._cpu_s()
        self._work_s += (self._since_s - before_s - self._work_s) / _MEMORY
        return min(longest_s, RESTS_PER_WORK * self._work_s)


class FollowerPace:
    """The pauses of a loop that handles the data of readers: none while there is spare time.

    cpu_s: processor time of this process; monotonic_s: time that passes; both in seconds.
    """

    def __init__(
        self,
        cpu_s: Callable[[], float] = time.process_time,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cpu_s, self._monotonic_s = cpu_s, monotonic_s
        self._since = cpu_s(), monotonic_s()
        self._load = 0.0  # share of a core

    def pause_s(self, longest_s: float) -> float:
        """Return the pause now, from the load of the last half second."""
        before, self._since = self._since, (self._cpu_s(), self._monotonic_s())
        work_s, passed_s = self._since[0] - before[0], self._since[1] - before[1]
        if passed_s > 0:
            weight = min(1.0, passed_s / _LOAD_MEMORY_S)
            self._load += weight * (work_s / passed_s - self._load)
        return longest_s * min(1.0, max(0.0, (self._load - FREE) / (BUSY - FREE)))
