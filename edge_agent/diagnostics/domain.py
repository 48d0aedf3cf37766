"""Windows outside of what their model was trained on: its answers for them are uncertain.

A window is outside if its inputs are (`edge_agent.models.DomainCheck`), or while the drift alarm
of its asset would stand. A model of anomalies has no domain: unusual inputs are its finding.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np

from edge_agent.models import check_of
from edge_agent.tables import Table, column

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from edge_agent.diagnostics.drift import DriftWatch
    from edge_agent.models import Model
    from edge_agent.serving import Deployment, Scored


class Certainty(Table):
    """The assets of a deployment, and the domain of its model."""

    uncertain = column(np.bool_)  # the newest window is outside

    def __init__(self, model: Model) -> None:
        super().__init__()
        manifest = model.manifest
        self.model = model
        names = [spec.name for spec in manifest.scalars]
        known = manifest.domain if manifest.task_row.has_domain else None
        self.check = check_of(known, names)


class DomainWatch:
    """The domains of all active models."""

    def __init__(self, drift: DriftWatch) -> None:
        self._drift = drift
        self._by_deployment: WeakKeyDictionary[Deployment, Certainty] = WeakKeyDictionary()

    def annotate(self, scored: Scored) -> Scored:
        """Mark the windows that are outside, with the inputs that put them there."""
        if not scored.deployment.task.has_domain:
            return scored
        certainty = self._certainty_of(scored.deployment)
        outside = self._outside(certainty, scored)
        if outside is None:
            certainty.uncertain[scored.row] = False
            return scored
        certainty.uncertain[scored.row] = outside.any(axis=1)
        return replace(scored, outside=outside)

    def _outside(self, certainty: Certainty, scored: Scored) -> NDArray[np.bool_] | None:
        """The inputs outside of the domain, [N, C]; None if there are none."""
        windows, found = scored.batch.windows, None
        if certainty.check is not None and windows is not None:
            found = certainty.check.outside(windows.x)
        drifting = self._drift.drifting(scored.deployment)
        if drifting is not None:
            by_drift = drifting[scored.row]
            found = by_drift if found is None else found | by_drift
        return None if found is None or not found.any() else found

    def _certainty_of(self, deployment: Deployment) -> Certainty:
        """The certainty of a deployment; another version of its model starts anew."""
        found = self._by_deployment.get(deployment)
        if found is None or found.model is not deployment.model:
            found = self._by_deployment[deployment] = Certainty(deployment.model)
        found.cover(len(deployment.assets))
        return found

    def uncertain_assets(self) -> Iterator[tuple[str, int]]:
        """The number of assets whose newest window is outside, by the title of the model."""
        for deployment, certainty in list(self._by_deployment.items()):
            yield deployment.title, int(certainty.uncertain.sum())
