"""Tiny real ONNX models, and a bundle with one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from edge_agent.config.types import Name
from edge_agent.models import (
    Golden,
    InputSpec,
    Manifest,
    OutputNames,
    Task,
    WindowSpec,
    write_bundle,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import onnx

_OPSETS: Final = {"": 17}
_IR_VERSION: Final = 8  # the newest version that every supported ONNX Runtime loads
_GOLDEN_ROWS: Final = 3

Shape = tuple["str | int", ...]


def tiny_graph(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, Shape],
    outputs: Mapping[str, Shape],
    weights: Mapping[str, Any] | None = None,
    *,
    opsets: Mapping[str, int] | None = None,
) -> onnx.ModelProto:
    """A model of these nodes; tensors are float32, but the input `unit` is int64.

    inputs, outputs: shape by tensor, such as ("N", 8, 2); weights: array by tensor; opsets: version
    by domain (default: 17 of ONNX).
    """
    graph = helper.make_graph(
        list(nodes),
        "tiny",
        [_info(name, shape) for name, shape in inputs.items()],
        [_info(name, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(np.asarray(v), name) for name, v in (weights or {}).items()],
    )
    versions = [helper.make_opsetid(*one) for one in (opsets or _OPSETS).items()]
    return helper.make_model(graph, opset_imports=versions, ir_version=_IR_VERSION)


def _info(name: str, shape: Shape) -> onnx.ValueInfoProto:
    kind = TensorProto.INT64 if name == "unit" else TensorProto.FLOAT
    return helper.make_tensor_value_info(name, kind, shape)


def tiny_model(length: int, inputs: int, factor: float = 1.0) -> bytes:
    """ONNX of x [N, length, inputs] -> score [N] = factor * mean of the window."""
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[1, 2], keepdims=0),
        helper.make_node("Mul", ["mean", "factor"], ["score"]),
    ]
    tensors: tuple[dict[str, Shape], dict[str, Shape]]
    tensors = {"x": ("N", length, inputs)}, {"score": ("N",)}
    return bytes(tiny_graph(nodes, *tensors, {"factor": np.float32(factor)}).SerializeToString())


def mean_bundle(  # noqa: PLR0913 (what a bundle is made of)
    folder: Path,
    inputs: Sequence[str],
    *,
    length: int = 8,
    step_s: float = 1.0,
    threshold: float = 10.0,
    factor: float = 1.0,
    version: str = "1",
) -> Manifest:
    """Write a bundle that scores factor * mean of all inputs over `length` rows.

    folder: its name is the bundle's name; step_s: seconds between rows, 0 for a row per value;
    threshold: the lowest score that is an anomaly.
    """
    manifest = Manifest(
        name=Name(folder.name),
        version=Name(version),
        task=Task.ANOMALY,
        inputs=tuple(InputSpec(name) for name in inputs),
        outputs=OutputNames(score="score"),
        window=WindowSpec(step_s, length, 1),
        threshold=threshold,
    )
    x = np.random.default_rng(0).random((_GOLDEN_ROWS, length, len(inputs)), np.float32)
    golden = Golden({"x": x}, {"score": np.float32(factor) * x.mean(axis=(1, 2))})
    return write_bundle(folder, manifest, tiny_model(length, len(inputs), factor), golden)
