"""Checks of the factory's parts that need torch; run_checks.py runs them."""

from __future__ import annotations

import copy
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import nn

from edge_agent.config.schema import Kind
from edge_agent.config.types import Name
from edge_agent.factory.calibrate import ClassGraph, LifeGraph, alarm_threshold
from edge_agent.factory.export import export_graph, quantize
from edge_agent.factory.judge import outputs_of
from edge_agent.factory.losses import quantiles, soft_targets, squares
from edge_agent.factory.metrics import best_temperature, softmax
from edge_agent.factory.prune import apply_cut, parameters, shrink
from edge_agent.factory.recipe import Samples
from edge_agent.factory.student import Scale, Student, WindowStatistics, fitted_features, mlp, run
from edge_agent.models.bundle.graph_check import graph_problems
from edge_agent.models.bundle.manifest import InputSpec, Manifest, WindowSpec
from edge_agent.models.bundle.tasks import OutputNames, Task

RANDOM = np.random.default_rng(0)
X = RANDOM.standard_normal((256, 12, 3)).astype(np.float32)


def pruning_takes_useless_units_first_and_changes_nothing() -> None:
    body = mlp(6, (10, 8), 2)
    with torch.no_grad():
        body[2].weight[:, 5:] = 0  # nobody reads the last five units
    features = torch.randn(300, 6)
    before = body(features)
    cuts = shrink(body[:3], features, 0.5)
    assert cuts[0].kept == [0, 1, 2, 3, 4]
    smaller = nn.Sequential(*body[:3], *body[3:])
    assert torch.allclose(smaller(features), before, atol=1e-5)


def pruning_makes_layers_smaller_for_real() -> None:
    body = mlp(6, (10, 8), 2)
    before = parameters(body)
    shrink(body, torch.randn(300, 6), 0.5)
    assert [layer.out_features for layer in body[::2]] == [5, 4, 2]
    assert parameters(body) == 6 * 5 + 5 + 5 * 4 + 4 + 4 * 2 + 2 < before


def a_unit_that_never_moves_lives_on_in_the_bias() -> None:
    body = mlp(6, (4,), 2)
    with torch.no_grad():
        body[0].weight[0] = 0
        body[0].bias[0] = 3.0
    features = torch.randn(300, 6)
    before = body(features)
    cuts = shrink(body, features, 0.25)
    assert 0 not in cuts[0].kept
    assert torch.allclose(body(features), before, atol=1e-5)


def channels_are_pruned_through_norm_pooling_and_flatten() -> None:
    body = nn.Sequential(
        nn.Conv1d(3, 8, 3),
        nn.BatchNorm1d(8),
        nn.ReLU(),
        nn.MaxPool1d(2),
        nn.Conv1d(8, 6, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(6 * 3, 2),
    )
    features = torch.from_numpy(X.transpose(0, 2, 1).copy())
    body(features)  # gives the norm something to remember
    with torch.no_grad():
        body[4].weight[:, 4:] = 0
        body[7].weight[:, 3 * 3 :] = 0
    body.eval()
    before = body(features)
    cuts = shrink(body, features, 0.5)
    assert (body[0].out_channels, body[1].num_features, body[4].out_channels) == (4, 4, 3)
    assert body[7].in_features == 9
    assert [cut.kept for cut in cuts] == [[0, 1, 2, 3], [0, 1, 2]]
    assert torch.allclose(body(features), before, atol=1e-5)


def cuts_made_again_give_the_same_layers() -> None:
    body = mlp(6, (10, 8), 2)
    other = copy.deepcopy(body)
    for cut in shrink(body, torch.randn(300, 6), 0.4):
        apply_cut(other, cut)
    other.load_state_dict(body.state_dict())
    features = torch.randn(5, 6)
    assert torch.equal(other(features), body(features))


@dataclass
class Rows:
    hard: torch.Tensor
    soft: torch.Tensor
    real: torch.Tensor


def the_truth_of_a_mix_up_query_counts_for_nothing() -> None:
    told, soft = torch.rand(4, 3), torch.rand(4, 3)
    real = torch.tensor([1.0, 0.0, 0.0, 0.0])
    right = torch.eye(3)[[0, 1, 2, 0]]
    wrong = torch.eye(3)[[0, 2, 1, 2]]
    for loss in (squares(0.5), soft_targets(0.5), quantiles(0.5)):
        assert loss(told, Rows(right, soft, real)) == loss(told, Rows(wrong, soft, real))
        other = torch.eye(3)[[1, 1, 2, 0]]
        assert loss(told, Rows(right, soft, real)) != loss(told, Rows(other, soft, real))


def a_student_that_tells_what_its_teacher_tells_has_no_loss() -> None:
    logits, real = torch.randn(5, 3), torch.ones(5)
    assert squares(0.0)(logits, Rows(torch.zeros(5, 3), logits, real)) == 0
    assert soft_targets(0.0)(logits, Rows(torch.eye(3)[[0] * 5], logits, real)).abs() < 1e-6


def the_pinball_loss_finds_quantiles() -> None:
    truth = torch.rand(2000, 1)
    told = nn.Parameter(torch.full((1, 3), 0.5))
    optimizer = torch.optim.Adam([told], lr=0.01)
    rows = Rows(truth, truth, torch.ones(2000))
    for _ in range(300):
        optimizer.zero_grad()
        quantiles(1.0)(told.expand(2000, 3), rows).backward()
        optimizer.step()
    assert torch.allclose(told[0], torch.tensor([0.1, 0.5, 0.9]), atol=0.04), told


def window_statistics_mean_what_they_say() -> None:
    ramp = torch.arange(12.0)[None, :, None].repeat(1, 1, 2) * torch.tensor([1.0, -2.0])
    found = WindowStatistics(12)(ramp).reshape(7, 2)
    mean, slope, deviation, least, largest = found[2:].tolist()
    assert np.allclose(mean, [5.5, -11])
    assert np.allclose(slope, [5.5, -11])  # from the middle to the end
    assert np.allclose(deviation, [np.arange(12).std(), 2 * np.arange(12).std()], atol=1e-3)
    assert (least, largest) == ([0, -22], [11, 0])


def a_channel_that_never_moves_stays_finite() -> None:
    flat = np.full((50, 12, 1), 7.0, np.float32)
    assert np.isfinite(run(fitted_features(flat), flat)).all()
    assert np.abs(run(Scale(flat), flat + 1e9)).max() == 10


def a_temperature_is_found_again() -> None:
    logits = RANDOM.standard_normal((4000, 3)) * 2
    classes = [RANDOM.choice(3, p=p) for p in softmax(logits)]
    found = best_temperature((logits * 3).astype(np.float32), np.eye(3, dtype=np.float32)[classes])
    assert 2.6 < found < 3.4, found


def a_threshold_keeps_to_its_false_alarms() -> None:
    told = np.array([0.1, 0.9, 0.9, 0.1, 0.8, 0.8, 0.2, 0.6])
    group = np.array([1, 1, 1, 1, 1, 2, 2, 2])
    candidates = np.array([0.5, 0.65, 0.75, 0.85, 0.95])
    days = {"seconds": 86_400.0, "per_day": 2.0}
    found, stated = alarm_threshold(told, group, candidates, **days)
    assert found == 0.85  # two neighbours are one alarm; one group's end is not the next's begin
    assert stated["held_out_alarms"] == "1"
    assert stated["at_most_per_asset_day"] == "4.744"  # Poisson, 95 %


def quantiles_of_a_life_never_cross_and_stay_within_the_cap() -> None:
    told = torch.tensor([[50.0, 10.0, 5.0], [-9.0, -5.0, 3.0], [1.0, 90.0, 200.0]])
    for margin in (0.0, 4.0, -30.0):
        life = LifeGraph(nn.Identity(), margin, 100.0, "rul")(told)["rul"]
        assert (life.diff(dim=1) >= 0).all()
        assert life.min() >= 0
        assert life.max() <= 100
        assert life[0, 1] == 10
    # Quantiles that cross are first brought together, then widened.
    assert LifeGraph(nn.Identity(), 4.0, 100.0, "rul")(told)["rul"][0].tolist() == [6, 10, 14]


class TwoInputs(nn.Module):
    """Of a window and a waveform whose name is no Python name."""

    def __init__(self) -> None:
        super().__init__()
        self.student = Student(_Joined(), mlp(12 * 3 + 8, (16, 8), 2))

    def forward(self, *tensors: torch.Tensor) -> dict[str, torch.Tensor]:
        told = self.student(*tensors)
        return {"health": torch.sigmoid(told[:, 1]), "told": torch.exp(told[:, 0])}


class _Joined(nn.Module):
    def forward(self, x: torch.Tensor, wave: torch.Tensor) -> torch.Tensor:
        return torch.cat([(x * 2 - 1).flatten(1), wave * 3], dim=1)


def two_inputs() -> tuple[Manifest, Samples]:
    waveform = InputSpec("drive-end g", kind=Kind.WAVEFORM, rate_hz=100.0, length=8)
    manifest = Manifest(
        name=Name("two"),
        version=Name("1"),
        task=Task.ANOMALY,
        inputs=(*(InputSpec(f"s{i}") for i in range(3)), waveform),
        outputs=OutputNames(score="told", health="health"),
        window=WindowSpec(length=12),
    )
    wave = RANDOM.standard_normal((len(X), 8)).astype(np.float32)
    inputs = {"x": X, "drive-end g": wave}
    count = len(X)
    return manifest, Samples(
        inputs, np.zeros((count, 1), np.float32), np.arange(count), np.zeros(count, np.bool_)
    )


def a_graph_gives_what_torch_gave_and_is_let_in() -> None:
    torch.manual_seed(0)
    module = TwoInputs().eval()
    manifest, rows = two_inputs()
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "model.onnx"
        export_graph(module, manifest, path)
        raw = path.read_bytes()
        export_graph(module, manifest, path)
        assert path.read_bytes() == raw
        found = outputs_of(raw, manifest, rows.inputs)
        with torch.no_grad():
            wanted = module(*(torch.from_numpy(a) for a in rows.inputs.values()))
        assert np.allclose(found["score"], wanted["told"].numpy(), rtol=1e-4)
        assert np.allclose(found["health"], wanted["health"].numpy(), rtol=1e-4)
        keep = ("student.features", "student.body.4")
        variants = dict(quantize(path, manifest, rows, keep, Path(scratch) / "int8"))
        for graph in (raw, *variants.values()):
            assert list(graph_problems(onnx.load_from_string(graph), manifest)) == []


def int8_leaves_alone_what_it_is_told_to() -> None:
    manifest, rows = two_inputs()
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "model.onnx"
        export_graph(TwoInputs().eval(), manifest, path)
        for keep, expected in (((), 3), (("student.body.4",), 2), (("student.body",), 0)):
            folder = Path(scratch) / f"int8-{expected}"
            raw = dict(quantize(path, manifest, rows, keep, folder))["avx2"]
            graph = onnx.load_from_string(raw).graph
            eight_bits = {onnx.TensorProto.INT8, onnx.TensorProto.UINT8}
            matrices = [w for w in graph.initializer if len(w.dims) == 2]
            assert sum(w.data_type in eight_bits for w in matrices) == expected, keep
            assert {node.domain for node in graph.node} <= {"", "ai.onnx"}


def probabilities_sum_to_one() -> None:
    told = ClassGraph(nn.Identity(), 0.5, "p")(torch.randn(6, 4) * 9)["p"]
    assert torch.allclose(told.sum(dim=1), torch.ones(6), atol=1e-6)
