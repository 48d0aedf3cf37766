"""Machines that repeat themselves are judged by their phase: a fault in a short part is found."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import NOW_US

from edge_agent.learning.estimation import fit
from edge_agent.learning.fit import Recipe, learn
from edge_agent.learning.forms import Plan
from edge_agent.learning.golden import reference
from edge_agent.learning.graph import build_graph
from edge_agent.learning.networks import features
from edge_agent.learning.phases import find_phases, nearest
from edge_agent.learning.statistics import judge
from edge_agent.models import InputSpec
from edge_agent.models.bundle.bundle import verify_bundle
from edge_agent.models.runtime.graph_engine import model_of_graph

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.learning.statistics import Baseline

ROWS, LENGTH = 6000, 64
BY_PHASE = Plan(phases=60, excursions=True)
INPUTS = tuple(InputSpec(name) for name in ("pressure", "speed", "heat"))


def press(seed: int, rows: int = ROWS, fault: float = 0.0) -> np.ndarray:
    """Cycles of 70 to 90 rows; `fault` is added to the pressure in six rows of each stroke."""
    random = np.random.default_rng(seed)
    pieces, strokes = [], []
    for _ in range(rows // 70 + 1):
        spans = [10, 15, int(random.integers(45, 66))]
        pieces.append(
            np.repeat([[100.0, 40.0, 5.0], [80.0, 0.0, 7.0], [5.0, -12.0, 2.0]], spans, 0)
        )
        strokes.append(np.arange(sum(spans)))
    level, at = np.concatenate(pieces)[:rows], np.concatenate(strokes)[:rows]
    lag = 0.85 ** np.arange(60) * 0.15
    found = np.stack([np.convolve(column, lag)[:rows] for column in level.T], axis=1)
    found += random.normal(0, [0.5, 0.3, 0.05], found.shape)
    found[:, 0] += fault * ((at >= 12) & (at < 18))
    return found


def baseline_of(plan: Plan, rows: np.ndarray) -> Baseline:
    found = fit(rows, np.ones(len(rows), bool), np.ones(rows.shape[1]), LENGTH, plan)
    healthy = judge(found, press(9))
    return found.limited(np.quantile(healthy, 0.999, axis=0) + 1e-9)


def test_a_fault_in_a_short_part_of_a_cycle_is_found_by_its_phase() -> None:
    """Six rows of a stroke, by a tenth of what the pressure moves in each; cycles vary by 20 %."""
    faulty = press(3, fault=-8.0)
    whole = judge(baseline_of(Plan(period=80.0, excursions=True), press(1)), faulty).max(axis=1)
    by_phase = judge(baseline_of(BY_PHASE, press(1)), faulty).max(axis=1)
    assert np.quantile(by_phase, 0.95) > 3 * np.quantile(whole, 0.95)
    assert (by_phase >= 1).mean() > 0.2


def test_phases_are_chosen_and_told_where_they_detect_most() -> None:
    bundle = learn({"A": press(1)}, Recipe("base", INPUTS), now_us=NOW_US)
    assert "96 phases" in bundle.manifest.calibration["form"]


@pytest.mark.parametrize("channels", [1, 2])
def test_fewer_than_three_inputs_that_move_have_no_phases(channels: int) -> None:
    """What a single input does is its own phase: nothing would be left to judge."""
    rows = press(1)
    rows[:, channels:] = 7.0
    bundle = learn({"A": rows}, Recipe("base", INPUTS), now_us=NOW_US)
    assert "phases" not in bundle.manifest.calibration["tried"]


def test_the_bundle_of_a_machine_with_phases_verifies(tmp_path: Path) -> None:
    """Also where assets with and without phases share it."""
    random = np.random.default_rng(0)
    rows = {"A": press(1), "B": random.normal(0, 1, (3000, 3))}
    bundle = learn(rows, Recipe("base", INPUTS), now_us=NOW_US)
    bundle.write(tmp_path / "base")
    assert verify_bundle(tmp_path / "base") == []
    assert "phases" in bundle.manifest.calibration["form"]


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_graph_finds_the_phases_that_numpy_finds(seed: int) -> None:
    """Of any machine with phases, beside one without."""
    random = np.random.default_rng(seed)
    both = [baseline_of(BY_PHASE, press(seed, 2000)), baseline_of(Plan(), press(seed, 2000))]
    rows = press(seed + 1, 400, fault=float(random.normal(0, 5)))
    view = np.lib.stride_tricks.sliding_window_view(rows, LENGTH, axis=0).transpose(0, 2, 1)
    x = np.ascontiguousarray(view[::13]).astype(np.float32)
    unit = np.arange(len(x), dtype=np.int64) % 2
    bundle = learn({"A": press(1, 1000)}, Recipe("base", INPUTS), now_us=NOW_US)
    model = model_of_graph(bundle.manifest, build_graph(both, LENGTH))
    found = model.infer({"x": x, "unit": unit}).score
    wanted = reference(both, x, unit)["score"]
    assert np.isclose(found, wanted, rtol=1e-2, atol=1e-3).mean() > 0.9  # a row may be in between


def test_slow_inputs_tell_no_phase() -> None:
    """A temperature that wanders for hours is in each phase as it is in all of them."""
    random = np.random.default_rng(5)
    slow = np.cumsum(random.normal(0, 0.05, ROWS))
    z = np.column_stack([press(1), slow])
    z = (z - z.mean(axis=0)) / z.std(axis=0)
    phases = find_phases(z, 40, LENGTH)
    moved = z + np.array([0, 0, 0, 5.0])
    before, after = (
        nearest(features(rows, phases.taps), phases.courses, phases.weight) for rows in (z, moved)
    )
    assert (before == after).mean() > 0.95


def test_a_phase_reads_rows_of_its_window_alone() -> None:
    """Rows before the window cannot change the score: the first rows have no weight."""
    baseline = baseline_of(BY_PHASE, press(1))
    rows = press(2, 200)
    other = rows.copy()
    other[: 200 - LENGTH] = 0.0
    assert np.allclose(judge(baseline, rows)[-1], judge(baseline, other)[-1])


def test_gaps_are_no_phases() -> None:
    rows = press(1)
    rows[1000:1050] = np.nan
    known = ~np.isnan(rows).any(axis=1)
    found = fit(rows, known, np.ones(3), LENGTH, replace(BY_PHASE))
    assert np.isfinite(judge(found, press(2, 500))).all()
