"""What an ONNX file holds, for whoever writes its model.yaml. Imports onnx: never in the daemon."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import onnx

from edge_agent.errors import ModelError
from edge_agent.models.bundle.adapt import described
from edge_agent.models.bundle.kinds import OPERATORS

if TYPE_CHECKING:
    from pathlib import Path

_MAX_TEXT = 400


@dataclass(frozen=True, slots=True)
class GraphSummary:
    """A graph's face: tensors as `name type [shape]`, operators as `domain:Name` and if allowed.

    classes: by output, the names that a ZipMap gives to the columns of the probabilities.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    operators: dict[str, bool]
    classes: dict[str, tuple[str, ...]]
    opsets: dict[str, int]


def inspect_onnx(path: Path) -> GraphSummary:
    """Read a graph without its weights; ModelError where the file is none."""
    try:
        model = onnx.load(path, load_external_data=False)
    except OSError as error:
        raise ModelError(f"cannot be read: {error.strerror}", where=str(path)) from error
    except Exception as error:
        text = " ".join(str(error).split())[:_MAX_TEXT]
        raise ModelError(f"not an ONNX model: {text}", where=str(path)) from error
    graph = model.graph
    weights = {one.name for one in graph.initializer}
    operators = sorted({(node.domain, node.op_type) for node in graph.node})
    return GraphSummary(
        tuple(described(value) for value in graph.input if value.name not in weights),
        tuple(described(value) for value in graph.output),
        {f"{d}:{name}".removeprefix(":"): name in OPERATORS.get(d, ()) for d, name in operators},
        {node.output[0]: _class_names(node) for node in graph.node if node.op_type == "ZipMap"},
        {opset.domain or "ai.onnx": opset.version for opset in model.opset_import},
    )


def allowed_operators() -> list[str]:
    """Every operator that a bundle's graph may hold, as `domain:Name`."""
    names = {d: operators for d, operators in OPERATORS.items() if d != "ai.onnx"}
    return sorted(f"{d}:{name}".removeprefix(":") for d, ops in names.items() for name in ops)


def _class_names(node: onnx.NodeProto) -> tuple[str, ...]:
    found = [str(i) for a in node.attribute for i in a.ints]
    return tuple([s.decode() for a in node.attribute for s in a.strings] or found)
