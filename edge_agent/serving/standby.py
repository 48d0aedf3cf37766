"""Another version of a model beside the one at work: ready to score the same stream."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Self

from edge_agent.serving.deployment import Deployment, WindowBatch, same_windows

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from edge_agent.models import Model
    from edge_agent.plant import PlantAsset
    from edge_agent.serving.scores import Scored
    from edge_agent.signals import Bindings
    from edge_agent.values import Columns, WaveBlock


class Standby:
    """A version beside `main`, a model at work; main is None where nothing is at work.

    Where it wants the very windows of `main` it shares them; else it keeps its own, fed with the
    same values. due: its own windows that closed in this turn; lacking: why it cannot serve an
    asset.
    """

    def __init__(self, group: Deployment, main: Deployment | None) -> None:
        self.group = group
        self.main = main
        self.shares = False
        self.due: list[WindowBatch] = []
        self.lacking: dict[str, str] = {}

    @classmethod
    def beside(cls, main: Deployment, model: Model, bindings: Bindings) -> Self:
        """A version for everything that `main` is at work on."""
        made = cls(Deployment(main.place, main.use, model), main)
        for asset in main.assets:
            made._take_on(asset, bindings)
        made.shares = made._fits(main)
        return made

    def add(self, asset: PlantAsset, bindings: Bindings) -> str:
        """Serve one more asset; gives what is missing, or nothing."""
        missing = self._take_on(asset, bindings)
        self.shares = self.shares and self.main is not None and self._fits(self.main)
        return missing

    def _take_on(self, asset: PlantAsset, bindings: Bindings) -> str:
        missing = self.group.add(asset, bindings)
        if missing:
            self.lacking[asset.id] = missing
        return missing

    def _fits(self, main: Deployment) -> bool:
        """Whether it wants the same windows, of the same assets in the same rows."""
        ours, theirs = self.group.model.manifest, main.model.manifest
        return self.group.assets == main.assets and same_windows(theirs, ours)

    # -- windows ------------------------------------------------------------------------------

    def push(self, values: Columns, blocks: Sequence[WaveBlock]) -> None:
        """Take values over."""
        if not self.shares:
            self.due += self.group.push(values, blocks)

    def advance(self, asset_now_us: NDArray[np.int64]) -> None:
        """Close rows by the clock; asset_now_us: event time by plant asset [A]."""
        if not self.shares:
            self.due += self.group.advance(asset_now_us)

    def flush(self) -> None:
        """The recording has ended."""
        if not self.shares:
            self.due += self.group.flush()

    def windows_of(self, parts: Iterable[WindowBatch]) -> list[WindowBatch]:
        """Its windows of this turn; parts: those that the models at work were given."""
        if not self.shares:
            return self.due
        return [replace(part, group=self.group) for part in parts if part.group is self.main]

    def as_main(self, scored: Scored) -> Scored:
        """What it made of shared windows, as the work of `main`."""
        if self.shares and self.main is not None and scored.group is self.group:
            return replace(scored, group=self.main)
        return scored
