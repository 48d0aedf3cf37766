"""Diagnostics in addition to the score: contributions, remaining life, drift, certainty.

Contributions are computed for the scores that the alarm table receives, for models whose graph
does not compute them; see `edge_agent.models.runtime.contributions` for their definition. An
asset is explained at most every few seconds of event time; in between, its last shares are used.
A turn of the pipeline spends a bounded time on it; assets that had no turn have the next one.
"""

from __future__ import annotations

import logging
import math
from dataclasses import replace
from time import perf_counter
from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary

import numpy as np

from edge_agent.clock import NEVER, US_PER_S
from edge_agent.diagnostics.domain import DomainWatch
from edge_agent.diagnostics.drift import DriftWatch
from edge_agent.diagnostics.rul_tracker import RulTracker
from edge_agent.errors import ModelError
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

log = logging.getLogger("edge_agent.diagnostics")

BUDGET_S: Final = 0.05
LONGEST_S: Final = 0.5  # a model that would take longer for one window is not explained
REFRESH_US: Final = 10 * US_PER_S
_ROWS: Final = 64
_TINY: Final = 1e-6


class Shares(Table):
    """For each asset of a deployment: each input's share in its last explained score."""

    share = column(np.float32, np.nan, "inputs")  # NaN if unknown
    at_us = column(np.int64, NEVER)

    def __init__(self, model: Model) -> None:
        super().__init__({"inputs": len(model.manifest.inputs)})
        self.model = model
        self.runs = _runs(model)

    def due(self, scored: Scored, reported: NDArray[np.intp]) -> list[int]:
        """The windows to explain, those of assets without known shares first."""
        found: list[int] = []
        last: dict[int, int] = {}
        for i in reported[np.isfinite(scored.outputs.score[reported])].tolist():
            row, end_us = int(scored.row[i]), int(scored.end_us[i])
            if not 0 <= end_us - last.get(row, int(self.at_us[row])) < REFRESH_US:
                last[row] = end_us
                found.append(i)
        return sorted(found, key=lambda i: not np.isnan(self.share[scored.row[i], 0]))

    def give_up(self, error: ModelError) -> None:
        """Explain no more scores of this version."""
        self.runs = 0
        extra = {"model": self.model.manifest.name, "reason": str(error)}
        log.warning("scores are not explained", extra=extra)

    def store_shares(self, scored: Scored, i: int, weights: NDArray[np.float32]) -> None:
        """Store the shares of window `i`, which was explained."""
        row, score = scored.row[i], scored.outputs.score[i]
        self.share[row] = weights / score if abs(score) > _TINY else np.nan
        self.at_us[row] = scored.end_us[i]


class Explainer:
    """Explains the scores of all deployments; called from one thread at a time."""

    def __init__(self) -> None:
        self._shares: WeakKeyDictionary[Deployment, Shares] = WeakKeyDictionary()

    def annotate(self, scored: Sequence[Scored], budget_s: float = BUDGET_S) -> list[Scored]:
        """Add contributions; NaN for windows that are not reported. Blocking.

        turn_s: after this time each model explains no more windows.
        """
        alarm_open: dict[Deployment, NDArray[np.bool_]] = {}
        until_s: dict[Model, float] = {}
        return [self._annotated(one, alarm_open, until_s, budget_s) for one in scored]

    def _annotated(
        self,
        scored: Scored,
        alarm_open: dict[Deployment, NDArray[np.bool_]],
        until_s: dict[Model, float],
        budget_s: float,
    ) -> Scored:
        deployment = scored.deployment
        shares = self._shares_of(deployment, deployment.model)
        if not shares.runs or shares.runs * scored.seconds > LONGEST_S:
            return scored
        if deployment.model not in until_s:
            until_s[deployment.model] = perf_counter() + budget_s
        known = alarm_open.setdefault(deployment, deployment.alarm_open.copy())
        reported = reportable(scored, known)
        known[scored.row[reported]] = True
        if not len(reported):
            return scored
        shares.cover(len(deployment.assets))
        return _explained(scored.batch, scored, reported, shares, until_s[deployment.model])

    def _shares_of(self, deployment: Deployment, model: Model) -> Shares:
        """The shares of a deployment; another model starts anew."""
        shares = self._shares.get(deployment)
        if shares is None or shares.model is not model:
            shares = self._shares[deployment] = Shares(model)
        return shares


def _runs(model: Model) -> int:
    """Runs to explain a window; 0 if it is impossible, or if the graph explains itself."""
    manifest = model.manifest
    return 0 if model.reference is None or manifest.outputs.contributions else runs_of(manifest)


def _explained(
    part: WindowBatch, scored: Scored, reported: NDArray[np.intp], shares: Shares, until_s: float
) -> Scored:
    """Adds contributions: the window's own, else by the last shares of its asset."""
    due = shares.due(scored, reported)
    try:
        fresh = _fresh(part, scored, due, until_s, max(1, _ROWS // shares.runs))
    except ModelError as error:  # the scores are good: it fails with some inputs replaced
        shares.give_up(error)
        return scored
    weights = np.full((len(scored.row), shares.share.shape[1]), np.nan, np.float32)
    for i in reported.tolist():
        if i in fresh:
            weights[i] = fresh[i]
            shares.store_shares(scored, i, fresh[i])
        else:
            weights[i] = shares.share[scored.row[i]] * scored.outputs.score[i]
    outputs = replace(scored.outputs, contributions=weights)
    return replace(scored, outputs=outputs, last=_with_levels(part, scored, reported))


def _fresh(
    part: WindowBatch, scored: Scored, due: Sequence[int], until_s: float, size: int
) -> dict[int, NDArray[np.float32]]:
    """Contributions [inputs] by window: of as many of those `due` as the time allows.

    size: windows that are explained together.
    """
    model = scored.deployment.model
    found: dict[int, NDArray[np.float32]] = {}
    for start in range(0, len(due), size):
        if model.reference is None or (start and perf_counter() > until_s):
            break
        chosen = np.isin(np.arange(len(scored.row)), due[start : start + size])
        asked = Asked(inputs_of([part.where(chosen)]), scored.outputs.score[chosen])
        weights = contributions(model, model.reference, asked)
        found |= zip(np.flatnonzero(chosen).tolist(), weights, strict=True)
    return found


def _with_levels(
    part: WindowBatch, scored: Scored, reported: NDArray[np.intp]
) -> NDArray[np.float32]:
    """The newest values and, of each block, the level of its samples: [N, inputs]."""
    if not part.blocks:
        return scored.last
    kinds = scored.deployment.model.manifest.rules.inputs
    levels = [kinds[spec.kind].level for spec in scored.deployment.own_tensors]
    level = np.full((len(scored.row), len(levels)), np.nan, np.float32)
    for i in reported.tolist():
        samples = part.blocks[i].samples
        level[i] = [one(samples[number]) for number, one in enumerate(levels)]
    return np.hstack([scored.last, level])


class Diagnostics:
    """Evaluates the scored windows of the active models.

    `annotate` may run on the models' thread; the rest runs on the pipeline's thread.
    """

    def __init__(self, config: Config, *, live: bool) -> None:
        self._live = live
        self._budget_s = BUDGET_S if live else math.inf  # a recording can wait
        self._explainer = Explainer()
        self.rul_tracker = RulTracker()
        self.drift = DriftWatch(config.drift)
        self.domain = DomainWatch(self.drift)

    def annotate(self, scored: Sequence[Scored]) -> list[Scored]:
        """Add certainty, remaining life and contributions, and count drift; blocking."""
        certain = [self.domain.annotate(one) for one in scored]
        adapted = [
            one if one.outputs.rul is None else self.rul_tracker.annotate(one) for one in certain
        ]
        found = self._explainer.annotate(adapted, self._budget_s)
        for one in found:
            self.drift.count(one)
        return found

    def observations(self, watched: Collection[str]) -> list[Observation]:
        """Observations for the alarm table, not of scores; watched: alarms that are not normal."""
        return self.drift.observations(watched, replayed=not self._live)

    def export(
        self, metrics: Metrics, is_known: Callable[[str, str], bool] = lambda _label, _name: True
    ) -> None:
        """Update the gauges; is_known(label, name): True if it still exists."""
        self.rul_tracker.export(metrics, is_known)
        for (model, spec), (psi, ks) in self.drift.worst().items():
            metrics.drift_psi.labels(model, spec).set(psi)
            metrics.drift_ks.labels(model, spec).set(ks)
        for title, count in self.domain.uncertain_assets():
            if is_known("model", title):
                metrics.uncertain_assets.labels(title).set(count)

    def adopt_state(self, old: Diagnostics) -> None:
        """Continue from another pipeline's state; drift is counted anew."""
        self.rul_tracker = old.rul_tracker
