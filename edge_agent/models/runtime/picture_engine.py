"""The engine of bundles for pictures, whose graphs run in the process that decodes pictures.

A picture is decoded, cut and judged there. What passes the pipeline is its answer: a block of two
numbers, the answer's own and the score. The engine looks the answer up, so that versions, shadows
and rollbacks of picture models are those of all models, and no picture is computed on the model
thread.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from edge_agent.errors import ModelError
from edge_agent.models.bundle.kinds import variant_file
from edge_agent.models.bundle.ort import CPU
from edge_agent.models.runtime.graph_session import signature_of
from edge_agent.signals import PICTURE_INPUT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from edge_agent.models.bundle.golden import Tensors
    from edge_agent.models.bundle.manifest import Manifest
    from edge_agent.models.runtime.engine import LoadRequest

_KEPT: Final = 1024  # answers
_NUMBERS: Final = 1 << 22  # of answers: float32 holds all of them
NUMBER, SCORE = 0, 1  # columns of a block


@dataclass(frozen=True, slots=True)
class PictureGraph:
    """A graph for the process of pictures.

    side: pixels of its square; names: of the outputs that are wanted.
    """

    onnx_bytes: bytes
    side: int
    names: tuple[str, ...]


class GraphRunner(Protocol):
    """The process of pictures, as an engine uses it. Calls may come from any thread."""

    def add_graph(self, digest: str, graph: PictureGraph) -> None:
        """Keep a graph; the process gets it when it is needed."""

    def remove_graph(self, digest: str) -> None:
        """Forget a graph."""

    def run_graph(self, digest: str, pictures: NDArray[np.uint8]) -> Tensors:
        """The outputs for squares [N, side, side, 3]; ModelError if it fails. Blocking."""


@dataclass(frozen=True, slots=True)
class PictureAnswer:
    """What the versions of a bundle said of one picture, each by the digest of its manifest.

    outputs: by tensor, without a batch; errors: why a version has none.
    """

    outputs: Mapping[str, Tensors] = field(default_factory=dict)
    errors: Mapping[str, str] = field(default_factory=dict)


class PictureAnswers:
    """The newest answers by their number."""

    def __init__(self) -> None:
        self._known: dict[int, PictureAnswer] = {}
        self._next = 0
        self._lock = threading.Lock()  # the loop adds, the model thread reads

    def add(self, answer: PictureAnswer) -> int:
        """Keep an answer; returns its number."""
        with self._lock:
            number, self._next = self._next, (self._next + 1) % _NUMBERS
            self._known.pop(number, None)
            self._known[number] = answer
            while len(self._known) > _KEPT:
                del self._known[next(iter(self._known))]
        return number

    def outputs(self, number: int, digest: str) -> Tensors | None:
        """What a version said; None if it was not asked, ModelError if it failed."""
        with self._lock:
            known = self._known.get(number)
        if known is not None and digest in known.errors:
            raise ModelError(known.errors[digest])
        return None if known is None else known.outputs.get(digest)


class PictureEngine:
    """A version of a picture model; see above.

    digest: of its manifest. answers: where the process's answers are.
    """

    providers = (CPU,)

    def __init__(
        self,
        manifest: Manifest,
        digest: str,
        onnx_bytes: bytes,
        runner: GraphRunner,
        answers: PictureAnswers,
    ) -> None:
        self.signature = signature_of(manifest)
        self._digest = digest
        self._runner = runner
        self._answers = answers
        names = tuple(manifest.outputs.named().values())
        self._shapes = {name: shape for name, (_, shape) in self.signature.outputs.items()}
        runner.add_graph(digest, PictureGraph(onnx_bytes, manifest.side, names))

    def infer(
        self,
        feeds: Mapping[str, NDArray[Any]],
        names: Sequence[str],
        budget_s: float | None = None,  # noqa: ARG002 (the process has its own)
    ) -> Tensors:
        """The outputs of pictures, or of blocks with the numbers of their answers.

        NaN for a picture that this version was not asked about.
        """
        given = feeds[PICTURE_INPUT]
        if given.dtype == np.uint8:
            found = self._runner.run_graph(self._digest, given)
            return {name: found[name] for name in names}
        rows = [self._answers.outputs(int(one[NUMBER]), self._digest) for one in given]
        return {name: np.stack([self._row(row, name) for row in rows]) for name in names}

    def _row(self, row: Tensors | None, name: str) -> NDArray[np.generic]:
        shape = self._shapes[name]
        if row is None:
            return np.full(shape, np.nan, np.float32)
        return row[name].reshape(shape)

    def close(self) -> None:
        """Forget the graph."""
        self._runner.remove_graph(self._digest)


class PictureEngines:
    """Opens the engines of picture models, which share a process and its answers."""

    def __init__(self, runner: GraphRunner) -> None:
        self.runner = runner
        self.answers = PictureAnswers()

    def open(self, request: LoadRequest, digest: str) -> PictureEngine:
        """The engine of a verified bundle; ModelError if a file does not fit."""
        raw = request.read(variant_file(request.variant))
        return PictureEngine(request.manifest, digest, raw, self.runner, self.answers)
