"""How fast a signal changes, robust to irregular sampling and to single wrong values.

The window is divided into twelve parts of event time; the last value of each is a point. At the end
of each part, the rate is the median of the slopes between all pairs of points (Theil 1950, Sen
1968), with at least five points that span half the window: one wrong point of five changes fewer
than half of the slopes, so the median changes little. With fewer points the rate is unknown.
"""

from __future__ import annotations

import math
from collections import deque
from statistics import median
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.clock import ENDLESS, NEVER, US_PER_S
from edge_agent.signals.points import Points
from edge_agent.tables import Table, column

if TYPE_CHECKING:
    from numpy.typing import NDArray

PARTS: Final = 12
_LEAST_POINTS: Final = 5
# A signal that reports only changes holds its value: its part ends by the clock, this much later.
_HELD_LATENESS_US: Final = 5 * US_PER_S


class _Rate:
    """The rate of one signal over one window, in its unit per second."""

    def __init__(self, window_us: int, rolls_over_at: float, *, holds: bool) -> None:
        self.part_us = max(1, window_us // PARTS)
        self._window_us = window_us
        self._rolls = rolls_over_at
        self.holds = holds
        self._points: deque[tuple[int, float]] = deque(maxlen=PARTS)
        self.part = NEVER  # the open one
        self.last_us = NEVER
        self.value = math.nan  # the newest value, continued over each roll-over

    def accept_value(self, at_us: int, value: float) -> list[tuple[int, float]]:
        """Accept a value; returns (time, rate) for each part that ended before it."""
        if at_us < self.last_us:
            return []
        found = self._close(at_us // self.part_us, at_us)
        self.value = self._unrolled(value)
        self.last_us = at_us
        return found

    @property
    def next_us(self) -> int:
        """The time at which its open part ends without a value."""
        if not self.holds or self.part == NEVER:
            return ENDLESS
        return (self.part + 1) * self.part_us + _HELD_LATENESS_US

    def pass_time(self, now_us: int) -> list[tuple[int, float]]:
        """Advance time, with the held value of a signal that reports only changes."""
        return self._close((now_us - _HELD_LATENESS_US) // self.part_us, now_us)

    def restart(self) -> None:
        """Forget all points: the next value starts a new window."""
        self._points.clear()
        self.part = self.last_us = NEVER
        self.value = math.nan

    def _close(self, part: int, by_us: int) -> list[tuple[int, float]]:
        """Close the open part and later ones before `part`."""
        if self.part == NEVER:
            self.part = part
            return []
        if part <= self.part:
            return []
        ended = [self.part]
        if self.holds:  # two windows without a change are enough
            first, last = self.part + 1, part
            ended += range(first, min(last, first + PARTS))
            ended += range(max(last - PARTS, first + PARTS), last)
        found = [self._end(one, by_us) for one in ended]
        self.part = part
        return found

    def _end(self, part: int, by_us: int) -> tuple[int, float]:
        end_us = (part + 1) * self.part_us
        empty = (
            self.last_us < part * self.part_us
        )  # a signal that reports only changes keeps its value
        self._points.append((end_us if empty else self.last_us, self.value))
        while self._points[0][0] <= end_us - self._window_us - self.part_us:
            self._points.popleft()
        return min(by_us, end_us + _HELD_LATENESS_US) if self.holds else by_us, self._slope()

    def _slope(self) -> float:
        points = list(self._points)
        if len(points) < _LEAST_POINTS or 2 * (points[-1][0] - points[0][0]) < self._window_us:
            return math.nan
        return median(_slopes(points)) * US_PER_S

    def _unrolled(self, value: float) -> float:
        if math.isnan(self.value) or not self._rolls:
            return value
        step = value - self.value
        return self.value + step - self._rolls * round(step / self._rolls)


def _slopes(points: list[tuple[int, float]]) -> list[float]:
    """The slopes of all pairs, per microsecond."""
    return [
        (later - value) / (later_us - at_us)
        for i, (at_us, value) in enumerate(points)
        for later_us, later in points[i + 1 :]
        if later_us > at_us
    ]


class _Signals(Table):
    """Columns over all signals."""

    used = column(np.bool_)


class Rates(Table):
    """The rates of all signals with a limit on their rate; returns points numbered from `first`."""

    _asset = column(np.intp)
    _next_us = column(np.int64, ENDLESS)

    def __init__(self) -> None:
        super().__init__()
        self._signals = _Signals()
        self._rates: list[_Rate] = []
        self._of_signal: dict[int, list[int]] = {}
        self._point: list[int] = []

    def add(  # noqa: PLR0913 (each names a different thing)
        self,
        signal: int,
        asset: int,
        point: int,
        *,
        window_us: int,
        rolls_over_at: float,
        holds: bool,
    ) -> None:
        """Add a rate of a signal, as the point of that number."""
        number = self.grow()
        self._asset[number] = asset
        self._of_signal.setdefault(signal, []).append(number)
        self._rates.append(_Rate(window_us, rolls_over_at, holds=holds))
        self._point.append(point)
        self._signals.cover(signal + 1)
        self._signals.used[signal] = True

    def update(self, points: Points, asset_now_us: NDArray[np.int64]) -> Points | None:
        """Accept values, ordered by time; returns the rates, NaN if unknown."""
        if not self._rates:
            return None
        found: list[tuple[int, int, float]] = []
        mine = points.among(self._signals.used)
        for signal, at_us, value in () if mine is None else mine.rows():
            for number in self._of_signal[signal]:
                found += self._one(number, at_us, value)
        for number in np.flatnonzero(self._next_us <= asset_now_us[self._asset]).tolist():
            passed = self._rates[number].pass_time(int(asset_now_us[self._asset[number]]))
            found += [(self._point[number], *each) for each in passed]
            self._next_us[number] = self._rates[number].next_us
        return _points(found) if found else None

    def _one(self, number: int, at_us: int, value: float) -> list[tuple[int, int, float]]:
        rate, point = self._rates[number], self._point[number]
        if math.isnan(value):  # no new point; the known rate may no longer be valid
            return [(point, at_us, math.nan)]
        found = rate.accept_value(at_us, value)
        self._next_us[number] = rate.next_us
        return [(point, *each) for each in found]

    def reset_clock(self, asset: int) -> None:
        """Restart the rates of an asset; its clock was set back."""
        for number in np.flatnonzero(self._asset == asset).tolist():
            self._rates[number].restart()
            self._next_us[number] = ENDLESS


def _points(rows: list[tuple[int, int, float]]) -> Points:
    rows.sort(key=lambda row: row[1])
    number, time_us, value = zip(*rows, strict=True)
    return Points(np.array(number, np.intp), np.array(time_us, np.int64), np.array(value))
