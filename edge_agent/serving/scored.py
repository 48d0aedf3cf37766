"""Windows with their scores, and the state of the assets that they belong to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_agent.models import Outputs
    from edge_agent.serving.deployment import Deployment, WindowBatch


@dataclass(frozen=True, slots=True)
class Scored:
    """Windows with the model's outputs, row by row (N).

    outside: the inputs that put a window outside of the training data, [N, scalars]; None if no
    window is: the model's answer is uncertain there.
    """

    deployment: Deployment
    row: NDArray[np.intp]
    start_us: NDArray[np.int64]
    end_us: NDArray[np.int64]
    coverage: NDArray[np.float64]
    last: NDArray[np.floating]  # newest values of the inputs, levels of reported blocks: [N, ..]
    outputs: Outputs
    limit: float  # the score at which the alarm is raised
    level: NDArray[np.float32]
    health: NDArray[np.float32]
    batch: WindowBatch  # the windows themselves
    seconds: float  # run time for each window
    outside: NDArray[np.bool_] | None = None

    @property
    def is_uncertain(self) -> NDArray[np.bool_]:
        """True for windows that are outside of the training data, [N]."""
        if self.outside is None:
            return np.zeros(len(self.row), np.bool_)
        return np.asarray(self.outside.any(axis=1))

    def names_outside(self, i: int) -> list[str]:
        """The inputs that put window `i` outside of the training data."""
        if self.outside is None:
            return []
        deployment = self.deployment
        return [deployment.scalars[c].name for c in np.flatnonzero(self.outside[i])]


@dataclass(frozen=True, slots=True)
class ScoreState:
    """The state of the assets of one deployment, columns [A].

    alarm_open: True if the asset's alarm is not normal, so that all its windows are reported.
    score, health: of its newest window, which ended at scored_us and was scored at scored_s
    (monotonic clock). published_us: end of the newest window whose score went to the bus.
    judged_us, peak: see `Deployment`.
    """

    alarm_open: NDArray[np.bool_]
    score: NDArray[np.float32]
    health: NDArray[np.float32]
    scored_us: NDArray[np.int64]
    scored_s: NDArray[np.float64]
    published_us: NDArray[np.int64]
    judged_us: NDArray[np.int64]
    peak: NDArray[np.float32]

    @staticmethod
    def of(deployment: Deployment) -> ScoreState:
        """The state of a deployment, as views."""
        one = deployment
        state = one.alarm_open, one.score, one.health, one.scored_us, one.scored_s
        return ScoreState(*state, one.published_us, one.judged_us, one.peak)

    def store(self, deployment: Deployment) -> None:
        """Copy this state into a deployment."""
        for name in self.__slots__:
            getattr(deployment, name)[:] = getattr(self, name)

    def copy(self) -> ScoreState:
        """A copy with separate arrays."""
        return ScoreState(
            self.alarm_open.copy(),
            self.score.copy(),
            self.health.copy(),
            self.scored_us.copy(),
            self.scored_s.copy(),
            self.published_us.copy(),
            self.judged_us.copy(),
            self.peak.copy(),
        )
