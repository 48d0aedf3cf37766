"""Graphs of pictures: the backbone's features alone, and whole models. Needs the package `onnx`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import onnx
from onnx import TensorProto, helper, numpy_helper

from edge_agent.learning.pictures.backbone import TAPS, backbone_part

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    Shape = Sequence[str | int]

PICTURE: Final = "picture"  # the graph's input
_OPSET: Final = 17
_IR_VERSION: Final = 8


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
