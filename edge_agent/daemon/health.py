"""Faults of the service itself: its log, its discovery."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge_agent.messages import Detail, Fault
from edge_agent.ops import logs

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.clock import Clock
    from edge_agent.ops.metrics import Metrics
    from edge_agent.plant import Plant

_BLOCKED_S: Final = 10.0  # one write that waits so long: nobody reads
_DROP_ALARM_S: Final = 60.0  # the alarm clears when nothing was dropped for so long


class LogHealth:
    """Counts the lines that were dropped."""

    def __init__(
        self, metrics: Metrics, clock: Clock, state: Callable[[], logs.LogState] = logs.state
    ) -> None:
        self._metrics = metrics
        self._clock = clock
        self._state = state
        self._counted = state().dropped
        self._dropped_s: float | None = None

    def faults(self) -> list[Fault]:
        """What is wrong with the log now; brings the metric up to date, too."""
        state, now_s = self._state(), self._clock.monotonic_s()
        if state.dropped > self._counted:
            self._metrics.log_dropped.inc(state.dropped - self._counted)
            self._counted, self._dropped_s = state.dropped, now_s
        last_s = self._dropped_s
        is_dropping = last_s is not None and now_s - last_s < _DROP_ALARM_S
        if not is_dropping and state.blocked_s < _BLOCKED_S:
            return []
        text = f"log: its reader has stopped, {state.dropped} lines dropped"
        return [Fault("log", text, Detail("log_dropping", {"dropped": state.dropped}))]


def discovery_faults(plant: Plant) -> list[Fault]:
    """That machines are not watched because `discovery.max_assets` is reached."""
    if not (plant.is_full and plant.refused):
        return []
    args = {"limit": plant.max_assets, "refused": plant.refused}
    text = (
        f"discovery is full: {plant.max_assets} machines known, {plant.refused} more refused "
        "(discovery.max_assets)"
    )
    return [Fault("discovery", text, Detail("discovery_full", args))]
