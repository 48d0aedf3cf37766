"""Event time by asset: the source's clock, continued by the gateway's while it is silent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.clock import NEVER, US_PER_S
from edge_agent.tables import Table, column

if TYPE_CHECKING:
    from numpy.typing import NDArray

_STEP_BACK_S: Final = (
    10.0  # if only old values arrive for this long, the source's clock was set back
)


_NOBODY: Final = np.zeros(0, np.intp)


class EventTime(Table):
    """Columns over all assets; rows are only added.

    since_us: since when each asset is monitored [A]. In a recording (not `live`) time stops without
    values.
    """

    _event_us = column(np.int64)
    since_us = column(np.int64)
    _begun = column(np.bool_)
    _arrived_s = column(np.float64)
    _behind_s = column(np.float64, np.inf)  # since when only old values arrived

    def __init__(self, *, live: bool) -> None:
        super().__init__()
        self._live = live

    def add(self, now_us: int, monotonic_s: float) -> None:
        """Add one asset."""
        row = self.grow()
        self._event_us[row] = self.since_us[row] = now_us if self._live else NEVER
        self._arrived_s[row] = monotonic_s

    def follow(
        self, asset: NDArray[np.intp], time_us: NDArray[np.int64], monotonic_s: float
    ) -> NDArray[np.intp]:
        """Accept the assets [n] and times [n] of values, in the order of time.

        Returns the assets [k] whose clock was set back, as these values show: their time starts
        again from these values; otherwise all values would be late until the old time is reached.
        A few old values (a device that delivers stored values) do not count.
        """
        past = (time_us < self._event_us[asset]) & self._begun[asset]
        found = _NOBODY
        if self._live and past.any():
            found = self._reset_clocks(asset, time_us, past, monotonic_s)
        else:
            self._behind_s[asset] = np.inf
        fresh = ~self._begun[asset]
        if fresh.any():
            # The gateway's clock was only a substitute: from now on the source's own is used.
            first = asset[fresh][::-1]
            self._event_us[first] = self.since_us[first] = time_us[fresh][::-1]
            self._begun[first] = True
        self._event_us[asset] = np.maximum(self._event_us[asset], time_us)
        self._arrived_s[asset] = monotonic_s
        return found

    def _reset_clocks(
        self,
        asset: NDArray[np.intp],
        time_us: NDArray[np.int64],
        past: NDArray[np.bool_],
        monotonic_s: float,
    ) -> NDArray[np.intp]:
        """The assets [k] from which only old values arrived for too long."""
        old = asset[past]
        self._behind_s[old] = np.minimum(self._behind_s[old], monotonic_s)
        self._behind_s[asset[time_us > self._event_us[asset]]] = np.inf
        found = np.unique(old[monotonic_s - self._behind_s[old] > _STEP_BACK_S])
        self._begun[found] = False
        self._behind_s[found] = np.inf
        return found

    def shift_clock(self, step_us: int, moves: NDArray[np.bool_]) -> None:
        """Shift the event time of these assets [A]; the gateway's clock was moved."""
        self._event_us[moves & (self._event_us > NEVER)] += step_us
        self.since_us[moves & (self.since_us > NEVER)] += step_us

    def now_us(self, monotonic_s: float) -> NDArray[np.int64]:
        """Event time of each asset now, [A]."""
        if not self._live:
            return self._event_us.copy()
        silent_us = ((monotonic_s - self._arrived_s) * US_PER_S).astype(np.int64)
        now_us: NDArray[np.int64] = self._event_us + np.maximum(silent_us, 0)
        return now_us
