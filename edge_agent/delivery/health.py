"""What keeps alarms from being kept or delivered, and the service's own alarms about it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from edge_agent.messages import Detail, Fault

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_agent.clock import Clock
    from edge_agent.ops.metrics import Metrics
    from edge_agent.store import DroppedMessages

log = logging.getLogger("edge_agent.delivery")

_DROP_ALARM_S: Final = 60.0  # the alarm clears when nothing was dropped for so long
_SUPERSEDED: Final = "superseded"  # a newer state of the same alarm waits: nothing is lost


class PublisherHealth:
    """Counts what the store refuses and what the outbox had to give up."""

    def __init__(self, metrics: Metrics, clock: Clock) -> None:
        self._metrics = metrics
        self._clock = clock
        self._dropped = 0
        self._dropped_s: float | None = None
        self.trouble = ""

    def note_dropped(self, dropped: Sequence[DroppedMessages]) -> None:
        """Messages were given up to stay within the store's bounds."""
        for one in dropped:
            self._metrics.outbox_dropped.labels(one.sink).inc(one.messages)
            if one.rank != _SUPERSEDED:
                self._dropped += one.messages
                self._dropped_s = self._clock.monotonic_s()

    def note_trouble(self, reason: str) -> None:
        """Why the store refuses, or nothing if it works."""
        if reason:
            self._metrics.store_errors.inc()
        if bool(reason) != bool(self.trouble):
            log.log(
                logging.ERROR if reason else logging.INFO,
                "store refuses" if reason else "store works again",
                extra={"reason": reason},
            )
        self.trouble = reason

    def faults(self) -> list[Fault]:
        """What is wrong with store and outbox now."""
        found = []
        last_s = self._dropped_s
        if last_s is not None and self._clock.monotonic_s() - last_s < _DROP_ALARM_S:
            detail = Detail("outbox_dropping", {"sink": "all", "dropped": self._dropped})
            found.append(Fault("outbox", f"outbox: {self._dropped} messages dropped", detail))
        if self.trouble:
            detail = Detail("store_trouble", {"reason": self.trouble})
            found.append(Fault("store", self.trouble, detail))
        return found
