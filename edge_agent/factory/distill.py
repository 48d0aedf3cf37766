"""Teaching a student: the same loop for distillation and after pruning."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from edge_agent.factory.student import run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from edge_agent.factory.losses import Loss
    from edge_agent.factory.recipe import Arrays, Context, Samples, Training

    Floats = NDArray[np.float32]
    Curve = dict[str, list[float]]

_WARM_UP = 0.05  # of all steps


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """Features with the truth, the teacher's answers, and if the truth is known; also a batch.

    features [N, ...], hard [N, K'], soft [N, K''], real [N].
    """

    features: torch.Tensor
    hard: torch.Tensor
    soft: torch.Tensor
    real: torch.Tensor

    def select(self, index: torch.Tensor) -> TrainingSet:
        """These rows."""
        return TrainingSet(
            self.features[index], self.hard[index], self.soft[index], self.real[index]
        )


def training_set_of(
    student: torch.nn.Module,
    samples: Samples,
    answers: Floats,
    queries: Arrays | None = None,
    query_answers: Floats | None = None,
) -> TrainingSet:
    """Rows of `samples`, then queries whose answer only the teacher knows."""
    features = [run(student.features, *samples.inputs.values())]
    hard, soft, real = [samples.target], [answers], [np.ones(len(samples), np.float32)]
    if queries is not None and query_answers is not None and len(query_answers):
        count = len(query_answers)
        features.append(run(student.features, *queries.values()))
        hard.append(np.zeros((count, samples.target.shape[1]), np.float32))
        soft.append(query_answers)
        real.append(np.zeros(count, np.float32))
    parts = (features, hard, soft, real)
    return TrainingSet(*(torch.from_numpy(np.concatenate(part)) for part in parts))


def train_student(  # noqa: PLR0913 (each names a different thing)
    student: torch.nn.Module,
    training_set: TrainingSet,
    held_out: TrainingSet,
    *,
    loss: Loss,
    training: Training,
    context: Context,
    epochs: int,
    purpose: str,
) -> Curve:
    """Train `student.body` for a fixed number of epochs; the mean loss of each, both ways.

    held_out is only measured: nothing is chosen by it.
    """
    random = torch.Generator().manual_seed(int(context.random(purpose).integers(2**31)))
    batches = -(-len(training_set.real) // training.batch)
    optimizer = torch.optim.AdamW(
        student.body.parameters(), lr=training.learning_rate, weight_decay=training.weight_decay
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, _rise_and_fall(epochs * batches))
    curve: Curve = {"train": [], "valid": []}
    for _ in context.progress(range(epochs), purpose):
        student.body.train()
        losses = []
        for batch in _batches(training_set, training.batch, random):
            optimizer.zero_grad()
            value = loss(student.body(batch.features), batch)
            value.backward()
            optimizer.step()
            schedule.step()
            losses.append(float(value.detach()))
        curve["train"].append(float(np.mean(losses)))
        curve["valid"].append(_mean_loss(student, held_out, loss))
    return curve


def _rise_and_fall(steps: int) -> Callable[[int], float]:
    """Share of the learning rate at each step: a short linear rise, then a cosine down to 0."""
    up = max(1, round(_WARM_UP * steps))

    def share(step: int) -> float:
        if step < up:
            return (step + 1) / up
        return 0.5 * (1 + math.cos(math.pi * (step - up) / max(1, steps - up)))

    return share


def _batches(
    training_set: TrainingSet, size: int, random: torch.Generator
) -> Iterator[TrainingSet]:
    order = torch.randperm(len(training_set.real), generator=random)
    for begin in range(0, len(order), size):
        yield training_set.select(order[begin : begin + size])


def _mean_loss(student: torch.nn.Module, training_set: TrainingSet, loss: Loss) -> float:
    student.body.eval()
    with torch.no_grad():
        return float(loss(student.body(training_set.features), training_set))
