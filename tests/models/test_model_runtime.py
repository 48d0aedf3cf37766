"""Sessions: batches, providers, versions, time budgets, memory, and no trace outside the house."""

from __future__ import annotations

import gc
import logging
import os
import re
import shutil
import subprocess
import sys
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import pytest
from onnx import TensorProto, helper
from tiny_models import (
    INPUTS,
    endless_model,
    golden_x,
    manifest,
    mean_model,
    model,
    replace_file,
    scaled_model,
    wave,
    write_mean_bundle,
)

from edge_agent.config.settings import Runtime, Trust
from edge_agent.errors import ModelError
from edge_agent.models.bundle.bundle import verify_bundle
from edge_agent.models.bundle.foreign import bundle_from_onnx
from edge_agent.models.bundle.manifest import WindowSpec
from edge_agent.models.bundle.tasks import OutputNames, Outputs, Task
from edge_agent.models.bundle.variants import Trial
from edge_agent.models.runtime import graph_session
from edge_agent.models.runtime import registry as registry_module
from edge_agent.models.runtime.graph_engine import model_of_graph
from edge_agent.models.runtime.providers import choose_providers
from edge_agent.models.runtime.registry import SessionRegistry
from edge_agent.testing import tiny_graph

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.models.runtime.model import Model
    from edge_agent.ops.metrics import Metrics

ROOT = Path(__file__).resolve().parents[2]
CPU = ("CPUExecutionProvider",)


def opened(onnx_bytes: bytes, max_batch: int = 64, **changes: Any) -> Model:
    return model_of_graph(manifest(**changes), onnx_bytes, max_batch)


@pytest.fixture
def registry(tmp_path: Path, metrics: Metrics) -> SessionRegistry:
    write_mean_bundle(tmp_path / "mean")
    return SessionRegistry(tmp_path, Runtime(), metrics, Trust(allow_unsigned=("*",)))


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"edge_agent_{name}", labels)


# -- batches --------------------------------------------------------------------------------------


@pytest.mark.parametrize("windows", [1, 2, 3, 5, 63, 64, 65, 200])
@pytest.mark.parametrize("max_batch", [1, 64, 100])
def test_a_batch_of_any_size_gives_what_single_windows_give(windows: int, max_batch: int) -> None:
    x = golden_x(windows)
    loaded = opened(mean_model(), max_batch)
    single = np.concatenate([loaded.infer({"x": x[i : i + 1]}).score for i in range(windows)])
    assert np.array_equal(loaded.infer({"x": x}).score, single)


def test_only_a_few_shapes_ever_reach_the_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: set[int] = set()
    real: Any = vars(graph_session)["open_session"]

    class Spy:
        def __init__(self, raw: bytes, providers: object) -> None:
            self.session = real(raw, providers)
            self.get_inputs = self.session.get_inputs
            self.get_providers = self.session.get_providers

        def run(self, names: list[str], feeds: dict[str, np.ndarray], options: object) -> object:
            seen.add(len(feeds["x"]))
            return self.session.run(names, feeds, options)

    monkeypatch.setattr(graph_session, "open_session", Spy)
    loaded = opened(mean_model(), 100)
    for windows in range(1, 301):
        assert len(loaded.infer({"x": golden_x(windows)}).score) == windows
    assert seen == {1, 2, 4, 8, 16, 32, 64, 100}


def test_a_graph_exported_for_one_window_takes_many() -> None:
    x = golden_x(7)
    assert np.allclose(opened(mean_model(batch=1)).infer({"x": x}).score, x.mean(axis=(1, 2)))


def test_rows_cuts_every_output() -> None:
    whole = Outputs(np.arange(4.0, dtype=np.float32), rul=np.zeros((4, 3), np.float32))
    part = whole.rows(1, 3)
    assert part.score.tolist() == [1.0, 2.0]
    assert part.rul is not None
    assert part.rul.shape == (2, 3)
    assert part.health is None


@pytest.mark.parametrize(
    "x",
    [golden_x()[:, :4], golden_x().astype(np.float64), golden_x()[0]],
    ids=["length", "dtype", "rank"],
)
def test_an_input_that_does_not_fit_is_an_error_of_ours(x: np.ndarray) -> None:
    with pytest.raises(ModelError, match="mean"):
        opened(mean_model()).infer({"x": x})


def heads_model(name: str, width: int, source: str = "x") -> bytes:
    """An output [N, width]: the window's mean plus 0, 1, 2, .."""
    proto = model(
        [
            helper.make_node("ReduceMean", [source], ["mean"], axes=[1, 2], keepdims=0),
            helper.make_node("Unsqueeze", ["mean", "one"], ["column"]),
            helper.make_node("Add", ["column", "steps"], [name]),
        ],
        {"one": np.array([1], np.int64), "steps": np.arange(width, dtype=np.float32)},
    )
    proto.graph.output[0].CopyFrom(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", width])
    )
    return bytes(proto.SerializeToString())


def test_a_classifier_scores_the_probability_of_any_fault() -> None:
    loaded = opened(
        heads_model("p", 3),
        task=Task.CLASSIFICATION,
        outputs=OutputNames(probabilities="p"),
        classes=("healthy", "worn", "blocked"),
    )
    found = loaded.infer({"x": golden_x()})
    assert found.probabilities is not None
    assert found.probabilities.shape == (3, 3)
    assert np.allclose(found.score, 1 - found.probabilities[:, 0])


def test_remaining_life_scores_its_median() -> None:
    loaded = opened(heads_model("rul", 3), task=Task.REMAINING_LIFE, outputs=OutputNames(rul="rul"))
    found = loaded.infer({"x": golden_x()})
    assert found.rul is not None
    assert np.array_equal(found.score, found.rul[:, 1])


def test_waveforms_are_inputs_of_their_own() -> None:
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["a"], axes=[1, 2], keepdims=0),
        helper.make_node("ReduceMax", ["wave"], ["b"], axes=[1], keepdims=0),
        helper.make_node("Add", ["a", "b"], ["score"]),
    ]
    raw = tiny_graph(nodes, {"x": ("N", 8, 2), "wave": ("N", 16)}, {"score": ("N",)})
    loaded = opened(raw.SerializeToString(), inputs=(*INPUTS, wave("wave", 16)))
    x, samples = golden_x(5), np.random.default_rng(1).random((5, 16)).astype(np.float32)
    score = loaded.infer({"x": x, "wave": samples}).score
    assert np.allclose(score, x.mean(axis=(1, 2)) + samples.max(axis=1))


# -- time -----------------------------------------------------------------------------------------


def test_a_run_that_never_ends_is_ended() -> None:
    """The endless Loop that verification refuses, given to a session all the same."""
    endless = opened(endless_model())
    with pytest.raises(ModelError, match=r"(?i)terminate"):
        endless.infer({"x": golden_x(1)}, 0.2)


def test_a_run_within_its_budget_is_not_disturbed() -> None:
    loaded = opened(mean_model())
    x = golden_x(70)
    assert np.array_equal(loaded.infer({"x": x}, 30).score, loaded.infer({"x": x}).score)


# -- providers ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wished", "available", "used", "missing"),
    [
        (("cpu",), ("CPUExecutionProvider",), ("cpu",), ()),
        (("cuda", "cpu"), ("CPUExecutionProvider",), ("cpu",), ("cuda",)),
        (
            ("tensorrt", "cuda"),
            ("CUDAExecutionProvider", "CPUExecutionProvider"),
            ("cuda", "cpu"),
            ("tensorrt",),
        ),
        (
            ("cpu", "cuda"),
            ("CUDAExecutionProvider", "CPUExecutionProvider"),
            ("cpu", "cuda"),
            (),
        ),
    ],
)
def test_wishes_are_split_by_what_is_there(
    wished: tuple[str, ...],
    available: tuple[str, ...],
    used: tuple[str, ...],
    missing: tuple[str, ...],
) -> None:
    report = choose_providers(wished, available)
    assert (report.used, report.missing) == (used, missing)


def test_an_unknown_provider_is_an_error_with_the_known_ones() -> None:
    with pytest.raises(ModelError, match="tensorrt, cuda, cpu"):
        choose_providers(("gpu",), CPU)


def test_a_missing_provider_is_logged_once_and_counted(
    tmp_path: Path,
    metrics: Metrics,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_mean_bundle(tmp_path / "mean")
    monkeypatch.setattr(registry_module, "available_providers", lambda: list(CPU))
    with caplog.at_level(logging.WARNING, "edge_agent.models"):
        found = SessionRegistry(tmp_path, Runtime(providers=("tensorrt", "cpu")), metrics)
    assert found.load("mean").provider == "CPUExecutionProvider"
    told = [r.message for r in caplog.records if "provider" in r.message]
    assert told == ["execution provider missing"]
    assert value(metrics, "provider_missing", provider="tensorrt") == 1
    assert value(metrics, "provider_missing", provider="cpu") == 0


def test_a_required_provider_that_is_missing_ends_it(
    tmp_path: Path, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry_module, "available_providers", lambda: list(CPU))
    with pytest.raises(ModelError) as refused:
        SessionRegistry(tmp_path, Runtime(providers=("tensorrt",), required=True), metrics)
    assert refused.value.where == "runtime.providers"


def test_a_silent_fallback_to_the_cpu_is_noticed(
    tmp_path: Path, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The runtime says it has CUDA; the session then quietly comes without it."""
    write_mean_bundle(tmp_path / "mean")
    both = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(registry_module, "available_providers", lambda: both)
    real: Any = vars(graph_session)["open_session"]
    monkeypatch.setattr(graph_session, "open_session", lambda raw, _: real(raw, CPU))
    found = SessionRegistry(tmp_path, Runtime(providers=("cuda", "cpu")), metrics)
    assert value(metrics, "provider_missing", provider="cuda") == 0
    found.load("mean")
    assert value(metrics, "provider_missing", provider="cuda") == 1
    strict = SessionRegistry(tmp_path, Runtime(providers=("cuda", "cpu"), required=True), metrics)
    with pytest.raises(ModelError, match="driver or library"):
        strict.load("mean")


def test_a_gpu_on_which_golden_vectors_fail_is_left_for_the_cpu(
    tmp_path: Path,
    metrics: Metrics,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its arithmetic differs too much for this model; other models stay on it."""
    write_mean_bundle(tmp_path / "mean")
    both = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(registry_module, "available_providers", lambda: both)
    real: Any = vars(graph_session)["open_session"]

    def session(raw: bytes, providers: tuple[str, ...]) -> object:
        if "CUDAExecutionProvider" not in providers:
            return real(raw, providers)
        wrong = real(scaled_model(1.01), CPU)
        monkeypatch.setattr(wrong, "get_providers", lambda: both)
        return wrong

    monkeypatch.setattr(graph_session, "open_session", session)
    with caplog.at_level(logging.WARNING, "edge_agent.models"):
        model = SessionRegistry(tmp_path, Runtime(providers=("cuda", "cpu")), metrics).load("mean")
    assert model.provider == "CPUExecutionProvider"
    assert "execution provider refused" in [record.message for record in caplog.records]
    assert value(metrics, "provider_missing", provider="cuda") == 0
    strict = SessionRegistry(tmp_path, Runtime(providers=("cuda", "cpu"), required=True), metrics)
    with pytest.raises(ModelError, match="not reproduced"):
        strict.load("mean")


# -- versions beside each other -------------------------------------------------------------------


def test_the_next_version_is_loaded_beside_the_one_before(
    registry: SessionRegistry, tmp_path: Path
) -> None:
    old = registry.load("mean")
    write_mean_bundle(tmp_path / "mean", factor=3.0, version="2")
    new = registry.load("mean")
    assert (old.manifest.version, new.manifest.version) == ("1", "2")
    assert np.allclose(new.infer({"x": golden_x()}).score, 3 * old.infer({"x": golden_x()}).score)


def test_the_same_bundle_is_not_loaded_twice(registry: SessionRegistry, tmp_path: Path) -> None:
    """Wherever it lies; it is loaded anew once nobody uses it any more."""
    first = registry.load("mean")
    shutil.copytree(tmp_path / "mean", tmp_path / "copy")
    assert registry.load("mean") is first
    assert registry.load("mean", tmp_path / "copy") is first
    gone = weakref.ref(first)
    del first
    gc.collect()
    assert gone() is None


def _other_bytes(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(scaled_model(5.0))


def _other_golden(folder: Path) -> None:
    replace_file(folder, "model.onnx", scaled_model(5.0))


def _endless(folder: Path) -> None:
    replace_file(folder, "model.onnx", endless_model())


def _no_yaml(folder: Path) -> None:
    (folder / "model.yaml").write_text("name: mean")


def _renamed(folder: Path) -> None:
    text = (folder / "model.yaml").read_text()
    (folder / "model.yaml").write_text(text.replace("name: mean", "name: other"))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (_other_bytes, "checksum"),
        (_other_golden, "golden"),
        (_endless, "graph"),
        (_no_yaml, "manifest"),
        (_renamed, "manifest"),
    ],
)
def test_a_bundle_that_is_refused_leaves_the_old_one_as_it_was(  # noqa: PLR0917 (fixtures)
    registry: SessionRegistry,
    tmp_path: Path,
    metrics: Metrics,
    caplog: pytest.LogCaptureFixture,
    spoil: Callable[[Path], None],
    reason: str,
) -> None:
    old = registry.load("mean")
    before = old.infer({"x": golden_x()}).score
    write_mean_bundle(tmp_path / "mean", factor=3.0, version="2")
    spoil(tmp_path / "mean")
    with pytest.raises(ModelError):
        registry.load("mean")
    assert np.array_equal(old.infer({"x": golden_x()}).score, before)
    assert value(metrics, "model_rejected_total", model="mean", reason=reason) == 1
    assert [r.message for r in caplog.records] == ["model refused"]


def test_a_refusal_is_said_again_only_where_something_changed(
    registry: SessionRegistry, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The daemon looks at a refused bundle twice while it starts."""

    def refusals() -> int:
        caplog.clear()
        for _ in range(2):
            with pytest.raises(ModelError):
                registry.load("mean")
        return [r.message for r in caplog.records].count("model refused")

    _other_bytes(tmp_path / "mean")
    assert refusals() == 1
    assert refusals() == 0
    os.utime(tmp_path / "mean" / "model.onnx", ns=(1, 1))
    assert refusals() == 1, "somebody has copied it anew"
    _no_yaml(tmp_path / "mean")
    assert refusals() == 1, "for another reason"
    write_mean_bundle(tmp_path / "mean")
    registry.load("mean")


@pytest.mark.parametrize("name", ["nowhere", "../mean", "", "a/b", "a\0b"])
def test_a_bundle_that_is_not_there_is_refused(registry: SessionRegistry, name: str) -> None:
    with pytest.raises(ModelError):
        registry.load(name)


def test_the_runtime_must_reproduce_the_golden_vectors_itself() -> None:
    """In the daemon's own process, whatever the child found: the provider may differ."""
    with pytest.raises(ModelError, match="not reproduced"):
        opened(scaled_model(2.0)).self_test(
            ({"x": golden_x()}, {"score": golden_x().mean(axis=(1, 2))})
        )


# -- memory ---------------------------------------------------------------------------------------


def heavy_model(seed: int) -> bytes:
    """8 MiB of weights."""
    weights = np.random.default_rng(seed).random((1 << 21, 1)).astype(np.float32)
    nodes = [
        helper.make_node("ReduceMean", ["w"], ["w_mean"], keepdims=0),
        helper.make_node("ReduceMean", ["x"], ["x_mean"], axes=[1, 2], keepdims=0),
        helper.make_node("Add", ["x_mean", "w_mean"], ["score"]),
    ]
    return bytes(model(nodes, {"w": weights}).SerializeToString())


@pytest.mark.slow
def test_memory_does_not_grow_over_fifty_versions(
    tmp_path: Path, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Old sessions go and their memory with them; the child is left out, for time."""
    monkeypatch.setattr(registry_module, "try_files", lambda *_: ([], Trial()))
    found = SessionRegistry(tmp_path, Runtime(), metrics)
    process = psutil.Process()
    sizes = []
    for turn in range(50):
        path = tmp_path / "heavy.onnx"
        path.write_bytes(heavy_model(turn % 3))
        bundle_from_onnx(path, tmp_path / "heavy", manifest(name="heavy", version=str(turn)))
        present = found.load("heavy")
        assert present.manifest.version == str(turn)
        gc.collect()
        found.trim()
        sizes.append(process.memory_info().rss)
    assert max(sizes[40:]) < 1.1 * max(sizes[5:15])


# -- a foreign model ------------------------------------------------------------------------------


def test_a_foreign_file_becomes_a_bundle(tmp_path: Path, metrics: Metrics) -> None:
    """Somebody's .onnx and a manifest are enough; the golden vectors pin the file."""
    (tmp_path / "theirs.onnx").write_bytes(mean_model())
    theirs = manifest(name="theirs", window=WindowSpec(0.0, 8, 4))
    bundle_from_onnx(tmp_path / "theirs.onnx", tmp_path / "theirs", theirs)
    assert verify_bundle(tmp_path / "theirs") == []
    loaded = SessionRegistry(tmp_path, Runtime(), metrics).load("theirs")
    assert np.allclose(loaded.infer({"x": golden_x()}).score, golden_x().mean(axis=(1, 2)))


def test_a_foreign_file_that_does_not_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    with pytest.raises(ModelError, match=r"broken\.onnx: not a complete ONNX model"):
        bundle_from_onnx(tmp_path / "broken.onnx", tmp_path / "broken", manifest(name="broken"))
    assert not (tmp_path / "broken").exists()


# -- no trace -------------------------------------------------------------------------------------

LOADS = """
from pathlib import Path
from edge_agent.config.schema import Runtime
from edge_agent.models import SessionRegistry
from edge_agent.ops.metrics import Metrics
import numpy as np
model = SessionRegistry(Path({folder!r}), Runtime(), Metrics()).load("mean")
model.infer({{"x": np.zeros((1, 8, 2), np.float32)}})
print(model.provider)
"""


def run_outside_ci(code: str, home: Path, prefix: list[str]) -> str:
    """Run Python with a home of its own and without the variables that hide telemetry."""
    hidden = {"CI", "ORT_DISABLE_TELEMETRY", "GITHUB_ACTIONS", "TF_BUILD"}
    kept = {name: text for name, text in os.environ.items() if name not in hidden}
    done = subprocess.run(
        [*prefix, sys.executable, "-c", code],
        env={**kept, "HOME": str(home), "XDG_CACHE_HOME": "", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_runtime_leaves_no_file_and_asks_no_network(tmp_path: Path) -> None:
    """Loading and running a bundle, children included, with CI unset: nothing under the home
    folder, and no socket but local ones (seen by strace, where it is there)."""
    write_mean_bundle(tmp_path / "models" / "mean")
    home, trace = tmp_path / "home", tmp_path / "trace"
    home.mkdir()
    strace = shutil.which("strace")
    tracing = [strace, "-f", "-qq", "-e", "trace=%network", "-o", str(trace)] if strace else []
    code = LOADS.format(folder=str(tmp_path / "models"))
    assert "CPUExecutionProvider" in run_outside_ci(code, home, tracing)
    assert list(home.rglob("*")) == []
    if strace:
        assert re.findall(r"AF_INET6?|connect\(|sendto\(", trace.read_text()) == []


def test_without_our_switch_the_runtime_does_leave_a_trace(tmp_path: Path) -> None:
    """The test above is able to fail: a bare import and session write under the home folder."""
    (tmp_path / "mean.onnx").write_bytes(mean_model())
    home = tmp_path / "home"
    home.mkdir()
    bare = (
        "import onnxruntime as ort, time\n"
        f"ort.InferenceSession({str(tmp_path / 'mean.onnx')!r}, providers=['CPUExecutionProvider'])"
    )
    run_outside_ci(bare, home, [])
    if not list(home.rglob("*")):
        pytest.skip("this version of onnxruntime leaves no trace by itself")


def test_only_one_file_imports_the_runtime() -> None:
    """The switch stands before the import because there is one import; the factory has its own."""
    files = sorted((ROOT / "edge_agent").rglob("*.py"))
    found = [
        f.name
        for f in files
        if "factory" not in f.parts
        and re.search(r"(?m)^\s*(import|from) onnxruntime", f.read_text())
    ]
    assert found == ["ort.py"]
