"""Recovery from a fault above the limit: a machine rarely returns exactly to its old state.

A pump whose valve was shut and opened again may settle at slightly different values. Its level
falls from fifty to three, and an alarm that waits for one would stay active for ever.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log
from typing import TYPE_CHECKING, Final

from edge_agent.clock import US_PER_S

if TYPE_CHECKING:
    from edge_agent.config.schema import AlarmRule

_FORGETTING: Final = 10.0  # off-delays: the previous level decays by e in this time
_DOUBT: Final = 30.0  # off-delays: a level above the limit for this long is not a recovery
_RELAPSE: Final = 2.0  # times the lowest level since then is not a recovery either
_PATIENCE: Final = 4.0  # each false recovery extends the wait of the next one by this factor
_MAX_DOUBTED: Final = 8
_LEVELS: Final = (1e-3, 1e6)


@dataclass(slots=True)
class Recovery:
    """The history of an alarm's level, in event time.

    smooth, held: logarithms of the level smoothed over one off-delay, and of its previous level;
    lowest: since the alarm cleared above the limit, else None; doubted: number of false clears.
    """

    smooth: float = 0.0
    held: float = 0.0
    at_us: int | None = None
    lowest: float | None = None
    since_us: int = 0
    doubted: int = 0

    def follow(self, level: float, at_us: int, rule: AlarmRule) -> None:
        """Accept the level of an active alarm."""
        now = log(min(max(level, _LEVELS[0]), _LEVELS[1]))
        if self.at_us is None:
            self.smooth = self.held = now
        elif rule.off_delay:
            passed = max(0.0, at_us - self.at_us) / US_PER_S / rule.off_delay
            self.smooth += (now - self.smooth) * (1.0 - exp(-passed))
            self.held = max(self.held - passed / _FORGETTING, self.smooth)
        self.at_us = at_us

    def left(self, level: float, rule: AlarmRule) -> bool:
        """True if the level fell, not slowly, below `rule.recovery` of its previous level."""
        return rule.off_delay > 0 and level < rule.recovery * exp(self.held)

    def wait_s(self, rule: AlarmRule) -> float:
        """How long it must stay below."""
        return float(rule.off_delay * _PATIENCE ** min(self.doubted, _MAX_DOUBTED))

    def begin(self, level: float, at_us: int) -> None:
        """The alarm cleared above the limit."""
        self.at_us = None
        self.lowest, self.since_us = level, at_us

    def relapsed(self, level: float, at_us: int, rule: AlarmRule) -> bool:
        """True if a level above the limit must be raised again after such a clear."""
        if self.lowest is None:
            return True
        self.lowest = min(self.lowest, level)
        doubtful_us = self.since_us + round(_DOUBT * rule.off_delay * US_PER_S)
        return level >= _RELAPSE * self.lowest or at_us >= doubtful_us

    def doubt(self) -> None:
        """The alarm is active again: count a recovery, if there was one, as false."""
        if self.lowest is not None:
            self.doubted += 1
        self.lowest = self.at_us = None

    def reset(self) -> None:
        """The level is below the limit."""
        self.lowest = self.at_us = None
        self.doubted = 0
