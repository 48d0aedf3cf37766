"""The event times of a server's values, and the time of the source's own clock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.clock import US_PER_S
from edge_agent.config.schema import TimeOf
from edge_agent.tables import Table, column

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_agent.clock import Clock
    from edge_agent.sources.source_clock import SourceClock
    from edge_agent.sources.zone import Zone

# A time stamp further ahead does not show the source's clock; the pipeline refuses it too.
_MAX_AHEAD_US: Final = 300 * US_PER_S


class EventTimes(Table):
    """By handle: if a value came in this subscription; marked_us: when it was marked as lost."""

    marked_us = column(np.int64)
    _seen = column(np.bool_)

    def __init__(
        self, source_clock: SourceClock, zone: Zone, time_of: TimeOf, clock: Clock
    ) -> None:
        super().__init__()
        self._source_clock = source_clock
        self._zone = zone
        self._time_of = time_of
        self._clock = clock
        self._newest_us = 0
        self._live_us = 0
        self._live_at_s = 0.0
        self._moved_us = 0

    def start_subscription(self) -> None:
        """Each item's next value is the server's last, of any age."""
        self._seen[:] = False

    def mark(self, handle: NDArray[np.intp]) -> int:
        """The values of these handles end now; returns that time."""
        at_us = self.now_us()
        self.marked_us[handle] = at_us
        return at_us

    def now_us(self) -> int:
        """The time of the source's own clock now: its newest change plus the time since then.

        A mark must be after all values before it and before all that follow, in event time. The
        gateway's clock ensures neither if the source's clock is off by seconds; with recorded data
        on a server it is years away. Values that existed before the subscription do not show that
        clock: until there are others, the gateway's clock is used.
        """
        now_us = self._clock.now_us()
        self._follow_gateway(now_us)
        if self._live_us:
            elapsed_s = self._clock.monotonic_s() - self._live_at_s
            now_us = self._live_us + round(elapsed_s * US_PER_S)
        return max(now_us, self._newest_us + 1)

    def of_values(  # noqa: PLR0913, PLR0917 (columns of a notification)
        self,
        signal: NDArray[np.integer],
        handle: NDArray[np.intp],
        source_us: NDArray[np.int64],
        server_us: NDArray[np.int64],
        value: NDArray[np.float64],
        status: NDArray[np.uint32],
    ) -> NDArray[np.int64]:
        """The event times, from the source's own stamps if they are plausible.

        A value older than the mark before it was valid through an outage: it is valid again from
        now on, for with its own time it would stay hidden behind the mark until its next change.
        """
        stamps = source_us, server_us, value, status
        time_us = self._stamp(signal, *stamps, ~self._seen[handle], self._clock.now_us())
        self._follow_source_clock(handle, time_us)
        marked_us = self.marked_us[handle]
        older = time_us <= marked_us
        if older.any():
            time_us = np.where(older, np.maximum(self.now_us(), marked_us + 1), time_us)
        return time_us

    def of_stored(
        self,
        signal: NDArray[np.integer],
        source_us: NDArray[np.int64],
        server_us: NDArray[np.int64],
        value: NDArray[np.float64],
        status: NDArray[np.uint32],
    ) -> NDArray[np.int64]:
        """The event times of values that the server has stored; 0 if their own cannot be used."""
        stored, now_us = np.ones(len(signal), np.bool_), self._clock.now_us()
        time_us = self._stamp(signal, source_us, server_us, value, status, stored, now_us)
        return np.where(time_us == now_us, 0, time_us)

    def _stamp(  # noqa: PLR0913, PLR0917 (columns of a notification)
        self,
        signal: NDArray[np.integer],
        source_us: NDArray[np.int64],
        server_us: NDArray[np.int64],
        value: NDArray[np.float64],
        status: NDArray[np.uint32],
        first: NDArray[np.bool_],
        now_us: int,
    ) -> NDArray[np.int64]:
        self._follow_gateway(now_us)
        server_us = self._zone.to_utc(server_us, now_us)
        time_us = np.where(source_us > 0, self._zone.to_utc(source_us, now_us), server_us)
        if self._time_of is TimeOf.SERVER:
            time_us = np.where(server_us > 0, server_us, time_us)
        return self._source_clock.stamp(signal, time_us, value, status, now_us, server_us, first)

    def _follow_gateway(self, now_us: int) -> None:
        """Move all event times by the steps of the gateway's clock."""
        before_us, self._moved_us = self._moved_us, self._source_clock.moved_us(now_us)
        step_us = self._moved_us - before_us
        if step_us:
            self._newest_us += step_us if self._newest_us else 0
            self._live_us += step_us if self._live_us else 0
            self.marked_us[self.marked_us > 0] += step_us

    def _follow_source_clock(self, handle: NDArray[np.intp], time_us: NDArray[np.int64]) -> None:
        sane = time_us <= self._clock.now_us() + _MAX_AHEAD_US
        self._newest_us = max(self._newest_us, int(time_us.max(where=sane, initial=0)))
        live_us = int(time_us.max(where=sane & self._seen[handle], initial=0))
        if live_us > self._live_us:
            self._live_us, self._live_at_s = live_us, self._clock.monotonic_s()
        self._seen[handle] = True
