"""Of a model's variants the device uses the fastest that agrees with fp32, healthy or not."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper
from tiny_models import (
    CHANNELS,
    LENGTH,
    manifest,
    mean_node,
    model,
    scaled_model,
    write_mean_bundle,
)

from edge_agent.config.settings import Runtime, Trust
from edge_agent.config.types import Name
from edge_agent.models.bundle.bundle import load_manifest, try_bundle, verify_bundle, write_bundle
from edge_agent.models.bundle.golden import Golden
from edge_agent.models.bundle.manifest import InputSpec, Manifest, WindowSpec
from edge_agent.models.bundle.tasks import OutputNames, Task
from edge_agent.models.bundle.variants import (
    Figures,
    Timing,
    Trial,
    choose,
    compare,
    parity,
    parse_trial,
    row_groups,
    timed,
)
from edge_agent.models.runtime.registry import SessionRegistry
from edge_agent.ops.metrics import Metrics

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from edge_agent.models import Tensors

THRESHOLD = 2.0
UNSIGNED = Trust(allow_unsigned=("*",))


def slow_model(loops: int = 300) -> bytes:
    """score = mean of the window, the long way round."""
    nodes = []
    last = "x"
    for number in range(loops):
        nodes.append(helper.make_node("Sin", [last], [f"s{number}"]))
        nodes.append(helper.make_node("Mul", [f"s{number}", "zero"], [f"z{number}"]))
        nodes.append(helper.make_node("Add", ["x", f"z{number}"], [f"a{number}"]))
        last = f"a{number}"
    nodes.append(mean_node(last))
    return bytes(model(nodes, {"zero": np.zeros(1, np.float32)}).SerializeToString())


def clamped_model(most: float) -> bytes:
    """Right up to `most`, as int8 calibrated on healthy data is."""
    nodes = [helper.make_node("Clip", ["x", "", "most"], ["clipped"]), mean_node("clipped")]
    return bytes(model(nodes, {"most": np.float32(most)}).SerializeToString())


def golden(*, marked: bool = True) -> Golden:
    """Four healthy windows around 1, four anomalous ones around 5."""
    random = np.random.default_rng(0)
    levels = np.repeat([1.0, 5.0], 4)[:, None, None]
    x = (levels + random.random((8, LENGTH, CHANNELS))).astype(np.float32)
    marks = np.repeat([0, 1], 4).astype(np.int64) if marked else None
    return Golden({"x": x}, {"score": x.mean(axis=(1, 2))}, marks)


def bundle(folder: Path, onnx_bytes: bytes, **variants: bytes) -> Path:
    write_bundle(folder, manifest(name=folder.name), onnx_bytes, golden(), variants=variants)
    return folder


def trial_of(folder: Path) -> Trial:
    problems, trial = try_bundle(folder)
    assert problems == []
    return trial


def refused(trial: Trial, variant: str) -> str:
    return next(row.refused for row in trial.figures if row.variant == variant)


# -- on the device ----------------------------------------------------------------------------


def test_the_faster_variant_that_agrees_is_the_one_at_work(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bundle(tmp_path / "mean", slow_model(), int8=scaled_model(1.001))
    with caplog.at_level(logging.INFO, "edge_agent.models"):
        active = SessionRegistry(tmp_path, Runtime(), Metrics(), UNSIGNED).load("mean")
    assert active.variant == "int8"
    assert [row.variant for row in active.trial.figures] == ["fp32", "int8"]
    x = golden().inputs["x"]
    assert active.infer({"x": x}).score == pytest.approx(1.001 * x.mean(axis=(1, 2)))
    told = [record.__dict__ for record in caplog.records if record.message == "model variant"]
    assert [(row["variant"], row["reason"]) for row in told] == [
        ("fp32", "slower"),
        ("int8", "at work"),
    ]
    assert told[0]["p50_us_batch_64"] > told[1]["p50_us_batch_64"] > 0


def test_a_variant_that_differs_on_anomalous_rows_only_is_refused(tmp_path: Path) -> None:
    """It is far faster, and the same for every healthy window."""
    trial = trial_of(bundle(tmp_path / "mean", slow_model(), int8=clamped_model(2.5)))
    assert trial.chosen == "fp32"
    assert "anomalous rows: score is" in refused(trial, "int8")


def test_a_variant_that_differs_on_healthy_rows_only_is_refused(tmp_path: Path) -> None:
    nodes = [helper.make_node("Max", ["x", "least"], ["raised"]), mean_node("raised")]
    floor = bytes(model(nodes, {"least": np.float32(4.0)}).SerializeToString())
    trial = trial_of(bundle(tmp_path / "mean", slow_model(), int8=floor))
    assert trial.chosen == "fp32"
    assert "healthy rows: score is" in refused(trial, "int8")


def test_a_slower_variant_leaves_fp32_at_work(tmp_path: Path) -> None:
    trial = trial_of(bundle(tmp_path / "mean", scaled_model(1.0), int8=slow_model()))
    assert trial.chosen == "fp32"
    assert "no faster" in refused(trial, "int8")


def test_the_fastest_of_several_variants_is_chosen(tmp_path: Path) -> None:
    folder = bundle(
        tmp_path / "mean",
        slow_model(400),
        **{"int8": slow_model(100), "int8-avx512": scaled_model(1.0)},
    )
    assert trial_of(folder).chosen == "int8-avx512"


def test_a_variant_that_does_not_run_here_costs_nothing_but_itself(tmp_path: Path) -> None:
    """Reshape to what does not fit: the graph is allowed, the run fails."""
    nodes = [
        helper.make_node("Reshape", ["x", "shape"], ["r"]),
        helper.make_node("ReduceMean", ["r"], ["score"], axes=[1], keepdims=0),
    ]
    proto = model(nodes, {"shape": np.array([7, 11], np.int64)})
    folder = bundle(tmp_path / "mean", slow_model(), int8=bytes(proto.SerializeToString()))
    trial = trial_of(folder)
    assert trial.chosen == "fp32"
    assert "does not run here" in refused(trial, "int8")


def test_a_forbidden_operator_in_a_variant_refuses_the_bundle(tmp_path: Path) -> None:
    nodes = [helper.make_node("RandomNormalLike", ["x"], ["y"]), mean_node("y")]
    random = bytes(model(nodes).SerializeToString())
    (problem,) = verify_bundle(bundle(tmp_path / "mean", scaled_model(1.0), int8=random))
    assert problem.reason == "graph"
    assert "model.int8.onnx: operator RandomNormalLike is not allowed" in problem.text


def test_a_changed_variant_refuses_the_bundle(tmp_path: Path) -> None:
    folder = bundle(tmp_path / "mean", scaled_model(1.0), int8=scaled_model(1.0))
    (folder / "model.int8.onnx").write_bytes(scaled_model(9.0))
    assert [problem.reason for problem in verify_bundle(folder)] == ["checksum"]


def test_a_variant_that_fails_in_the_daemon_itself_gives_way_to_fp32(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever the child found: the daemon compares once more."""
    bundle(tmp_path / "mean", scaled_model(1.0), int8=clamped_model(2.5))
    lie = Trial("int8", (Figures("fp32"), Figures("int8")))
    monkeypatch.setattr("edge_agent.models.runtime.registry.try_files", lambda *_: ([], lie))
    active = SessionRegistry(tmp_path, Runtime(), Metrics(), UNSIGNED).load("mean")
    assert active.variant == "fp32"
    assert "model variant refused" in [record.message for record in caplog.records]


def test_another_provider_than_the_cpu_keeps_fp32(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trial ran on the CPU and says nothing of a GPU."""
    bundle(tmp_path / "mean", slow_model(), int8=scaled_model(1.0))
    found = SessionRegistry(tmp_path, Runtime(), Metrics(), UNSIGNED)
    monkeypatch.setattr(found, "_providers", ("cuda", "cpu"))
    with pytest.warns(UserWarning, match="CUDAExecutionProvider"):
        assert found.load("mean").variant == "fp32"


def test_a_bundle_without_variants_has_no_trial(tmp_path: Path) -> None:
    write_mean_bundle(tmp_path / "mean")
    assert trial_of(tmp_path / "mean") == Trial(steady=True)


# -- agreeing ---------------------------------------------------------------------------------


def shifted(change: Callable[[NDArray[Any]], NDArray[Any]]) -> tuple[float, str]:
    truth = golden()
    return parity(manifest(), truth, {"score": change(truth.outputs["score"].copy())})


def test_what_is_the_same_agrees() -> None:
    assert shifted(lambda score: score) == (0.0, "")


def test_one_percent_is_the_most_that_a_score_may_be_off() -> None:
    assert shifted(lambda score: score * 1.0099)[1] == ""
    assert "score is 1.01% off" in shifted(lambda score: score * 1.0101)[1]


def test_no_row_may_change_sides() -> None:
    """Off by little on average, but one alarm more."""
    truth = golden()
    score = truth.outputs["score"].copy()
    score[0] = 1.97
    base = truth._replace(outputs={"score": score})
    found = score.copy()
    found[0] = 2.01
    off, why = parity(manifest(threshold=THRESHOLD), base, {"score": found})
    assert off < 0.01
    assert why == "1 rows are on the other side of the threshold than fp32's"


def test_a_row_at_the_threshold_may_be_on_either_side() -> None:
    truth = golden()
    score = truth.outputs["score"].copy()
    score[0] = 1.99
    found = score.copy()
    found[0] = 2.01
    base = truth._replace(outputs={"score": score})
    assert parity(manifest(threshold=THRESHOLD), base, {"score": found})[1] == ""


def test_gaps_must_be_the_same() -> None:
    def gap(score: NDArray[Any]) -> NDArray[Any]:
        score[0] = np.nan
        return score

    assert "shape and gaps" in shifted(gap)[1]


def test_without_anomalous_rows_nothing_is_shown() -> None:
    truth = golden()
    marks = np.zeros(8, np.int64)
    _, why = parity(manifest(), truth._replace(anomalous=marks), truth.outputs)
    assert why == "the golden vectors contain no anomalous rows to compare on"


def test_rows_that_are_not_marked_are_told_by_the_threshold() -> None:
    groups = row_groups(manifest(threshold=THRESHOLD), golden(marked=False))
    assert groups["anomalous"].tolist() == [False] * 4 + [True] * 4


CLASSES = Manifest(
    name=Name("classes"),
    version=Name("1"),
    task=Task.CLASSIFICATION,
    inputs=(InputSpec("a"),),
    outputs=OutputNames(probabilities="p"),
    window=WindowSpec(length=1),
    threshold=0.5,
    classes=("healthy", "inner", "outer"),
)
LIFE = Manifest(
    name=Name("life"),
    version=Name("1"),
    task=Task.REMAINING_LIFE,
    inputs=(InputSpec("a"),),
    outputs=OutputNames(rul="rul"),
    window=WindowSpec(length=1),
    threshold=50.0,
)
NO_X: Tensors = {"x": np.zeros((2, 1, 1), np.float32)}


def test_of_probabilities_the_class_and_one_hundredth_count() -> None:
    truth = np.array([[0.9, 0.05, 0.05], [0.1, 0.46, 0.44]], np.float32)
    base = Golden(NO_X, {"p": truth}, np.array([0, 1]))
    near = truth + np.array([[0.0, 0, 0], [0.0, -0.008, 0.008]], np.float32)
    assert parity(CLASSES, base, {"p": near})[1] == ""
    other = truth + np.array([[0.0, 0, 0], [0.0, -0.0125, 0.0125]], np.float32)
    assert "1 rows have another class" in parity(CLASSES, base, {"p": other})[1]
    far = truth + np.array([[-0.06, 0.03, 0.03], [0.0, 0, 0]], np.float32)
    assert "healthy rows: probabilities is 4.00% off" in parity(CLASSES, base, {"p": far})[1]


def test_every_quantile_of_a_remaining_life_counts() -> None:
    """A p90 that is far off is not hidden by a p10 and p50 that are exact."""
    truth = np.array([[90, 100, 110], [5, 10, 20]], np.float32)
    base = Golden(NO_X, {"rul": truth}, np.array([0, 1]))
    found = truth + np.array([[0, 0, 0], [0, 0, 0.2]], np.float32)
    assert "anomalous rows: rul is 1.71% off" in parity(LIFE, base, {"rul": found})[1]


def test_contributions_are_held_against_the_score() -> None:
    """A contribution of nothing may be a little of something."""
    both = manifest(outputs=OutputNames(score="score", contributions="c"))
    score = np.array([1.0, 5.0], np.float32)
    shares = np.array([[1.0, 0.0], [5.0, 0.0]], np.float32)
    base = Golden(NO_X, {"score": score, "c": shares}, np.array([0, 1]))
    assert parity(both, base, {"score": score, "c": shares + np.float32(0.009)})[1] == ""
    assert "contributions is" in parity(both, base, {"score": score, "c": shares + 0.02})[1]


# -- timing -----------------------------------------------------------------------------------


class Stopwatch:
    """Time that goes on only while somebody runs."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def runner(self, seconds: float, seen: list[int]) -> Callable[[Any], object]:
        def run(feeds: Any) -> None:
            seen.append(len(feeds["x"]))
            self.now += seconds

        return run


def test_both_run_in_turns_and_the_median_counts() -> None:
    clock, seen = Stopwatch(), list[int]()
    slow, fast = clock.runner(2e-4, seen), clock.runner(1e-4, seen)
    rows = compare((slow, fast), golden().inputs, (1, 64), 2.0, clock)
    assert [row.batch for row in rows] == [1, 64]
    assert [row.p50_us for row in rows] == [pytest.approx((200, 100))] * 2
    assert set(seen) == {1, 64}


@pytest.mark.parametrize(("seconds", "most"), [(1e-6, 300), (0.05, 20), (3.0, 2)])
def test_the_time_for_a_trial_is_bounded(seconds: float, most: int) -> None:
    """Also of a model of which one run takes seconds."""
    clock, seen = Stopwatch(), list[int]()
    run = clock.runner(seconds, seen)
    compare((run, run), golden().inputs, (16,), 2.0, clock)
    assert len(seen) <= 2 * most
    assert set(seen) == {16}


def test_a_variant_must_be_clearly_faster() -> None:
    rows = [Timing(1, (20.0, 10.0), (20.0, 10.0)), Timing(64, (80.0, 85.0), (80.0, 85.0))]
    assert timed("int8", rows, 0.001) == Figures("int8", ((1, 10.0), (64, 85.0)), 0.95, 0.001)
    slow = [Timing(1, (100.0, 50.0), (100.0, 96.0))]
    assert timed("int8", slow, 0.0).refused == "no faster: 96% of fp32's time"


def test_a_busy_machine_does_not_decide() -> None:
    """Every second run of the faster one is held up; its best runs count."""
    clock, seen = Stopwatch(), list[int]()
    quick, held_up = clock.runner(1e-4, seen), clock.runner(5e-4, seen)

    def busy(feeds: Any) -> None:
        (held_up if len(seen) % 4 == 1 else quick)(feeds)

    rows = compare((clock.runner(2e-4, seen), busy), golden().inputs, (64,), 2.0, clock)
    assert rows[0].p50_us[1] > rows[0].p50_us[0]
    assert timed("int8", rows, 0.0).relative == pytest.approx(0.5)


def test_the_fastest_is_so_by_what_ran_in_turns_with_it() -> None:
    """A machine that was busy for one of them says nothing about it."""
    quiet = Figures("int8", ((1, 60.0),), relative=0.6)
    busy = Figures("int8-avx512", ((1, 90.0),), relative=0.3)
    assert choose((Figures("fp32", ((1, 100.0),)), quiet, busy)) == "int8-avx512"


def test_fp32_is_chosen_where_nothing_else_fits() -> None:
    every = (Figures("fp32", ((1, 9.0),)), Figures("int8", ((1, 1.0),), refused="differs"))
    assert choose(every) == "fp32"


# -- what the child says ----------------------------------------------------------------------


def test_a_trial_survives_the_way_from_the_child() -> None:
    has_int8 = manifest(variants=("int8",))
    trial = Trial("int8", (Figures("fp32", ((1, 9.5),)), Figures("int8", ((1, 2.5),), 0.3, 0.001)))
    assert parse_trial(trial.as_json(), has_int8) == trial


KEYS = st.sampled_from(
    ["chosen", "figures", "variant", "p50_us", "relative", "difference", "refused", "1"]
)
ANY_JSON = st.recursive(
    st.none() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner),
)


@given(ANY_JSON)
def test_whatever_a_child_says_is_a_trial(found: object) -> None:
    assert isinstance(parse_trial(found, manifest(variants=("int8",))), Trial)


def row(**changes: Any) -> dict[str, object]:
    return {
        "variant": "int8",
        "p50_us": {},
        "relative": 1,
        "difference": 0,
        "refused": "",
    } | changes


@pytest.mark.parametrize(
    "found",
    [
        {"chosen": "int4", "figures": []},
        {"chosen": "int8", "figures": [row(variant="../x")]},
        {"chosen": "int8", "figures": [row(p50_us={"1": float("nan")})]},
        {"chosen": "int8"},
        None,
    ],
)
def test_a_report_that_does_not_fit_means_fp32(found: object) -> None:
    assert parse_trial(found, manifest(variants=("int8",))) == Trial()


def test_the_manifest_names_the_variants_that_have_files(tmp_path: Path) -> None:
    bundle(tmp_path / "mean", scaled_model(1.0), int8=scaled_model(1.0))
    found = load_manifest(tmp_path / "mean")
    assert found.variants == ("int8",)
    assert set(found.sha256) == {"model.onnx", "golden.npz", "model.int8.onnx"}
