"""The probability of a failure over time, from three quantiles of the remaining life."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

from edge_agent.clock import US_PER_S

if TYPE_CHECKING:
    from edge_agent.config.maintenance import DueTimes

US_PER_H: Final = 3600 * US_PER_S
_TAIL: Final = 4  # from p90 to the certain failure it takes a quarter of the time from p50 to p90
# Without a model: the failure is as probable when an alarm is due as at the p10 of a life. Half of
# the machines fail within three times that time. An assumption; docs/maintenance-plan.md says it.
_ASSUMED: Final = (1.0, 3.0, 6.0)


class Risk(NamedTuple):
    """Remaining life as told at at_us: hours that pass with 10, 50 and 90 % failures."""

    at_us: int
    p10_h: float
    p50_h: float
    p90_h: float

    def failed(self, hours: float) -> float:
        """The share of machines that have failed so many hours after it was told."""
        knots = (
            (0.0, 0.0),
            (self.p10_h, 0.1),
            (self.p50_h, 0.5),
            (self.p90_h, 0.9),
            (self.p90_h + (self.p90_h - self.p50_h) / _TAIL, 1.0),
        )
        for (low_h, low), (high_h, high) in pairwise(knots):
            if hours < high_h:
                return low + (high - low) * max(0.0, hours - low_h) / (high_h - low_h)
        return 1.0

    def probability(self, now_us: int, until_us: int) -> float:
        """The probability that it fails until then, given that it runs now."""
        before = self.failed((now_us - self.at_us) / US_PER_H)
        after = self.failed((until_us - self.at_us) / US_PER_H)
        return 1.0 if before >= 1.0 else max(0.0, (after - before) / (1.0 - before))

    @property
    def due_us(self) -> int:
        """When one machine in ten has failed."""
        return self.at_us + round(self.p10_h * US_PER_H)


def risk_of_alarm(priority: str, raised_us: int, due: DueTimes) -> Risk:
    """What is assumed of an alarm without a remaining life."""
    hours = getattr(due, priority, due.low) / 3600
    return Risk(raised_us, *(hours * each for each in _ASSUMED))


def risk_of_life(at_us: int, rul_h: tuple[float, float, float]) -> Risk:
    """The risk of a predicted remaining life; quantiles that cross are put in order."""
    p10, p50, p90 = sorted(max(0.0, hours) for hours in rul_h)
    return Risk(at_us, p10, p50, p90)
