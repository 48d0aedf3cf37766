"""A user's recipe and recordings: what is read, and what is said when it cannot be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_agent.errors import ConfigError, UsageError
from edge_agent.factory.recordings.csv_files import load_recipe, read_recordings

ROOT = Path(__file__).resolve().parents[2]
RECIPE = """\
name: pump
task: classification
files: runs/*.csv
label: state
inputs: [{name: flow}, {name: pressure, unit: bar}]
window: {step_s: 2, length: 4}
"""


def recipe_file(folder: Path, text: str = RECIPE) -> Path:
    path = folder / "pump.yaml"
    path.write_text(text)
    return path


def recording(folder: Path, text: str, name: str = "a.csv") -> None:
    (folder / "runs").mkdir(exist_ok=True)
    (folder / "runs" / name).write_text(text)


def test_rows_come_onto_the_grid_as_the_daemon_would_have_them(tmp_path: Path) -> None:
    """The newest value up to each step; a blank cell holds the value before it."""
    text = "time;pressure;flow;state\n1;1.5;10;healthy\n2;;11;healthy\n5;2;12;worn\n6;3;;worn\n"
    recording(tmp_path, text)
    (found,) = read_recordings(load_recipe(recipe_file(tmp_path)), tmp_path)
    np.testing.assert_array_equal(found.rows, [[11, 1.5], [11, 1.5], [12, 3]])
    assert found.labels == ("healthy", "healthy", "worn")


def test_times_may_be_iso(tmp_path: Path) -> None:
    rows = "".join(f"2026-01-01T00:00:{s:02d}Z,{s},0,healthy\n" for s in range(0, 8, 2))
    recording(tmp_path, f"Timestamp,flow,pressure,state\n{rows}")
    (found,) = read_recordings(load_recipe(recipe_file(tmp_path)), tmp_path)
    assert found.rows[:, 0].tolist() == [0, 2, 4, 6]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("time,flow,state\n0,1,a\n2,1,a\n", "no column pressure .it has time, flow, state"),
        ("flow,pressure,state\n1,1,a\n", "no column time"),
        ("time,flow,pressure,state\n0,x,1,a\n2,1,1,a\n", "cannot be read"),
        ("time,flow,pressure,state\n0,1\n", "cannot be read"),
        ("time,flow,pressure,state\n4,1,1,a\n2,1,1,a\n", "times that are not in ascending order"),
        ("time,flow,pressure,state\n0,,1,a\n2,1,1,a\n", "no value of flow at the start"),
        ("", "no rows"),
    ],
)
def test_a_recording_that_cannot_be_used_says_why(tmp_path: Path, text: str, message: str) -> None:
    recording(tmp_path, text)
    with pytest.raises(UsageError, match=message) as caught:
        read_recordings(load_recipe(recipe_file(tmp_path)), tmp_path)
    assert "a.csv" in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("label: state\n", "", "label: missing"),
        ("task: classification", "task: remaining_life", "cap_h: missing: hours"),
        ("step_s: 2", "step_s: 0", "step_s: recordings need a grid"),
        ("name: pump\n", "name: pump\nepochs: 3\n", "epochs"),
        ("files: runs/*.csv\n", "files: runs/*.csv\nshares: {valid: 0.5, test: 0.5}\n", "shares"),
        ("task: classification", "task: anomaly", "task: learn it on the box"),
    ],
)
def test_a_recipe_that_contradicts_itself_is_refused(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    assert old in RECIPE
    with pytest.raises(ConfigError, match=message) as caught:
        load_recipe(recipe_file(tmp_path, RECIPE.replace(old, new)))
    assert "pump.yaml" in str(caught.value)
