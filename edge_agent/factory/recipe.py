"""The contents of a model's recipe: plain data and functions, no torch."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from numpy.typing import NDArray

    from edge_agent.models import Manifest

Arrays = Mapping[str, "NDArray[np.float32]"]
Answer = Callable[[Arrays], "NDArray[np.float32]"]


@dataclass(frozen=True, slots=True)
class Samples:
    """Windows with their truth.

    inputs: by tensor of the manifest, [N, ...]; target [N, K]: named `hard` in the student's `loss`
    (classes one-hot; remaining life in hours, K = 1); group [N]: unit, recording or block of
    time, with the same numbers in all splits; anomalous [N]: rows that are not healthy (they
    are separate in golden rows and parity).
    """

    inputs: Arrays
    target: NDArray[np.float32]
    group: NDArray[np.int64]
    anomalous: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.target)

    def select(self, index: NDArray[np.generic]) -> Samples:
        """These rows: an index or a mask."""
        inputs = {name: array[index] for name, array in self.inputs.items()}
        return Samples(inputs, self.target[index], self.group[index], self.anomalous[index])


@dataclass(frozen=True, slots=True)
class Splits:
    """train: to learn from, valid: to calibrate, test: to judge; no group is in two of them."""

    train: Samples
    valid: Samples
    test: Samples


@dataclass(frozen=True, slots=True)
class Training:
    """Settings of the student's training.

    mix_up: queries per row of `train`, each between two rows, that only the teacher answers;
    prune: share of each hidden layer's neurons or channels to remove, 0 for none.
    """

    epochs: int = 60
    batch: int = 256
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    mix_up: float = 1.0
    prune: float = 0.3
    prune_epochs: int = 30


@dataclass(frozen=True, slots=True)
class Context:
    """One run: its seed and the place of the recordings.

    progress(steps, text): an iterable that shows its progress.
    """

    seed: int
    data: Path
    progress: Callable[[Any, str], Any]

    def random(self, purpose: str) -> np.random.Generator:
        """A separate random generator for each purpose; the same in every run with this seed."""
        return np.random.default_rng([self.seed, zlib.crc32(purpose.encode())])


class Batch(Protocol):
    """The inputs of a loss in addition to the prediction [B, K].

    hard [B, K']: the truth; soft [B, K'']: the teacher's answers; real [B]: 1 for a row of `train`,
    0 for a mix-up query, whose truth is unknown (its `hard` has no meaning).
    """

    @property
    def hard(self) -> torch.Tensor:
        """[B, K']."""

    @property
    def soft(self) -> torch.Tensor:
        """[B, K'']."""

    @property
    def real(self) -> torch.Tensor:
        """[B]."""


@dataclass(frozen=True, slots=True)
class Finished:
    """The student, calibrated and ready for export.

    module: takes the manifest's tensors in their order, returns a dict of its outputs by
    tensor name; changes: fields of the manifest that calibration sets (threshold, calibration,
    false_alarms_per_day, interval).
    """

    module: torch.nn.Module
    changes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Recipe:
    """A model, from its recordings to its card.

    manifest: everything known beforehand; the factory fills version, calibration, teacher,
        distillation, pruning, quantization, benchmarks, healthy, sha256. `manifest.version` is the
        recipe's own, such as 1.0; the factory appends eight digits of the graph's checksum.
    sources: patterns below the data folder; a change of any such file repeats everything.
    data(context): reads and splits.
    teacher(splits, context): learns from `splits.train`; the returned function takes inputs
        by tensor [N, ...] and returns [N, K] (hours, logits or probabilities, reconstructions).
    as_outputs(answers): the teacher's answers as outputs by role, so that `metrics` can judge it.
    student(splits, context): a module with two parts. `features(*tensors)` has no parameters and is
        computed once (scaling and features, fitted to `train`; buffers are fine); `body(features)`
        returns the prediction [N, K], is trained, and every torch.nn.Sequential in it is pruned
        (Linear, Conv1d, BatchNorm1d and modules without weights). forward(*tensors) is both.
    loss(prediction, batch): a scalar; ready-made ones in `edge_agent.factory.losses`.
    finish(student, valid, context): calibrates on held-out groups and wraps for export.
    metrics(outputs, samples): figures by name, the headline first, of outputs by role (score,
        probabilities, rul, ...) of the graph.
    keep_float: submodules of the exported module, such as "student.features", that stay in
        float.
    activation_bits: of activations between int8 weights, 8 or 16. 16 if 8 change the figures by
        too much; then all presets produce the same graph.
    settings: further values that identify this recipe (for the cache's key and the card).
    card: title to text, by the author: data and licence, intended use, limits.
    """

    manifest: Manifest
    sources: tuple[str, ...]
    data: Callable[[Context], Splits]
    teacher: Callable[[Splits, Context], Answer]
    as_outputs: Callable[[NDArray[np.float32]], Arrays]
    student: Callable[[Splits, Context], torch.nn.Module]
    loss: Callable[[torch.Tensor, Batch], torch.Tensor]
    finish: Callable[[torch.nn.Module, Samples, Context], Finished]
    metrics: Callable[[Arrays, Samples], dict[str, float]]
    training: Training = field(default_factory=Training)
    keep_float: tuple[str, ...] = ()
    activation_bits: int = 8
    settings: Mapping[str, Any] = field(default_factory=dict)
    card: Mapping[str, str] = field(default_factory=dict)
