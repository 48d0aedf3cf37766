"""The graph of a classifier of pictures: backbone, features, head and probabilities in one."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import onnx
from onnx import helper

from edge_agent.factory.pictures.features import FEATURES, features_part
from edge_agent.learning.pictures import graph

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from edge_agent.factory.pictures.head import Head
    from edge_agent.learning.pictures.backbone import Block

PROBABILITIES: Final = "probabilities"
_IN_FLOAT: Final = 9  # convolutions: the stem and the first three blocks


def classifier_graph(head: Head, side: int, blocks: Sequence[Block] | None = None) -> bytes:
    """From uint8 pictures [N, side, side, 3] to probabilities [N, K].

    blocks: of the backbone, if they were fine-tuned.
    """
    nodes, values, _ = features_part(side, blocks)
    nodes += [
        helper.make_node("MatMul", [FEATURES, "head_w1"], ["before"]),
        helper.make_node("Add", ["before", "head_b1"], ["moved"]),
        helper.make_node("Relu", ["moved"], ["hidden"]),
        helper.make_node("MatMul", ["hidden", "head_w2"], ["after"]),
        helper.make_node("Add", ["after", "head_b2"], ["logits"]),
        helper.make_node("Softmax", ["logits"], [PROBABILITIES], axis=1),
    ]
    values |= {f"head_{name}": getattr(head, name) for name in ("w1", "b1", "w2", "b2")}
    return graph.picture_model(nodes, values, side, {PROBABILITIES: ["N", len(head.b2)]})


class _Examples:
    """Pictures one by one, as the quantizer asks for them."""

    def __init__(self, pictures: NDArray[np.uint8]) -> None:
        self._left: Iterator[dict[str, Any]] = (
            {graph.PICTURE: pictures[i : i + 1]} for i in range(len(pictures))
        )

    def get_next(self) -> dict[str, Any] | None:
        """The next one; None after the last."""
        return next(self._left, None)


def _named(raw: bytes, file: Path) -> list[str]:
    """Write the graph with a name for each node; returns those of the first convolutions.

    They stay in float: the quantization of what they see moves the answers most.
    """
    model = onnx.load_from_string(raw)
    for number, node in enumerate(model.graph.node):
        node.name = f"{node.op_type}_{number}"
    file.write_bytes(model.SerializeToString(deterministic=True))
    return [node.name for node in model.graph.node if node.op_type == "Conv"][:_IN_FLOAT]


def quantized(raw: bytes, pictures: NDArray[np.uint8]) -> bytes:
    """The same with convolutions in int8, calibrated on pictures of all classes; the head stays."""
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as scratch:
        source, target = Path(scratch) / "fp32.onnx", Path(scratch) / "int8.onnx"
        early = _named(raw, source)
        # It asks for a preparation that only other layers need.
        before = logging.root.manager.disable
        logging.disable(logging.WARNING)
        quantize_static(
            source,
            target,
            _Examples(pictures),
            quant_format=QuantFormat.QDQ,
            # Without Clip the range would be that of the values before it, and steps too large.
            op_types_to_quantize=["Conv", "Clip"],
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=early,
        )
        logging.disable(before)
        return target.read_bytes()
