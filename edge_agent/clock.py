"""The clock that all code uses, so that tests can set the time."""

from __future__ import annotations

import threading
import time
from typing import Final, Protocol

US_PER_S = 1_000_000
US_PER_MS = 1_000
# Sentinel times, as int64: before and after all others; the sum of two does not overflow.
NEVER: Final = -(1 << 61)
ENDLESS: Final = (1 << 61) - 1
_LEAST_STEP_US = 2 * US_PER_S


class Clock(Protocol):
    """Wall time for stamps, monotonic time for durations."""

    def now_us(self) -> int:
        """Microseconds since the epoch, UTC."""

    def monotonic_s(self) -> float:
        """Seconds from an arbitrary origin; never steps back."""


class SystemClock:
    """The machine's own clock."""

    monotonic_s = staticmethod(time.monotonic)  # no call of ours: it is read often

    def now_us(self) -> int:
        """Microseconds since the epoch, UTC."""
        return time.time_ns() // 1_000


class ApartTime:
    """The processor time of this process that other programs' requests use.

    What paces itself by the load of the plant leaves it out. s: in seconds; an attribute, so that
    to read it is no call.
    """

    def __init__(self) -> None:
        self.s = 0.0
        self._adding = threading.Lock()
        self._known = threading.local()

    def count_thread(self) -> None:
        """Add what the calling thread has used since its last call, or since its start."""
        now_s = time.thread_time()
        with self._adding:
            self.s += now_s - getattr(self._known, "s", 0.0)
        self._known.s = now_s


APART: Final = ApartTime()


class StepWatch:
    """Detects steps of the wall clock, by comparison with the monotonic clock.

    Slewing, as by NTP, is not a step.
    """

    def __init__(self) -> None:
        self._before: tuple[int, float] | None = None

    def step_us(self, now_us: int, monotonic_s: float) -> int:
        """The step of the wall clock since the last call; negative: back; usually 0."""
        before, self._before = self._before, (now_us, monotonic_s)
        if before is None:
            return 0
        step_us = now_us - before[0] - round((monotonic_s - before[1]) * US_PER_S)
        return step_us if abs(step_us) >= _LEAST_STEP_US else 0


class FakeClock:
    """A clock that moves only by calls; for tests and for recordings."""

    def __init__(self, now_us: int = 0) -> None:
        self._now_us = now_us
        self._monotonic_s = 0.0

    def now_us(self) -> int:
        """Microseconds since the epoch, UTC."""
        return self._now_us

    def monotonic_s(self) -> float:
        """Seconds from an arbitrary origin."""
        return self._monotonic_s

    def advance(self, seconds: float) -> None:
        """Move both clocks forward."""
        self._now_us += round(seconds * US_PER_S)
        self._monotonic_s += seconds

    def set_wall(self, by_s: float) -> None:
        """Set the wall clock forward or back (by_s < 0), like a person who corrects it."""
        self._now_us += round(by_s * US_PER_S)
