"""The gateway's own clock: that it was moved, and that it is probably the one that is wrong."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Final

from edge_agent.clock import US_PER_S, StepWatch
from edge_agent.messages import Detail, Fault

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_agent.clock import Clock
    from edge_agent.messages import Link

_STANDS_S: Final = 600.0  # a step is told of for so long; then it waits for its operator
_ALIKE_S: Final = 60.0
_SEVERAL: Final = 2
_WHAT: Final = "clock.gateway"


class GatewayClock:
    """Compares wall clock and monotonic clock, and the sources' clocks with each other."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._steps = StepWatch()
        self._moved_s = 0.0
        self._at_s: float | None = None
        self._steps.step_us(clock.now_us(), clock.monotonic_s())

    def faults(self, links: Mapping[str, Link], limit_s: float) -> list[Fault]:
        """What is wrong with the gateway's clock now; limit_s: how far a source's may be off."""
        now_s = self._clock.monotonic_s()
        step_us = self._steps.step_us(self._clock.now_us(), now_s)
        if step_us:
            self._moved_s = step_us / US_PER_S
            self._at_s = now_s
        is_recent = self._at_s is not None and now_s - self._at_s < _STANDS_S
        if is_recent or any(link.gateway_moved for link in links.values()):
            seconds = f"{self._moved_s:+.0f}"
            text = f"this gateway's clock was moved by {seconds} s"
            return [Fault(_WHAT, text, Detail("clock_stepped", {"seconds": seconds}))]
        return self._suspicion(links, limit_s)

    def _suspicion(self, links: Mapping[str, Link], limit_s: float) -> list[Fault]:
        """All sources are off by the same: one clock is wrong rather than all of them."""
        offsets = [x.clock_offset_s for x in links.values() if x.clock_offset_s is not None]
        if len(offsets) < _SEVERAL:
            return []
        middle_s = median(offsets)
        alike = all(abs(offset_s - middle_s) <= _ALIKE_S for offset_s in offsets)
        if not alike or abs(middle_s) <= limit_s:
            return []
        size = abs(round(middle_s))
        where = "ahead" if middle_s > 0 else "behind"
        text = (
            f"this gateway's clock is probably wrong: {len(offsets)} sources are {size} s {where}"
        )
        detail = Detail("clock_gateway", {"seconds": size, "sources": len(offsets)})
        return [Fault(_WHAT, text, detail)]
