"""What is told beside the score: why, how long still, and whether the inputs are as they were."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from edge_agent.diagnostics.drift import DriftWatch
from edge_agent.diagnostics.explainer import TURN_S, Explainer
from edge_agent.diagnostics.rul_tracker import RulTracker

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from edge_agent.config.schema import Config
    from edge_agent.messages import Observation
    from edge_agent.ops.metrics import Metrics
    from edge_agent.serving import Scored


class Diagnostics:
    """Looks at what the models at work scored.

    `annotate` may run on the models' thread, the rest belongs to that of the pipeline.
    """

    def __init__(self, config: Config, *, live: bool) -> None:
        self._live = live
        self._turn_s = TURN_S if live else math.inf  # a recording can wait
        self._explainer = Explainer()
        self.lives = RulTracker()
        self.drift = DriftWatch(config.drift)

    def annotate(self, scored: Sequence[Scored]) -> list[Scored]:
        """Add remaining life and contributions to what was scored, and count drift; blocking."""
        told = [one if one.outputs.rul is None else self.lives.annotate(one) for one in scored]
        found = self._explainer.annotate(told, self._turn_s)
        for one in found:
            self.drift.count(one)
        return found

    def observations(self, watched: Collection[str]) -> list[Observation]:
        """What the alarm table must hear beside the scores; watched: alarms not at rest."""
        return self.drift.observations(watched, replayed=not self._live)

    def export(
        self, metrics: Metrics, is_known: Callable[[str, str], bool] = lambda _label, _name: True
    ) -> None:
        """Bring the gauges up to date; is_known(label, name): whether it is still there."""
        self.lives.export(metrics, is_known)
        for (model, spec), (psi, ks) in self.drift.worst().items():
            metrics.drift_psi.labels(model, spec).set(psi)
            metrics.drift_ks.labels(model, spec).set(ks)

    def take_over(self, old: Diagnostics) -> None:
        """Go on where another pipeline was; what drifts is counted anew."""
        self.lives = old.lives
