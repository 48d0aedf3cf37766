"""The flood of an asset: more alarms than an operator can read, raised one by one instead."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edge_agent.clock import US_PER_S
from edge_agent.messages import Detail

if TYPE_CHECKING:
    from collections.abc import Collection

    from edge_agent.alarms.track import Track
    from edge_agent.config import schema
    from edge_agent.messages import Alarm


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


class Floods:
    """The floods of all assets. flooded: the assets in a flood."""

    def __init__(self, limits: schema.Alarms) -> None:
        self.flooded: set[str] = set()
        self._bounds = _bounds(limits)
        self._of_asset: dict[str, Flood] = {}

    def flood_of(self, asset: str) -> Flood:
        """The raises of an asset and its held alarms."""
        flood = self._of_asset.get(asset)
        if flood is None:
            flood = self._of_asset[asset] = Flood(*self._bounds)
        return flood

    def admits_raise(self, asset: str, at_us: int) -> bool:
        """Count a raise at event time `at_us`; False if it must be held."""
        flood = self.flood_of(asset)
        if asset in self.flooded or not flood.has_room(at_us):
            return False
        flood.raised.append(at_us)
        return True

    def hold(self, track: Track) -> bool:
        """Hold the raise of an alarm; False if it is held already."""
        held, alarm_id = self.flood_of(track.alarm.asset).held, track.alarm.alarm_id
        if alarm_id in held:
            return False
        held[alarm_id] = track
        return True

    def release(self, alarm: Alarm) -> None:
        """Hold an alarm no longer: its condition ended, or an operator silenced it."""
        flood = self._of_asset.get(alarm.asset)
        if flood is not None:
            flood.held.pop(alarm.alarm_id, None)

    def shift_clock(self, step_us: int, but: Collection[str]) -> None:
        """Shift the times of raises, except those of assets in `but`; the clock was moved."""
        for asset, flood in self._of_asset.items():
            if asset not in but:
                flood.raised = [at_us + step_us for at_us in flood.raised]

    def adopt_limits(self, limits: schema.Alarms) -> None:
        """Use other limits from now on; held alarms keep waiting."""
        self._bounds = _bounds(limits)
        for flood in self._of_asset.values():
            flood.limit, flood.window_us = self._bounds


def _bounds(limits: schema.Alarms) -> tuple[int, int]:
    """How many raises are too many, and in how long (us)."""
    return limits.flood_limit, round(limits.flood_window * US_PER_S)


def flood_detail(limits: schema.Alarms) -> Detail:
    """Describe a flood; minutes: its window."""
    args = {"limit": limits.flood_limit, "minutes": limits.flood_window / 60}
    return Detail("flood", args)
