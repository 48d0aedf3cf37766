"""A loaded model: batches in, outputs by meaning out."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edge_agent.errors import ModelError
from edge_agent.models.bundle.golden import Golden, differences
from edge_agent.models.bundle.manifest import UNIT_TENSOR, Task
from edge_agent.models.bundle.ort import RunOptions, fixed_batch, open_session
from edge_agent.models.bundle.trust import UNSIGNED
from edge_agent.models.bundle.variants import FP32, Trial, parity
from edge_agent.models.runtime.deadline import DEADLINES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from edge_agent.models.bundle.golden import Tensors
    from edge_agent.models.bundle.manifest import Manifest
    from edge_agent.models.runtime.contributions import Reference

    Floats = NDArray[np.float32]

NO_WAVES: Final[dict[str, NDArray[np.float32]]] = {}
_MEDIAN: Final = 1
_FP32_ONLY: Final = Trial()


@dataclass(frozen=True, slots=True)
class Outputs:
    """What a model says of N windows; None where it does not say it. NaN passes through.

    score [N]: the model's own; without one, the probability of any fault (1 - the first class), or
    the median of the remaining life in hours. health [N] 0..1; contributions [N, C], summing to the
    score; probabilities [N, classes]; rul [N, 3] p10, p50, p90 in hours.
    """

    score: Floats
    health: Floats | None = None
    contributions: Floats | None = None
    probabilities: Floats | None = None
    rul: Floats | None = None

    def rows(self, start: int, stop: int) -> Outputs:
        """The outputs of some of the windows."""
        return Outputs(
            *(None if (a := getattr(self, f.name)) is None else a[start:stop] for f in fields(self))  # type: ignore[arg-type]
        )


class Model:
    """A bundle in memory. Calls block; one thread at a time may run it.

    onnx_bytes: of the variant that `trial` chose.
    """

    def __init__(  # noqa: PLR0913 (what a model is made of)
        self,
        manifest: Manifest,
        onnx_bytes: bytes,
        sha256: str,
        *,
        providers: Sequence[str],
        max_batch: int,
        trial: Trial = _FP32_ONLY,
    ) -> None:
        self.manifest = manifest
        self.sha256 = sha256
        self.trial = trial
        self.variant = trial.chosen
        self.signer = UNSIGNED  # the id of the key
        self.reference: Reference | None = None  # a healthy window, to explain others by
        self._session = _opened(manifest, onnx_bytes, providers)
        self.providers: tuple[str, ...] = tuple(self._session.get_providers())
        self.provider = self.providers[0]
        self._roles = manifest.outputs.named()
        self._names = list(self._roles.values())
        self._shapes = [manifest.output_shape(role) for role in self._roles]
        self._has_unit = bool(manifest.units)
        self._buckets = _buckets(max_batch, fixed_batch(self._session))
        self._options = RunOptions()

    def run(
        self,
        x: Floats | None,
        unit: NDArray[np.int64] | None = None,
        waves: Mapping[str, Floats] = NO_WAVES,
    ) -> Outputs:
        """Score N windows; ModelError where the runtime fails or the inputs do not fit.

        x: float32 [N, length, scalars], None without scalar inputs; unit: int64 [N], index into the
        manifest's units, None where it has none; waves: float32 [N, length] by input.
        """
        feeds: dict[str, NDArray[Any]] = dict(waves)
        if x is not None:
            feeds[self.manifest.window.tensor] = x
        if self._has_unit and unit is not None:
            feeds[UNIT_TENSOR] = unit
        return self._outputs(self.run_tensors(feeds, self._names))

    def run_terminable(
        self,
        budget_s: float,
        x: Floats | None,
        unit: NDArray[np.int64] | None = None,
        waves: Mapping[str, Floats] = NO_WAVES,
    ) -> Outputs:
        """As `run`, but ModelError once it takes longer than `budget_s`."""
        self._options = options = RunOptions()
        try:
            with DEADLINES.within(budget_s, options):
                return self.run(x, unit, waves)
        finally:
            self._options = RunOptions()  # the other one may be told to end a moment too late

    def self_test(self, golden: Golden | tuple[Tensors, Tensors]) -> None:
        """ModelError unless this session, on this provider, reproduces the golden vectors.

        A variant but fp32 must agree with them as `parity` has it.
        """
        inputs, expected = golden[:2]
        found = dict(zip(expected, self.run_tensors(inputs, list(expected)), strict=True))
        if self.variant == FP32:
            problem = "; ".join(differences(expected, found))
        else:
            _, problem = parity(self.manifest, Golden(*golden), found)
        if problem:
            raise ModelError(problem, where=self.manifest.name)

    def run_tensors(
        self, feeds: Mapping[str, NDArray[Any]], names: list[str]
    ) -> list[NDArray[np.generic]]:
        """Run named tensors; gives the tensors `names`.

        In batches of a few fixed sizes: the runtime keeps memory for every shape that it has seen.
        """
        total = len(next(iter(feeds.values())))
        largest = self._buckets[-1]
        if total <= largest:
            return self._run_padded(feeds, names, total)
        parts = []
        for start in range(0, total, largest):
            part = {name: array[start : start + largest] for name, array in feeds.items()}
            parts.append(self._run_padded(part, names, min(largest, total - start)))
        return [np.concatenate(each) for each in zip(*parts, strict=True)]

    def _run_padded(
        self, feeds: Mapping[str, NDArray[Any]], names: list[str], rows: int
    ) -> list[NDArray[np.generic]]:
        bucket = next(size for size in self._buckets if size >= rows)
        if bucket != rows:
            feeds = {name: _padded(array, bucket) for name, array in feeds.items()}
        try:
            found = self._session.run(names, feeds, self._options)
        except Exception as error:
            raise ModelError(_one_line(error), where=self.manifest.name) from error
        return found if bucket == rows else [array[:rows] for array in found]

    def _outputs(self, found: list[NDArray[Any]]) -> Outputs:
        rows = len(found[0])
        by_role: dict[str, Floats] = {
            role: array.reshape(rows, *shape)
            for role, array, shape in zip(self._roles, found, self._shapes, strict=True)
        }
        if "score" not in by_role:
            if self.manifest.task is Task.REMAINING_LIFE:
                by_role["score"] = by_role["rul"][:, _MEDIAN]
            else:
                by_role["score"] = 1.0 - by_role["probabilities"][:, 0]
        return Outputs(**by_role)


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
    """More rows, all of them the first one: whatever it is, the model can stand it."""
    padded = np.empty((rows, *array.shape[1:]), array.dtype)
    padded[: len(array)] = array
    padded[len(array) :] = array[0]
    return padded


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:400]
