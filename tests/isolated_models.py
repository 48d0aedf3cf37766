"""Models in processes of their own, from bundles, as the daemon loads them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from tiny_versions import INPUTS, LENGTH, NAME

from edge_agent.config.settings import Isolated, Runtime, Trust
from edge_agent.config.types import Duration, Size
from edge_agent.models import Isolation, SessionRegistry
from edge_agent.ops.metrics import Metrics

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edge_agent.models.runtime.model import Model


def runtime(**changes: Any) -> Runtime:
    """A budget of 0.1 s, and enough memory for a model that hangs."""
    wished = {"latency_budget": Duration(0.1), "model_memory": Size(1 << 30), **changes}
    return Runtime(**{**wished, "isolation": Isolated(changes.get("isolation", "young"))})


class Host:
    """The models of a folder, isolated as in the daemon; its clock is `now_s`."""

    def __init__(self, folder: Path, **changes: Any) -> None:
        self.folder = folder
        self.metrics = Metrics()
        self.now_s = 0.0
        self.isolation = Isolation(self.metrics, lambda: self.now_s)
        self.registry = self.new_registry(**changes)

    def new_registry(self, **changes: Any) -> SessionRegistry:
        """As after a reload."""
        trust = Trust(allow_unsigned=("*",))
        made = runtime(**changes)
        return SessionRegistry(self.folder, made, self.metrics, trust, isolation=self.isolation)

    def load(self, made: Callable[..., Model], *args: Any, **more: Any) -> Model:
        """Write a version as the bundle of the folder, and load it."""
        made(*args, folder=self.folder / NAME, **more)
        return self.registry.load(NAME)


def rows(*levels: float) -> dict[str, Any]:
    """A window of each level, as a model takes them."""
    shape = (len(levels), LENGTH, len(INPUTS))
    return {"x": np.full(shape, np.reshape(levels, (-1, 1, 1)), np.float32)}
