"""Adapts an exporter's ONNX graph to a bundle's manifest. Not in the daemon, which has no onnx.

Exporters wrap the same model differently: tabular libraries require [N, features], write labels
and ZipMaps with the probabilities, take double; torch keeps weights in a second file and stores
the paths of the exporting machine in every node. The numbers of the model do not change.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import onnx
from onnx import TensorProto, helper, inliner, version_converter

from edge_agent.errors import ModelError
from edge_agent.models.bundle.graph_check import (
    NUMBERS,
    fits,
    shown,
    signature_text,
    sizes_of,
    subgraphs,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from edge_agent.models.bundle.manifest import Manifest

_OLDEST_OPSET: Final = 9  # older graphs are converted
_OPSET: Final = 13
_OLDEST_IR: Final = 4  # before it, weights had to be inputs as well
_INNER: Final = "__inner"
_MAX_TEXT: Final = 400


@dataclass(slots=True)
class Adapted:
    """The adapted graph as bytes, and the changes, in sentences."""

    raw: bytes
    changes: list[str] = field(default_factory=list)


def adapt(path: Path, manifest: Manifest, *, negate_score: bool = False) -> Adapted:
    """The graph in `path` with the inputs and outputs of the manifest.

    negate_score: the score is -1 times the graph's (scikit-learn's are low for anomalies).
    ModelError states the mismatch, with the graph's own inputs and outputs.
    """
    model, changes = _loaded(path)
    roles = manifest.outputs.named()
    try:
        changes += _drop_zipmaps(model.graph)
        changes += _keep_outputs(model.graph, [*roles.values()])
        changes += _fit_inputs(model, manifest)
        for role, name in roles.items():
            shape = manifest.output_shape(role)
            negate = negate_score and role == "score"
            changes += _fit_output(model, name, shape, negate=negate)
    except ModelError as error:
        raise ModelError(
            error.message, where=str(path), hint=signature_text(model.graph)
        ) from error
    if not changes:
        return Adapted(path.read_bytes())
    _strip_notes(model)
    return Adapted(model.SerializeToString(deterministic=True), changes)


def _loaded(path: Path) -> tuple[onnx.ModelProto, list[str]]:
    """The model with all its weights, of a supported opset and without functions."""
    changes = []
    try:
        model = onnx.load(path, load_external_data=False)
        if any(one.data_location == TensorProto.EXTERNAL for one in model.graph.initializer):
            model = onnx.load(path)
            changes.append("weights from a second file are now inside")
        if model.functions:
            model = inliner.inline_local_functions(model)
            changes.append("functions are inlined")
        version = next((o.version for o in model.opset_import if o.domain in {"", "ai.onnx"}), 0)
        if 0 < version < _OLDEST_OPSET:
            model = version_converter.convert_version(model, _OPSET)
            changes.append(f"opset {version} is converted to {_OPSET}")
    except FileNotFoundError as error:
        raise ModelError(f"cannot be read: {error.strerror}", where=str(path)) from error
    except Exception as error:
        text = " ".join(str(error).split())[:_MAX_TEXT]
        raise ModelError(f"not a complete ONNX model: {text}", where=str(path)) from error
    if not version:  # only other domains; the nodes that are added around it are standard
        model.opset_import.append(helper.make_opsetid("", _OPSET))
    model.ir_version = max(model.ir_version, _OLDEST_IR)
    return model, changes


# -- outputs ----------------------------------------------------------------------------------


def _drop_zipmaps(graph: onnx.GraphProto) -> list[str]:
    """Probabilities as a tensor, not as a list of maps from class to number."""
    changes = []
    for node in [node for node in graph.node if node.op_type == "ZipMap"]:
        (output,) = (value for value in graph.output if value.name == node.output[0])
        graph.node.remove(node)
        _rename(graph, node.input[0], node.output[0])
        output.CopyFrom(helper.make_tensor_value_info(node.output[0], TensorProto.FLOAT, None))
        changes.append(f"{output.name}: an array instead of a list of maps (ZipMap)")
    return changes


def _keep_outputs(graph: onnx.GraphProto, wanted: list[str]) -> list[str]:
    """Keep only the outputs in the manifest, and the nodes that they depend on."""
    there = [value.name for value in graph.output]
    if missing := [name for name in wanted if name not in there]:
        raise ModelError(f"the graph has no output {', '.join(map(repr, missing))}")
    dead = [value for value in graph.output if value.name not in wanted]
    for value in dead:
        graph.output.remove(value)
    needed = {value.name for value in graph.output}
    for node in reversed(list(graph.node)):
        if needed.isdisjoint(node.output):
            graph.node.remove(node)
        else:
            needed.update(_reads(node))
    for weight in [one for one in graph.initializer if one.name not in needed]:
        graph.initializer.remove(weight)
    del graph.value_info[:]
    return [f"output {value.name!r} is left out" for value in dead]


def _fit_output(
    model: onnx.ModelProto, name: str, shape: tuple[int, ...], *, negate: bool
) -> list[str]:
    """An output as float32 of [N, *shape]."""
    (value,) = (one for one in model.graph.output if one.name == name)
    steps: list[onnx.NodeProto] = []
    changes = []
    tensor = value.type.tensor_type
    if tensor.elem_type not in NUMBERS:
        raise ModelError(f"output {name!r} is not a tensor of numbers")
    if tensor.elem_type != TensorProto.FLOAT:
        steps.append(helper.make_node("Cast", [""], [""], to=TensorProto.FLOAT))
        changes.append(f"output {name!r}: {NUMBERS[tensor.elem_type]} to float32")
    sizes = sizes_of(value)
    if shape == () and (sizes is None or len(sizes) != 1):
        steps.append(_reshape(model.graph, f"{name}__shape", [-1]))
        changes.append(f"output {name!r}: to [N]")
    elif shape and sizes is not None and len(sizes) > len(shape) + 1:
        steps.append(helper.make_node("Flatten", [""], [""], axis=1))
        changes.append(f"output {name!r}: to [N, {shape[0]}]")
    if negate:
        steps.append(helper.make_node("Neg", [""], [""]))
        changes.append(f"output {name!r}: times -1")
    if steps:
        inner = f"{name}{_INNER}"
        _rename(model.graph, name, inner)
        model.graph.node.extend(_chained(inner, steps, name))
        fitted = helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *shape])
        value.CopyFrom(fitted)
    return changes


# -- inputs -----------------------------------------------------------------------------------


def _fit_inputs(model: onnx.ModelProto, manifest: Manifest) -> list[str]:
    """The inputs of the manifest instead of the graph's, which are computed from them."""
    graph, wanted = model.graph, manifest.tensors()
    weights = {one.name for one in graph.initializer}
    free = [value for value in graph.input if value.name not in weights]
    window = manifest.window.tensor
    columns = [spec.name for spec in manifest.scalars]
    by_name = {value.name: value for value in free}
    if len(columns) > 1 and set(columns) == by_name.keys() and manifest.window.length == 1:
        return _from_columns(graph, [by_name[name] for name in columns], window)
    if len(free) == 1 and len(wanted) == 1:
        ((name, (dtype, shape)),) = wanted.items()
        return _fit_input(graph, free[0], name, dtype, shape)
    changes = []
    for value in free:
        if value.name in wanted:
            changes += _fit_input(graph, value, value.name, *wanted[value.name])
    return changes


def _fit_input(
    graph: onnx.GraphProto,
    value: onnx.ValueInfoProto,
    name: str,
    dtype: str,
    shape: tuple[int, ...],
) -> list[str]:
    """One input as `dtype` of [N, *shape] with that name; the graph reads the converted tensor."""
    element = value.type.tensor_type.elem_type
    if element not in NUMBERS:
        raise ModelError(f"input {value.name!r} is not a tensor of numbers")
    steps: list[onnx.NodeProto] = []
    changes = []
    sizes = sizes_of(value)
    if sizes is not None and (step := _window_step(sizes, shape)) is not None:
        steps.append(step)
        changes.append(f"input {value.name!r}: {shown(sizes)} is made of [N, {_commas(shape)}]")
    if NUMBERS[element] != dtype:
        steps.append(helper.make_node("Cast", [""], [""], to=element))
        changes.append(f"input {value.name!r}: {NUMBERS[element]} is made of {dtype}")
    if value.name != name:
        changes.append(f"input {value.name!r} is called {name!r}")
    if not changes:
        return []
    steps = steps or [helper.make_node("Identity", [""], [""])]
    inner = f"{value.name}{_INNER}"
    _rename(graph, value.name, inner)
    _prepend(graph, _chained(name, steps, inner))
    fitted = TensorProto.INT64 if dtype == "int64" else TensorProto.FLOAT
    value.CopyFrom(helper.make_tensor_value_info(name, fitted, [_batch(sizes), *shape]))
    return changes


def _window_step(sizes: list[int | str], shape: tuple[int, ...]) -> onnx.NodeProto | None:
    """The node from windows [N, length, channels] to the graph's input; None if not needed."""
    if len(shape) != 2 or (len(sizes) == 3 and fits(sizes[1:], shape)):  # noqa: PLR2004
        return None
    length, channels = shape
    if len(sizes) == 2 and fits(sizes[1:], (length * channels,)):  # noqa: PLR2004
        return helper.make_node("Flatten", [""], [""], axis=1)
    if len(sizes) == 3 and fits(sizes[1:], (channels, length)):  # noqa: PLR2004
        return helper.make_node("Transpose", [""], [""], perm=[0, 2, 1])
    return None


def _from_columns(
    graph: onnx.GraphProto, values: list[onnx.ValueInfoProto], window: str
) -> list[str]:
    """One input [N, 1, columns] instead of an input for each column of a table."""
    flat = f"{window}{_INNER}"
    nodes = [helper.make_node("Flatten", [window], [flat], axis=1)]
    for index, value in enumerate(values):
        element = value.type.tensor_type.elem_type
        if element not in NUMBERS:
            raise ModelError(f"input {value.name!r} is not a tensor of numbers")
        place = f"{window}__column_{index}"
        graph.initializer.append(helper.make_tensor(place, TensorProto.INT64, [1], [index]))
        column, inner = f"{place}_of", f"{value.name}{_INNER}"
        _rename(graph, value.name, inner)
        nodes.append(helper.make_node("Gather", [flat, place], [column], axis=1))
        nodes.append(helper.make_node("Cast", [column], [inner], to=element))
    _prepend(graph, nodes)
    for value in values:
        graph.input.remove(value)
    graph.input.append(
        helper.make_tensor_value_info(window, TensorProto.FLOAT, ["N", 1, len(values)])
    )
    return [f"{len(values)} inputs of one column each are made of {window!r}"]


# -- graphs -----------------------------------------------------------------------------------


def _rename(graph: onnx.GraphProto, old: str, new: str) -> None:
    """Rename a tensor wherever it is written or read, including subgraphs."""
    for node in graph.node:
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                if name == old:
                    names[index] = new
        for inner in subgraphs(node):
            _rename(inner, old, new)


def _reads(node: onnx.NodeProto) -> Iterator[str]:
    """Every tensor that a node or its subgraphs read."""
    yield from node.input
    for graph in subgraphs(node):
        yield from (value.name for value in graph.output)
        for inner in graph.node:
            yield from _reads(inner)


def _chained(first: str, steps: Iterable[onnx.NodeProto], last: str) -> list[onnx.NodeProto]:
    """The steps in sequence, from the tensor `first` to the tensor `last`."""
    nodes = list(steps)
    source = first
    for index, node in enumerate(nodes):
        target = last if node is nodes[-1] else f"{last}__step_{index}"
        node.input[0], node.output[0] = source, target
        source = target
    return nodes


def _prepend(graph: onnx.GraphProto, nodes: list[onnx.NodeProto]) -> None:
    rest = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes, *rest])


def _reshape(graph: onnx.GraphProto, name: str, shape: list[int]) -> onnx.NodeProto:
    graph.initializer.append(helper.make_tensor(name, TensorProto.INT64, [len(shape)], shape))
    return helper.make_node("Reshape", ["", name], [""])


def _strip_notes(model: onnx.ModelProto) -> None:
    """Remove the traces of the exporting machine from a graph."""
    model.doc_string = model.graph.doc_string = ""
    del model.metadata_props[:]
    del model.graph.metadata_props[:]
    for node in model.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]


def _batch(sizes: list[int | str] | None) -> int | str:
    return (sizes[0] if sizes else "") or "N"


def _commas(shape: tuple[int, ...]) -> str:
    return ", ".join(map(str, shape))
