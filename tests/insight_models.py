"""Tiny real models that do not say why: a score of three inputs, and a remaining life."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import helper

from edge_agent.config.settings import Runtime
from edge_agent.config.types import Name
from edge_agent.models.bundle.bundle import write_bundle
from edge_agent.models.bundle.manifest import InputSpec, Manifest, WindowSpec
from edge_agent.models.bundle.tasks import OutputNames, Task
from edge_agent.models.runtime.registry import SessionRegistry
from edge_agent.ops.metrics import Metrics
from edge_agent.testing import tiny_graph

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.models.bundle.reference_distribution import Interval
    from edge_agent.models.runtime.model import Model

ROWS = 2
HEALTHY = (10.0, 4.0, 20.0)
NAMES = ("flow", "pressure", "current")


def squares(folder: Path, *, explains: bool = False, **changes: Any) -> Model:
    """score = the sum over inputs of (mean - healthy)²; its limit is 4."""
    x = _golden()
    terms = ((x.mean(axis=1) - np.array(HEALTHY, np.float32)) ** 2).astype(np.float32)
    outputs = {"score": terms.sum(axis=1)} | ({"why": terms} if explains else {})
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["m"], axes=[1], keepdims=0),
        helper.make_node("Sub", ["m", "healthy"], ["off"]),
        helper.make_node("Mul", ["off", "off"], ["why"]),
        helper.make_node("ReduceSum", ["why", "last"], ["score"], keepdims=0),
    ]
    weights: dict[str, np.ndarray] = {
        "healthy": np.array(HEALTHY, np.float32),
        "last": np.array([1], np.int64),
    }
    named = OutputNames(score="score", contributions="why" if explains else "")
    manifest = _manifest("squares", Task.ANOMALY, named, threshold=4.0, **changes)
    return _model(folder, manifest, nodes, weights, ({"x": x}, outputs))


def hours(
    folder: Path, *, interval: Interval | None = None, version: str = "1", **changes: Any
) -> Model:
    """Remaining life = the flow, in hours: p10 is 10 % less, p90 10 % more; an alarm at 20 h."""
    x = _golden()
    factors = np.array([[0.9, 1.0, 1.1]], np.float32)
    rul = x[:, :, 0].mean(axis=1, keepdims=True) * factors
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["m"], axes=[1], keepdims=0),
        helper.make_node("Gather", ["m", "first"], ["flow"], axis=1),
        helper.make_node("Mul", ["flow", "factors"], ["rul"]),
    ]
    weights: dict[str, np.ndarray] = {"first": np.array([0], np.int64), "factors": factors}
    manifest = _manifest(
        "hours",
        Task.REMAINING_LIFE,
        OutputNames(rul="rul"),
        threshold=20.0,
        interval=interval,
        version=version,
        **changes,
    )
    return _model(folder, manifest, nodes, weights, ({"x": x}, {"rul": rul}))


def faults(folder: Path, **changes: Any) -> Model:
    """Classes sound, leak and clog: the probability of a leak rises with the flow above 10."""
    x = _golden()
    logits = np.zeros((len(x), 3), np.float32)
    logits[:, 1] = x[:, :, 0].mean(axis=1) - HEALTHY[0] - 3.0
    grown = np.exp(logits)
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["m"], axes=[1], keepdims=0),
        helper.make_node("MatMul", ["m", "weights"], ["raw"]),
        helper.make_node("Add", ["raw", "bias"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    weights: dict[str, np.ndarray] = {
        "weights": np.array([[0, 1, 0], [0, 0, 0], [0, 0, 0]], np.float32),
        "bias": np.array([0, -HEALTHY[0] - 3.0, 0], np.float32),
    }
    classes = ("sound", "leak", "clog")
    named = OutputNames(probabilities="probabilities")
    manifest = _manifest(
        "faults", Task.CLASSIFICATION, named, threshold=0.8, classes=classes, **changes
    )
    told = {"probabilities": grown / grown.sum(axis=1, keepdims=True)}
    return _model(folder, manifest, nodes, weights, ({"x": x}, told))


def _golden() -> np.ndarray:
    """A healthy window and three others."""
    off = np.array([0.0, 1.0, -2.0, 5.0], np.float32)[:, None, None]
    return (np.array(HEALTHY, np.float32) + off * np.ones((4, ROWS, 3))).astype(np.float32)


def _manifest(name: str, task: Task, outputs: OutputNames, **changes: Any) -> Manifest:
    inputs = tuple(
        InputSpec(one, unit) for one, unit in zip(NAMES, ("m3/h", "bar", "A"), strict=True)
    )
    plain: dict[str, Any] = {"version": Name("1"), "window": WindowSpec(1.0, ROWS, 1)} | changes
    return Manifest(name=Name(name), task=task, inputs=inputs, outputs=outputs, **plain)


def _shapes(tensors: dict[str, np.ndarray]) -> dict[str, tuple[str | int, ...]]:
    return {name: ("N", *values.shape[1:]) for name, values in tensors.items()}


def _model(
    folder: Path,
    manifest: Manifest,
    nodes: list[Any],
    weights: dict[str, np.ndarray],
    golden: tuple[dict[str, np.ndarray], dict[str, np.ndarray]],
) -> Model:
    inputs, outputs = golden
    made = tiny_graph(nodes, _shapes(inputs), _shapes(outputs), weights)
    write_bundle(folder / manifest.name, manifest, made.SerializeToString(), golden)
    return SessionRegistry(folder, Runtime(), Metrics()).load(manifest.name)
