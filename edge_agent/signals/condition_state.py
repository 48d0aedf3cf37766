"""One condition of one asset over event time: its truth, and the spans in which it was true."""

from __future__ import annotations

import math
from bisect import bisect_right
from typing import TYPE_CHECKING, Final

from edge_agent.clock import ENDLESS, NEVER, US_PER_S
from edge_agent.config.conditions import Compare, Every, Held, Not, Signal

if TYPE_CHECKING:
    from edge_agent.config.conditions import Condition, Node, Operand

TRUE: Final = 1
UNKNOWN: Final = 0
FALSE: Final = -1
_MOST_SPANS: Final = 4096  # number of stored spans in which a condition was true


def moved(at_us: int, step_us: int) -> int:
    """The time after a step of the clock; NEVER and ENDLESS stay."""
    return at_us + step_us if NEVER < at_us < ENDLESS else at_us


class ConditionState:
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
        """The time of the next evaluation, once it has passed."""
        return min(self.dirty_us, self.due_us)

    def change(self, name: str, at_us: int, value: float) -> None:
        """A signal has another value from `at_us` on."""
        self.values[name] = value
        waiting_us = NEVER if self.dirty_us == ENDLESS else self.dirty_us
        self.dirty_us = max(at_us, self.at_us, waiting_us)

    def advance(self, to_us: int) -> list[tuple[int, int]]:
        """Evaluate up to `to_us` (all values are known); returns (time, truth) of each change."""
        found = []
        while (at_us := self.next_us) < to_us:
            truth = self._evaluate(at_us)
            if truth != self.truth:
                self._turn(at_us, truth)
                found.append((at_us, truth))
        return found

    def covers(self, start_us: int, end_us: int) -> bool:
        """True if it was true from start to end; the present span has no end."""
        at = bisect_right(self.begin, start_us) - 1
        return at >= 0 and (at >= len(self.end) or self.end[at] >= end_us)

    def reset_clock(self, to_us: int) -> None:
        """Follow a clock that was set back: a true condition keeps its duration at `to_us`."""
        shift_us = to_us - self.at_us
        self.since = {key: since + shift_us for key, since in self.since.items()}
        self.at_us = self.turned_us = self.dirty_us = to_us
        self.begin, self.end = ([to_us] if self.truth == TRUE else []), []

    def shift_clock(self, step_us: int) -> None:
        """Shift every time; the clock was moved."""
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


def unchanged_range(node: Node, name: str, value: float) -> tuple[float, float]:
    """[low, high) around a value of a signal in which every comparison stays as it is."""
    if isinstance(node, Not | Held):
        return unchanged_range(node.part, name, value)
    if not isinstance(node, Compare):
        found = [unchanged_range(part, name, value) for part in node.parts]
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
