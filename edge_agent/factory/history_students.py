"""Students of a plant's own history: a mixer and a forecaster, as networks of a learned baseline.

The mixer predicts each input from the other ones, now and in the rows before; the forecaster
predicts all inputs from the rows before. Both begin with the linear map of ridge regression, and
learn what it leaves over: first a teacher with two wide layers, then the student with two narrow
ones from the teacher's answers, also between the rows, and from the truth. What is no better than
the linear map in held-out time stays linear.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import torch

from edge_agent.factory.distill import TrainingSet, train_student
from edge_agent.factory.losses import squares
from edge_agent.factory.recipe import Context, Training
from edge_agent.factory.split import mix_up
from edge_agent.factory.student import Student, run
from edge_agent.learning import (
    Network,
    features,
    lasting_response,
    linear_map,
    sees_others,
    sees_past,
    taps_for,
    unexplained,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Mask = NDArray[np.bool_]

MIXER: Final = "a network of the other inputs (mixer)"
FORECASTER: Final = "a network of the rows before (forecaster)"
_ROWS: Final = 12_000  # to learn from
_BLOCKS: Final = 20  # of the time; each fifth one is held out
_EVERY: Final = 5
_UNITS: Final = 96  # of a layer, about
_WIDE_UNITS: Final = 384  # of the teacher's
_LEAST_SHARES: Final = 12  # of the units: few outputs with units of their own do not get more
_SHARED: Final = 3  # of as many, if all outputs share the units
_STEPS: Final = 800
_TRAINING: Final = Training(batch=256, learning_rate=1e-2)
_BENDS: Final = 0.1  # of what the linear map leaves, at least, in held-out rows
_REACH: Final = 5.0  # deviations of what the linear map leaves; more are outliers
_LEAST: Final = 1e-3  # of a deviation, and of a spread: less is rounding


@dataclass(frozen=True)
class HistoryStudent:
    """A student as `learning` tries it.

    sees(taps, channels): see `sees_others`; lasts: an input that stays shifted goes on moving the
    predictions of others; report(text): called before each training.
    """

    name: str
    sees: Callable[[int, int], Mask]
    lasts: bool
    seed: int
    report: Callable[[str], None] = field(compare=False)

    def train(self, z: Floats, judged: Mask, length: int) -> Network:
        """See `edge_agent.learning.Student`."""
        self.report(self.name)
        taps = taps_for(length)
        given, target, held_out = _rows_of(z, taps)
        sees = self.sees(len(taps), z.shape[1])
        linear, offset = linear_map(given[~held_out], target[~held_out], sees)
        left = target - given @ linear - offset
        size = np.maximum(left.std(axis=0), _LEAST * target.std(axis=0) + _LEAST)
        body = _distilled(given, left / size, sees, held_out, self.seed)
        first, bias, second, turn, last, more = body.numbers()
        bends = (
            _gain(run(body, given[held_out].astype(np.float32)), (left / size)[held_out]) > _BENDS
        )
        size = size * bends
        network = Network(
            taps,
            linear,
            first,
            bias,
            second,
            turn,
            last * size,
            offset + more * size,
            response=np.zeros((z.shape[1],) * 2),
        )
        if self.lasts:
            network = replace(network, response=lasting_response(network, given))
        return network.without(unexplained(network, given[held_out], target[held_out]) | ~judged)


def mixer(seed: int, report: Callable[[str], None]) -> HistoryStudent:
    """Each input from the others."""
    return HistoryStudent(MIXER, sees_others, lasts=True, seed=seed, report=report)


def forecaster(seed: int, report: Callable[[str], None]) -> HistoryStudent:
    """All inputs from the rows before."""
    return HistoryStudent(FORECASTER, sees_past, lasts=False, seed=seed, report=report)


def _rows_of(z: Floats, taps: Floats) -> tuple[Floats, Floats, Mask]:
    """Features and rows without gaps, at most _ROWS, and which of them are held out."""
    context = taps.shape[1] - 1
    gaps = np.cumsum(np.isnan(z).any(axis=1))
    known = context + np.flatnonzero(gaps[context:] == np.append(0, gaps)[: len(z) - context])
    known = known[np.linspace(0, len(known) - 1, min(_ROWS, len(known))).astype(int)]
    newest = z[known[:, None] + np.arange(-context, 1)]
    given = features(newest, taps)[:, -1]
    held_out = known * _BLOCKS // len(z) % _EVERY == _EVERY - 1
    return given, z[known], held_out


def _gain(predicted: NDArray[np.float32], left: Floats) -> Floats:
    """The share of the variance of each output [n, C] that is predicted."""
    return np.asarray(1 - (left - predicted).var(axis=0) / np.maximum(left.var(axis=0), _LEAST))


def _distilled(given: Floats, left: Floats, sees: Mask, held_out: Mask, seed: int) -> _Body:
    """The student of what is left of the rows, taught by a wider teacher of the same rows."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    x, y = given.astype(np.float32), np.clip(left, -_REACH, _REACH).astype(np.float32)
    x, y, x_held, y_held = x[~held_out], y[~held_out], x[held_out], y[held_out]
    teacher = _Body(sees, _width(sees, _WIDE_UNITS))
    valid = _training_set(x_held, y_held, y_held)
    _taught(teacher, _training_set(x, y, y), valid, seed, "teacher")
    between = mix_up({"x": x}, len(x), np.random.default_rng(seed))["x"]
    student = _Body(sees, _width(sees, _UNITS))
    answers = run(teacher, np.concatenate([x, between]))
    _taught(
        student, _training_set(np.concatenate([x, between]), y, answers), valid, seed, "student"
    )
    return student


def _width(sees: Mask, units: int) -> int:
    """Hidden units of a layer for each output, of `units` or a few more; or of all that share."""
    share = max(_LEAST_SHARES, sees.shape[1]) if _own(sees) else _SHARED
    return max(2, units // share)


def _own(sees: Mask) -> bool:
    return bool((sees != sees[:, :1]).any())


def _training_set(
    x: NDArray[np.float32], truth: NDArray[np.float32], answers: NDArray[np.float32]
) -> TrainingSet:
    """Rows with their truth, as far as it is known, and the teacher's answers to all."""
    real = (np.arange(len(x)) < len(truth)).astype(np.float32)
    hard = np.concatenate([truth, np.zeros_like(answers[len(truth) :])])
    return TrainingSet(*map(torch.from_numpy, (x, hard, answers, real)))


def _taught(body: _Body, rows: TrainingSet, valid: TrainingSet, seed: int, purpose: str) -> None:
    train_student(
        Student(torch.nn.Identity(), body),
        rows,
        valid,
        loss=squares(),
        training=_TRAINING,
        context=Context(seed, Path(), lambda steps, _: steps),
        epochs=-(-_STEPS // -(-len(rows.real) // _TRAINING.batch)),
        purpose=purpose,
    )


class _Body(torch.nn.Module):
    """Two layers of hidden units; each reads only what its output may see.

    If all outputs see the same, they share the units. width: units of a layer, for each output or
    for all.
    """

    def __init__(self, sees: Mask, width: int) -> None:
        super().__init__()
        groups = np.arange(sees.shape[1]) * _own(sees)
        unit = np.repeat(np.unique(groups), width)
        masks = [sees[:, unit], unit[:, None] == unit, unit[:, None] == groups]
        self.masks = [torch.from_numpy(mask.astype(np.float32)) for mask in masks]
        self.weights = torch.nn.ParameterList(_drawn(mask) for mask in self.masks)
        self.biases = torch.nn.ParameterList(torch.zeros(mask.shape[1]) for mask in self.masks)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Outputs [N, C] of features [N, M C]."""
        for number, (weight, mask, bias) in enumerate(
            zip(self.weights, self.masks, self.biases, strict=True)
        ):
            x = (torch.relu(x) if number else x) @ (weight * mask) + bias
        return x

    def numbers(self) -> list[Floats]:
        """Weights and bias of each layer."""
        pairs = zip(self.weights, self.masks, self.biases, strict=True)
        found = [part for w, mask, bias in pairs for part in (w * mask, bias)]
        return [each.detach().numpy().astype(float) for each in found]


def _drawn(mask: torch.Tensor) -> torch.Tensor:
    """First weights, as large as He et al. propose for ReLU (Delving Deep, 2015)."""
    return torch.randn(mask.shape) * torch.sqrt(2 / mask.sum(dim=0).clamp(min=1))
