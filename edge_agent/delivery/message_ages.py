"""How long messages have waited, whatever the wall clock did meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge_agent.clock import US_PER_S

if TYPE_CHECKING:
    from edge_agent.clock import Clock

_STEP_US: Final = US_PER_S  # a smaller change of the clock is its ordinary correction
_MAX_STEPS: Final = 100


class MessageAges:
    """Ages by the wall clock, in which messages are stamped, without its steps.

    `look` must be called about once a second: it compares the wall clock with the monotonic one.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._offset_us = self._offset()
        self._steps: list[tuple[int, int]] = []  # (wall time before the step, microseconds ahead)

    def look(self) -> None:
        """Notice a step of the wall clock."""
        offset_us = self._offset()
        ahead_us = offset_us - self._offset_us
        self._offset_us = offset_us
        if abs(ahead_us) > _STEP_US:
            self._steps.append((self._clock.now_us() - ahead_us, ahead_us))
            del self._steps[:-_MAX_STEPS]

    def seconds(self, created_us: int) -> float:
        """Age of a message in seconds, at least 0."""
        now_us = self._clock.now_us()
        age_us = now_us - created_us
        for before_us, ahead_us in self._steps:
            # After a step back new stamps lie among the old ones: only those ahead of now are old.
            is_old = created_us <= before_us if ahead_us > 0 else created_us > now_us
            age_us -= ahead_us if is_old else 0
        return max(0.0, age_us / US_PER_S)

    def _offset(self) -> int:
        return self._clock.now_us() - round(self._clock.monotonic_s() * US_PER_S)
