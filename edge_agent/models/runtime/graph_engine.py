"""The engine of bundles that contain an ONNX graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edge_agent.errors import ModelError
from edge_agent.models.bundle.kinds import variant_file
from edge_agent.models.bundle.ort import CPU, DEADLINES, RunOptions, fixed_batch, open_session
from edge_agent.models.runtime.engine import Signature
from edge_agent.models.runtime.model import Model

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from edge_agent.models.bundle.golden import Tensors
    from edge_agent.models.bundle.manifest import Manifest
    from edge_agent.models.runtime.engine import LoadRequest


class GraphEngine:
    """An ONNX Runtime session that runs batches of a few fixed sizes.

    onnx_bytes: of the variant to run. ModelError if the runtime refuses them.
    """

    def __init__(
        self, manifest: Manifest, onnx_bytes: bytes, providers: Sequence[str], max_batch: int
    ) -> None:
        self._manifest = manifest
        self._session = _opened(manifest, onnx_bytes, providers)
        self._buckets = _buckets(max_batch, fixed_batch(self._session))
        self._options = RunOptions()
        self.providers = tuple(self._session.get_providers())

    @classmethod
    def load(cls, request: LoadRequest) -> GraphEngine:
        """Load the graph of a bundle."""
        raw = request.read(variant_file(request.variant))
        return cls(request.manifest, raw, request.providers, request.max_batch)

    @property
    def signature(self) -> Signature:
        """The tensors of the manifest, which verification compared with the graph."""
        manifest = self._manifest
        outputs = {
            tensor: ("float32", manifest.output_shape(role))
            for role, tensor in manifest.outputs.named().items()
        }
        return Signature(manifest.tensors(), outputs)

    def infer(
        self,
        feeds: Mapping[str, NDArray[Any]],
        names: Sequence[str],
        budget_s: float | None = None,
    ) -> Tensors:
        """Run N rows; ModelError if the runtime fails or takes longer than `budget_s`."""
        if budget_s is None:
            return self._infer(feeds, names)
        self._options = options = RunOptions()
        try:
            with DEADLINES.within(budget_s, options):
                return self._infer(feeds, names)
        finally:
            self._options = RunOptions()  # the old ones may be set to terminate a moment too late

    def close(self) -> None:
        """Release the session."""
        self._session = None

    def _infer(self, feeds: Mapping[str, NDArray[Any]], names: Sequence[str]) -> Tensors:
        """Run in batches of a few sizes: the runtime keeps memory for every shape that it ran."""
        total = len(next(iter(feeds.values())))
        largest = self._buckets[-1]
        if total <= largest:
            return dict(zip(names, self._run_padded(feeds, names, total), strict=True))
        parts = []
        for start in range(0, total, largest):
            part = {name: array[start : start + largest] for name, array in feeds.items()}
            parts.append(self._run_padded(part, names, min(largest, total - start)))
        whole = (np.concatenate(each) for each in zip(*parts, strict=True))
        return dict(zip(names, whole, strict=True))

    def _run_padded(
        self, feeds: Mapping[str, NDArray[Any]], names: Sequence[str], rows: int
    ) -> list[NDArray[np.generic]]:
        bucket = next(size for size in self._buckets if size >= rows)
        if bucket != rows:
            feeds = {name: _padded(array, bucket) for name, array in feeds.items()}
        try:
            found = self._session.run(list(names), feeds, self._options)
        except Exception as error:
            raise ModelError(_one_line(error), where=self._manifest.name) from error
        return found if bucket == rows else [array[:rows] for array in found]


def model_of_graph(manifest: Manifest, onnx_bytes: bytes, max_batch: int = 64) -> Model:
    """A model on the CPU from an unverified graph: of our own training, and for tests."""
    return Model(manifest, GraphEngine(manifest, onnx_bytes, (CPU,), max_batch), "")


def _opened(manifest: Manifest, onnx_bytes: bytes, providers: Sequence[str]) -> Any:  # noqa: ANN401
    try:
        return open_session(onnx_bytes, providers)
    except Exception as error:
        raise ModelError(_one_line(error), where=manifest.name) from error


def _buckets(max_batch: int, fixed: int | None) -> tuple[int, ...]:
    """1, 2, 4 .. max_batch."""
    if fixed is not None:
        return (fixed,)
    powers = [1 << power for power in range(max_batch.bit_length()) if 1 << power < max_batch]
    return (*powers, max_batch)


def _padded(array: NDArray[Any], rows: int) -> NDArray[Any]:
    """Append copies of the first row, which the model has to run anyway."""
    padded = np.empty((rows, *array.shape[1:]), array.dtype)
    padded[: len(array)] = array
    padded[len(array) :] = array[0]
    return padded


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:400]
