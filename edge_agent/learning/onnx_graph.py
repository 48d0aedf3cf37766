"""What the graphs of all learned baselines have in common. Needs the package `onnx`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import onnx
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    Shape = Sequence[str | int]

_OPSET: Final = 17
_IR_VERSION: Final = 8


def model_of(
    name: str,
    nodes: Iterable[onnx.NodeProto],
    inputs: Mapping[str, Shape],
    state: Shape,
    values: Mapping[str, NDArray[np.generic]],
) -> bytes:
    """The model of a baseline, checked: its outputs are the same for all.

    inputs: float32, by name, and `unit` [N] int64; state: the shape of what is followed of an
    asset, contributors last. values: constants.
    """
    shapes: dict[str, Shape] = {"score": ["N"], "health": ["N"], "contributions": ["N", state[-1]]}
    shapes["deviation"] = ["N", *state]
    graph = helper.make_graph(
        list(nodes),
        name,
        [_tensor(tensor, shape) for tensor, shape in inputs.items()],
        [_tensor(tensor, shape) for tensor, shape in shapes.items()],
        [numpy_helper.from_array(value, constant) for constant, value in values.items()],
    )
    opset = [helper.make_opsetid("", _OPSET)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=_IR_VERSION)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))


def _tensor(name: str, shape: Shape) -> onnx.ValueInfoProto:
    kind = TensorProto.INT64 if name == "unit" else TensorProto.FLOAT
    return helper.make_tensor_value_info(name, kind, list(shape))
