"""Conditions of assets over event time: when each held, whatever the batches of values were.

A condition has one of three truths (Kleene's logic): what rests on a bad or stale signal is
unknown. Its truth at a time is known when the time of its asset is past it, so that it does not
matter which of several values of one time came first.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.clock import ENDLESS, NEVER, US_PER_S
from edge_agent.config.conditions import Compare, Every, Held, Not, Signal
from edge_agent.signals.points import Points, joined
from edge_agent.tables import Table, column

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from edge_agent.config.conditions import Condition, Node, Operand

TRUE: Final = 1
UNKNOWN: Final = 0
FALSE: Final = -1
_MOST_SPANS: Final = 4096  # times in which a condition held that are remembered


@dataclass(frozen=True, slots=True)
class Turn:
    """From `at_us` on condition `number` has another truth."""

    number: int
    at_us: int
    truth: int


def moved(at_us: int, step_us: int) -> int:
    """A time after the clock was moved; never and endless stay."""
    return at_us + step_us if NEVER < at_us < ENDLESS else at_us


class _Instance:
    """One condition of one asset. begin, end: the spans of time in which it held."""

    def __init__(self, condition: Condition) -> None:
        self.condition = condition
        self.values = dict.fromkeys(condition.signals, math.nan)
        self.truth = UNKNOWN
        self.at_us = NEVER  # of the newest evaluation
        self.turned_us = NEVER
        self.dirty_us = ENDLESS  # the time of values that it does not contain yet
        self.due_us = ENDLESS  # when a `for` is over
        self.since: dict[int, int] = {}  # `for` -> from when its part holds
        self.begin: list[int] = []
        self.end: list[int] = []

    @property
    def next_us(self) -> int:
        """When it must be looked at, once that time is past."""
        return min(self.dirty_us, self.due_us)

    def change(self, name: str, at_us: int, value: float) -> None:
        """A signal has another value from `at_us` on."""
        self.values[name] = value
        waiting_us = NEVER if self.dirty_us == ENDLESS else self.dirty_us
        self.dirty_us = max(at_us, self.at_us, waiting_us)

    def advance(self, to_us: int) -> list[tuple[int, int]]:
        """Everything before `to_us` is known; gives (time, truth) of each turn."""
        found = []
        while (at_us := self.next_us) < to_us:
            truth = self._evaluate(at_us)
            if truth != self.truth:
                self._turn(at_us, truth)
                found.append((at_us, truth))
        return found

    def covers(self, start_us: int, end_us: int) -> bool:
        """Whether it held all the time from start to end; the present span has no end."""
        at = bisect_right(self.begin, start_us) - 1
        return at >= 0 and (at >= len(self.end) or self.end[at] >= end_us)

    def set_back(self, to_us: int) -> None:
        """The clock was set back: what holds now has held until `to_us` as long as before."""
        shift_us = to_us - self.at_us
        self.since = {key: since + shift_us for key, since in self.since.items()}
        self.at_us = self.turned_us = self.dirty_us = to_us
        self.begin, self.end = ([to_us] if self.truth == TRUE else []), []

    def move(self, step_us: int) -> None:
        """The clock was moved: every time with it."""
        self.since = {key: since + step_us for key, since in self.since.items()}
        self.at_us = moved(self.at_us, step_us)
        self.turned_us = moved(self.turned_us, step_us)
        self.dirty_us = moved(self.dirty_us, step_us)
        self.due_us = moved(self.due_us, step_us)
        self.begin = [at_us + step_us for at_us in self.begin]
        self.end = [at_us + step_us for at_us in self.end]

    def _evaluate(self, at_us: int) -> int:
        if self.dirty_us <= at_us:
            self.dirty_us = ENDLESS
        self.due_us = ENDLESS
        self.at_us = at_us
        return self._truth(self.condition.root, at_us)

    def _turn(self, at_us: int, truth: int) -> None:
        if truth == TRUE:
            self.begin.append(at_us)
            if len(self.begin) > _MOST_SPANS:
                del self.begin[: _MOST_SPANS // 2], self.end[: _MOST_SPANS // 2]
        elif self.truth == TRUE:
            self.end.append(at_us)
        self.truth, self.turned_us = truth, at_us

    def _truth(self, node: Node, at_us: int) -> int:
        if isinstance(node, Compare):
            return _compare(node.sign, self._operand(node.left), self._operand(node.right))
        if isinstance(node, Not):
            return -self._truth(node.part, at_us)
        if isinstance(node, Held):
            return self._held(node, at_us)
        truths = [self._truth(part, at_us) for part in node.parts]  # all: each `for` must see it
        return min(truths) if isinstance(node, Every) else max(truths)

    def _held(self, node: Held, at_us: int) -> int:
        truth = self._truth(node.part, at_us)
        if truth != TRUE:
            self.since.pop(id(node), None)
            return truth
        due_us = self.since.setdefault(id(node), at_us) + round(node.seconds * US_PER_S)
        if due_us <= at_us:
            return TRUE
        self.due_us = min(self.due_us, due_us)
        return FALSE

    def _operand(self, operand: Operand) -> float:
        return self.values[operand.name] if isinstance(operand, Signal) else operand


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
    """All conditions of all assets; numbers are only ever added.

    truth [C]: of each condition now. turns: what changed since it was last emptied. now_us: event
    time by asset [A] as of the last `update`. live: whether a signal is stale now `update` is told
    (NaN); a recording has no other clock than its own.
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
        self._instances: list[_Instance] = []
        self._numbers: dict[tuple[int, Condition], int] = {}
        self._users: dict[int, list[tuple[int, str]]] = {}  # signal -> (condition, its name there)
        self.turns: list[Turn] = []

    def add(
        self, asset: int, condition: Condition, signals: Mapping[str, tuple[int, int | None]]
    ) -> int:
        """The number of a condition of an asset.

        signals: by name their number, and after how long (us) each is stale, None for never.
        """
        key = (asset, condition)
        if key in self._numbers:
            return self._numbers[key]
        number = self._numbers[key] = self.grow()
        self._asset[number] = asset
        self._instances.append(_Instance(condition))
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
        """Take values over, ordered by time, and let time go on.

        A value that is NaN is not known. asset_now_us: event time by asset [A].
        """
        self.now_us = asset_now_us
        if not self._instances:
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
            self._note(number, self._instances[number].advance(now_us))

    def _change(self, mine: Points) -> None:
        self._signals.last_us[mine.number] = mine.time_us
        self._signals.known[mine.number] = ~np.isnan(mine.value)
        quiet = (mine.value >= self._signals.low[mine.number]) & (
            mine.value < self._signals.high[mine.number]
        )
        if quiet.all():
            return
        changed = np.unique(mine.number[~quiet])
        for signal, at_us, value in mine.where(np.isin(mine.number, changed)).rows():
            for number, name in self._users[signal]:
                self._note(number, self._instances[number].advance(at_us))
                self._instances[number].change(name, at_us, value)
                self._next_us[number] = self._instances[number].next_us
        for signal in changed.tolist():
            self._quiet(signal)

    def set_back(self, asset: int, to_us: int) -> None:
        """The clock of an asset was set back to `to_us`."""
        for number in np.flatnonzero(self._asset == asset).tolist():
            instance = self._instances[number]
            instance.set_back(to_us)
            self._next_us[number] = instance.next_us
            self._begin_us[number] = to_us if instance.truth == TRUE else ENDLESS
            for signal, users in self._users.items():
                if any(user == number for user, _ in users):
                    self._signals.last_us[signal] = NEVER

    def move(self, step_us: int, moves: NDArray[np.bool_]) -> None:
        """The gateway's clock was moved, and the times of these assets [A] with it."""
        mine = np.flatnonzero(moves[self._asset])
        for number in mine.tolist():
            self._instances[number].move(step_us)
        for times in (self._next_us, self._begin_us):
            times[mine] += np.where(times[mine] < ENDLESS, step_us, 0)
        self._signals.last_us[moves[self._signals.asset] & (self._signals.last_us > NEVER)] += (
            step_us
        )

    def text(self, number: int) -> str:
        """A condition as it was written."""
        return self._instances[number].condition.text

    def turned_us(self, number: int) -> int:
        """From when a condition has its present truth."""
        return self._instances[number].turned_us

    def unknown(self, number: int) -> list[str]:
        """The signals of a condition whose value is not known."""
        values = self._instances[number].values
        return sorted(name for name, value in values.items() if math.isnan(value))

    def held(
        self, number: NDArray[np.intp], start_us: NDArray[np.int64], end_us: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        """Whether each condition held all the time from start to end [n]; -1 always does.

        The present span counts as if it went on.
        """
        always = number < 0
        held: NDArray[np.bool_] = always.copy()
        mine = ~always
        held[mine] = self._begin_us[number[mine]] <= start_us[mine]
        for at in np.flatnonzero(~held).tolist():
            instance = self._instances[number[at]]
            held[at] = instance.covers(int(start_us[at]), int(end_us[at]))
        return held

    def holds_now(self, number: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Whether each condition holds [n]; -1 always does."""
        if not len(self.truth):
            return np.ones(len(number), bool)
        holds: NDArray[np.bool_] = (number < 0) | (self.truth[number] == TRUE)
        return holds

    def take_over(self, old: Conditions, was: Mapping[int, int]) -> None:
        """Go on where an earlier plant was; was: the number of each asset in it."""
        for (asset, condition), number in self._numbers.items():
            before = old._numbers.get((was.get(asset, -1), condition))
            if before is not None:
                instance = self._instances[number] = old._instances[before]
                # Told again: who rests on it begins without knowing.
                self._note(number, [(instance.turned_us, instance.truth)])

    def _note(self, number: int, found: Iterable[tuple[int, int]]) -> None:
        self.turns += [Turn(number, at_us, truth) for at_us, truth in found]
        instance = self._instances[number]
        self.truth[number] = instance.truth
        self._begin_us[number] = instance.begin[-1] if instance.truth == TRUE else ENDLESS
        self._next_us[number] = instance.next_us

    def _with_gaps(self, mine: Points) -> Points:
        """The same with what was not known between two values, where the first became stale."""
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
        """The same with the signals whose newest value is stale by now."""
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
        """Between which values this signal would change no comparison."""
        low, high = -np.inf, np.inf
        for number, name in self._users[signal]:
            instance = self._instances[number]
            bounds = _bounds(instance.condition.root, name, instance.values[name])
            low, high = max(low, bounds[0]), min(high, bounds[1])
        self._signals.low[signal], self._signals.high[signal] = low, high


def _compare(sign: str, left: float, right: float) -> int:
    if math.isnan(left) or math.isnan(right):
        return UNKNOWN
    holds = {
        ">": left > right,
        ">=": left >= right,
        "<": left < right,
        "<=": left <= right,
        "==": left == right,
        "!=": left != right,
    }
    return TRUE if holds[sign] else FALSE


def _bounds(node: Node, name: str, value: float) -> tuple[float, float]:
    """[low, high) around a value of a signal in which every comparison stays as it is."""
    if isinstance(node, Not | Held):
        return _bounds(node.part, name, value)
    if not isinstance(node, Compare):
        found = [_bounds(part, name, value) for part in node.parts]
        return max(low for low, _ in found), min(high for _, high in found)
    sides = (node.left, node.right)
    if Signal(name) not in sides:
        return -math.inf, math.inf
    numbers = [side for side in sides if not isinstance(side, Signal)]
    if not numbers or math.isnan(value):
        return math.inf, -math.inf
    above = math.nextafter(numbers[0], math.inf)
    if value < numbers[0]:
        return -math.inf, numbers[0]
    return (numbers[0], above) if value < above else (above, math.inf)
