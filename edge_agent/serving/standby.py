"""Another version of a model in addition to the active one, ready to score the same stream."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Self

from edge_agent.serving.deployment import Deployment, WindowBatch
from edge_agent.serving.window_layout import same_windows

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from edge_agent.models import Model
    from edge_agent.plant import PlantAsset
    from edge_agent.serving.scored import Scored
    from edge_agent.signals import Bindings
    from edge_agent.values import Columns, TensorBlock


class Standby:
    """Another version of `main`, an active deployment; main is None if nothing is active.

    If it needs the same windows as `main` it shares them; else it fills its own from the same
    values. due: its own windows that closed in this turn; lacking: why it cannot serve an asset.
    """

    def __init__(self, deployment: Deployment, main: Deployment | None) -> None:
        self.deployment = deployment
        self.main = main
        self.shares = False
        self.due: list[WindowBatch] = []
        self.lacking: dict[str, str] = {}

    @classmethod
    def beside(cls, main: Deployment, model: Model, bindings: Bindings) -> Self:
        """A version for all assets of `main`."""
        made = cls(Deployment(main.use_name, main.use, model), main)
        for asset in main.assets:
            made._add(asset, bindings)
        made.shares = made._fits(main)
        return made

    def add_asset(self, asset: PlantAsset, bindings: Bindings) -> str:
        """Serve one more asset; returns what is missing, or an empty text."""
        missing = self._add(asset, bindings)
        self.shares = self.shares and self.main is not None and self._fits(self.main)
        return missing

    def stand_beside(self, main: Deployment) -> None:
        """Set another deployment as `main`, with its windows if they are the same."""
        self.main = main
        self.shares = self._fits(main)

    def _add(self, asset: PlantAsset, bindings: Bindings) -> str:
        missing = self.deployment.add_asset(asset, bindings)
        if missing:
            self.lacking[asset.id] = missing
        return missing

    def _fits(self, main: Deployment) -> bool:
        """True if it needs the same windows, of the same assets in the same rows."""
        ours, theirs = self.deployment.model.manifest, main.model.manifest
        return self.deployment.assets == main.assets and same_windows(theirs, ours)

    def accept_values(self, values: Columns, blocks: Sequence[TensorBlock]) -> None:
        """Write values into its own windows."""
        if not self.shares:
            self.due += self.deployment.accept_values(values, blocks)

    def close_by_clock(self, asset_now_us: NDArray[np.int64]) -> None:
        """Close windows by the clock; asset_now_us: event time by plant asset [A]."""
        if not self.shares:
            self.due += self.deployment.close_by_clock(asset_now_us)

    def close_windows(self) -> None:
        """Close all open windows; the recording has ended."""
        self.due = []
        if not self.shares:
            self.due += self.deployment.close_windows()

    def windows_of(self, batches: Iterable[WindowBatch]) -> list[WindowBatch]:
        """Its windows of this turn; batches: those of the active deployments."""
        if not self.shares:
            return self.due
        return [
            replace(one, deployment=self.deployment)
            for one in batches
            if one.deployment is self.main
        ]

    def as_main(self, scored: Scored) -> Scored:
        """Its scores of shared windows, as scores of `main`."""
        if self.shares and self.main is not None and scored.deployment is self.deployment:
            return replace(scored, deployment=self.main)
        return scored
