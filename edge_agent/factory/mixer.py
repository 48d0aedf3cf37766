"""A forecaster as anomaly detector: PatchTSMixer teaches a small student (demo plant, not shipped).

The student gets the first rows of a window and predicts the mean of the last ones; its error
is judged by Hotelling's T² with the covariance of healthy errors. For comparison, the windows are
also scored by the gateway's learned baseline (EWMA-T², `edge_agent.learning.learn`) of these rows,
so that every run shows which is better. docs/factory.md has the figures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from transformers import PatchTSMixerConfig, PatchTSMixerForPrediction

from edge_agent.config.types import Name
from edge_agent.demo import NAMES, SENSORS, PumpPlant
from edge_agent.factory.calibrate import alarm_threshold
from edge_agent.factory.judge import session_of
from edge_agent.factory.losses import squares
from edge_agent.factory.metrics import anomaly_metrics
from edge_agent.factory.recipe import Finished, Recipe, Samples, Splits, Training
from edge_agent.factory.split import windows_of
from edge_agent.factory.stages import code_of
from edge_agent.factory.student import Scale, Student, mlp, run
from edge_agent.learning import Recipe as BaselineRecipe
from edge_agent.learning import learn
from edge_agent.models import InputSpec, Manifest, OutputNames, Task, WindowSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edge_agent.factory.recipe import Answer, Arrays, Context

    Floats = NDArray[np.float32]

_CHANNELS: Final = len(NAMES)
_LENGTH, _AHEAD, _HOP = 64, 16, 4
_PAST: Final = _LENGTH - _AHEAD
_HEALTHY_ROWS: Final = 1200
_FAULT_ROWS: Final = 240
_FAULTS: Final = ("bearing_wear", "cavitation", "blocked_valve")
_PUMPS: Final = {"train": 16, "valid": 16, "test": 18}
_EPOCHS: Final = 15
_MEMORIES: Final = (1.0, 3.0, 8.0, 24.0)  # rows
_PER_DAY: Final = 0.1
_LIMITS: Final = np.geomspace(1.0, 1e4, 400)
_SHRINKAGE: Final = 0.05
_SCORE, _HEALTH, _SHARES = "score", "health", "contributions"


def recipe() -> Recipe:
    """The detector of the demo's pumps, all pumps as one."""
    inputs = tuple(InputSpec(name, SENSORS[name].unit) for name in NAMES)
    return Recipe(
        manifest=Manifest(
            name=Name("demo-mixer"),
            version=Name("1.0"),
            task=Task.ANOMALY,
            inputs=inputs,
            outputs=OutputNames(score=_SCORE, health=_HEALTH, contributions=_SHARES),
            window=WindowSpec(step_s=1.0, length=_LENGTH, hop=_HOP),
            teacher={"model": "PatchTSMixerForPrediction, 3 layers of 24, mixing channels"},
            training={"data": "edge_agent/demo/plant.py", "licence": "Apache-2.0"},
        ),
        sources=(),
        data=_data,
        teacher=_teacher,
        as_outputs=lambda answers: {"forecast": answers},
        student=lambda splits, _: _student(splits.train.inputs["x"]),
        loss=squares(),
        finish=_finish,
        metrics=_metrics,
        training=Training(epochs=40, prune_epochs=20),
        keep_float=("student.features", "student.body.4", "distance"),
        settings={"code": code_of([PumpPlant, learn, BaselineRecipe])},
        card={"About": (__doc__ or "").strip()},
    )


def _data(context: Context) -> Splits:
    """Healthy pumps for training and calibration; others fail after the same healthy time.

    target [N, C + 1]: the scaled mean of the rows ahead, then the score of EWMA-T².
    """
    rows = {split: _run_pumps(context, split) for split in _PUMPS}
    beside = _learned(rows["train"])
    scale = Scale(np.concatenate(rows["train"]))
    return Splits(*(_samples(rows[s], n, scale, beside) for n, s in enumerate(_PUMPS)))


def _run_pumps(context: Context, split: str) -> list[Floats]:
    """Rows [T, C] of each pump; each of `test` ends with a fault."""
    pumps = _PUMPS[split]
    plant = PumpPlant(pumps, seed=int(context.random(f"plant {split}").integers(2**31)))
    found = []
    for step in range(_HEALTHY_ROWS + (_FAULT_ROWS if split == "test" else 0)):
        if step == _HEALTHY_ROWS:
            for pump in range(pumps):
                plant.inject(pump, _FAULTS[pump % len(_FAULTS)])
        plant.step(1.0)
        found.append(plant.readings.astype(np.float32))
    return list(np.stack(found).transpose(1, 0, 2))


def _learned(rows: Sequence[Floats]) -> bytes:
    """EWMA-T² of all pumps as one; a row of NaN separates two pumps."""
    gap = np.full((1, _CHANNELS), np.nan, np.float32)
    joined = np.concatenate([part for one in rows for part in (one, gap)])
    inputs = tuple(InputSpec(name) for name in NAMES)
    baseline = BaselineRecipe(name="beside", inputs=inputs, length=_LENGTH, hop=_HOP)
    return learn({"pump": joined}, baseline, now_us=0).onnx_bytes


def _samples(rows: Sequence[Floats], split: int, scale: Scale, beside: bytes) -> Samples:
    session = session_of(beside)
    parts = []
    for pump, one in enumerate(rows):
        x, ends = windows_of(one, _LENGTH, _HOP)
        ahead = run(scale, x[:, _PAST:]).mean(axis=1)
        feeds = {"x": x, "unit": np.zeros(len(x), np.int64)}
        score = session.run([_SCORE], feeds)[0].reshape(-1, 1)
        group = np.full(len(x), 100 * split + pump, np.int64)
        target = np.hstack([ahead, score]).astype(np.float32)
        parts.append((x, target, group, ends >= _HEALTHY_ROWS))
    x, target, group, anomalous = (np.concatenate(each) for each in zip(*parts, strict=True))
    return Samples({"x": x}, target, group, anomalous)


def _teacher(splits: Splits, context: Context) -> Answer:
    """PatchTSMixer, taught to forecast every row ahead; it answers with their mean."""
    x = splits.train.inputs["x"]
    scale = Scale(x)
    torch.manual_seed(int(context.random("teacher").integers(2**31)))
    model = PatchTSMixerForPrediction(
        PatchTSMixerConfig(
            context_length=_PAST,
            prediction_length=_AHEAD,
            num_input_channels=_CHANNELS,
            patch_length=8,
            patch_stride=8,
            d_model=24,
            num_layers=3,
            expansion_factor=2,
            mode="mix_channel",
            scaling=None,
            dropout=0.1,
            head_dropout=0.1,
        )
    )
    _fit(model, torch.from_numpy(run(scale, x)), context)

    def answer(inputs: Arrays) -> Floats:
        past = run(scale, inputs["x"])[:, :_PAST]
        return run(_Mean(model), past)

    return answer


class _Mean(torch.nn.Module):
    """The mean of a forecaster's outputs."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, past: torch.Tensor) -> torch.Tensor:
        predicted: torch.Tensor = self.model(past_values=past).prediction_outputs
        return predicted.mean(dim=1)


def _fit(model: torch.nn.Module, z: torch.Tensor, context: Context) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    random = torch.Generator().manual_seed(context.seed)
    model.train()
    for _ in context.progress(range(_EPOCHS), "teacher"):
        for batch in torch.randperm(len(z), generator=random).split(256):
            optimizer.zero_grad()
            predicted = model(past_values=z[batch, :_PAST]).prediction_outputs
            ((predicted - z[batch, _PAST:]) ** 2).mean().backward()
            optimizer.step()


class _Context(torch.nn.Module):
    """Windows [N, L, C] to exponential means and the slope of their first rows [N, 5 C]."""

    def __init__(self, x: Floats) -> None:
        super().__init__()
        self.scale = Scale(x)
        age = np.arange(_PAST - 1, -1, -1, dtype=np.float64)
        weights = [np.exp(-age / memory) for memory in _MEMORIES]
        ramp = np.linspace(-1, 1, _PAST)
        rows = np.stack([*(w / w.sum() for w in weights), ramp / np.abs(ramp).sum()])
        padded = np.hstack([rows, np.zeros((len(rows), _AHEAD))])
        self.register_buffer("weights", torch.tensor(padded, dtype=torch.float32))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.matmul(self.weights, self.scale(x)).flatten(1)


def _student(x: Floats) -> Student:
    inputs = (len(_MEMORIES) + 1) * _CHANNELS
    return Student(_Context(x), mlp(inputs, (48, 32), _CHANNELS))


class _Detector(torch.nn.Module):
    """score [N], health [N] and contributions [N, C] from the errors of the student's forecast."""

    def __init__(self, student: Student, mean: Floats, precision: Floats) -> None:
        super().__init__()
        self.student = student
        self.scale = student.features.scale
        self.distance = _Distance(mean, precision)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        shares = self.distance(self.scale(x)[:, _PAST:].mean(dim=1) - self.student(x))
        score = shares.sum(dim=1)
        return {_SCORE: score, _HEALTH: 1 / (1 + torch.relu(score)), _SHARES: shares}


class _Distance(torch.nn.Module):
    """The terms of T² by input [N, C] from errors [N, C]; their sum is T²."""

    def __init__(self, mean: Floats, precision: Floats) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32))
        self.register_buffer("precision", torch.tensor(precision, dtype=torch.float32))

    def forward(self, missed: torch.Tensor) -> torch.Tensor:
        off = missed - self.mean
        return off * torch.matmul(off, self.precision)


def _finish(student: torch.nn.Module, valid: Samples, _: Context) -> Finished:
    """The covariance of errors from half of the held-out pumps, the limit from the others."""
    for_limit = valid.group % 2 == 1
    x = valid.inputs["x"]
    missed = valid.target[:, :_CHANNELS] - run(student, x)
    mean, precision = _precision(missed[~for_limit].astype(np.float64))
    off = missed[for_limit] - mean
    scores = np.einsum("ni,ij,nj->n", off, precision, off)
    seconds = float(for_limit.sum()) * _HOP
    limit, stated = alarm_threshold(
        scores, valid.group[for_limit], _LIMITS, seconds=seconds, per_day=_PER_DAY
    )
    changes = {"threshold": 1.0, "false_alarms_per_day": _PER_DAY, "calibration": stated}
    return Finished(_Detector(student, mean, precision / limit), changes)


def _precision(missed: NDArray[np.float64]) -> tuple[Floats, Floats]:
    """Mean and inverse of the shrunk covariance of healthy errors [n, C]."""
    spread = np.maximum(missed.std(axis=0), 1e-6)
    correlation = np.corrcoef(missed.T)
    shrunk = (1 - _SHRINKAGE) * correlation + _SHRINKAGE * np.eye(_CHANNELS)
    precision = np.linalg.inv(shrunk) / np.outer(spread, spread)
    return missed.mean(axis=0).astype(np.float32), precision.astype(np.float32)


def _metrics(outputs: Arrays, samples: Samples) -> dict[str, float]:
    """Figures of the student, or of its teacher's forecasts; then of EWMA-T², same windows."""
    if "forecast" in outputs:
        missed = outputs["forecast"] - samples.target[:, :_CHANNELS]
        return {"forecast_rmse": float(np.sqrt((missed**2).mean()))}
    bad = samples.anomalous
    found: dict[str, float] = {}
    for name, score in (("", outputs["score"]), ("ewma_t2_", samples.target[:, -1])):
        figures = anomaly_metrics(score, bad)
        if 0 < bad.sum() < len(bad):
            figures = {"auc": float(roc_auc_score(bad, score.reshape(len(bad)))), **figures}
        found |= {f"{name}{key}": value for key, value in figures.items()}
    return found
