"""A tiny model of pictures: the score is the mean brightness of the brightest place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import TensorProto, helper

from edge_agent.config.types import Name
from edge_agent.learning.pictures.graph import picture_model
from edge_agent.models import (
    Golden,
    InputSpec,
    OutputNames,
    PictureManifest,
    Task,
    write_bundle,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

SIDE = 64
CELLS = SIDE // 8


def picture_manifest(**changes: Any) -> PictureManifest:
    """A manifest of the model below."""
    fields: dict[str, Any] = {
        "name": Name("bright"),
        "version": Name("1"),
        "task": Task.ANOMALY,
        "inputs": (InputSpec("picture", kind="picture", length=SIDE),),
        "outputs": OutputNames(score="score", map="map"),
    }
    return PictureManifest(**{**fields, **changes})


def bright_model(threshold: float = 1.0) -> bytes:
    """128 is the limit."""
    nodes = [
        helper.make_node("Cast", ["picture"], ["f"], to=1),
        helper.make_node("Transpose", ["f"], ["t"], perm=[0, 3, 1, 2]),
        helper.make_node("AveragePool", ["t"], ["p"], kernel_shape=[8, 8], strides=[8, 8]),
        helper.make_node("ReduceMean", ["p"], ["m"], axes=[1], keepdims=0),
        helper.make_node("Mul", ["m", "scale"], ["map"]),
        helper.make_node("ReduceMax", ["map"], ["score"], axes=[1, 2], keepdims=0),
        helper.make_node("Identity", ["limit"], ["threshold"]),
    ]
    values = {"scale": np.array(1 / 128, np.float32), "limit": np.array(threshold, np.float32)}
    shapes: dict[str, Sequence[str | int]] = {
        "score": ["N"],
        "map": ["N", CELLS, CELLS],
        "threshold": [],
    }
    return picture_model(nodes, values, SIDE, shapes)


def hanging_model() -> bytes:
    """A graph that computes for ever."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["go_on"]),
            helper.make_node("Add", ["sum", "sum"], ["more"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("number", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("sum", TensorProto.FLOAT, ["N"]),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("more", TensorProto.FLOAT, ["N"]),
        ],
    )
    nodes = [
        helper.make_node("Cast", ["picture"], ["f"], to=1),
        helper.make_node("ReduceMean", ["f"], ["mean"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Loop", ["times", "", "mean"], ["score"], body=body),
    ]
    times = {"times": np.array(np.iinfo(np.int64).max)}
    return picture_model(nodes, times, SIDE, {"score": ["N"]})


def bright_golden() -> Golden:
    """One dark picture, and one with a bright place."""
    pictures = np.full((2, SIDE, SIDE, 3), 64, np.uint8)
    pictures[1, :8, :8] = 192
    return Golden({"picture": pictures}, {**bright_outputs(pictures)}, np.array([0, 1]))


def bright_outputs(pictures: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
    """The outputs of the model."""
    cells = pictures.reshape(len(pictures), CELLS, 8, CELLS, 8, 3).mean((2, 4, 5)) / 128
    return {"map": cells.astype(np.float32), "score": cells.max((1, 2)).astype(np.float32)}


def write_bright_bundle(folder: Path, **changes: Any) -> Path:
    """The bundle of that model."""
    manifest = picture_manifest(**changes)
    write_bundle(
        folder / manifest.name, manifest, bright_model(manifest.threshold), bright_golden()
    )
    return folder / manifest.name
