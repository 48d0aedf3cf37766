"""The interval of a remaining life, kept honest by what became of the machines.

Adaptive conformal inference (Gibbs and Candes: Adaptive Conformal Inference Under Distribution
Shift, NeurIPS 2021) in the form of quantile tracking (Angelopoulos, Candes, Tibshirani: Conformal
PID Control for Time Series Prediction, NeurIPS 2023, section 2.2), one tracker for each side.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.models import Interval

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

WIDEST: Final = 8.0  # half-widths are scaled by 1/8 to 8, whatever is fed in
_MEMORY: Final = 100  # lives over which the realised coverage is taken


@dataclass(frozen=True, slots=True)
class AdaptiveInterval:
    """How far the half-widths that a model gives are stretched, and how well that held.

    A model says p10, p50, p90 in hours; told are p50 - low * (p50 - p10), p50 and
    p50 + high * (p90 - p50). When a life has ended, all that was told of it meets its truth: let
    `missed` be the share of it that lay beyond one side, then the logarithm of that side's factor
    moves by rate * (missed - (1 - coverage) / 2). Sides are separate, so that p10 and p90 stay what
    their names say where a model is biased.

    While no factor is at its bound, the average over n lives of what was missed on one side differs
    from (1 - coverage) / 2 by at most log(8) / (rate * n), whatever the truths are; with
    nothing to tell, the factors are 1 and the model's own calibration holds.

    lives: how many have ended; covered: mean over them (the last 100 or so) of the share of what
    was told that held the truth, NaN before the first.
    """

    interval: Interval = field(default_factory=Interval)
    low: float = 1.0
    high: float = 1.0
    lives: int = 0
    covered: float = math.nan

    def told(self, rul: NDArray[np.float32]) -> NDArray[np.float32]:
        """What is told instead of a model's own p10, p50, p90: hours [N, 3], none below 0."""
        middle = rul[:, 1:2]
        stretched = middle + (rul - middle) * np.array([self.low, 1.0, self.high], np.float32)
        return np.maximum(stretched, np.float32(0)).astype(np.float32)

    def after(self, told: ArrayLike, truth_h: ArrayLike) -> AdaptiveInterval:
        """The interval once a life has ended; a single prediction is a life, too.

        told: hours [n, 3] as `told` gave them over that life, each counting the same; truth_h: the
        hours that were left in truth, [n]. Rows that are not finite say nothing.
        """
        bounds = np.asarray(told, np.float64).reshape(-1, 3)
        truth = np.minimum(np.asarray(truth_h, np.float64).reshape(-1), self._cap_h)
        known = np.isfinite(bounds).all(axis=1) & np.isfinite(truth)
        if not known.any():
            return self
        below = float((truth < bounds[:, 0])[known].mean())
        above = float((truth > bounds[:, 2])[known].mean())
        lives = self.lives + 1
        before = self.covered if self.lives else 0.0
        held = max(0.0, 1.0 - below - above)
        return replace(
            self,
            low=self._moved(self.low, below),
            high=self._moved(self.high, above),
            lives=lives,
            covered=before + (held - before) / min(lives, _MEMORY),
        )

    @property
    def _cap_h(self) -> float:
        return self.interval.cap_h or math.inf

    def _moved(self, factor: float, missed: float) -> float:
        wanted = (1.0 - self.interval.coverage) / 2
        moved = factor * math.exp(self.interval.rate * (missed - wanted))
        return min(max(moved, 1.0 / WIDEST), WIDEST)
