"""What is told beside the score: why, how long still, and whether the inputs are as they were.

Why: the contributions of inputs to those scores that the alarm table will hear of, for models whose
graph does not give them; see `edge_agent.models.contributions` for what they are. An asset is
explained at most every few seconds of event time, and in between by the shares of then. A turn of
the pipeline spends a bounded time on it; what had no turn has the next.
"""

from __future__ import annotations

import math
from dataclasses import replace
from time import perf_counter
from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary

import numpy as np

from edge_agent.clock import NEVER, US_PER_S
from edge_agent.diagnostics.drift import DriftWatch
from edge_agent.diagnostics.rul_tracker import RulTracker
from edge_agent.models import Asked, contributions, runs_of
from edge_agent.serving import inputs_of, reportable
from edge_agent.tables import Table, column

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from numpy.typing import NDArray

    from edge_agent.config.schema import Config
    from edge_agent.messages import Observation
    from edge_agent.models import Model
    from edge_agent.ops.metrics import Metrics
    from edge_agent.serving import Deployment, Scored, WindowBatch


TURN_S: Final = 0.05
LONGEST_S: Final = 0.5  # a model that would take longer for one window is not explained
REFRESH_US: Final = 10 * US_PER_S
_ROWS: Final = 64
_TINY: Final = 1e-6


class Shares(Table):
    """Of each asset of a deployment: each input's share in its last score that was explained."""

    share = column(np.float32, np.nan, "inputs")  # NaN if nothing is known
    at_us = column(np.int64, NEVER)

    def __init__(self, model: Model) -> None:
        super().__init__({"inputs": len(model.manifest.inputs)})
        self.model = model

    def due(self, scored: Scored, told: NDArray[np.intp]) -> list[int]:
        """The windows that are to be explained, those of assets of which nothing is known first."""
        found: list[int] = []
        last: dict[int, int] = {}
        for i in told[np.isfinite(scored.outputs.score[told])].tolist():
            row, end_us = int(scored.row[i]), int(scored.end_us[i])
            if not 0 <= end_us - last.get(row, int(self.at_us[row])) < REFRESH_US:
                last[row] = end_us
                found.append(i)
        return sorted(found, key=lambda i: not np.isnan(self.share[scored.row[i], 0]))

    def note(self, scored: Scored, i: int, weights: NDArray[np.float32]) -> None:
        """Window `i` was explained."""
        row, score = scored.row[i], scored.outputs.score[i]
        self.share[row] = weights / score if abs(score) > _TINY else np.nan
        self.at_us[row] = scored.end_us[i]


class Explainer:
    """What is known of every deployment; asked from one thread at a time."""

    def __init__(self) -> None:
        self._shares: WeakKeyDictionary[Deployment, Shares] = WeakKeyDictionary()

    def annotate(self, scored: Sequence[Scored], turn_s: float = TURN_S) -> list[Scored]:
        """Add contributions; NaN for windows that are not reported. Blocking.

        turn_s: each model begins with no more windows after so long.
        """
        alarm_open: dict[Deployment, NDArray[np.bool_]] = {}
        until_s: dict[Model, float] = {}
        return [self._annotated(one, alarm_open, until_s, turn_s) for one in scored]

    def _annotated(
        self,
        scored: Scored,
        alarm_open: dict[Deployment, NDArray[np.bool_]],
        until_s: dict[Model, float],
        turn_s: float,
    ) -> Scored:
        deployment = scored.deployment
        runs = _runs(deployment.model)
        if not runs or runs * scored.seconds > LONGEST_S:
            return scored
        if deployment.model not in until_s:
            until_s[deployment.model] = perf_counter() + turn_s
        known = alarm_open.setdefault(deployment, deployment.alarm_open.copy())
        told = reportable(scored, known)
        known[scored.row[told]] = True
        if not len(told):
            return scored
        shares = self._shares_of(deployment, deployment.model)
        return _explained(scored.batch, scored, told, shares, until_s[deployment.model])

    def _shares_of(self, deployment: Deployment, model: Model) -> Shares:
        """Those of a deployment, a row for each asset; another model explains itself anew."""
        shares = self._shares.get(deployment)
        if shares is None or shares.model is not model:
            shares = self._shares[deployment] = Shares(model)
        shares.cover(len(deployment.assets))
        return shares


def _runs(model: Model) -> int:
    """Runs to explain a window; 0 if that cannot be, or the graph explains itself."""
    manifest = model.manifest
    return 0 if model.reference is None or manifest.outputs.contributions else runs_of(manifest)


def _explained(
    part: WindowBatch, scored: Scored, told: NDArray[np.intp], shares: Shares, until_s: float
) -> Scored:
    """With contributions: a window's own, else by the shares of its asset's last one."""
    fresh = _fresh(part, scored, shares.due(scored, told), until_s)
    weights = np.full((len(scored.row), shares.share.shape[1]), np.nan, np.float32)
    for i in told.tolist():
        if i in fresh:
            weights[i] = fresh[i]
            shares.note(scored, i, fresh[i])
        else:
            weights[i] = shares.share[scored.row[i]] * scored.outputs.score[i]
    outputs = replace(scored.outputs, contributions=weights)
    return replace(scored, outputs=outputs, last=_with_levels(part, scored, told))


def _fresh(
    part: WindowBatch, scored: Scored, due: Sequence[int], until_s: float
) -> dict[int, NDArray[np.float32]]:
    """Contributions [inputs] by window: of those `due`, as many as there is time for."""
    model = scored.deployment.model
    found: dict[int, NDArray[np.float32]] = {}
    size = max(1, _ROWS // _runs(model))
    for start in range(0, len(due), size):
        if model.reference is None or (start and perf_counter() > until_s):
            break
        chosen = np.isin(np.arange(len(scored.row)), due[start : start + size])
        asked = Asked(inputs_of([part.where(chosen)]), scored.outputs.score[chosen])
        weights = contributions(model, model.reference, asked)
        found |= zip(np.flatnonzero(chosen).tolist(), weights, strict=True)
    return found


def _with_levels(part: WindowBatch, scored: Scored, told: NDArray[np.intp]) -> NDArray[np.float32]:
    """The newest values and, of each block, the level of its samples: [N, inputs]."""
    if not part.blocks:
        return scored.last
    kinds = scored.deployment.model.manifest.rules.inputs
    levels = [kinds[spec.kind].level for spec in scored.deployment.own_tensors]
    level = np.full((len(scored.row), len(levels)), np.nan, np.float32)
    for i in told.tolist():
        samples = part.blocks[i].samples
        level[i] = [one(samples[number]) for number, one in enumerate(levels)]
    return np.hstack([scored.last, level])


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
