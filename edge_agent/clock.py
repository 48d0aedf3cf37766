"""The clock everything asks, so that tests decide what time it is."""

from __future__ import annotations

import time
from typing import Protocol

US_PER_S = 1_000_000
US_PER_MS = 1_000


class Clock(Protocol):
    """Wall time for stamps, monotonic time for durations."""

    def now_us(self) -> int:
        """Microseconds since the epoch, UTC."""

    def monotonic_s(self) -> float:
        """Seconds from an arbitrary origin; never steps back."""


class SystemClock:
    """The machine's own clock."""

    def now_us(self) -> int:
        """Microseconds since the epoch, UTC."""
        return time.time_ns() // 1_000

    def monotonic_s(self) -> float:
        """Seconds from an arbitrary origin; never steps back."""
        return time.monotonic()


class FakeClock:
    """A clock that moves only when told to; for tests and for recordings."""

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
