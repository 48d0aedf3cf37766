"""Which graphs need the same time and memory for all values of their inputs.

Such a graph was measured by its golden vectors once and for all. In any other one a value that no
golden vector contains may choose another branch, or the size of a tensor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge_agent.models.bundle.graph_check import subgraphs

if TYPE_CHECKING:
    import onnx

# By operator, the inputs whose values define what is computed, or how large its result is.
_DECISIVE: Final = {
    "BlackmanWindow": (0,),
    "CenterCropPad": (1,),
    "Compress": (0, 1),
    "ConstantOfShape": (0,),
    "DFT": (1, 2),
    "Expand": (1,),
    "HammingWindow": (0,),
    "HannWindow": (0,),
    "If": (0,),
    "MelWeightMatrix": (0, 1, 2, 3, 4),
    "NonZero": (0,),
    "OneHot": (1,),
    "Pad": (1, 3),
    "Range": (0, 1, 2),
    "Reshape": (1,),
    "Resize": (1, 2, 3),
    "STFT": (1, 3),
    "Slice": (1, 2, 3, 4),
    "Tile": (1,),
    "TopK": (1,),
}
_SIZES: Final = {"Shape", "Size"}  # their results depend on sizes only


def is_steady(model: onnx.ModelProto) -> bool:
    """True if no value of an input can change the time or the memory of a run."""
    weights = {tensor.name for tensor in model.graph.initializer}
    measured = {value.name for value in model.graph.input} - weights
    return _is_steady(model.graph, measured)


def _is_steady(graph: onnx.GraphProto, measured: set[str]) -> bool:
    """Like `is_steady`; measured: tensors that depend on measured values, extended by the graph."""
    for node in graph.node:
        decisive = _DECISIVE.get(node.op_type, ())
        if any(node.input[i] in measured for i in decisive if i < len(node.input)):
            return False
        inner = list(subgraphs(node))
        if not all(_is_steady(each, measured) for each in inner):
            return False
        outputs = {value.name for each in inner for value in each.output}
        if node.op_type not in _SIZES and not measured.isdisjoint({*node.input, *outputs}):
            measured.update(node.output)
    return True
