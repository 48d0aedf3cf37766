"""Networks in a baseline: what they read, when they are chosen, and their place in the graph."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime as ort
import pytest
from tiny_models import NOW_US, recipe

from edge_agent.errors import ModelError
from edge_agent.learning.choice import Rivals
from edge_agent.learning.estimation import fit
from edge_agent.learning.fit import learn
from edge_agent.learning.forms import Plan
from edge_agent.learning.golden import golden_of
from edge_agent.learning.graph import build_graph
from edge_agent.learning.networks import (
    Network,
    apart,
    features,
    lasting_response,
    least_rows,
    linear_map,
    sees_others,
    sees_past,
    taps_for,
    toeplitz,
    unexplained,
)
from edge_agent.learning.statistics import deviations_of, window_deviations
from edge_agent.models import verify_bundle
from edge_agent.models.runtime.graph_engine import model_of_graph

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.learning.learned_bundle import LearnedBundle

LENGTH = 16
RANDOM = np.random.default_rng(3)


@dataclass(frozen=True)
class Bends:
    """Knows that the second input follows the size of the first; `wrong` believes in its square."""

    bent: float = 1.0
    tap: int = 0

    @property
    def name(self) -> str:
        return f"a bend of {self.bent:g}"

    def train(self, z: np.ndarray, judged: np.ndarray, length: int) -> Network:
        assert judged.all()
        taps = taps_for(length)
        known = z[~np.isnan(z).any(axis=1)]
        size = float(np.polyfit(np.abs(known[:, 0]), known[:, 1], 1)[0]) * self.bent
        first = np.zeros((len(taps) * 2, 3))
        first[2 * self.tap] = [1, -1, 0]
        last = np.array([[0, size], [0, size], [0, 0]])
        offset = np.array([0.0, known[:, 1].mean() - size * np.abs(known[:, 0]).mean()])
        linear, none = np.zeros((len(taps) * 2, 2)), np.zeros(3)
        found = Network(taps, linear, first, none, np.eye(3), none, last, offset, np.zeros((2, 2)))
        given = features(known, taps)
        return replace(found, response=lasting_response(found, given))


def machine(rows: int = 4000) -> np.ndarray:
    """A position that wanders around 0, and a force that follows its size at once."""
    steps = RANDOM.standard_normal(rows + 199)
    place = np.convolve(steps, np.exp(-np.arange(200) / 20), "valid") / 3
    return np.column_stack([place, np.abs(place) + 0.02 * RANDOM.standard_normal(rows)])


def learned(rows: np.ndarray, *students: Bends, alone: bool = False) -> LearnedBundle:
    wanted = recipe(rows.shape[1], length=LENGTH)
    rivals = Rivals(students, alone)
    return learn({"m": rows}, wanted, now_us=NOW_US, rivals=rivals)


def test_the_features_of_a_window_are_those_of_its_rows() -> None:
    """After the rows that it lacks; so the stream that is learned is the window that is scored."""
    taps = taps_for(64)
    rows = RANDOM.standard_normal((300, 3))
    stream, window = features(rows, taps), features(rows[100:164], taps)
    context = taps.shape[1] - 1
    np.testing.assert_allclose(window[context:], stream[100 + context : 164])
    by_matrix = np.swapaxes(toeplitz(taps, 64) @ rows[100:164], 0, 1).reshape(64, -1)
    np.testing.assert_allclose(by_matrix, window)


@pytest.mark.parametrize("length", [4, 16, 63, 64, 512])
def test_a_prediction_reads_at_most_a_quarter_of_a_window(length: int) -> None:
    """And each tap is a mean."""
    taps = taps_for(length)
    assert taps.shape[1] <= max(1, length // 4)
    np.testing.assert_allclose(taps.sum(axis=1), 1)
    assert taps[0, -1] == 1


def test_the_others_are_seen_without_the_input_itself_and_the_past_without_now() -> None:
    taps, rows = taps_for(64), RANDOM.standard_normal((500, 3))
    for sees, hidden in ((sees_others(5, 3), [0, 3, 6, 9, 12]), (sees_past(5, 3), [0, 1, 2])):
        assert not sees[hidden, 0].any()
        assert sees[:, 0].sum() == 15 - len(hidden)
        found, _ = linear_map(features(rows, taps), rows, sees)
        assert not found[~sees].any()


def test_a_linear_map_with_memory_finds_a_late_relation() -> None:
    """An input that follows another one some rows later is explained; noise is not."""
    cause = RANDOM.standard_normal(2000)
    late = (np.roll(cause, 2) + np.roll(cause, 3)) / 2
    rows = np.column_stack([cause, late, RANDOM.standard_normal(2000)])
    taps = taps_for(64)
    given = features(rows, taps)
    linear, offset = linear_map(given, rows, sees_others(len(taps), 3))
    units = np.zeros((15, 1)), np.zeros(1), np.zeros((1, 1)), np.zeros(1), np.zeros((1, 3))
    network = Network(taps, linear, *units, offset, np.zeros((3, 3)))
    lost = unexplained(network, given, rows)
    assert lost.tolist() == [True, False, True]
    assert not network.without(lost).predict(rows)[:, lost].any()
    assert network.without(lost).predict(rows)[:, 1].std() > 0.6


def test_rows_are_set_apart_where_numbers_are_missing() -> None:
    rows = np.arange(6.0).reshape(3, 2)
    found = apart(rows, np.array([4, 5, 8]))
    assert np.isnan(found).all(axis=1).tolist() == [False, False, True, True, False]


def test_a_student_that_knows_the_machine_is_chosen_and_named() -> None:
    """No matrix explains a bend; the card says what was tried, and a fault is named."""
    bundle = learned(machine(), Bends())
    calibration = bundle.manifest.calibration
    assert calibration["form"].startswith("a bend of 1")
    assert calibration["tried"].startswith("a bend of 1")
    assert "plain" in calibration["tried"]
    model = model_of_graph(bundle.manifest, bundle.onnx_bytes)
    fresh = machine(1000)
    windows = np.lib.stride_tricks.sliding_window_view(fresh, LENGTH, axis=0).swapaxes(1, 2)
    x, unit = windows.astype(np.float32), np.zeros(len(windows), np.int64)
    assert (model.infer({"x": x, "unit": unit}).score < 1).mean() > 0.98
    x[:, :, 1] += 0.15
    found = model.infer({"x": x, "unit": unit})
    assert (found.score >= 1).mean() > 0.9
    shares = np.asarray(found.of(model.manifest.outputs.contributions))
    np.testing.assert_allclose(shares.sum(axis=1), found.score, rtol=1e-3)
    assert (shares[:, 1] > shares[:, 0]).mean() > 0.9


def test_a_bundle_with_a_network_passes_the_checks_of_a_gateway(tmp_path: Path) -> None:
    """Its operators are allowed, and the golden rows are those of the graph."""
    bundle = learned(machine(1000), Bends(), alone=True)
    bundle.write(tmp_path / bundle.manifest.name)
    assert verify_bundle(tmp_path / bundle.manifest.name) == []


def test_a_network_is_learned_over_gaps() -> None:
    """The rows after a gap lack those that a prediction reads; the others are judged."""
    rows = machine()
    rows[500::500] = np.nan
    assert learned(rows, Bends()).manifest.calibration["form"].startswith("a bend of 1")


def test_gaps_that_leave_no_window_to_a_network_leave_the_chart() -> None:
    """A stretch of 17 rows has two windows of 16, but none with three rows before it."""
    rows = machine(8000)
    rows[17::18] = np.nan
    assert "bend" not in learned(rows, Bends()).manifest.calibration["tried"]
    with pytest.raises(ModelError, match="too few unbroken windows"):
        learned(rows, Bends(), alone=True)


def test_too_few_rows_for_a_network_leave_the_chart() -> None:
    """A network has some hundred numbers; here it has 280 rows of the 288 for twelve inputs."""
    rows = np.tile(machine(280), 6) + 0.1 * RANDOM.standard_normal((280, 12))
    assert least_rows(12, LENGTH) == 288
    assert "bend" not in learned(rows, Bends()).manifest.calibration["tried"]
    with pytest.raises(ModelError, match="280 rows of the 288 that a network needs"):
        learned(rows, Bends(), alone=True)


def test_a_student_that_is_no_better_loses_against_the_chart() -> None:
    """It is on the card all the same; a told choice of students overrides it."""
    rows = RANDOM.standard_normal((3000, 2))
    bundle = learned(rows, Bends(0.0))
    assert "bend" not in bundle.manifest.calibration["form"]
    assert "a bend of 0: finds" in bundle.manifest.calibration["tried"]
    assert "bend" in learned(rows, Bends(0.0), alone=True).manifest.calibration["form"]


def test_a_window_is_judged_as_its_rows_in_the_stream() -> None:
    """The rows of a window whose prediction lacks rows weigh nothing, in means and changes."""
    rows = machine(500)
    plan = Plan(student=Bends(tap=2))
    baseline = fit(rows, np.ones(500, bool), np.full(2, 0.01), LENGTH, plan)
    windows = np.lib.stride_tricks.sliding_window_view(rows, LENGTH, axis=0).swapaxes(1, 2)
    stream = deviations_of(baseline, rows)
    np.testing.assert_allclose(window_deviations(baseline, windows)[1:], stream[1:])
    assert baseline.form.network is not None
    assert not baseline.form.means[:, : baseline.form.network.context].any()


def test_assets_with_and_without_a_network_share_a_graph() -> None:
    """The graph returns what the numpy reference returns, also over operating points."""
    rows = machine(1500)
    rows[700:] += [40.0, 0.0]
    found = []
    for student, states in ((None, 1), (Bends(), 2), (Bends(0.5), 1)):
        plan = Plan(states=states, student=student)
        used = np.ones(len(rows), bool)
        found.append(fit(rows, used, np.full(2, 0.01), LENGTH, plan))
    inputs, outputs = golden_of(found, LENGTH)
    session = ort.InferenceSession(build_graph(found, LENGTH))
    for name, value in zip(outputs, session.run(list(outputs), inputs), strict=True):
        wanted = np.asarray(outputs[name], float)
        np.testing.assert_allclose(value, wanted, rtol=2e-3, atol=2e-3, err_msg=name)
