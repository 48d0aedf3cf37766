"""A learned baseline as an ONNX graph. Only a learning process has the required package `onnx`.

Inputs: x float32 [N, W, C], unit int64 [N] (which asset each window is of). Everything is in the
graph: scaling, smoothing by both moving averages, variability, the distance from healthy, and the
contributions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edge_agent.learning.statistics import (
    CLIP,
    STILLNESS,
    change_weights,
    memory_weights,
    variability,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edge_agent.learning.statistics import Baseline
    from edge_agent.models import Tensors

_OPSET: Final = 17
_IR_VERSION: Final = 8
_GOLDEN_WINDOWS: Final = 16
_GOLDEN_CELLS: Final = 1 << 18
_DEVIATIONS: Final = (0.0, 1.0, 3.0, 40.0)  # spreads: at rest, normal, suspect, beyond the clip

# (operator, inputs, output, attributes).
_Nodes = tuple[tuple[str, str, str, dict[str, Any]], ...]
# x becomes z, its statistics e, their T² t.
_NODES: Final[_Nodes] = (
    ("Gather", "center unit", "center_n", {"axis": 0}),
    ("Gather", "scale unit", "scale_n", {"axis": 0}),
    ("Gather", "restless_scale unit", "restless_scale_n", {"axis": 0}),
    ("Gather", "middle unit", "middle_n", {"axis": 0}),
    ("Gather", "precision unit", "precision_n", {"axis": 0}),
    ("Sub", "x center_n", "centered", {}),
    ("Mul", "centered scale_n", "scaled", {}),
    ("Clip", "scaled clip_low clip_high", "z", {}),
    ("MatMul", "weights z", "means", {}),
    ("Slice", "z first end rows", "z_later", {}),
    ("Slice", "z zero before_end rows", "z_earlier", {}),
    ("Sub", "z_later z_earlier", "z_steps", {}),
    ("Abs", "z_steps", "changes", {}),
    ("MatMul", "change_weights changes", "change", {}),
    ("Mul", "change restless_scale_n", "change_share", {}),
    ("Add", "change_share stillness", "change_offset", {}),
    ("Log", "change_offset", "restless", {}),
    ("Concat", "means restless", "statistics", {"axis": 1}),
    ("Sub", "statistics middle_n", "e", {}),
    ("Unsqueeze", "e last_axis", "e_column", {}),
    ("MatMul", "precision_n e_column", "pull_column", {}),
    ("Squeeze", "pull_column last_axis", "pull", {}),
    ("Mul", "e pull", "shares", {}),
    ("ReduceSum", "shares last_axis", "t", {"keepdims": 0}),
    ("ArgMax", "t", "worst", {"axis": 1, "keepdims": 1}),
    ("GatherND", "shares worst", "contributions", {"batch_dims": 1}),
    ("ReduceSum", "contributions last_axis", "score", {"keepdims": 0}),
    ("Add", "score one", "score_plus_one", {}),
    ("Reciprocal", "score_plus_one", "health", {}),
)


def build_graph(baselines: Sequence[Baseline], length: int) -> bytes:
    """The model of these assets, in this order, for windows of `length` rows.

    score [N] = T² / limit of the statistic with the largest ratio; contributions [N, C], shares of
    that T² by input, e_i (P e)_i, which sum to the score; health [N] = 1 / (1 + score): 1 is
    healthy, 1/2 the limit.
    """
    channels = len(baselines[0].center)
    values = _constants(baselines, length)
    graph = helper.make_graph(
        [helper.make_node(op, i.split(), [o], **extra) for op, i, o, extra in _NODES],
        "baseline",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", length, channels]),
            helper.make_tensor_value_info("unit", TensorProto.INT64, ["N"]),
        ],
        [
            helper.make_tensor_value_info("score", TensorProto.FLOAT, ["N"]),
            helper.make_tensor_value_info("health", TensorProto.FLOAT, ["N"]),
            helper.make_tensor_value_info("contributions", TensorProto.FLOAT, ["N", channels]),
        ],
        [numpy_helper.from_array(value, name) for name, value in values.items()],
    )
    opset = [helper.make_opsetid("", _OPSET)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=_IR_VERSION)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))


def _constants(baselines: Sequence[Baseline], length: int) -> dict[str, NDArray[np.generic]]:
    return {
        "center": _stack([b.center for b in baselines])[:, None, :],
        "scale": _stack([1.0 / b.spread for b in baselines])[:, None, :],
        "restless_scale": _stack([1.0 / b.restless for b in baselines])[:, None, :],
        "middle": _stack([b.middle for b in baselines]),
        "precision": _stack([b.precision for b in baselines]),
        "weights": memory_weights(length).astype(np.float32),
        "change_weights": change_weights(length).astype(np.float32)[None, :],
        "stillness": np.array(STILLNESS, np.float32),
        "clip_low": np.array(-CLIP, np.float32),
        "clip_high": np.array(CLIP, np.float32),
        "one": np.array(1.0, np.float32),
        "last_axis": np.array([-1], np.int64),
        "rows": np.array([1], np.int64),
        "zero": np.array([0], np.int64),
        "first": np.array([1], np.int64),
        "before_end": np.array([-1], np.int64),
        "end": np.array([length], np.int64),
    }


def golden_of(baselines: Sequence[Baseline], length: int) -> tuple[Tensors, Tensors]:
    """Windows from rest to far off, and the outputs of `reference`; without plant data."""
    channels = len(baselines[0].center)
    windows = min(_GOLDEN_WINDOWS, max(len(_DEVIATIONS), _GOLDEN_CELLS // (length * channels)))
    unit = np.arange(windows, dtype=np.int64) % len(baselines)
    size = np.resize(_DEVIATIONS, windows)[:, None, None]
    noise = np.random.default_rng(0).standard_normal((windows, length, channels)) * size
    center = np.stack([baselines[u].center for u in unit.tolist()])[:, None, :]
    spread = np.stack([baselines[u].spread for u in unit.tolist()])[:, None, :]
    x = (center + spread * noise).astype(np.float32)
    return {"x": x, "unit": unit}, dict(reference(baselines, x, unit))


def reference(
    baselines: Sequence[Baseline], x: NDArray[np.float32], unit: NDArray[np.int64]
) -> Tensors:
    """The result of the graph, in numpy and double precision."""
    length = x.shape[1]
    center = _stack([b.center for b in baselines]).astype(float)[unit][:, None, :]
    scale = _stack([1.0 / b.spread for b in baselines]).astype(float)[unit][:, None, :]
    usual = np.stack([b.restless for b in baselines])[unit]
    precision = np.stack([b.precision for b in baselines])[unit]
    z = np.clip((x.astype(float) - center) * scale, -CLIP, CLIP)
    change = change_weights(length) @ np.abs(np.diff(z, axis=1))
    restless = variability(change, usual)[:, None, :]
    e = np.concatenate([memory_weights(length) @ z, restless], axis=1)
    e -= np.stack([b.middle for b in baselines])[unit]
    shares = e * np.einsum("nsij,nsj->nsi", precision, e)
    worst = shares.sum(axis=2).argmax(axis=1)
    contributions = shares[np.arange(len(x)), worst]
    score = contributions.sum(axis=1)
    found = {"score": score, "health": 1.0 / (1.0 + score), "contributions": contributions}
    return {name: value.astype(np.float32) for name, value in found.items()}


def _stack(arrays: Sequence[NDArray[np.float64]]) -> NDArray[np.float32]:
    return np.stack(arrays).astype(np.float32)
