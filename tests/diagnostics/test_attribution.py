"""Which input a score comes from, of models whose graph does not say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper
from tiny_models import wave

from edge_agent.config.types import Name
from edge_agent.models.bundle.manifest import InputSpec, Manifest, WindowSpec
from edge_agent.models.bundle.reference_distribution import Histogram, histogram_of
from edge_agent.models.bundle.tasks import OutputNames, Task
from edge_agent.models.runtime.contributions import (
    MAX_INPUTS,
    Asked,
    contributions,
    runs_of,
)
from edge_agent.models.runtime.graph_engine import model_of_graph
from edge_agent.models.runtime.reference import Reference, reference_of
from edge_agent.testing import tiny_graph

if TYPE_CHECKING:
    from edge_agent.models.runtime.model import Model

LENGTH = 4
TASKS = {
    Task.ANOMALY: OutputNames(score="y"),
    Task.CLASSIFICATION: OutputNames(probabilities="y"),
    Task.REMAINING_LIFE: OutputNames(rul="y"),
}
WIDTH = {Task.ANOMALY: 1, Task.CLASSIFICATION: 3, Task.REMAINING_LIFE: 3}
Nodes = list[tuple[str, str, str, dict[str, Any]]]


def build(
    task: Task,
    channels: int,
    nodes: Nodes,
    weights: dict[str, np.ndarray],
    waves: tuple[InputSpec, ...] = (),
    **changes: Any,
) -> Model:
    """A model of `channels` scalars and `waves` from nodes (operator, inputs, output, ...)."""
    shape = ("N",) if task is Task.ANOMALY else ("N", WIDTH[task])
    proto = tiny_graph(
        [helper.make_node(op, i.split(), [o], **extra) for op, i, o, extra in nodes],
        {"x": ("N", LENGTH, channels), **{w.name: ("N", w.length) for w in waves}},
        {"y": shape},
        weights,
    )
    manifest = Manifest(
        name=Name("tiny"),
        version=Name("1"),
        task=task,
        inputs=(*(InputSpec(f"s{n}") for n in range(channels)), *waves),
        outputs=TASKS[task],
        window=WindowSpec(1.0, LENGTH, 1),
        classes=("healthy", "worn", "broken") if task is Task.CLASSIFICATION else (),
        **changes,
    )
    raw = proto.SerializeToString()
    return model_of_graph(manifest, raw, 16)


def mixer(task: Task, channels: int, seed: int) -> Model:
    """A small net with random weights: every input matters and they interact."""
    random = np.random.default_rng(seed)
    weights: dict[str, np.ndarray] = {
        "w1": random.standard_normal((LENGTH * channels, 6)).astype(np.float32),
        "b1": random.standard_normal(6).astype(np.float32),
        "w2": random.standard_normal((6, WIDTH[task])).astype(np.float32),
        "last": np.array([1], np.int64),
    }
    last: dict[Task, tuple[str, str, str, dict[str, Any]]] = {
        Task.ANOMALY: ("Squeeze", "z last", "y", {}),
        Task.CLASSIFICATION: ("Softmax", "z", "y", {"axis": 1}),
        Task.REMAINING_LIFE: ("Softplus", "z", "y", {}),
    }
    nodes: Nodes = [
        ("Flatten", "x", "flat", {}),
        ("Gemm", "flat w1 b1", "h", {}),
        ("Tanh", "h", "t", {}),
        ("MatMul", "t w2", "z", {}),
        last[task],
    ]
    return build(task, channels, nodes, weights)


def squares(channels: int, **changes: Any) -> Model:
    """score = sum of the squares of the inputs' means."""
    nodes: Nodes = [
        ("ReduceMean", "x", "m", {"axes": [1], "keepdims": 0}),
        ("Mul", "m m", "s", {}),
        ("ReduceSum", "s last", "y", {"keepdims": 0}),
    ]
    return build(Task.ANOMALY, channels, nodes, {"last": np.array([1], np.int64)}, **changes)


def asked(model: Model, x: np.ndarray, waves: dict[str, np.ndarray] | None = None) -> Asked:
    feeds = {"x": x.astype(np.float32), **(waves or {})}
    return Asked(feeds, model.infer(feeds).score)


def at_rest(channels: int) -> Reference:
    return Reference({"x": np.zeros((LENGTH, channels), np.float32)})


@given(st.sampled_from(list(TASKS)), st.integers(1, 7), st.integers(0, 999))
@settings(max_examples=60, deadline=None)
def test_the_shares_of_every_score_sum_to_it(task: Task, channels: int, seed: int) -> None:
    """Of any model, for any task, whatever the inputs do together."""
    model = mixer(task, channels, seed)
    x = 3 * np.random.default_rng(seed).standard_normal((5, LENGTH, channels))
    windows = asked(model, x)
    found = contributions(model, at_rest(channels), windows)
    assert found.shape == (5, channels)
    assert np.isfinite(found).all()
    slack = 1e-5 * (1 + np.abs(found).sum(axis=1).max())
    # A life that is over still has shares to tell: the median counts as a thousandth of an hour.
    wanted = np.maximum(windows.score, 1e-3) if task is Task.REMAINING_LIFE else windows.score
    assert np.allclose(found.sum(axis=1), wanted, rtol=1e-5, atol=slack)


@pytest.mark.parametrize("culprit", range(5))
def test_a_score_that_depends_on_one_input_names_it(culprit: int) -> None:
    """All of it, and nothing to the four others, though they are far from healthy, too."""
    pick = np.zeros((5, 1), np.float32)
    pick[culprit] = 2.0
    nodes: Nodes = [
        ("ReduceMean", "x", "m", {"axes": [1], "keepdims": 0}),
        ("Mul", "m m", "s", {}),
        ("MatMul", "s pick", "z", {}),
        ("Squeeze", "z last", "y", {}),
    ]
    model = build(Task.ANOMALY, 5, nodes, {"pick": pick, "last": np.array([1], np.int64)})
    windows = asked(model, np.random.default_rng(culprit).normal(3, 1, (4, LENGTH, 5)))
    found = contributions(model, at_rest(5), windows)
    assert np.allclose(found[:, culprit], windows.score, rtol=1e-5)
    assert np.allclose(np.delete(found, culprit, axis=1), 0, atol=1e-5)


def test_what_inputs_do_by_themselves_is_told_exactly() -> None:
    """Of a sum of functions of one input each, the shares are these functions."""
    model = squares(6)
    x = np.random.default_rng(0).normal(2, 1, (3, LENGTH, 6))
    found = contributions(model, at_rest(6), asked(model, x))
    assert np.allclose(found, x.mean(axis=1) ** 2, rtol=1e-4)


def test_what_two_inputs_do_together_is_halved() -> None:
    """score = a * b + c: the Shapley value; one order alone would give it all to a or all to b."""
    nodes: Nodes = [
        ("ReduceMean", "x", "m", {"axes": [1], "keepdims": 0}),
        ("Gather", "m zero", "a", {"axis": 1}),
        ("Gather", "m one", "b", {"axis": 1}),
        ("Gather", "m two", "c", {"axis": 1}),
        ("Mul", "a b", "ab", {}),
        ("Add", "ab c", "y", {}),
    ]
    weights: dict[str, np.ndarray] = {"zero": np.array(0), "one": np.array(1), "two": np.array(2)}
    model = build(Task.ANOMALY, 3, nodes, weights)
    x = np.ones((1, LENGTH, 3)) * [3.0, 4.0, 5.0]
    found = contributions(model, at_rest(3), asked(model, x))
    assert found.tolist() == [[6.0, 6.0, 5.0]]


def test_an_input_that_speaks_for_health_has_a_share_below_zero() -> None:
    """And what the model says of a healthy machine anyway goes to those that speak for a fault."""
    nodes: Nodes = [
        ("ReduceMean", "x", "m", {"axes": [1], "keepdims": 0}),
        ("MatMul", "m w", "z", {}),
        ("Squeeze", "z last", "s", {}),
        ("Add", "s offset", "y", {}),
    ]
    weights: dict[str, np.ndarray] = {
        "w": np.array([[2.0], [-1.0], [1.0]], np.float32),
        "last": np.array([1], np.int64),
        "offset": np.array(3.0, np.float32),
    }
    model = build(Task.ANOMALY, 3, nodes, weights)
    found = contributions(model, at_rest(3), asked(model, np.ones((1, LENGTH, 3))))
    assert np.allclose(found, [[2 + 2, -1, 1 + 1]], atol=1e-6)


def life_model() -> Model:
    """Hours = 100 - 30 a - 10 b + 5 c."""
    nodes: Nodes = [
        ("ReduceMean", "x", "m", {"axes": [1], "keepdims": 0}),
        ("MatMul", "m w", "z", {}),
        ("Add", "z hours", "y", {}),
    ]
    weights: dict[str, np.ndarray] = {
        "w": np.repeat([[-30.0], [-10.0], [5.0]], 3, axis=1).astype(np.float32),
        "hours": np.array([90.0, 100.0, 110.0], np.float32),
    }
    return build(Task.REMAINING_LIFE, 3, nodes, weights)


def test_of_a_remaining_life_the_shares_say_what_shortens_it() -> None:
    """Three quarters of the hours lost are a's, one is b's; what lengthens life explains none."""
    windows = asked(life_model(), np.ones((1, LENGTH, 3)))
    assert windows.score.tolist() == [65.0]
    found = contributions(life_model(), at_rest(3), windows)
    assert np.allclose(found / 65, [[0.75, 0.25, 0.0]], atol=1e-6)


def test_a_life_that_nothing_shortens_is_nobodys_fault() -> None:
    """All inputs are healthy: equal shares, which still sum to the hours."""
    windows = asked(life_model(), np.zeros((1, LENGTH, 3)))
    found = contributions(life_model(), at_rest(3), windows)
    assert np.allclose(found, 100 / 3)


def test_a_waveform_counts_as_one_input() -> None:
    """Beside the scalars, and replaced by a healthy waveform."""
    nodes: Nodes = [
        ("ReduceMean", "x", "m", {"axes": [1, 2], "keepdims": 0}),
        ("Mul", "vibration vibration", "v2", {}),
        ("ReduceMean", "v2", "power", {"axes": [1], "keepdims": 0}),
        ("Add", "m power", "y", {}),
    ]
    model = build(Task.ANOMALY, 2, nodes, {}, waves=(wave("vibration", 16),))
    quiet = np.full(16, 0.5, np.float32)
    loud = {"vibration": np.full((1, 16), 3.0, np.float32)}
    reference = Reference({"x": np.zeros((LENGTH, 2), np.float32), "vibration": quiet})
    windows = asked(model, np.ones((1, LENGTH, 2)), loud)
    found = contributions(model, reference, windows)
    assert windows.score.tolist() == [10.0]
    assert found.sum() == pytest.approx(10.0)
    assert found[0, 2] > 8 > found[0, 0] == pytest.approx(found[0, 1])


def test_it_takes_two_runs_an_input_less_one() -> None:
    """Which bounds what an alarm costs; a model of very many inputs is not explained."""
    model = squares(5)
    ran: list[int] = []
    infer = model.infer_here

    def counted(feeds: Any, *rest: Any, **more: Any) -> Any:
        ran.append(len(feeds["x"]))
        return infer(feeds, *rest, **more)

    model.infer_here = counted  # type: ignore[method-assign]
    windows = asked(model, np.ones((40, LENGTH, 5)))
    ran.clear()
    contributions(model, at_rest(5), windows)
    assert sum(ran) == 40 * runs_of(model.manifest) == 40 * 9
    assert max(ran) <= 64, "in batches that the runtime has seen"
    many = tuple(InputSpec(f"s{n}") for n in range(MAX_INPUTS + 1))
    assert runs_of(Manifest(Name("m"), Name("1"), Task.ANOMALY, many, OutputNames(score="y"))) == 0


def test_an_answer_that_is_no_number_explains_nothing() -> None:
    """A model that fails between healthy and here: the shares still are numbers, and sum."""
    nodes: Nodes = [
        ("ReduceMean", "x", "m", {"axes": [1], "keepdims": 0}),
        ("ReduceSum", "m last", "s", {"keepdims": 0}),
        ("Log", "s", "y", {}),
    ]
    model = build(Task.ANOMALY, 3, nodes, {"last": np.array([1], np.int64)})
    windows = asked(model, np.full((1, LENGTH, 3), 5.0))
    found = contributions(model, at_rest(3), windows)
    assert np.isfinite(found).all()
    assert found.sum() == pytest.approx(float(windows.score[0]), rel=1e-5)


def test_healthy_is_the_median_of_what_the_manifest_says() -> None:
    """Where there is a histogram; else the golden window that the model finds healthiest."""
    model = squares(2, healthy={"s1": histogram_of(np.linspace(6, 8, 101))})
    x = np.stack([np.full((LENGTH, 2), level) for level in (5.0, 1.0, 3.0)])
    found = reference_of(model.manifest, {"x": x}, {"y": (2 * x[:, 0, 0] ** 2)})
    assert found.feeds["x"][:, 0].tolist() == [1.0] * LENGTH
    assert np.allclose(found.feeds["x"][:, 1], 7.0, atol=0.05)


@pytest.mark.parametrize("task", list(TASKS))
def test_the_healthiest_golden_row_is_found_for_every_task(task: Task) -> None:
    """The lowest score, the surest health, the longest life."""
    y = {
        Task.ANOMALY: np.array([3.0, 1.0, 2.0]),
        Task.CLASSIFICATION: np.array([[0.1, 0.9, 0], [0.8, 0.1, 0.1], [0.5, 0.5, 0]]),
        Task.REMAINING_LIFE: np.array([[1, 2, 3], [7, 8, 9], [4, 5, 6.0]]),
    }[task]
    x = np.arange(3.0)[:, None, None] * np.ones((3, LENGTH, 1))
    found = reference_of(mixer(task, 1, 0).manifest, {"x": x}, {"y": y})
    assert (found.feeds["x"] == 1.0).all()


def test_a_histogram_without_the_input_is_no_help() -> None:
    """Names of the histograms that fit no input change nothing."""
    model = squares(1, healthy={"other": Histogram((1.0,), (0.5, 0.5))})
    found = reference_of(model.manifest, {"x": np.ones((1, LENGTH, 1))}, {"y": np.ones(1)})
    assert (found.feeds["x"] == 1.0).all()
