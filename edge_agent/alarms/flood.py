"""The flood of an asset: more alarms than an operator can read, raised one by one instead."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edge_agent.clock import US_PER_S
from edge_agent.messages import Detail

if TYPE_CHECKING:
    from edge_agent.alarms.track import Track
    from edge_agent.config import schema


@dataclass(slots=True)
class Flood:
    """The raises of one asset within a window of event time, and the queue of the held ones.

    A flood begins with the raise over the limit (more than 10 in 10 min) and ends when fewer than
    half as many were raised (fewer than 5): ANSI/ISA-18.2-2016 clause 16, EEMUA 191.
    """

    limit: int
    window_us: int
    raised: list[int] = field(default_factory=list)
    held: dict[str, Track] = field(default_factory=dict)

    def has_room(self, at_us: int) -> bool:
        """True if one more raise at event time `at_us` stays within the limit."""
        # The distance is absolute because event time steps back when a recording restarts.
        if self.raised:
            self.raised = [at for at in self.raised if abs(at_us - at) < self.window_us]
        return len(self.raised) < self.limit

    def due_us(self, at_us: int) -> int:
        """When the next held alarm may be raised or, with none held, when the flood ends.

        `at_us`, now, where event time stepped back behind the raises; else never before the newest.
        """
        most = self.limit - 1 if self.held else (self.limit - 1) // 2
        if len(self.raised) <= most:
            return max(self.raised, default=at_us)
        oldest = sorted(self.raised)[-most - 1]
        return at_us if at_us + self.window_us <= oldest else oldest + self.window_us


def new_flood(limits: schema.Alarms) -> Flood:
    """Return the record of an asset without raises."""
    return Flood(*flood_bounds(limits))


def flood_bounds(limits: schema.Alarms) -> tuple[int, int]:
    """Return how many raises are too many, and in how long (us)."""
    return limits.flood_limit, round(limits.flood_window * US_PER_S)


def flood_detail(limits: schema.Alarms) -> Detail:
    """Describe a flood; minutes: its window."""
    args = {"limit": limits.flood_limit, "minutes": limits.flood_window / 60}
    return Detail("flood", args)
