"""Limits of all signals as columns: which values go beyond their limit, and which return.

A value is beyond a limit when it is at it or past it, and back when it is inside by the deadband.
Both must last for their delay, in event time; the time stamp is the end of the delay. An unknown
value starts and ends nothing: a pending delay continues with the next known value. Most values
change nothing, which one comparison per signal shows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edge_agent.clock import ENDLESS, NEVER
from edge_agent.signals.condition_state import FALSE, moved
from edge_agent.signals.limit_state import Bound, Change, LimitState
from edge_agent.tables import Table, column

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from edge_agent.signals.conditions import ConditionChange
    from edge_agent.signals.points import Points


@dataclass(frozen=True, slots=True)
class Crossing:
    """A limit (`row`) at an instant, with the value that decided."""

    row: int
    change: Change
    at_us: int
    value: float


class _PointTable(Table):
    """Columns over all points; low, high: between them a value changes nothing."""

    used = column(np.bool_)
    low = column(np.float64, np.inf)
    high = column(np.float64, -np.inf)
    value = column(np.float64, np.nan)
    last_us = column(np.int64, NEVER)
    known_us = column(np.int64, ENDLESS)  # since when the value is known; ENDLESS: it is unknown


class Limits(Table):
    """All limits of all signals; rows are only added."""

    _asset = column(np.intp)
    _due_us = column(np.int64, ENDLESS)  # what it waits for in addition to the delay

    def __init__(self) -> None:
        super().__init__()
        self._points = _PointTable()
        self._rows: list[LimitState] = []
        self._of_point: dict[int, list[int]] = {}
        self._of_condition: dict[int, list[int]] = {}

    def add(self, bound: Bound) -> int:
        """Add a limit; returns its row."""
        row = self.grow()
        self._asset[row] = bound.asset
        self._rows.append(LimitState(bound))
        self._of_point.setdefault(bound.point, []).append(row)
        if bound.condition >= 0:
            self._of_condition.setdefault(bound.condition, []).append(row)
        self._points.cover(bound.point + 1)
        self._points.used[bound.point] = True
        return row

    def restore(self, row: int, *, raised: bool, paused: bool) -> None:
        """Restore the state from the stored alarm."""
        self._rows[row].raised, self._rows[row].paused = raised, paused
        self._settle([self._rows[row].bound.point])

    def update(self, points: Points, changes: Iterable[ConditionChange]) -> list[Crossing]:
        """Accept values (ordered by time, NaN: unknown) and changes of conditions."""
        changes = [change for change in changes if change.number in self._of_condition]
        mine = points.among(self._points.used)
        if mine is None and not changes:
            return []
        events: list[tuple[int, int, int, float]] = []  # time, kind, point or row, value or truth
        touched = {
            self._rows[row].bound.point for t in changes for row in self._of_condition[t.number]
        }
        if mine is not None:
            late = mine.time_us < self._points.last_us[mine.number]
            if late.any():
                mine = mine.where(~late)
            events += self._remarkable(mine, touched)
        events += [
            (change.at_us, 0, row, change.truth)
            for change in changes
            for row in self._of_condition[change.number]
        ]
        if not events:
            return []
        events.sort(key=lambda event: event[:2])
        found: list[Crossing] = []
        for at_us, kind, number, value in events:
            if kind:
                self._value_event(number, at_us, value, found)
            else:
                self._condition_event(number, at_us, int(value), found)
        touched.update(number for _, kind, number, _ in events if kind)
        self._settle(touched)
        return found

    def _remarkable(self, mine: Points, touched: set[int]) -> list[tuple[int, int, int, float]]:
        """The values of points that may change something; all values are stored."""
        number, value = mine.number, mine.value
        quiet = (value >= self._points.low[number]) & (value < self._points.high[number])
        chosen = ~quiet
        for point in touched:
            chosen |= number == point
        known = ~np.isnan(value)  # a silence ends with what comes late
        self._points.last_us[number[known]] = mine.time_us[known]
        if not chosen.any():
            self._points.value[number] = value
            return []
        all_of = np.isin(number, np.unique(number[chosen]))
        rest = ~all_of
        self._points.value[number[rest]] = value[rest]
        return [(at_us, 1, point, x) for point, at_us, x in mine.where(all_of).rows()]

    def _value_event(self, point: int, at_us: int, value: float, found: list[Crossing]) -> None:
        rows = self._of_point[point]
        for row in rows:
            self._elapse(row, at_us, found)
        if value == value:  # noqa: PLR0124 (NaN)
            self._points.value[point] = value
            self._points.known_us[point] = min(int(self._points.known_us[point]), at_us)
        else:
            self._points.known_us[point] = ENDLESS
        for row in rows:
            self._rows[row].compare_value(at_us, value, int(self._points.known_us[point]))

    def _condition_event(self, number: int, at_us: int, truth: int, found: list[Crossing]) -> None:
        self._elapse(number, at_us, found)
        row = self._rows[number]
        row.truth = truth
        point = row.bound.point
        value = float(self._points.value[point])
        if truth == FALSE and row.raised and not row.paused:
            row.paused = True
            # Not the newest value: with several values of one time it depends on the batching.
            stood = value if np.isnan(row.stood) else float(row.stood)
            found.append(Crossing(number, Change.PAUSE, at_us, stood))
        row.compare_value(at_us, value, int(self._points.known_us[point]))

    def _elapse(self, number: int, to_us: int, found: list[Crossing]) -> None:
        """Decide what is due by then, if the value is known and its condition is settled."""
        while True:
            row = self._rows[number]
            known_us = int(self._points.known_us[row.bound.point])
            at_us = max(row.due_us, known_us)
            if at_us >= ENDLESS or at_us + row.lag_us > to_us:
                return
            shown = float(row.shown)
            found.append(Crossing(number, row.decide(at_us), at_us, shown))
            row.compare_value(at_us, float(self._points.value[row.bound.point]), known_us)

    def advance(self, asset_now_us: NDArray[np.int64]) -> list[Crossing]:
        """Advance time; asset_now_us: event time by asset [A]."""
        if not self._rows:
            return []
        found: list[Crossing] = []
        due = np.flatnonzero(self._due_us <= asset_now_us[self._asset]).tolist()
        for row in due:
            self._elapse(row, int(asset_now_us[self._asset[row]]), found)
        self._settle({self._rows[row].bound.point for row in due})
        return found

    def reset_clock(self, asset: int, to_us: int) -> None:
        """Restart pending delays at `to_us`; the clock of an asset was set back to it."""
        for number in np.flatnonzero(self._asset == asset).tolist():
            row = self._rows[number]
            point = row.bound.point
            self._points.last_us[point] = NEVER
            known = self._points.known_us[point] < ENDLESS
            self._points.known_us[point] = to_us if known else ENDLESS
            row.since_us, row.due_us = NEVER, ENDLESS
            row.compare_value(
                to_us, float(self._points.value[point]), int(self._points.known_us[point])
            )
            self._settle([point])

    def shift_clock(self, step_us: int, moves: NDArray[np.bool_]) -> None:
        """Shift the times of these assets [A]; the gateway's clock was moved."""
        mine = np.flatnonzero(moves[self._asset])
        for row in (self._rows[number] for number in mine.tolist()):
            row.since_us = moved(row.since_us, step_us)
            row.due_us = moved(row.due_us, step_us)
            row.cleared_us = moved(row.cleared_us, step_us)
        points = np.unique([self._rows[number].bound.point for number in mine.tolist()])
        for times_us, which in (
            (self._due_us, mine),
            (self._points.last_us, points.astype(np.intp)),
            (self._points.known_us, points.astype(np.intp)),
        ):
            times = times_us[which]
            times_us[which] += np.where((times > NEVER) & (times < ENDLESS), step_us, 0)

    def state(self, row: int) -> tuple[bool, int, bool]:
        """If a limit is exceeded, the truth of its condition, and if its value is known."""
        state = self._rows[row]
        return state.raised, state.truth, bool(self._points.known_us[state.bound.point] < ENDLESS)

    def value(self, point: int) -> float:
        """The newest known value of a point."""
        return float(self._points.value[point])

    def _settle(self, points: Iterable[int]) -> None:
        """Compute which values of these points change nothing, and when their limits are due."""
        for point in points:
            low, high = -np.inf, np.inf
            if self._points.known_us[point] >= ENDLESS:
                low = np.inf
            for number in self._of_point[point]:
                row = self._rows[number]
                bounds = row.quiet()
                low, high = max(low, bounds[0]), min(high, bounds[1])
                self._due_us[number] = min(row.due_us, ENDLESS - row.lag_us) + row.lag_us
            self._points.low[point], self._points.high[point] = low, high
