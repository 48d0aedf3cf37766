"""Windows of a bundle that wait for its model's process: a run is late, or was a moment ago."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final

from edge_agent.serving.runs import ModelRun

if TYPE_CHECKING:
    from collections.abc import Collection

    from edge_agent.models import Model
    from edge_agent.serving.deployment import Deployment, WindowBatch

_WAITING: Final = 10_000  # windows


class RunQueue:
    """The run that is late, and the windows that closed since, for the next run.

    rest_until_s: the next run begins then, by the monotonic clock. waiting: the windows.
    """

    def __init__(self) -> None:
        self.late: ModelRun | None = None
        self.rest_until_s = 0.0
        self.waiting: list[WindowBatch] = []

    def __bool__(self) -> bool:
        return self.late is not None or bool(self.waiting)

    def due_s(self) -> float:
        """When it should be looked at, by the monotonic clock; infinity if nothing waits."""
        if self.late is not None:
            return 0.0
        return self.rest_until_s if self.waiting else inf

    def add(self, run: ModelRun) -> list[ModelRun]:
        """Let the windows of a run wait; returns the oldest, unscored, if they are too many."""
        self.waiting += run.batches
        lost: list[ModelRun] = []
        while sum(one.size for one in self.waiting) > _WAITING:
            lost.append(ModelRun(run.model, [self.waiting.pop(0)], busy=True))
        return lost

    def drain_late(self) -> ModelRun | None:
        """The run that was late; it is late no longer."""
        late, self.late = self.late, None
        return late

    def drain(self, model: Model, deployments: Collection[Deployment]) -> ModelRun | None:
        """The windows that wait, as a run of this version; those of other deployments are lost."""
        if self.late is not None or not self.waiting:
            return None
        kept = [one for one in self.waiting if one.deployment in deployments]
        self.waiting = []
        return ModelRun(model, kept) if kept else None

    def follow_version(self) -> None:
        """Another version is active: it scores the windows of the late run."""
        late = self.drain_late()
        if late is not None:
            self.waiting[:0] = late.batches
