"""One limit of one point: pending, raised or normal, and which values change nothing."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

import numpy as np

from edge_agent.clock import ENDLESS, NEVER, US_PER_S
from edge_agent.signals.condition_state import TRUE, UNKNOWN

# Decisions that depend on a condition are delayed by this time: the flag of a stop often arrives
# later than the first values of the stop.
SETTLE_US: Final = 2 * US_PER_S


class Change(Enum):
    """The change of the alarm of a limit."""

    RAISE = "raise"
    CLEAR = "clear"
    PAUSE = "pause"  # the machine stops while the alarm is active
    RESUME = "resume"  # the machine runs again: the alarm is still active
    END = "end"  # the machine runs again: the alarm is gone


@dataclass(frozen=True, slots=True)
class Bound:
    """A limit of one point. condition: the number of its condition, -1 for none."""

    point: int
    asset: int
    above: bool
    limit: float
    deadband: float
    on_us: int
    off_us: int
    cooldown_us: int = 0
    condition: int = -1


class LimitState:
    """The state of one limit; x is the value, or its negative for a limit from below."""

    __slots__ = (
        "bound",
        "cleared_us",
        "due_us",
        "lag_us",
        "limit",
        "paused",
        "raised",
        "reset",
        "shown",
        "since_us",
        "stood",
        "truth",
    )  # fmt: skip

    def __init__(self, bound: Bound) -> None:
        sign = 1.0 if bound.above else -1.0
        self.bound = bound
        self.limit = sign * bound.limit
        self.reset = self.limit - bound.deadband
        self.lag_us = 0 if bound.condition < 0 else SETTLE_US
        self.truth = TRUE if bound.condition < 0 else UNKNOWN
        self.raised = self.paused = False
        self.since_us = NEVER
        self.due_us = ENDLESS
        self.cleared_us = NEVER
        self.shown = np.nan
        self.stood = np.nan  # the value that it was raised with

    def compare_value(self, at_us: int, value: float, known_us: int) -> None:
        """Compare the value valid from `at_us` on; known_us: since when a value is known."""
        if self.truth != TRUE:
            self.since_us, self.due_us = NEVER, ENDLESS
            return
        if known_us >= ENDLESS:
            return
        self._compare(at_us, value if self.bound.above else -value)
        if self.since_us == NEVER:
            self.shown = np.nan
        elif self.paused or np.isnan(self.shown) or at_us <= max(self.due_us, known_us):
            self.shown = value

    def _compare(self, at_us: int, x: float) -> None:
        if self.paused:
            disagrees, delay_us = True, 0
        elif self.raised:
            # Once inside the deadband, a return into it changes nothing.
            disagrees = x < (self.reset if self.since_us == NEVER else self.limit)
            delay_us = self.bound.off_us
        else:
            disagrees, delay_us = x >= self.limit, self.bound.on_us
            delay_us = max(delay_us, self.cleared_us + self.bound.cooldown_us - at_us)
        if not disagrees:
            self.since_us, self.due_us = NEVER, ENDLESS
            return
        if self.since_us == NEVER:
            self.since_us, self.due_us = at_us, at_us + delay_us

    def decide(self, at_us: int) -> Change:
        """The delay is over."""
        value = self.shown if self.bound.above else -self.shown
        self.since_us, self.due_us = NEVER, ENDLESS
        self.stood = self.shown
        if self.paused:
            self.paused = False
            self.raised = value >= self.reset
            return Change.RESUME if self.raised else Change.END
        self.raised = not self.raised
        if not self.raised:
            self.cleared_us = at_us
        return Change.RAISE if self.raised else Change.CLEAR

    def quiet(self) -> tuple[float, float]:
        """[low, high) of the values that change nothing, if the value is known."""
        if self.truth != TRUE:
            return -np.inf, np.inf
        if self.since_us != NEVER or self.paused:
            return np.inf, -np.inf
        low, high = (self.reset, np.inf) if self.raised else (-np.inf, self.limit)
        if self.bound.above:
            return low, high
        return np.nextafter(-high, np.inf), np.nextafter(-low, np.inf)
