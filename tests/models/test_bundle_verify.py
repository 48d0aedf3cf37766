"""A bundle is loaded only when nothing at all is wrong with it; each way to be wrong is named."""

from __future__ import annotations

import io
import os
import pickle
import signal
import subprocess
import zipfile
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper
from tiny_models import (
    endless_model,
    external_model,
    giant_model,
    golden_x,
    manifest,
    mean_model,
    mean_node,
    model,
    replace_file,
    wave,
    write_bundle_of,
    write_mean_bundle,
)

from edge_agent.errors import ModelError
from edge_agent.models import Golden
from edge_agent.models.bundle import folder as folder_module
from edge_agent.models.bundle.bundle import load_manifest, verify_bundle, write_bundle
from edge_agent.models.bundle.golden import dump_golden, parse_golden
from edge_agent.models.bundle.graph_check import graph_problems
from edge_agent.models.bundle.kinds import WINDOW
from edge_agent.models.bundle.sandbox import exit_reason, probe

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A good bundle, to be spoiled."""
    write_mean_bundle(tmp_path / "mean")
    return tmp_path / "mean"


def refusal(folder: Path) -> str:
    problems = verify_bundle(folder)
    assert problems
    return "; ".join(f"{p.reason}: {p.text}" for p in problems)


def test_a_good_bundle_has_no_problem(folder: Path) -> None:
    assert verify_bundle(folder) == []
    assert {path.name for path in folder.iterdir()} == {"model.onnx", "model.yaml", "golden.npz"}


def test_writing_again_replaces_and_leaves_nothing_behind(folder: Path) -> None:
    before = load_manifest(folder).sha256
    write_mean_bundle(folder, factor=2.0)
    assert load_manifest(folder).sha256 != before
    assert verify_bundle(folder) == []
    assert [path.name for path in folder.parent.iterdir()] == ["mean"]


def test_a_failed_write_keeps_the_old_bundle(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(folder_module, "_write_durably", full_disk)
    with pytest.raises(ModelError, match="No space left"):
        write_mean_bundle(folder, factor=2.0)
    assert verify_bundle(folder) == []
    assert [path.name for path in folder.parent.iterdir()] == ["mean"]


@pytest.mark.parametrize("name", ["model.onnx", "golden.npz"])
def test_one_flipped_bit_breaks_the_checksum(folder: Path, name: str) -> None:
    raw = bytearray((folder / name).read_bytes())
    raw[len(raw) // 2] ^= 1
    (folder / name).write_bytes(raw)
    assert f"checksum: {folder / name}" in refusal(folder)


def _extra(folder: Path) -> None:
    (folder / "setup.py").write_text("import os")


def _symlink(folder: Path) -> None:
    (folder / "model.onnx").rename(folder.parent / "elsewhere.onnx")
    (folder / "model.onnx").symlink_to("../elsewhere.onnx")


def _hardlink(folder: Path) -> None:
    (folder.parent / "second name.onnx").hardlink_to(folder / "model.onnx")


def _pipe(folder: Path) -> None:
    (folder / "golden.npz").unlink()
    os.mkfifo(folder / "golden.npz")


def _directory(folder: Path) -> None:
    (folder / "golden.npz").unlink()
    (folder / "golden.npz").mkdir()


def _missing(folder: Path) -> None:
    (folder / "model.onnx").unlink()


def _no_manifest(folder: Path) -> None:
    (folder / "model.yaml").unlink()


def _too_large(folder: Path) -> None:
    with (folder / "model.onnx").open("r+b") as file:
        file.truncate((512 << 20) + 1)


def _gone(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (_extra, "'setup.py' does not belong"),
        (_symlink, "model.onnx: cannot be read"),
        (_hardlink, "is a hard link"),
        (_pipe, "golden.npz: is not a plain file"),
        (_directory, "golden.npz: is not a plain file"),
        (_missing, "model.onnx: cannot be read: No such file"),
        (_no_manifest, "model.yaml: cannot be read: No such file"),
        (_too_large, "is larger than 512 MiB"),
        (_gone, "No such file"),
    ],
)
def test_only_three_plain_files(folder: Path, spoil: Callable[[Path], None], told: str) -> None:
    spoil(folder)
    assert told in refusal(folder)


def _with_function() -> bytes:
    proto = model([mean_node()])
    proto.functions.add(name="hidden", domain="")
    return bytes(proto.SerializeToString())


def _in_subgraph(op: str) -> bytes:
    """An operator inside the branch of an If."""
    inner = helper.make_graph(
        [helper.make_node(op, ["x"], ["inner"])],
        "branch",
        [],
        [helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)],
    )
    nodes = [
        helper.make_node("If", ["yes"], ["same"], then_branch=inner, else_branch=inner),
        mean_node("same"),
    ]
    return bytes(model(nodes, {"yes": np.array(True)}).SerializeToString())  # noqa: FBT003


def _nested(depth: int) -> bytes:
    graph: onnx.GraphProto | None = None
    for _ in range(depth):
        node = helper.make_node("Identity", ["x"], ["inner"])
        if graph is not None:
            node = helper.make_node("If", ["x"], ["inner"], then_branch=graph, else_branch=graph)
        graph = helper.make_graph([node], "g", [], [])
    nodes = [helper.make_node("If", ["x"], ["s"], then_branch=graph), mean_node()]
    return bytes(model(nodes).SerializeToString())


def _custom() -> bytes:
    nodes = [helper.make_node("Run", ["x"], ["y"], domain="evil.example"), mean_node("y")]
    return bytes(model(nodes, opsets=[("", 17), ("evil.example", 1)]).SerializeToString())


def _external_constant() -> bytes:
    tensor = TensorProto(data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
    nodes = [helper.make_node("Constant", [], ["c"], value=tensor), mean_node()]
    return bytes(model(nodes).SerializeToString())


def _op(name: str) -> bytes:
    return bytes(model([helper.make_node(name, ["x"], ["y"]), mean_node()]).SerializeToString())


@pytest.mark.parametrize(
    ("onnx_bytes", "told"),
    [
        (external_model("../secret"), "external data is not allowed"),
        (external_model("/etc/shadow"), "external data is not allowed"),
        (endless_model(), "operator Loop is not allowed"),
        (b"", "graph: "),
        (b"\x89PNG not a model at all", "is not an ONNX model"),
        (mean_model()[:-9], "graph: "),
        (giant_model(1 << 36), "limits: "),  # 256 GiB
        (giant_model(1 << 30), "limits: "),  # 4 GiB, which many machines have
        (mean_model(outputs=["score", "nowhere"]), "the runtime refuses it"),
    ],
)
def test_a_graph_that_could_do_harm_is_refused(
    tmp_path: Path, onnx_bytes: bytes, told: str
) -> None:
    """Checksums and golden vectors are right: only the look into the graph can tell."""
    write_bundle_of(tmp_path / "evil", onnx_bytes)
    assert told in refusal(tmp_path / "evil")


@pytest.mark.parametrize(
    ("onnx_bytes", "told"),
    [
        (_external_constant(), "external data is not allowed"),
        (_in_subgraph("RandomUniformLike"), "operator RandomUniformLike is not allowed"),
        (_nested(12), "nested more than 8 deep"),
        (_op("SequenceEmpty"), "operator SequenceEmpty is not allowed"),
        (_op("NoSuchOperator"), "operator NoSuchOperator is not allowed"),
        (_custom(), "domain 'evil.example' are not allowed"),
        (_with_function(), "functions and training information are not allowed"),
        (mean_model(opsets=[("", 99)]), "opset 99 is not supported"),
        (external_model("golden.npz"), "external data is not allowed"),
    ],
)
def test_what_a_graph_may_not_contain(onnx_bytes: bytes, told: str) -> None:
    """The same look into the graph, without the child."""
    found = graph_problems(onnx.load_model_from_string(onnx_bytes), manifest())
    assert told in "; ".join(found)


def test_subgraphs_of_allowed_operators_are_fine(tmp_path: Path) -> None:
    write_bundle_of(tmp_path / "branch", _in_subgraph("Identity"))
    assert verify_bundle(tmp_path / "branch") == []


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"inputs": manifest().inputs[:1]}, "input 'x' has shape"),
        ({"inputs": (*manifest().inputs, wave("a", 4))}, "the graph has no input 'a'"),
        ({"units": ("P-1",)}, "the graph has no input 'unit'"),
        ({"outputs": manifest().outputs.__class__(score="points")}, "the graph has no output"),
        (
            {"outputs": manifest().outputs.__class__("score", contributions="score")},
            "output 'score' has shape",
        ),
    ],
)
def test_graph_and_manifest_must_agree(changes: dict[str, object], told: str) -> None:
    found = graph_problems(onnx.load_model_from_string(mean_model()), manifest(**changes))
    assert told in "; ".join(found)


def _zip(name: str, content: bytes, *, packed: bool = True) -> bytes:
    target = io.BytesIO()
    how = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
    with zipfile.ZipFile(target, "w", how) as archive:
        archive.writestr(name, content)
    return target.getvalue()


def _npy(array: np.ndarray, *, allow_pickle: bool = False) -> bytes:
    target = io.BytesIO()
    np.save(target, array, allow_pickle=allow_pickle)
    return target.getvalue()


class _Boom:
    """Unpickling it would make a file."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (os.mkdir, ("/tmp/edge-agent-pickle-was-run",))  # noqa: S108


def _lying_header() -> bytes:
    """1 TiB by the header, some bytes in truth."""
    good = _npy(golden_x())
    return good.replace(b"(3, 8, 2)", b"(3, 8, 9" + b"9" * 9 + b")").replace(b" " * 9, b"", 1)


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (_zip("in.x.npy", bytes(100 << 20)), "unpack to more than 64 MiB"),
        (
            _zip("in.x.npy", _npy(np.array([_Boom()], object), allow_pickle=True)),
            "not float32, int64 or uint8",
        ),
        (_zip("in.x.npy", pickle.dumps(_Boom())), "golden vectors"),
        (_zip("in.x.npy", _lying_header()), "golden vectors"),
        (_zip("in.x.npy", _npy(golden_x()) + b"more"), "shorter or longer than its header"),
        (_zip("../../evil.npy", _npy(golden_x())), "need arrays named"),
        (dump_golden({"x": golden_x()}, {}), "need arrays named"),
        (dump_golden({"x": golden_x(3)}, {"score": np.zeros(4, np.float32)}), "differ in their"),
        (dump_golden({"x": golden_x(0)}, {"score": np.zeros(0, np.float32)}), "there are none"),
        (b"PK nothing", "golden vectors do not decode"),
    ],
)
def test_golden_vectors_are_not_trusted(raw: bytes, told: str) -> None:
    with pytest.raises(ModelError, match=told):
        parse_golden(raw)
    assert not os.path.exists("/tmp/edge-agent-pickle-was-run")  # noqa: PTH110, S108


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (_zip("in.x.npy", bytes(100 << 20)), "unpack to more than 64 MiB"),
        (
            dump_golden({"y": golden_x()}, {"score": np.zeros(3, np.float32)}),
            "do not contain every input",
        ),
        (
            dump_golden({"x": golden_x()[:, :4]}, {"score": np.zeros(3, np.float32)}),
            "do not contain every input",
        ),
        (
            dump_golden({"x": golden_x()}, {"score": np.full(3, 9, np.float32)}),
            "golden vectors are not reproduced: score is off by 8",
        ),
    ],
)
def test_golden_vectors_must_fit_and_be_reproduced(folder: Path, raw: bytes, told: str) -> None:
    replace_file(folder, "golden.npz", raw)
    assert told in refusal(folder)


@given(st.data())
def test_damaged_golden_vectors_are_read_or_refused(data: st.DataObject) -> None:
    raw = bytearray(dump_golden({"x": golden_x(1)}, {"score": np.zeros(1, np.float32)}))
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at : at + data.draw(st.integers(0, 8))] = data.draw(st.binary(max_size=8))
    with suppress(ModelError):
        parse_golden(bytes(raw))


def test_the_bomb_of_this_test_is_a_bomb() -> None:
    """100 MiB of zeros pack into less than 1 % of what they unpack to."""
    assert len(_zip("in.x.npy", bytes(100 << 20))) < 1 << 20


def test_several_outputs_in_two_shapes_are_fine(tmp_path: Path) -> None:
    """[N, 1] is as good a score as [N]."""
    nodes = [helper.make_node("ReduceMean", ["x"], ["score"], axes=[2], keepdims=0)]
    proto = model(nodes)
    proto.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 1
    proto.graph.output[0].CopyFrom(
        helper.make_tensor_value_info("score", TensorProto.FLOAT, ["N", 1])
    )
    x = golden_x()[:, :1]
    one = manifest(name="one", window=manifest().window.__class__(1.0, 1, 1))
    write_bundle(tmp_path / "one", one, proto.SerializeToString(), ({"x": x}, {"score": x.mean(2)}))
    assert verify_bundle(tmp_path / "one") == []


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (-signal.SIGKILL, "too much memory"),
        (-signal.SIGXCPU, "too much time"),
        (-signal.SIGSEGV, "crashed the runtime"),
        (-signal.SIGTERM, "SIGTERM"),
        (1, "ended with code 1: ImportError: no onnx"),
    ],
)
def test_the_end_of_a_child_is_told_in_words(code: int, told: str) -> None:
    done = subprocess.CompletedProcess([], code, b"", b"Traceback\nImportError: no onnx\n")
    assert told in exit_reason(done)


def test_a_manifest_that_changes_while_it_is_verified_is_refused(folder: Path) -> None:
    """What the child tries is what the daemon has read, and no other."""
    other = sha256((folder / "model.yaml").read_bytes() + b"\n").hexdigest()
    assert probe(folder, other).problems == [
        ("files", f"{folder}: model.yaml changes while it is verified")
    ]


def test_a_child_that_never_ends_is_ended(folder: Path) -> None:
    """After the time that the bundle's kind allows."""
    (problem,) = probe(folder, "", replace(WINDOW, wall_s=0.01)).problems
    assert problem == ("limits", f"{folder}: it took more than 0.01 s to try the model")


def bundle_giving(folder: Path, nodes: list[onnx.NodeProto], **weights: Any) -> Path:
    """A bundle of a graph of those nodes, with the golden outputs that it gives."""
    raw = bytes(model(nodes, weights).SerializeToString())
    x = golden_x(6) * np.arange(1, 7, dtype=np.float32)[:, None, None]
    (score,) = onnxruntime.InferenceSession(raw).run(None, {"x": x})
    write_bundle(folder, manifest(name=folder.name), raw, Golden({"x": x}, {"score": score}))
    return folder


@pytest.mark.parametrize("weight", [np.nan, np.inf, -np.inf])
def test_a_model_that_gives_no_numbers_is_refused(tmp_path: Path, weight: float) -> None:
    """At work it would only be found when it has already replaced the version before."""
    nodes = [helper.make_node("Mul", ["x", "w"], ["scaled"]), mean_node("scaled")]
    folder = bundle_giving(tmp_path / "mean", nodes, w=np.float32(weight))
    assert "golden: " in refusal(folder)
    assert "score is not a number (NaN) or is infinite for 6 of 6 golden rows" in refusal(folder)


@pytest.mark.parametrize(
    "nodes",
    [
        [
            helper.make_node("ReduceMean", ["x"], ["level"], keepdims=1),
            helper.make_node("Sub", ["x", "level"], ["centred"]),
            mean_node("centred"),
        ],
        [
            helper.make_node("ReduceMax", ["x"], ["top"], axes=[0], keepdims=1),
            helper.make_node("Div", ["x", "top"], ["scaled"]),
            mean_node("scaled"),
        ],
        [
            mean_node("x", "means"),
            helper.make_node("CumSum", ["means", "axis"], ["score"]),
        ],
    ],
    ids=["centred by the batch", "scaled by the batch", "summed along the batch"],
)
def test_rows_that_depend_on_each_other_are_refused(
    tmp_path: Path, nodes: list[onnx.NodeProto]
) -> None:
    """A machine's score would change with the number of others that are due."""
    folder = bundle_giving(tmp_path / "mean", nodes, axis=np.array(0, np.int64))
    assert "rows: " in refusal(folder)
    assert "score of a row depends on the other rows" in refusal(folder)
