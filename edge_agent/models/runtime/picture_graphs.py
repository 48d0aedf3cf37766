"""The graphs of picture models in the process of pictures: they judge squares."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from edge_agent.errors import ModelError
from edge_agent.models.bundle.ort import CPU
from edge_agent.models.runtime.graph_session import GraphSession
from edge_agent.signals import PICTURE_INPUT, to_square

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_agent.models.bundle.golden import Tensors


class GraphToLoad(NamedTuple):
    """A graph, whose bytes come behind it; side: of its square; names: of its outputs."""

    digest: str
    side: int
    names: tuple[str, ...]


class GraphToForget(NamedTuple):
    """A graph that is no longer needed."""

    digest: str


class GraphToRun(NamedTuple):
    """Squares of this shape [N, side, side, 3] come behind it, for one graph."""

    digest: str
    shape: tuple[int, ...]


class PictureGraphs:
    """The graphs that are loaded, by the digest of their bundle's manifest."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[GraphToLoad, GraphSession]] = {}

    def load(self, asked: GraphToLoad, onnx_bytes: bytes) -> None:
        """Load a graph; ModelError if the runtime refuses it."""
        session = GraphSession(onnx_bytes, (CPU,), 1, asked.digest[:12])
        self._known[asked.digest] = asked, session

    def forget(self, digest: str) -> None:
        """Release a graph."""
        self._known.pop(digest, None)

    def judge(self, digest: str, pixels: NDArray[np.uint8]) -> Tensors:
        """The outputs for what is looked at [height, width, 3], without a batch; ModelError."""
        asked, _ = self._graph(digest)
        found = self.run(digest, to_square(pixels, asked.side)[None])
        return {name: array[0] for name, array in found.items()}

    def run(self, digest: str, squares: NDArray[np.uint8]) -> Tensors:
        """The outputs for squares [N, side, side, 3]; ModelError if the graph fails."""
        asked, session = self._graph(digest)
        found = session.infer({PICTURE_INPUT: squares}, asked.names, None)
        return {name: np.asarray(array, np.float32) for name, array in found.items()}

    def _graph(self, digest: str) -> tuple[GraphToLoad, GraphSession]:
        if digest not in self._known:
            raise ModelError("its graph is not loaded in the process of pictures")
        return self._known[digest]
