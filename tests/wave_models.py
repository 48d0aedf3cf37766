"""Tiny real models of waveforms: one alone, and one beside a scalar."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import helper

from edge_agent.config.schema import Kind
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

    import onnx

    from edge_agent.models.runtime.model import Model

RATE_HZ = 1000.0
LENGTH = 500
ROWS = 4
_SCORE = {"score": ("N",)}
_SOUND = InputSpec("sound", "g", kind=Kind.WAVEFORM, rate_hz=RATE_HZ, length=LENGTH)


def largest(folder: Path, **window: Any) -> Model:
    """score = the largest sample of `sound`."""
    nodes = [helper.make_node("ReduceMax", ["sound"], ["score"], axes=[1], keepdims=0)]
    graph = tiny_graph(nodes, {"sound": ("N", LENGTH)}, _SCORE)
    sound = _samples()
    golden = ({"sound": sound}, {"score": sound.max(axis=1)})
    return _model(folder / "largest", graph, (_SOUND,), golden, WindowSpec(**window))


def largest_and_mean(folder: Path) -> Model:
    """score = the largest sample of `sound` + the mean of `load` over 4 rows."""
    nodes = [
        helper.make_node("ReduceMax", ["sound"], ["peak"], axes=[1], keepdims=0),
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[1, 2], keepdims=0),
        helper.make_node("Add", ["peak", "mean"], ["score"]),
    ]
    graph = tiny_graph(nodes, {"x": ("N", ROWS, 1), "sound": ("N", LENGTH)}, _SCORE)
    sound, x = _samples(), np.ones((2, ROWS, 1), np.float32)
    golden = ({"x": x, "sound": sound}, {"score": sound.max(axis=1) + 1.0})
    inputs = (_SOUND, InputSpec("load", "%"))
    return _model(folder / "both", graph, inputs, golden, WindowSpec(1.0, ROWS, 1))


def _samples() -> np.ndarray:
    return np.random.default_rng(0).random((2, LENGTH)).astype(np.float32)


def _model(
    folder: Path,
    graph: onnx.ModelProto,
    inputs: tuple[InputSpec, ...],
    golden: tuple[Any, ...],
    window: WindowSpec,
) -> Model:
    manifest = Manifest(
        name=Name(folder.name),
        version=Name("1"),
        task=Task.ANOMALY,
        inputs=inputs,
        outputs=OutputNames(score="score"),
        window=window,
        threshold=10.0,
    )
    write_bundle(folder, manifest, graph.SerializeToString(), golden)
    return SessionRegistry(folder.parent, Runtime(), Metrics()).load(folder.name)
