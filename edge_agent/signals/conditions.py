"""Conditions of assets over event time: when each is true, independent of the batching.

A condition has one of three truths (Kleene's logic): with a bad or stale signal it is unknown. Its
truth at a time is known when the time of its asset has passed it, so the order of several values
of the same time does not matter.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edge_agent.clock import ENDLESS, NEVER
from edge_agent.signals.condition_state import (
    TRUE,
    UNKNOWN,
    ConditionState,
    unchanged_range,
)
from edge_agent.signals.points import Points, joined
from edge_agent.tables import Table, column

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from edge_agent.config.conditions import Condition


@dataclass(frozen=True, slots=True)
class ConditionChange:
    """From `at_us` on, condition `number` has another truth."""

    number: int
    at_us: int
    truth: int


class _SignalTable(Table):
    """Columns over all signals; low, high: between them a value changes nothing."""

    used = column(np.bool_)
    low = column(np.float64, np.inf)
    high = column(np.float64, -np.inf)
    last_us = column(np.int64, NEVER)
    known = column(np.bool_)
    stale_us = column(np.int64, ENDLESS)
    asset = column(np.intp)


class Conditions(Table):
    """All conditions of all assets; numbers are only added.

    instances, truth [C]: of each condition, and its truth now. turns: changes since it was last
    emptied. now_us: event time by asset [A] as of the last turn. live: `update` receives stale
    signals as NaN; a recording has no clock except its own.
    """

    _asset = column(np.intp)
    _next_us = column(np.int64, ENDLESS)
    truth = column(np.int8, UNKNOWN)
    _begin_us = column(np.int64, ENDLESS)  # of the present span

    def __init__(self, *, live: bool = True) -> None:
        super().__init__()
        self._live = live
        self._signals = _SignalTable()
        self.now_us = np.zeros(0, np.int64)
        self.instances: list[ConditionState] = []
        self._numbers: dict[tuple[int, Condition], int] = {}
        self._users: dict[int, list[tuple[int, str]]] = {}  # signal -> (condition, its name there)
        self.changes: list[ConditionChange] = []

    def add(
        self, asset: int, condition: Condition, signals: Mapping[str, tuple[int, int | None]]
    ) -> int:
        """The number of a condition of an asset.

        signals: by name, their number and the time (us) after which each is stale, None for never.
        """
        key = (asset, condition)
        if key in self._numbers:
            return self._numbers[key]
        number = self._numbers[key] = self.grow()
        self._asset[number] = asset
        self.instances.append(ConditionState(condition))
        for name in sorted(condition.signals & signals.keys()):
            signal, stale_us = signals[name]
            self._users.setdefault(signal, []).append((number, name))
            self._signals.cover(signal + 1)
            self._signals.used[signal] = True
            self._signals.low[signal] = np.inf
            self._signals.asset[signal] = asset
            self._signals.stale_us[signal] = ENDLESS if stale_us is None else stale_us
        return number

    def update(self, points: Points, asset_now_us: NDArray[np.int64]) -> None:
        """Accept values, ordered by time, and advance time.

        NaN is an unknown value. asset_now_us: event time by asset [A].
        """
        self.now_us = asset_now_us
        if not self.instances:
            return
        mine = points.among(self._signals.used)
        if mine is not None:
            late = mine.time_us < self._signals.last_us[mine.number]
            mine = self._with_gaps(mine.where(~late) if late.any() else mine)
        if not self._live:
            mine = self._with_silence(mine, asset_now_us)
        if mine is not None and len(mine.number):
            self._change(mine)
        for number in np.flatnonzero(self._next_us < asset_now_us[self._asset]).tolist():
            now_us = int(asset_now_us[self._asset[number]])
            self._record_changes(number, self.instances[number].advance(now_us))

    def _change(self, mine: Points) -> None:
        known = ~np.isnan(mine.value)  # a silence ends with what comes late
        self._signals.last_us[mine.number[known]] = mine.time_us[known]
        self._signals.known[mine.number] = known
        quiet = (mine.value >= self._signals.low[mine.number]) & (
            mine.value < self._signals.high[mine.number]
        )
        if quiet.all():
            return
        changed = np.unique(mine.number[~quiet])
        for signal, at_us, value in mine.where(np.isin(mine.number, changed)).rows():
            for number, name in self._users[signal]:
                self._record_changes(number, self.instances[number].advance(at_us))
                self.instances[number].change(name, at_us, value)
                self._next_us[number] = self.instances[number].next_us
        for signal in changed.tolist():
            self._quiet(signal)

    def reset_clock(self, asset: int, to_us: int) -> None:
        """The clock of an asset was set back to `to_us`."""
        for number in np.flatnonzero(self._asset == asset).tolist():
            instance = self.instances[number]
            instance.reset_clock(to_us)
            self._next_us[number] = instance.next_us
            self._begin_us[number] = to_us if instance.truth == TRUE else ENDLESS
            for signal, users in self._users.items():
                if any(user == number for user, _ in users):
                    self._signals.last_us[signal] = NEVER

    def shift_clock(self, step_us: int, moves: NDArray[np.bool_]) -> None:
        """Shift the times of these assets [A]; the gateway's clock was moved."""
        mine = np.flatnonzero(moves[self._asset])
        for number in mine.tolist():
            self.instances[number].shift_clock(step_us)
        for times in (self._next_us, self._begin_us):
            times[mine] += np.where(times[mine] < ENDLESS, step_us, 0)
        self._signals.last_us[moves[self._signals.asset] & (self._signals.last_us > NEVER)] += (
            step_us
        )

    def set_stale_after(self, signal: int, stale_us: int) -> None:
        """A signal is stale after another time from now on."""
        if signal < len(self._signals) and self._signals.used[signal]:
            self._signals.stale_us[signal] = stale_us

    def text(self, number: int) -> str:
        """The text of a condition."""
        return self.instances[number].condition.text

    def turned_us(self, number: int) -> int:
        """Since when a condition has its present truth."""
        return self.instances[number].turned_us

    def unknown(self, number: int) -> list[str]:
        """The signals of a condition with unknown values."""
        values = self.instances[number].values
        return sorted(name for name, value in values.items() if math.isnan(value))

    def held(
        self, number: NDArray[np.intp], start_us: NDArray[np.int64], end_us: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        """True for conditions that were true from start to end [n]; -1 always is.

        The present span counts as continuing.
        """
        always = number < 0
        held: NDArray[np.bool_] = always.copy()
        mine = ~always
        held[mine] = self._begin_us[number[mine]] <= start_us[mine]
        for at in np.flatnonzero(~held).tolist():
            instance = self.instances[number[at]]
            held[at] = instance.covers(int(start_us[at]), int(end_us[at]))
        return held

    def holds_now(self, number: NDArray[np.intp]) -> NDArray[np.bool_]:
        """True for conditions that are true now [n]; -1 always is."""
        if not len(self.truth):
            return np.ones(len(number), bool)
        holds: NDArray[np.bool_] = (number < 0) | (self.truth[number] == TRUE)
        return holds

    def adopt_state(self, old: Conditions, was: Mapping[int, int]) -> None:
        """Copy the state of an earlier plant; was: the number of each asset in it."""
        for (asset, condition), number in self._numbers.items():
            before = old._numbers.get((was.get(asset, -1), condition))
            if before is not None:
                instance = self.instances[number] = old.instances[before]
                # Reported again: users of the condition start with an unknown truth.
                self._record_changes(number, [(instance.turned_us, instance.truth)])

    def _record_changes(self, number: int, found: Iterable[tuple[int, int]]) -> None:
        self.changes += [ConditionChange(number, at_us, truth) for at_us, truth in found]
        instance = self.instances[number]
        self.truth[number] = instance.truth
        self._begin_us[number] = instance.begin[-1] if instance.truth == TRUE else ENDLESS
        self._next_us[number] = instance.next_us

    def _with_gaps(self, mine: Points) -> Points:
        """Add NaN between two values if the first became stale before the second."""
        order = np.argsort(mine.number, kind="stable")
        number, time_us = mine.number[order], mine.time_us[order]
        first = np.append(True, number[1:] != number[:-1])
        before_us = np.where(first, self._signals.last_us[number], np.roll(time_us, 1))
        value = mine.value[order]
        known = np.where(first, self._signals.known[number], ~np.isnan(np.roll(value, 1)))
        gap = known & (time_us - before_us > self._signals.stale_us[number])
        if not gap.any():
            return mine
        number, before_us = number[gap], before_us[gap]
        lost = Points(
            number, before_us + self._signals.stale_us[number], np.full(len(number), np.nan)
        )
        return joined((lost, mine))

    def _with_silence(self, mine: Points | None, asset_now_us: NDArray[np.int64]) -> Points | None:
        """Add NaN for signals whose newest value is stale by now."""
        last_us, known = self._signals.last_us.copy(), self._signals.known.copy()
        if mine is not None:
            last_us[mine.number] = mine.time_us
            known[mine.number] = ~np.isnan(mine.value)
        stale = known & (asset_now_us[self._signals.asset] - last_us > self._signals.stale_us)
        if not stale.any():
            return mine
        signal = np.flatnonzero(stale)
        at_us = last_us[signal] + self._signals.stale_us[signal]
        order = np.argsort(at_us, kind="stable")
        silent = Points(signal[order], at_us[order], np.full(len(signal), np.nan))
        return silent if mine is None else joined((silent, mine))

    def _quiet(self, signal: int) -> None:
        """The range of values of this signal that change no comparison."""
        low, high = -np.inf, np.inf
        for number, name in self._users[signal]:
            instance = self.instances[number]
            bounds = unchanged_range(instance.condition.root, name, instance.values[name])
            low, high = max(low, bounds[0]), min(high, bounds[1])
        self._signals.low[signal], self._signals.high[signal] = low, high
