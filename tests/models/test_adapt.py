"""Graphs as exporters write them become what a bundle wants; their numbers stay what they were."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from tiny_models import manifest, mean_model

from edge_agent.errors import ModelError
from edge_agent.models.bundle.adapt import adapt
from edge_agent.models.bundle.graph_check import graph_problems
from edge_agent.models.bundle.manifest import WindowSpec
from edge_agent.models.bundle.tasks import OutputNames, Task

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from edge_agent.models.bundle.manifest import Manifest

FLOAT, DOUBLE, INT64 = TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT64
WEIGHTS = np.array([[1.0], [10.0]], np.float32)


def value(name: str, dtype: int = FLOAT, shape: Sequence[Any] | None = None) -> Any:
    return helper.make_tensor_value_info(name, dtype, shape)


def save(
    path: Path, nodes: list[Any], inputs: list[Any], outputs: list[Any], **weights: Any
) -> None:
    """A graph of opset 17 in `path`."""
    stored = [numpy_helper.from_array(np.asarray(w), name) for name, w in weights.items()]
    graph = helper.make_graph(nodes, "g", inputs, outputs, stored)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)


def table_model(path: Path, dtype: int = FLOAT, name: str = "float_input") -> None:
    """score [N, 1] = flow + 10 * pressure, of a table [N, 2], with a label beside it."""
    numpy_type = np.float64 if dtype == DOUBLE else np.float32
    nodes = [
        helper.make_node("MatMul", [name, "w"], ["variable"]),
        helper.make_node("Cast", ["variable"], ["label"], to=INT64),
    ]
    outputs = [value("label", INT64, ["", 1]), value("variable", dtype, ["", 1])]
    save(path, nodes, [value(name, dtype, ["", 2])], outputs, w=WEIGHTS.astype(numpy_type))


def single_rows(**changes: Any) -> Manifest:
    plain: dict[str, Any] = {
        "window": WindowSpec(1.0, 1, 1),
        "outputs": OutputNames(score="variable"),
    }
    return manifest(**plain | changes)


def run(raw: bytes, wanted: Manifest, x: np.ndarray) -> np.ndarray:
    """What the adapted graph gives; it must fit the manifest, and hold one output for each role."""
    assert list(graph_problems(onnx.load_model_from_string(raw), wanted)) == []
    session = ort.InferenceSession(raw, providers=["CPUExecutionProvider"])
    assert {one.name for one in session.get_outputs()} == {*wanted.outputs.named().values()}
    found: np.ndarray = session.run(None, {wanted.window.tensor: x})[0]
    return found


def rows(n: int = 5, length: int = 1) -> np.ndarray:
    return np.random.default_rng(0).random((n, length, 2)).astype(np.float32)


@pytest.mark.parametrize("dtype", [FLOAT, DOUBLE])
def test_a_table_model_takes_windows_of_one_row(tmp_path: Path, dtype: int) -> None:
    """Of whatever float and input name; its label, and what leads to it alone, is left out."""
    table_model(tmp_path / "m.onnx", dtype)
    found = adapt(tmp_path / "m.onnx", single_rows())
    x = rows()
    assert np.allclose(run(found.raw, single_rows(), x), x[:, 0] @ WEIGHTS[:, 0], rtol=1e-6)
    nodes = onnx.load_model_from_string(found.raw).graph.node
    assert INT64 not in [a.i for n in nodes if n.op_type == "Cast" for a in n.attribute]
    assert "output 'label' is left out" in found.changes


def test_a_score_that_is_low_for_the_unusual_is_turned_round(tmp_path: Path) -> None:
    table_model(tmp_path / "m.onnx")
    found = adapt(tmp_path / "m.onnx", single_rows(), negate_score=True)
    x = rows()
    assert np.allclose(run(found.raw, single_rows(), x), -(x[:, 0] @ WEIGHTS[:, 0]), rtol=1e-6)


@pytest.mark.parametrize("name", ["x", "float_input"])
def test_a_flat_window_is_flattened_row_by_row(tmp_path: Path, name: str) -> None:
    """[N, length x channels], as whoever trains on lagged columns has it."""
    weights = np.arange(8, dtype=np.float32).reshape(8, 1)
    nodes = [helper.make_node("MatMul", [name, "w"], ["variable"])]
    save(tmp_path / "m.onnx", nodes, [value(name, FLOAT, ["n", 8])], [value("variable")], w=weights)
    wanted = single_rows(window=WindowSpec(1.0, 4, 1))
    x = rows(length=4)
    found = run(adapt(tmp_path / "m.onnx", wanted).raw, wanted, x)
    assert np.allclose(found, x.reshape(5, 8) @ weights[:, 0], rtol=1e-6)


def test_channels_first_is_transposed(tmp_path: Path) -> None:
    """As convolutions of torch want it; where both readings fit, the graph is left as it is."""
    nodes = [
        helper.make_node("Mul", ["x", "w"], ["scaled"]),
        helper.make_node("ReduceSum", ["scaled", "axes"], ["variable"], keepdims=0),
    ]
    by_channel = np.array([[[1.0], [10.0]]], np.float32)
    axes = np.array([1, 2], np.int64)
    inputs, outputs = [value("x", FLOAT, ["n", 2, 4])], [value("variable", FLOAT, ["n"])]
    save(tmp_path / "m.onnx", nodes, inputs, outputs, w=by_channel, axes=axes)
    wanted = single_rows(window=WindowSpec(1.0, 4, 1))
    x = rows(length=4)
    found = run(adapt(tmp_path / "m.onnx", wanted).raw, wanted, x)
    assert np.allclose(found, x.sum(axis=1) @ WEIGHTS[:, 0], rtol=1e-5)
    square = single_rows(window=WindowSpec(1.0, 2, 1))
    save(
        tmp_path / "s.onnx",
        nodes,
        [value("x", FLOAT, ["n", 2, 2])],
        outputs,
        w=by_channel,
        axes=axes,
    )
    assert adapt(tmp_path / "s.onnx", square).changes == []


def test_one_input_for_each_column_becomes_a_window(tmp_path: Path) -> None:
    """Pipelines over data frames are exported so; the order is that of the manifest, by name."""
    nodes = [
        helper.make_node("Cast", ["pressure"], ["p"], to=FLOAT),
        helper.make_node("Mul", ["p", "ten"], ["tenfold"]),
        helper.make_node("Add", ["flow", "tenfold"], ["variable"]),
    ]
    inputs = [value("pressure", INT64, ["", 1]), value("flow", FLOAT, ["", 1])]
    outputs = [value("variable", FLOAT, ["", 1])]
    save(tmp_path / "m.onnx", nodes, inputs, outputs, ten=np.float32(10))
    x = np.array([[[1.5, 3.0]], [[2.5, 7.0]]], np.float32)
    found = run(adapt(tmp_path / "m.onnx", single_rows()).raw, single_rows(), x)
    assert np.allclose(found, [31.5, 72.5])


def test_maps_of_classes_become_an_array(tmp_path: Path) -> None:
    """ZipMap stands at the end of every classifier of scikit-learn's exporter."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["p"], axis=1),
        helper.make_node("ZipMap", ["p"], ["prob"], domain="ai.onnx.ml", classlabels_int64s=[0, 1]),
    ]
    maps = helper.make_sequence_type_proto(
        helper.make_map_type_proto(INT64, helper.make_tensor_type_proto(FLOAT, []))
    )
    outputs = [helper.make_value_info("prob", maps)]
    save(tmp_path / "m.onnx", nodes, [value("x", FLOAT, ["", 2])], outputs, w=np.eye(2, dtype="f4"))
    wanted = single_rows(
        task=Task.CLASSIFICATION,
        outputs=OutputNames(probabilities="prob"),
        classes=("healthy", "wear"),
    )
    found = run(adapt(tmp_path / "m.onnx", wanted).raw, wanted, rows())
    assert np.allclose(found.sum(axis=1), 1.0)


def test_weights_of_a_second_file_come_inside(tmp_path: Path) -> None:
    """As torch's exporter writes them; what reaches outside the folder is refused."""
    big = np.ones((2, 1), np.float32)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["variable"])]
    inputs, outputs = [value("x", FLOAT, ["", 2])], [value("variable", FLOAT, ["", 1])]
    path = tmp_path / "m.onnx"
    save(path, nodes, inputs, outputs, w=big)
    proto = onnx.load(path)
    onnx.save(proto, path, save_as_external_data=True, location="m.onnx.data", size_threshold=0)
    found = adapt(path, single_rows())
    x = rows()
    assert np.allclose(run(found.raw, single_rows(), x), x[:, 0].sum(axis=1))
    outside = onnx.load(path, load_external_data=False)
    outside.graph.initializer[0].external_data[0].value = "../m.onnx.data"
    path.write_bytes(outside.SerializeToString())
    with pytest.raises(ModelError, match="not a complete ONNX model"):
        adapt(path, single_rows())
    (tmp_path / "m.onnx.data").unlink()
    outside.graph.initializer[0].external_data[0].value = "m.onnx.data"
    path.write_bytes(outside.SerializeToString())
    with pytest.raises(ModelError, match=r"m\.onnx\.data"):
        adapt(path, single_rows())


def test_what_an_if_reads_is_kept_and_renamed(tmp_path: Path) -> None:
    """Subgraphs read tensors of the graph around them by name."""
    inner = [helper.make_node("MatMul", ["x", "w"], ["both"])]
    branch = helper.make_graph(inner, "b", [], [value("both", FLOAT, None)])
    nodes = [helper.make_node("If", ["yes"], ["variable"], then_branch=branch, else_branch=branch)]
    inputs, outputs = [value("x", FLOAT, ["", 2])], [value("variable", FLOAT, ["", 1])]
    save(tmp_path / "m.onnx", nodes, inputs, outputs, w=WEIGHTS, yes=np.array(1, bool))
    x = rows()
    found = run(adapt(tmp_path / "m.onnx", single_rows()).raw, single_rows(), x)
    assert np.allclose(found, x[:, 0] @ WEIGHTS[:, 0], rtol=1e-6)


def test_a_graph_that_fits_is_not_touched(tmp_path: Path) -> None:
    """Its digest is what its maker knows it by."""
    (tmp_path / "m.onnx").write_bytes(mean_model())
    assert adapt(tmp_path / "m.onnx", manifest()).raw == mean_model()


def test_traces_of_its_makers_machine_are_left_out(tmp_path: Path) -> None:
    table_model(tmp_path / "m.onnx")
    proto = onnx.load(tmp_path / "m.onnx")
    proto.graph.node[0].doc_string = "/home/anna/secret-project/train.py"
    proto.graph.node[0].metadata_props.add(key="stack", value="/home/anna/secret-project/train.py")
    onnx.save(proto, tmp_path / "m.onnx")
    assert b"secret-project" not in adapt(tmp_path / "m.onnx", single_rows()).raw


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"outputs": OutputNames(score="anomaly")}, "no output 'anomaly'.*variable float32"),
        ({"outputs": OutputNames(score="variable", health="h")}, "no output 'h'"),
    ],
)
def test_what_does_not_fit_is_said_with_the_graphs_own_names(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    table_model(tmp_path / "m.onnx")
    with pytest.raises(ModelError, match=message):
        adapt(tmp_path / "m.onnx", single_rows(**changes))


def test_text_is_no_input(tmp_path: Path) -> None:
    nodes = [helper.make_node("Cast", ["s"], ["variable"], to=FLOAT)]
    inputs = [value("s", TensorProto.STRING, ["", 2])]
    save(tmp_path / "m.onnx", nodes, inputs, [value("variable", FLOAT, ["", 2])])
    with pytest.raises(ModelError, match="input 's' is not a tensor of numbers"):
        adapt(tmp_path / "m.onnx", single_rows())


@given(st.binary(max_size=200))
def test_any_bytes_are_a_model_or_refused(
    tmp_path_factory: pytest.TempPathFactory, raw: bytes
) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "m.onnx"
    path.write_bytes(raw)
    with pytest.raises(ModelError):
        adapt(path, single_rows())
