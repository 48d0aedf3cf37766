"""The interval of a remaining life, adapted to what came true.

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

WIDEST: Final = 8.0  # half-widths are scaled by 1/8 to 8, for any input
_MEMORY: Final = 100  # lives over which the realised coverage is averaged


@dataclass(frozen=True, slots=True)
class AdaptiveInterval:
    """The factors that scale a model's half-widths, and the realised coverage.

    A model predicts p10, p50, p90 in hours; published are p50 - low * (p50 - p10), p50 and
    p50 + high * (p90 - p50). When a life has ended, all its published predictions are compared with
    the truth: if `missed` is the fraction of them with the truth beyond one side, the logarithm of
    that side's factor changes by rate * (missed - (1 - coverage) / 2). Sides are separate, so that
    p10 and p90 keep their meaning if a model is biased.

    While no factor is at its bound, the average over n lives of `missed` on one side differs
    from (1 - coverage) / 2 by at most log(8) / (rate * n), whatever the truths are; before the
    first life has ended the factors are 1 and the model's own calibration applies.

    lives: number that have ended; covered: mean over them (the last 100 or so) of the fraction of
    predictions whose interval contained the truth, NaN before the first.
    """

    interval: Interval = field(default_factory=Interval)
    low: float = 1.0
    high: float = 1.0
    lives: int = 0
    covered: float = math.nan

    def adapt(self, rul: NDArray[np.float32]) -> NDArray[np.float32]:
        """The published p10, p50, p90 instead of the model's own: hours [N, 3], none below 0."""
        middle = rul[:, 1:2]
        stretched = middle + (rul - middle) * np.array([self.low, 1.0, self.high], np.float32)
        return np.maximum(stretched, np.float32(0)).astype(np.float32)

    def unsupported(self, rul: NDArray[np.float32]) -> NDArray[np.float32]:
        """The interval outside of the training data: any life up to the cap, hours [N, 3].

        Without a cap, the widest that the adaptation may reach.
        """
        widest = replace(self, low=WIDEST, high=WIDEST).adapt(rul)
        if self.interval.cap_h:
            widest[:, 0] = 0.0
            widest[:, 2] = np.maximum(rul[:, 2], np.float32(self.interval.cap_h))
        return widest

    def after(self, published: ArrayLike, truth_h: ArrayLike) -> AdaptiveInterval:
        """The interval after a life has ended; a single prediction is a life, too.

        published: hours [n, 3] as `adapt` returned them over that life, all with the same weight;
        truth_h: the true remaining hours, [n]. Rows that are not finite are ignored.
        """
        bounds = np.asarray(published, np.float64).reshape(-1, 3)
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
