"""Tiny real models of waveforms: one alone, and one beside a scalar."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from onnx import TensorProto, helper

from edge_agent.config.schema import Kind, Runtime
from edge_agent.models.bundle.bundle import write_bundle
from edge_agent.models.bundle.manifest import InputSpec, Manifest, OutputNames, Task, WindowSpec
from edge_agent.models.runtime.registry import SessionRegistry
from edge_agent.ops.metrics import Metrics

if TYPE_CHECKING:
    from pathlib import Path

    import onnx

    from edge_agent.models.runtime.model import Model

RATE_HZ = 1000.0
LENGTH = 500
ROWS = 4
_SOUND = InputSpec("sound", "g", kind=Kind.WAVEFORM, rate_hz=RATE_HZ, length=LENGTH)


def largest(folder: Path, **window: int) -> Model:
    """score = the largest sample of `sound`."""
    graph = helper.make_graph(
        [helper.make_node("ReduceMax", ["sound"], ["score"], axes=[1], keepdims=0)],
        "largest",
        [helper.make_tensor_value_info("sound", TensorProto.FLOAT, ["N", LENGTH])],
        [_score()],
    )
    sound = _samples()
    golden = ({"sound": sound}, {"score": sound.max(axis=1)})
    return _model(folder, graph, (_SOUND,), golden, WindowSpec(**window))


def largest_and_mean(folder: Path) -> Model:
    """score = the largest sample of `sound` + the mean of `load` over 4 rows."""
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMax", ["sound"], ["peak"], axes=[1], keepdims=0),
            helper.make_node("ReduceMean", ["x"], ["mean"], axes=[1, 2], keepdims=0),
            helper.make_node("Add", ["peak", "mean"], ["score"]),
        ],
        "both",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", ROWS, 1]),
            helper.make_tensor_value_info("sound", TensorProto.FLOAT, ["N", LENGTH]),
        ],
        [_score()],
    )
    sound, x = _samples(), np.ones((2, ROWS, 1), np.float32)
    golden = ({"x": x, "sound": sound}, {"score": sound.max(axis=1) + 1.0})
    inputs = (_SOUND, InputSpec("load", "%"))
    return _model(folder, graph, inputs, golden, WindowSpec(1.0, ROWS, 1))


def _score() -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info("score", TensorProto.FLOAT, ["N"])


def _samples() -> np.ndarray:
    return np.random.default_rng(0).random((2, LENGTH)).astype(np.float32)


def _model(
    folder: Path,
    graph: onnx.GraphProto,
    inputs: tuple[InputSpec, ...],
    golden: tuple,
    window: WindowSpec,
) -> Model:
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    manifest = Manifest(
        name=graph.name,
        version="1",
        task=Task.ANOMALY,
        inputs=inputs,
        outputs=OutputNames(score="score"),
        window=window,
        threshold=10.0,
    )
    write_bundle(folder / graph.name, manifest, made.SerializeToString(), golden)
    return SessionRegistry(folder, Runtime(), Metrics()).load(graph.name)
