"""Short events: an input that leaves its healthy range for some rows, on machines that move."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import NOW_US

from edge_agent.learning.estimation import fit
from edge_agent.learning.fit import Recipe, learn
from edge_agent.learning.forms import Plan
from edge_agent.learning.statistics import USUAL_EVENT, judge
from edge_agent.models import InputSpec
from edge_agent.models.runtime.graph_engine import model_of_graph

if TYPE_CHECKING:
    from edge_agent.models.bundle.tasks import Outputs

INPUTS = tuple(InputSpec(name) for name in ("speed", "current", "valve"))
ROWS = 8000
BEGIN, EVENT_ROWS = 2000, 20


def mover(seed: int, rows: int = ROWS) -> np.ndarray:
    """An axis that moves to and fro and rests, at random: speed, current with spikes, a valve."""
    random = np.random.default_rng(seed)
    moves = np.repeat(random.integers(-1, 2, rows), random.integers(5, 40, rows))[:rows]
    speed = 100.0 * moves + random.normal(0, 2, rows)
    starts = np.abs(np.diff(moves, prepend=moves[0]))
    current = 2 * np.abs(moves) + 8 * starts + random.normal(0, 0.2, rows)
    valve = np.repeat(np.arange(rows) % 2, random.integers(5, 60, rows))[:rows]
    return np.stack([speed, current, valve], axis=1)


def score(rows: np.ndarray, learned: np.ndarray) -> Outputs:
    bundle = learn({"A": learned}, Recipe("base", INPUTS), now_us=NOW_US)
    view = np.lib.stride_tricks.sliding_window_view(rows, 64, axis=0).transpose(0, 2, 1)
    x = bundle.manifest.as_read(np.ascontiguousarray(view), 0)
    model = model_of_graph(bundle.manifest, bundle.onnx_bytes)
    return model.infer({"x": x, "unit": np.zeros(len(x), np.int64)})


@pytest.mark.parametrize(("channel", "value"), [(0, 250.0), (1, 9.0)])
def test_an_event_of_twenty_rows_is_found_on_a_machine_that_moves_all_the_time(
    channel: int, value: float
) -> None:
    """Also if each of its values was seen alone, as the peak of each start was; it is named."""
    rows = mover(2)
    rows[BEGIN : BEGIN + EVENT_ROWS, channel] = value
    found = score(rows, mover(1))
    first = BEGIN - 63
    over = found.score >= 1
    assert over[first : first + EVENT_ROWS].sum() > 5  # rows: the delay of the alarm
    assert np.delete(over, np.s_[first - 1 : first + 200]).mean() < 0.005
    assert found.contributions is not None
    worst = first + int(found.score[first : first + EVENT_ROWS].argmax())
    assert found.contributions[worst].argmax() == channel


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_no_event_is_outside_the_range_that_was_learned(seed: int) -> None:
    """The place of every learned window is within -1..1: its chart stays below (1 - 0.8)²."""
    random = np.random.default_rng(seed)
    rows = np.cumsum(random.standard_t(3, (600, 3)), axis=0) * random.integers(0, 2, 3)
    baseline = fit(rows, np.ones(600, bool), np.ones(3), 16, Plan())
    assert judge(baseline, rows)[:, -1].max() <= (1 - USUAL_EVENT) ** 2 * (1 + 1e-6)


def test_an_input_that_drifts_is_judged_by_its_changes() -> None:
    """A level that was never there is no event where the level moved in all that was learned."""
    random = np.random.default_rng(3)
    rows = np.linspace(0, 100, 4000)[:, None] + random.normal(0, 1, (4000, 1))
    baseline = fit(rows[:2000], np.ones(2000, bool), np.ones(1), 64, Plan())
    later = rows[2000:].copy()
    later[1000:1020] += 20
    events = judge(baseline, later)[:, -1]
    first = 1000 - 63
    assert events[:first].max() < 1.0
    assert events[first : first + 20].max() > 1.0


def test_an_event_follows_the_level_that_an_operator_has_confirmed() -> None:
    """Events are computed from the deviations, from which what was followed is subtracted."""
    rows = mover(1)
    baseline = fit(rows, np.ones(ROWS, bool), np.ones(3), 64, Plan())
    deviation = np.zeros((1, 3, 3))
    deviation[0, 1, 0] = 40.0
    assert baseline.charts(deviation)[0, -1] > 1.0
    assert baseline.charts(deviation - deviation)[0, -1] < 1.0
