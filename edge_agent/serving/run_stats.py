"""How a version of a model conducts itself: runs, failures, latency, and the verdict on it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum
from math import ceil
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from edge_agent.serving.runs import Batch

_RUNS_KEPT: Final = 1000  # for the percentiles
_RUNS_JUDGED: Final = 50
# More than the first runs after loading, or a moment in which the machine is busy.
_SLOW_RUNS: Final = 10
_ENDLESS_TIMES: Final = 20  # a single run that is so far over the budget is ended


class Trouble(StrEnum):
    """Why a version may not stay at work."""

    FAILED = "failed"
    NOT_A_NUMBER = "not_a_number"
    SLOW = "slow"


@dataclass(frozen=True, slots=True)
class Budget:
    """What a run of up to `max_batch` windows may take; of more windows, as many times more."""

    seconds: float
    max_batch: int

    def of(self, windows: int) -> float:
        """Seconds for that many windows."""
        return self.seconds * max(1, ceil(windows / self.max_batch))

    def limit_s(self, windows: int) -> float:
        """After so long a run is ended: it might never end by itself."""
        return _ENDLESS_TIMES * self.of(windows)


@dataclass(slots=True)
class RunStats:
    """What is remembered of a version's runs."""

    windows: int = 0  # with a score that is a number
    not_a_number: int = 0
    failed: int = 0
    _seconds: deque[float] = field(default_factory=lambda: deque(maxlen=_RUNS_KEPT))
    _slow: deque[bool] = field(default_factory=lambda: deque(maxlen=_RUNS_JUDGED))

    def note(self, batch: Batch, budget: Budget) -> Trouble | None:
        """Take note of a run; gives what speaks against the version now."""
        if batch.error:
            self.failed += batch.size
            return Trouble.FAILED
        non_finite = batch.non_finite
        self.windows += batch.size - non_finite
        self.not_a_number += non_finite
        self._seconds.append(batch.seconds)
        self._slow.append(batch.seconds > budget.of(batch.size))
        if non_finite:
            return Trouble.NOT_A_NUMBER
        return Trouble.SLOW if sum(self._slow) >= _SLOW_RUNS else None

    def forgive(self) -> None:
        """Judge its latency anew."""
        self._slow.clear()

    def as_dict(self) -> dict[str, Any]:
        """Windows by outcome, and the latency of a run in milliseconds."""
        p50, p99 = (None, None)
        if self._seconds:
            p50, p99 = (round(float(1e3 * q), 4) for q in np.percentile(self._seconds, (50, 99)))
        return {
            "windows": self.windows,
            "not_a_number": self.not_a_number,
            "failed": self.failed,
            "latency_ms": {"p50": p50, "p99": p99},
        }
