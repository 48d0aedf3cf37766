"""Remaining life of turbofan engines: teacher, student, and the interval around it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from torch.nn import functional

from edge_agent.factory.recipe import Finished
from edge_agent.factory.student import Scale, Student, run
from edge_agent.factory.turbofan.fd001 import (
    CAP,
    LEAST,
    LENGTH,
    SENSORS,
    Basis,
    basis_of,
    synthetic,
    training_engines,
    windows,
)
from edge_agent.models import Interval

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_agent.factory.recipe import Answer, Arrays, Batch, Context, Samples, Splits

    Floats = NDArray[np.float32]

COVERAGE: Final = 0.8
RATE: Final = 0.4
EVENNESS: Final = 0.7  # power of a half-width: 1 as predicted, 0 all equal
FLOOR_H: Final = 1.0  # the least half-width
MEMORIES: Final = (3.0, 6.0, 12.0, 25.0, 50.0, 100.0)  # cycles
TEACHERS: Final = 3
TEACHER_HIDDEN: Final = (128, 64)
HIDDEN: Final = (64, 32)
HARD_SHARE: Final = 0.3
_PINBALL: Final = 0.3
_SHIFT: Final = 2.0  # of the input of softplus, so that half-widths begin small
_EPOCHS, _BATCH, _RATE, _DECAY = 4, 512, 4e-3, 1e-3
_RIDGE: Final = 2.0
_STEPS: Final = 127  # of int8, on either side of 0


class WearFeatures(torch.nn.Module):
    """Windows [N, L, 15] to [N, 26]: level and trend of wear over six memories, rows, cycle.

    Sensors are projected to the two directions of wear. Rows equal to the first (the cycle does not
    grow) have no weight. Level and trend are of a line fitted with exponentially falling weights.
    """

    weights: torch.Tensor
    offset: torch.Tensor
    kernels: torch.Tensor
    memories: torch.Tensor

    def __init__(self, basis: Basis) -> None:
        super().__init__()
        weights = basis.weights / basis.spread[:, None]
        age = np.arange(LENGTH - 1, -1, -1.0)[:, None]
        kernel = np.exp(-age / np.array(MEMORIES))
        self.sensors = len(SENSORS)
        self._keep("weights", weights)
        self._keep("offset", -basis.center @ basis.weights)
        self._keep("kernels", np.concatenate([kernel, age * kernel, age**2 * kernel], axis=1))
        self._keep("memories", np.array(MEMORIES))

    def _keep(self, name: str, value: NDArray[np.float64]) -> None:
        self.register_buffer(name, torch.tensor(value, dtype=torch.float32))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Levels, trends (a change over each memory), rows, cycle."""
        cycle = x[:, :, self.sensors]
        later = (cycle[:, 1:] > cycle[:, :-1]).float()
        real = torch.cat([later, torch.ones_like(cycle[:, :1])], dim=1)
        wear = torch.matmul(x[:, :, : self.sensors], self.weights) + self.offset
        zero, one, two = torch.matmul(real, self.kernels).unsqueeze(1).chunk(3, dim=2)
        moments = torch.matmul((wear * real.unsqueeze(2)).transpose(1, 2), self.kernels)
        level, tilt, _ = moments.chunk(3, dim=2)  # [N, 2, memories]
        spread = zero * two - one * one + _RIDGE * self.memories * zero
        trend = (one * level - zero * tilt) / spread * self.memories
        rows = real.sum(dim=1, keepdim=True)
        parts = [(level / zero).flatten(1), trend.flatten(1), rows, cycle[:, -1:]]
        return torch.cat(parts, dim=1)


def teacher(splits: Splits, context: Context) -> Answer:
    """Three larger networks on all rows of all synthetic engines; their mean, in hours."""
    engines = training_engines(splits.train, context)
    basis = basis_of(engines)
    features = WearFeatures(basis)
    found, left = [run(features, splits.train.inputs["x"])], [splits.train.target[:, 0]]
    made = list(synthetic(engines, basis, context.random("teacher")))
    for rows, life in context.progress(made, "teacher's engines"):
        found.append(run(features, windows(rows)[LEAST - 1 :]))
        left.append(np.minimum(life, CAP).astype(np.float32)[LEAST - 1 :])
    x = np.concatenate(found)
    scale = Scale(x)
    networks = [
        _trained_teacher(run(scale, x), np.concatenate(left), context, f"teacher {n}")
        for n in range(TEACHERS)
    ]

    def answer(inputs: Arrays) -> Floats:
        seen = run(scale, run(features, inputs["x"]))
        predicted = np.mean([run(network, seen) for network in networks], axis=0) * CAP
        return np.asarray(np.clip(predicted, 0.0, CAP), np.float32)

    return answer


def _trained_teacher(x: Floats, left: Floats, context: Context, name: str) -> torch.nn.Module:
    seed = int(context.random(name).integers(2**31))
    torch.manual_seed(seed)
    network = _network(x.shape[1], TEACHER_HIDDEN, 1)
    random = torch.Generator().manual_seed(seed)
    seen, truth = torch.from_numpy(x), torch.from_numpy(left / np.float32(CAP))
    steps = -(-len(x) // _BATCH)
    optimizer = torch.optim.AdamW(network.parameters(), lr=_RATE, weight_decay=_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, _RATE, total_steps=_EPOCHS * steps, pct_start=0.1
    )
    for _ in context.progress(range(_EPOCHS), name):
        for rows in torch.randperm(len(x), generator=random).split(_BATCH):
            optimizer.zero_grad()
            functional.mse_loss(network(seen[rows])[:, 0], truth[rows]).backward()
            optimizer.step()
            schedule.step()
    return network.eval()


def _network(inputs: int, hidden: tuple[int, ...], outputs: int) -> torch.nn.Sequential:
    layers: list[torch.nn.Module] = []
    for width in hidden:
        layers += [torch.nn.Linear(inputs, width), torch.nn.SiLU()]
        inputs = width
    return torch.nn.Sequential(*layers, torch.nn.Linear(inputs, outputs))


def student(splits: Splits, context: Context) -> torch.nn.Module:
    """Wear features and a small network: [N, 3] life, and the inputs of its two half-widths."""
    wear = WearFeatures(basis_of(training_engines(splits.train, context)))
    scale = Scale(run(wear, splits.train.inputs["x"]))
    body = _network(len(scale.center), HIDDEN, 3)
    return Student(torch.nn.Sequential(wear, scale), body)


def life_of(prediction: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """p50 [N, 1] between 0 and the cap, and the half-widths below and above it [N, 2]; hours."""
    middle = torch.clamp(prediction[:, :1] * CAP, 0.0, CAP)
    return middle, functional.softplus(prediction[:, 1:] - _SHIFT) * CAP + FLOOR_H


def loss(prediction: torch.Tensor, batch: Batch) -> torch.Tensor:
    """p50 by the teacher and the truth; p10 and p90 by the truth, which moves only them.

    Pinball loss: Koenker, Bassett: Regression Quantiles, Econometrica 46, 1978.
    """
    middle = prediction[:, 0]
    soft = (middle - batch.soft[:, 0] / CAP).square()
    truth = batch.hard[:, 0] / CAP
    hard = (middle - truth).square()
    share = HARD_SHARE * batch.real
    predicted, widths = life_of(prediction)
    fixed = predicted.detach()
    below = truth - (fixed - widths[:, :1])[:, 0] / CAP
    above = truth - (fixed + widths[:, 1:])[:, 0] / CAP
    tail = (1 - COVERAGE) / 2
    pinball = torch.maximum(tail * below, (tail - 1) * below)
    pinball = pinball + torch.maximum((1 - tail) * above, -tail * above)
    return ((1 - share) * soft + share * hard + _PINBALL * batch.real * pinball).mean()


class LifeGraph(torch.nn.Module):
    """A student with the factors from held-out engines."""

    def __init__(self, student: torch.nn.Module, low: float, high: float) -> None:
        super().__init__()
        self.student = student
        self.low, self.high = low, high

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Rul [N, 3]: p10, p50 and p90 in hours. p90 may pass the cap, p50 does not."""
        middle, predicted = life_of(self.student(x))
        widths = predicted**EVENNESS
        low = torch.clamp(middle - self.low * widths[:, :1], min=0.0)
        return {"rul": torch.cat([low, middle, middle + self.high * widths[:, 1:]], dim=1)}


def finish(student: torch.nn.Module, valid: Samples, _: Context) -> Finished:
    """Factors of both half-widths by split conformal prediction; all engines weigh the same.

    Scores normalised by a power of the raw half-width (less than 1: narrower on average, since
    unpredictable rows get less than their share, and, closer to the end, more than
    80 % are covered): Lei, G'Sell, Rinaldo, Tibshirani, Wasserman:
    Distribution-Free Predictive Inference for Regression, JASA 113, 2018, section 5.2.
    """
    _snap(student.body)
    with torch.no_grad():
        predicted = [
            each.numpy() for each in life_of(torch.from_numpy(run(student, valid.inputs["x"])))
        ]
    middle, widths = predicted[0][:, 0], predicted[1] ** EVENNESS
    truth = valid.target[:, 0]
    tail = (1 + COVERAGE) / 2
    low = _quantile((middle - truth) / widths[:, 0], valid.group, tail)
    high = _quantile((truth - middle) / widths[:, 1], valid.group, tail)
    constant = _quantile(np.abs(middle - truth), valid.group, COVERAGE)
    settled: dict[str, Any] = {
        "interval": Interval(coverage=COVERAGE, rate=RATE, cap_h=CAP),
        "calibration": {
            "method": "split conformal, normalised by the told half-width, engines held out",
            "low": f"{low:.4g}",
            "high": f"{high:.4g}",
            "constant_half_width_h": f"{constant:.4g}",
            "held_out_units": str(len(np.unique(valid.group))),
        },
    }
    return Finished(LifeGraph(student, low, high), settled)


def _snap(body: torch.nn.Module) -> None:
    """Round each weight to one of 255 steps of its neuron: int8 then stores it without loss.

    The last layer stays unchanged, in float in all graphs: an engine near its end needs all digits.
    """
    layers = [layer for layer in body.modules() if isinstance(layer, torch.nn.Linear)]
    for layer in layers[:-1]:
        step = layer.weight.data.abs().amax(dim=1, keepdim=True) / _STEPS
        layer.weight.data = torch.round(layer.weight.data / step) * step


def _quantile(scores: Floats, group: NDArray[np.int64], share: float) -> float:
    """The positive quantile that a new group does not exceed with this probability.

    Each group has the same weight, for any number of rows, and so has the new one, at
    infinity. Dunn, Wasserman, Ramdas: Distribution-Free Prediction Sets for Two-Layer Hierarchical
    Models, JASA 118, 2023.
    """
    _, member, counts = np.unique(group, return_inverse=True, return_counts=True)
    order = np.argsort(scores)
    reached = np.cumsum((1.0 / counts[member])[order]) / (len(counts) + 1)
    found = float(scores[order][min(len(scores) - 1, int(np.searchsorted(reached, share)))])
    return max(0.05, found)
