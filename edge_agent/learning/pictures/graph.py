"""Graphs of pictures: the features of places alone, and whole models. Needs the package `onnx`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edge_agent.learning.pictures.backbone import TAPS, Part, backbone_part
from edge_agent.learning.pictures.head import OFFSET, largest_count
from edge_agent.models import MAP_STRIDE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from edge_agent.learning.pictures.head import Bank, Head

    Shape = Sequence[str | int]
    Values = dict[str, NDArray[np.generic]]

PICTURE: Final = "picture"  # the graph's input
FEATURES: Final = (2, 4, 10)  # the blocks whose outputs describe a place
_OPSET: Final = 17
_IR_VERSION: Final = 8


class BankRow(NamedTuple):
    """A bank: its features' block, pixels of the picture to a place, and how many axes it keeps."""

    name: str
    tap: int
    stride: int
    axes: int


BANKS: Final = (
    BankRow("fine", 2, MAP_STRIDE, 24),
    BankRow("middle", 4, MAP_STRIDE, 40),
    BankRow("coarse", 10, 2 * MAP_STRIDE, 60),
)


def picture_model(
    nodes: Iterable[onnx.NodeProto],
    values: Mapping[str, NDArray[np.generic]],
    side: int,
    outputs: Mapping[str, Shape],
) -> bytes:
    """A checked model of pictures [N, side, side, 3], uint8; its outputs are float32.

    values: its constants; outputs: their shapes by name.
    """
    graph = helper.make_graph(
        list(nodes),
        "pictures",
        [helper.make_tensor_value_info(PICTURE, TensorProto.UINT8, ["N", side, side, 3])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))
            for name, shape in outputs.items()
        ],
        [numpy_helper.from_array(value, constant) for constant, value in values.items()],
    )
    opset = [helper.make_opsetid("", _OPSET)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=_IR_VERSION)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))


def features_graph(taps: Sequence[int], side: int) -> tuple[bytes, tuple[str, ...]]:
    """A model of the backbone alone, and its outputs: [N, C, H, W] of each tap, ascending."""
    part = backbone_part(taps, side)
    sizes = [(TAPS[tap][0], side // TAPS[tap][1]) for tap in sorted(taps)]
    shapes: dict[str, Shape] = {
        name: ["N", channels, size, size]
        for name, (channels, size) in zip(part.returned, sizes, strict=True)
    }
    return picture_model(part.nodes, part.values, side, shapes), part.returned


def banks_part(side: int) -> Part:
    """The features of the places of a picture, for each bank: [N, places, channels].

    Middle (/8) and coarse (/16) as they are; fine (/4): the mean size within a place of /8, since
    there the sign of a structure depends on where exactly it is.
    """
    part = backbone_part(FEATURES, side)
    fine, middle, coarse = part.returned
    two = [2, 2]
    nodes = [
        *part.nodes,
        helper.make_node("Abs", [fine], ["fine_size"]),
        helper.make_node("AveragePool", ["fine_size"], ["fine_8"], kernel_shape=two, strides=two),
    ]
    values = {**part.values}
    for bank, last in zip(BANKS, ("fine_8", middle, coarse), strict=True):
        channels, stride = TAPS[bank.tap][0], bank.stride
        values[f"{bank.name}_shape"] = np.array([-1, (side // stride) ** 2, channels], np.int64)
        nodes += [
            helper.make_node("Transpose", [last], [f"{bank.name}_last"], perm=[0, 2, 3, 1]),
            helper.make_node(
                "Reshape", [f"{bank.name}_last", f"{bank.name}_shape"], [f"{bank.name}_x"]
            ),
        ]
    return Part(tuple(nodes), values, tuple(f"{bank.name}_x" for bank in BANKS))


def banks_graph(side: int) -> bytes:
    """A model that returns the features alone, for learning."""
    part = banks_part(side)
    shapes: dict[str, Shape] = {
        name: ["N", (side // bank.stride) ** 2, TAPS[bank.tap][0]]
        for name, bank in zip(part.returned, BANKS, strict=True)
    }
    return picture_model(part.nodes, part.values, side, shapes)


def anomaly_graph(head: Head, side: int) -> bytes:
    """A whole model: `score` and `map`, 1 at the limit, and `threshold`, the limit."""
    part = banks_part(side)
    cells = side // MAP_STRIDE
    shapes: dict[str, Shape] = {"score": ["N"], "map": ["N", cells, cells], "threshold": []}
    nodes, values = [*part.nodes], {**part.values}
    for row, bank in zip(BANKS, head.banks, strict=True):
        nodes += _bank_nodes(row.name)
        values |= _bank_values(row, bank, side)
    nodes += _score_nodes()
    values |= {
        "last_axis": np.array([2], np.int64),
        "offset": np.array(OFFSET, np.float32),
        "twice": np.array([1, 1, 2, 2], np.float32),
        "map_shape": np.array([-1, cells, cells], np.int64),
        "flat_shape": np.array([-1, cells * cells], np.int64),
        "largest": np.array([largest_count(cells * cells)], np.int64),
        "per_limit": np.array(1 / head.limit, np.float32),
        "limit": np.array(1, np.float32),
    }
    return picture_model(nodes, values, side, shapes)


def _bank_nodes(name: str) -> list[onnx.NodeProto]:
    """Distances to the nearest known places, as b^2 - 2 q b + q^2: a product, nothing pairwise."""

    def node(kind: str, inputs: str, output: str, **attributes: Any) -> onnx.NodeProto:  # noqa: ANN401
        names = [one[1:] if one.startswith("=") else f"{name}_{one}" for one in inputs.split()]
        return helper.make_node(kind, names, [f"{name}_{output}"], **attributes)

    return [
        node("Sub", "x middle", "x0"),
        node("MatMul", "x0 axes", "q"),
        node("MatMul", "q known", "crossed"),
        node("Add", "crossed squares", "away"),
        node("ReduceMin", "away", "nearest", axes=[2], keepdims=0),
        node("Mul", "q q", "q2"),
        node("ReduceSum", "q2 =last_axis", "norm", keepdims=0),
        node("Add", "nearest norm", "squared"),
        node("Relu", "squared", "squared0"),
        node("Sqrt", "squared0", "distance"),
        node("Sub", "distance usual", "above"),
        node("Mul", "above per_spread", "spreads"),
        node("Add", "spreads =offset", "raised0"),
        node("Relu", "raised0", "raised1"),
        node("Reshape", "raised1 cells", "raised"),
    ]


def _score_nodes() -> list[onnx.NodeProto]:
    """The sum of the banks is the map; the mean of its largest places is the score."""
    return [
        helper.make_node(
            "Resize",
            ["coarse_raised", "", "twice"],
            ["coarse_wide"],
            mode="linear",
            coordinate_transformation_mode="half_pixel",
        ),
        helper.make_node("Sum", ["fine_raised", "middle_raised", "coarse_wide"], ["total"]),
        helper.make_node("Mul", ["total", "per_limit"], ["relative"]),
        helper.make_node("Reshape", ["relative", "map_shape"], ["map"]),
        helper.make_node("Reshape", ["relative", "flat_shape"], ["flat"]),
        helper.make_node("TopK", ["flat", "largest"], ["largest_values", "_"], axis=1),
        helper.make_node("ReduceMean", ["largest_values"], ["score"], axes=[1], keepdims=0),
        helper.make_node("Identity", ["limit"], ["threshold"]),
    ]


def _bank_values(row: BankRow, bank: Bank, side: int) -> Values:
    known, cells = bank.memory.places, side // row.stride
    values: Values = {
        "middle": bank.axes.middle,
        "axes": bank.axes.matrix,
        "known": np.ascontiguousarray(-2.0 * known.T),
        "squares": np.square(known).sum(axis=1),
        "usual": bank.usual,
        "per_spread": np.asarray(1 / bank.spread, np.float32),
        "cells": np.array([-1, 1, cells, cells], np.int64),
    }
    return {f"{row.name}_{key}": value for key, value in values.items()}
