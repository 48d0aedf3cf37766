"""What labels change in the rows that are learned from: faults go, false alarms come in."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.clock import US_PER_S
from edge_agent.labelled import LabelledWindow
from edge_agent.learning import with_labels
from edge_agent.learning.progress import TrainingSet

INPUTS = ("flow", "pressure")


def training(first_s: int = 0, rows: int = 100) -> TrainingSet:
    cells = np.arange(2.0 * rows).reshape(rows, 2)
    times_us = (np.arange(rows) + first_s) * US_PER_S
    return TrainingSet(INPUTS, {"P-1": cells}, 0.0, {}, 16, {"P-1": times_us})


def window(
    first_s: int, rows: int = 10, inputs: tuple[str, ...] = ("pressure", "flow"), step: int = 1
) -> LabelledWindow:
    """The second half of the rows is the alarm's, but for the last two."""
    times_us = (first_s + step * np.arange(rows)) * US_PER_S
    active = (np.arange(rows) >= rows // 2) & (np.arange(rows) < rows - 2)
    cells = np.tile(np.arange(len(inputs), dtype=float), (rows, 1)) + 1000
    return LabelledWindow(
        "P-1.b", "P-1", "m@1", int(times_us[rows // 2]), inputs, times_us, active, cells
    )


@pytest.mark.parametrize("verdict", ["true", "planned"])
def test_a_true_alarm_and_planned_work_are_left_out(verdict: str) -> None:
    """From the rows that raised it until it cleared; a row of NaN breaks the time there."""
    found = with_labels(training(), [(verdict, window(20))], US_PER_S)
    rows, times_s = found.rows["P-1"], found.times_us["P-1"] // US_PER_S
    assert times_s.tolist() == [*range(21), *range(28, 100)]
    assert np.flatnonzero(np.isnan(rows).all(axis=1)).tolist() == [20]
    assert found.labelled.endswith("8 rows of true alarms and planned work are left out")


def test_a_false_alarm_of_another_time_is_added_between_breaks() -> None:
    """In the order of time, its inputs in the order of the training set."""
    found = with_labels(training(1000), [("false", window(20))], US_PER_S)
    rows, times_us = found.rows["P-1"], found.times_us["P-1"]
    assert len(rows) == len(times_us) == 100 + 10 + 2
    assert (np.diff(times_us) >= 0).all()
    assert np.flatnonzero(np.isnan(rows).all(axis=1)).tolist() == [0, 11]
    assert rows[1].tolist() == [1001.0, 1000.0]
    assert found.labelled.startswith("10 rows of alarms that were called false are added")


@pytest.mark.parametrize(
    "other",
    [
        window(50),  # the data have these rows already
        window(500, inputs=("flow",)),  # an input is missing
        window(500, step=5),  # another step
        window(500, rows=1),
    ],
)
def test_a_false_alarm_that_does_not_fit_changes_nothing(other: LabelledWindow) -> None:
    given_ = training()
    assert with_labels(given_, [("false", other)], US_PER_S) is given_


def test_labels_of_other_machines_change_nothing() -> None:
    given_ = TrainingSet(INPUTS, {"P-2": np.ones((5, 2))}, 0.0, {}, 16, {"P-2": np.arange(5)})
    assert with_labels(given_, [("true", window(0))], US_PER_S) is given_


LABELS = st.lists(
    st.tuples(
        st.sampled_from(["true", "false", "planned"]), st.integers(-50, 150), st.integers(6, 40)
    ),
    max_size=8,
)


@given(labels=LABELS)
def test_rows_and_times_stay_together_whatever_is_labelled(
    labels: list[tuple[str, int, int]],
) -> None:
    """As many times as rows, in order; nothing of a true alarm's own time is left."""
    windows = [(verdict, window(first_s, rows)) for verdict, first_s, rows in labels]
    found = with_labels(training(), windows, US_PER_S)
    rows, times_us = found.rows["P-1"], found.times_us["P-1"]
    assert len(rows) == len(times_us)
    assert (np.diff(times_us) >= 0).all()
    if labels and labels[-1][0] != "false":
        last = windows[-1][1]
        own = last.times_us[last.active]
        inside = (times_us >= last.times_us[0]) & (times_us <= own[-1])
        assert np.isnan(rows[inside]).all()
