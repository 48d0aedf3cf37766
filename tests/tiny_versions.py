"""Tiny real models in several versions, good and bad, in memory and as bundles."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from edge_agent.config.types import Name
from edge_agent.models import Golden
from edge_agent.models.bundle.bundle import write_bundle
from edge_agent.models.bundle.manifest import InputSpec, Manifest, WindowSpec
from edge_agent.models.bundle.ort import CPU
from edge_agent.models.bundle.tasks import OutputNames, Task
from edge_agent.models.runtime.graph_engine import GraphEngine
from edge_agent.models.runtime.model import Model
from edge_agent.testing import tiny_graph

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import onnx

NAME = "watch"
LENGTH = 4
INPUTS = ("flow", "pressure")


def _node(kind: str, inputs: Sequence[str], output: str, **more: Any) -> onnx.NodeProto:
    return helper.make_node(kind, list(inputs), [output], **more)


_MEAN = _node("ReduceMean", ["x"], "mean", axes=[1, 2], keepdims=0)
_TOP = _node("ReduceMax", ["x"], "top", axes=[1, 2], keepdims=0)


def _model(
    version: str,
    nodes: Sequence[onnx.NodeProto],
    weights: dict[str, Any],
    *,
    length: int = LENGTH,
    threshold: float = 10.0,
    units: tuple[str, ...] = (),
    step_s: float = 1.0,
    folder: Path | None = None,
) -> Model:
    """A model from x [N, length, 2] to scores [N]; it is written to `folder` as a bundle, too."""
    inputs = {"x": ("N", length, len(INPUTS)), **({"unit": ("N",)} if units else {})}
    raw = bytes(tiny_graph(nodes, inputs, {"score": ("N",)}, weights).SerializeToString())
    manifest = Manifest(
        name=Name(NAME),
        version=Name(version),
        task=Task.ANOMALY,
        inputs=tuple(InputSpec(name) for name in INPUTS),
        outputs=OutputNames(score="score"),
        window=WindowSpec(step_s, length, 1),
        threshold=threshold,
        units=units,
    )
    digest = sha256(raw + version.encode()).hexdigest()
    found = Model(manifest, GraphEngine(manifest, raw, (CPU,), 64), digest)
    if folder is not None:
        x = np.random.default_rng(0).random((3, length, len(INPUTS))).astype(np.float32)
        golden = Golden({"x": x}, {"score": found.infer({"x": x}).score})
        write_bundle(folder, manifest, raw, golden)
    return found


def mean(version: str = "1", factor: float = 1.0, **changes: Any) -> Model:
    """score = factor * mean of the window."""
    nodes = [_MEAN, _node("Mul", ["mean", "factor"], "score")]
    return _model(version, nodes, {"factor": np.float32(factor)}, **changes)


def nan_over(limit: float, version: str = "2", **changes: Any) -> Model:
    """score = mean, but no number once a value is over the limit."""
    nodes = [
        _MEAN,
        _TOP,
        _node("Sub", ["limit", "top"], "room"),
        _node("Sqrt", ["room"], "root"),
        _node("Mul", ["root", "zero"], "nothing"),
        _node("Add", ["mean", "nothing"], "score"),
    ]
    weights = {"limit": np.float32(limit), "zero": np.float32(0)}
    return _model(version, nodes, weights, **changes)


def fails_over(limit: int, version: str = "2", **changes: Any) -> Model:
    """score = mean, but the run fails once a value is over the limit: it looks it up in a table."""
    nodes = [
        _MEAN,
        _TOP,
        _node("Cast", ["top"], "index", to=TensorProto.INT64),
        _node("Gather", ["table", "index"], "nothing"),
        _node("Add", ["mean", "nothing"], "score"),
    ]
    return _model(version, nodes, {"table": np.zeros(limit + 1, np.float32)}, **changes)


def branch_over(
    limit: float,
    nodes: Sequence[onnx.NodeProto],
    weights: dict[str, Any],
    version: str,
    **more: Any,
) -> Model:
    """score = mean + `evil`, which `nodes` make of `top` once a value is over the limit; else 0."""
    value = helper.make_tensor_value_info("evil", TensorProto.FLOAT, [])
    none = helper.make_tensor_value_info("none", TensorProto.FLOAT, [])
    inner = [numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()]
    then = helper.make_graph(list(nodes), "over", [], [value], inner)
    other = helper.make_graph([_node("Identity", ["zero"], "none")], "under", [], [none])
    chosen = helper.make_node("If", ["go"], ["add"], then_branch=then, else_branch=other)
    outer = [
        _MEAN,
        _node("ReduceMax", ["x"], "top", keepdims=0),
        _node("Greater", ["top", "limit"], "go"),
        chosen,
        _node("Add", ["mean", "add"], "score"),
    ]
    consts = {"limit": np.float32(limit), "zero": np.float32(0)}
    return _model(version, outer, consts, **more)


def hangs_over(limit: float, version: str = "2", steps: int = 40_000_000, **more: Any) -> Model:
    """score = mean, but one operator runs for seconds once a value is over the limit.

    `terminate` is looked at between two operators, so it does not end this one.
    """
    nodes = [
        _node("Mul", ["top", "one"], "dynamic"),
        _node("Expand", ["dynamic", "shape"], "sequence"),
        helper.make_node("RNN", ["sequence", "w", "r"], ["", "last"], hidden_size=1),
        _node("ReduceSum", ["last"], "evil", keepdims=0),
    ]
    weights = {
        "one": np.zeros((1, 1, 1), np.float32),
        "shape": np.array([steps, 1, 1], np.int64),
        "w": np.zeros((1, 1, 1), np.float32),
        "r": np.full((1, 1, 1), 0.001, np.float32),
    }
    return branch_over(limit, nodes, weights, version, **more)


def eats_over(limit: float, version: str = "2", gib: int = 5, **more: Any) -> Model:
    """score = mean, but a run takes so much memory once a value is over the limit."""
    nodes = [
        _node("Expand", ["top", "shape"], "big"),
        _node("ReduceSum", ["big"], "evil", keepdims=0),
    ]
    weights = {"shape": np.array([gib, 1 << 28], np.int64)}
    return branch_over(limit, nodes, weights, version, **more)
