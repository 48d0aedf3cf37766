"""The contents of a graph, and what is allowed in it. It imports onnx: never in the daemon."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import onnx

from edge_agent.errors import ModelError
from edge_agent.models.bundle.kinds import OPERATORS, THRESHOLD

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from edge_agent.models.bundle.manifest import Manifest

_MAX_DEPTH: Final = 8
_MAX_TEXT: Final = 400
_OPSETS: Final = range(9, 27)
NUMBERS: Final[dict[int, str]] = {
    onnx.TensorProto.FLOAT: "float32",
    onnx.TensorProto.DOUBLE: "double",
    onnx.TensorProto.FLOAT16: "float16",
    onnx.TensorProto.INT64: "int64",
    onnx.TensorProto.INT32: "int32",
    onnx.TensorProto.BOOL: "bool",
    onnx.TensorProto.UINT8: "uint8",
}
_TYPES: Final[dict[int, str]] = {
    onnx.TensorProto.FLOAT: "float32",
    onnx.TensorProto.INT64: "int64",
    onnx.TensorProto.UINT8: "uint8",
}


def graph_problems(model: onnx.ModelProto, manifest: Manifest) -> Iterator[str]:
    """The problems of a parsed model, in sentences."""
    rules = manifest.rules
    yield from _opset_problems(model, rules.operators)
    if model.functions or model.training_info:
        yield "functions and training information are not allowed"
    refused: set[str] = set()
    nodes = 0
    for graph in _graphs(model.graph, 0):
        if graph is None:
            yield f"subgraphs are nested more than {_MAX_DEPTH} deep"
            return
        nodes += len(graph.node)
        refused |= {
            f"{node.domain}:{node.op_type}".removeprefix(":")
            for node in graph.node
            if node.op_type not in rules.operators.get(node.domain, ())
        }
        if any(map(_maps_strings, graph.node)):
            yield "operator ai.onnx.ml:LabelEncoder is allowed from numbers to numbers only"
        if any(_is_external(tensor) for tensor in _tensors(graph)):
            yield "external data is not allowed: all weights belong in model.onnx"
    if nodes > rules.max_nodes:
        yield f"more than {rules.max_nodes} nodes"
    for name in sorted(refused):
        yield f"operator {name} is not allowed"
    yield from _signature_problems(model.graph, manifest)


def _opset_problems(
    model: onnx.ModelProto, operators: Mapping[str, frozenset[str]]
) -> Iterator[str]:
    for opset in model.opset_import:
        if opset.domain not in operators:
            yield f"operators of the domain {opset.domain!r} are not allowed"
        elif opset.domain in {"", "ai.onnx"} and opset.version not in _OPSETS:
            yield f"opset {opset.version} is not supported ({_OPSETS[0]} to {_OPSETS[-1]} are)"


def _maps_strings(node: onnx.NodeProto) -> bool:
    """True for a LabelEncoder of strings; with numbers it is a table, as in isolation forests."""
    names = {attribute.name for attribute in node.attribute}
    return node.op_type == "LabelEncoder" and any("string" in name for name in names)


def _graphs(graph: onnx.GraphProto, depth: int) -> Iterator[onnx.GraphProto | None]:
    """The graph and all its subgraphs; None if they are nested too deeply."""
    if depth > _MAX_DEPTH:
        yield None
        return
    yield graph
    for node in graph.node:
        for inner in subgraphs(node):
            yield from _graphs(inner, depth + 1)


def subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """The graphs inside a node: the branches of an If."""
    for attribute in node.attribute:
        yield from attribute.graphs
        if attribute.HasField("g"):
            yield attribute.g


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            yield from attribute.tensors
            if attribute.HasField("t"):
                yield attribute.t
            for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                yield from (sparse.values, sparse.indices)


def _is_external(tensor: onnx.TensorProto) -> bool:
    external = onnx.TensorProto.EXTERNAL
    return bool(tensor.data_location == external or tensor.external_data)


def _signature_problems(graph: onnx.GraphProto, manifest: Manifest) -> Iterator[str]:
    """Differences of the graph's inputs and outputs from those in the manifest."""
    weights = {tensor.name for tensor in graph.initializer}
    found = {value.name: value for value in graph.input if value.name not in weights}
    wanted = manifest.tensors()
    for name in sorted(found.keys() - wanted.keys()):
        yield f"the graph needs an input {name!r} that is not in model.yaml"
    for name, (dtype, shape) in wanted.items():
        if name not in found:
            yield f"the graph has no input {name!r}, which is in model.yaml"
        else:
            yield from _mismatch(found[name], f"input {name!r}", dtype, shape)
    outputs = {value.name: value for value in graph.output}
    for role, name in manifest.outputs.named().items():
        if name not in outputs:
            yield f"the graph has no output {name!r}, which model.yaml has for {role}"
        else:
            shape = manifest.output_shape(role)
            yield from _mismatch(outputs[name], f"output {name!r}", "float32", shape)
    if manifest.states_threshold and THRESHOLD not in outputs:
        yield f"the graph has no output {THRESHOLD!r}, the limit of its score"


def _mismatch(
    value: onnx.ValueInfoProto, what: str, dtype: str, shape: tuple[int, ...]
) -> Iterator[str]:
    tensor = value.type.tensor_type
    if _TYPES.get(tensor.elem_type) != dtype:
        yield f"{what} is not {dtype}"
    if not tensor.HasField("shape"):
        return
    sizes = [dim.dim_value if dim.HasField("dim_value") else None for dim in tensor.shape.dim]
    if sizes[1:] == [1] and shape == ():
        return  # a score of [N, 1] is equivalent to [N]
    wrong = [
        size for size, wanted in zip(sizes[1:], shape, strict=False) if size not in (None, wanted)
    ]
    if len(sizes) != len(shape) + 1 or wrong:
        yield f"{what} has shape {sizes}, not [N{''.join(f', {n}' for n in shape)}]"


# -- for authors of a model.yaml


@dataclass(frozen=True, slots=True)
class GraphSummary:
    """A graph's interface: tensors as `name type [shape]`, operators by name and if allowed.

    classes: by output, the names of a ZipMap for the columns of the probabilities.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    operators: dict[str, bool]
    classes: dict[str, tuple[str, ...]]
    opsets: dict[str, int]


def inspect_onnx(path: Path) -> GraphSummary:
    """Read a graph without its weights; ModelError if the file is not one."""
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
    """Every operator that a bundle's graph may contain, as `domain:Name`."""
    names = {d: operators for d, operators in OPERATORS.items() if d != "ai.onnx"}
    return sorted(f"{d}:{name}".removeprefix(":") for d, ops in names.items() for name in ops)


def _class_names(node: onnx.NodeProto) -> tuple[str, ...]:
    found = [str(i) for a in node.attribute for i in a.ints]
    return tuple([s.decode() for a in node.attribute for s in a.strings] or found)


def sizes_of(value: onnx.ValueInfoProto) -> list[int | str] | None:
    """A tensor's shape, free dimensions by their name; None if it is not stated."""
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return None
    return [d.dim_value if d.HasField("dim_value") else d.dim_param for d in tensor.shape.dim]


def fits(sizes: list[int | str], shape: tuple[int, ...]) -> bool:
    """True if a shape that may have free dimensions matches that one."""
    pairs = zip(sizes, shape, strict=True)
    return all(isinstance(size, str) or size == wanted for size, wanted in pairs)


def shown(sizes: list[int | str] | None) -> str:
    """A shape as text."""
    return "[?]" if sizes is None else f"[{', '.join(str(size or '?') for size in sizes)}]"


def signature_text(graph: onnx.GraphProto) -> str:
    """The graph's inputs and outputs, for the author of a model.yaml."""
    weights = {one.name for one in graph.initializer}
    inputs = ", ".join(described(v) for v in graph.input if v.name not in weights)
    outputs = ", ".join(described(v) for v in graph.output)
    return f"its inputs: {inputs}; its outputs: {outputs}"


def described(value: onnx.ValueInfoProto) -> str:
    """A tensor's name, type and shape: `x float32 [N, 16, 3]`."""
    if value.type.WhichOneof("value") != "tensor_type":
        return f"{value.name} {value.type.WhichOneof('value') or 'of no type'}"
    element = value.type.tensor_type.elem_type
    dtype = NUMBERS.get(element) or onnx.TensorProto.DataType.Name(element).lower()
    return f"{value.name} {dtype} {shown(sizes_of(value))}"
