"""The way back from a fault that ends above the limit: a machine is rarely again as it was before.

A pump whose valve was shut and opened again may settle a little elsewhere. Its level falls from
fifty to three, and an alarm that waits for one would stand for ever.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log
from typing import TYPE_CHECKING, Final

from edge_agent.clock import US_PER_S

if TYPE_CHECKING:
    from edge_agent.config.schema import AlarmRule

_FORGETTING: Final = 10.0  # off-delays: what the level held fades by e in this time
_DOUBT: Final = 30.0  # off-delays: so long above the limit after all is no recovery
_RELAPSE: Final = 2.0  # times the lowest level since is none either
_PATIENCE: Final = 4.0  # each recovery that was none makes the next one wait so much longer
_MAX_DOUBTED: Final = 8
_LEVELS: Final = (1e-3, 1e6)


@dataclass(slots=True)
class Recovery:
    """What an alarm remembers of its level, in event time.

    smooth, held: logarithms of the level smoothed over one off-delay, and of what it held; lowest:
    since the alarm cleared above the limit, else None; doubted: how many such clears were none.
    """

    smooth: float = 0.0
    held: float = 0.0
    at_us: int | None = None
    lowest: float | None = None
    since_us: int = 0
    doubted: int = 0

    def follow(self, level: float, at_us: int, rule: AlarmRule) -> None:
        """Take note of the level of an active alarm."""
        now = log(min(max(level, _LEVELS[0]), _LEVELS[1]))
        if self.at_us is None:
            self.smooth = self.held = now
        elif rule.off_delay:
            passed = max(0.0, at_us - self.at_us) / US_PER_S / rule.off_delay
            self.smooth += (now - self.smooth) * (1.0 - exp(-passed))
            self.held = max(self.held - passed / _FORGETTING, self.smooth)
        self.at_us = at_us

    def left(self, level: float, rule: AlarmRule) -> bool:
        """Tell whether the level fell, and not slowly, below `rule.recovery` of what it held."""
        return rule.off_delay > 0 and level < rule.recovery * exp(self.held)

    def wait_s(self, rule: AlarmRule) -> float:
        """How long it must have left."""
        return float(rule.off_delay * _PATIENCE ** min(self.doubted, _MAX_DOUBTED))

    def begin(self, level: float, at_us: int) -> None:
        """The alarm cleared above the limit."""
        self.at_us = None
        self.lowest, self.since_us = level, at_us

    def relapsed(self, level: float, at_us: int, rule: AlarmRule) -> bool:
        """Tell whether a level above the limit is news, after such a clear."""
        if self.lowest is None:
            return True
        self.lowest = min(self.lowest, level)
        doubtful_us = self.since_us + round(_DOUBT * rule.off_delay * US_PER_S)
        return level >= _RELAPSE * self.lowest or at_us >= doubtful_us

    def doubt(self) -> None:
        """The alarm is there again: what looked like a recovery was none, where there was one."""
        if self.lowest is not None:
            self.doubted += 1
        self.lowest = self.at_us = None

    def reset(self) -> None:
        """The level is below the limit."""
        self.lowest = self.at_us = None
        self.doubted = 0
