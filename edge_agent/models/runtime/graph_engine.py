"""The engine of bundles that contain an ONNX graph, in the daemon's own process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edge_agent.models.bundle.kinds import variant_file
from edge_agent.models.bundle.ort import CPU
from edge_agent.models.runtime.graph_session import GraphSession, signature_of
from edge_agent.models.runtime.model import Model

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from edge_agent.models.bundle.golden import Tensors
    from edge_agent.models.bundle.manifest import Manifest
    from edge_agent.models.runtime.engine import LoadRequest


class GraphEngine:
    """A graph in this process; the arguments are those of `GraphSession`."""

    def __init__(
        self, manifest: Manifest, onnx_bytes: bytes, providers: Sequence[str], max_batch: int
    ) -> None:
        self._graph = GraphSession(onnx_bytes, providers, max_batch, manifest.name)
        self.providers = self._graph.providers
        self.signature = signature_of(manifest)

    @classmethod
    def load(cls, request: LoadRequest) -> GraphEngine:
        """Load the graph of a bundle."""
        raw = request.read(variant_file(request.variant))
        return cls(request.manifest, raw, request.providers, request.max_batch)

    def infer(
        self,
        feeds: Mapping[str, NDArray[Any]],
        names: Sequence[str],
        budget_s: float | None = None,
    ) -> Tensors:
        """Run N rows; ModelError if the runtime fails or takes longer than `budget_s`."""
        return self._graph.infer(feeds, names, budget_s)

    def close(self) -> None:
        """Release the session."""
        self._graph.close()


def model_of_graph(manifest: Manifest, onnx_bytes: bytes, max_batch: int = 64) -> Model:
    """A model on the CPU from an unverified graph: of our own training, and for tests."""
    return Model(manifest, GraphEngine(manifest, onnx_bytes, (CPU,), max_batch), "")
