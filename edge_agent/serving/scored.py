"""Windows with their scores."""

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
