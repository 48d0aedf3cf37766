"""A graph in memory: an ONNX Runtime session, in whatever process it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edge_agent.errors import ModelError
from edge_agent.models.bundle.ort import DEADLINES, RunOptions, fixed_batch, open_session
from edge_agent.models.runtime.engine import Signature

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from edge_agent.models.bundle.golden import Tensors
    from edge_agent.models.bundle.manifest import Manifest


class GraphSession:
    """An ONNX Runtime session that runs batches of a few fixed sizes.

    onnx_bytes: of the variant to run. where: in errors. ModelError if the runtime refuses them.
    """

    def __init__(
        self, onnx_bytes: bytes, providers: Sequence[str], max_batch: int, where: str
    ) -> None:
        self._where = where
        self._session = self._opened(onnx_bytes, providers)
        self._buckets = _buckets(max_batch, fixed_batch(self._session))
        self._options = RunOptions()
        self.providers = tuple(self._session.get_providers())

    def infer(
        self, feeds: Mapping[str, NDArray[Any]], names: Sequence[str], budget_s: float | None
    ) -> Tensors:
        """Run N rows; ModelError if the runtime fails or takes longer than `budget_s`.

        The time is looked at between two operators.
        """
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

    def _opened(self, onnx_bytes: bytes, providers: Sequence[str]) -> Any:  # noqa: ANN401
        try:
            return open_session(onnx_bytes, providers)
        except Exception as error:
            raise ModelError(_one_line(error), where=self._where) from error

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
            raise ModelError(_one_line(error), where=self._where) from error
        return found if bucket == rows else [array[:rows] for array in found]


def signature_of(manifest: Manifest) -> Signature:
    """The tensors of the manifest, which verification compared with the graph."""
    outputs = {
        tensor: ("float32", manifest.output_shape(role))
        for role, tensor in manifest.outputs.named().items()
    }
    return Signature(manifest.tensors(), outputs)


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
