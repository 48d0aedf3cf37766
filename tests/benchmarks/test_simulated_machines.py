"""The simulated machines, the faults in them, and the arithmetic of the tables of their results."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from scripts.machines.evaluate import ALL
from scripts.machines.faults import EVENT_ROWS, FAULT_ROWS, KINDS, inject, rows_of
from scripts.recordings_table import as_text, read_results

if TYPE_CHECKING:
    from pathlib import Path

    from scripts.machines.machines import Machine

CHANNEL, BEGIN, ROWS = 1, 1500, 4000


@pytest.mark.parametrize("machine", ALL, ids=lambda machine: machine.name)
def test_a_machine_is_the_same_for_a_seed_and_moves(machine: Machine) -> None:
    """The generator alone determines the readings; a channel that may get faults moves."""
    rows = 1500
    made = [machine.make(np.random.default_rng(3), rows) for _ in range(2)]
    other = machine.make(np.random.default_rng(4), rows)
    assert len(made[0]) == rows
    np.testing.assert_array_equal(made[0], made[1])
    assert not np.array_equal(made[0], other, equal_nan=True)
    moving = np.nanstd(made[0], axis=0) > 0
    assert all(moving[c] for c in range(other.shape[1]) if c not in machine.fixed)


def test_the_machines_have_the_steps_and_inputs_that_are_promised() -> None:
    """Steps from 50 ms to an hour, 1 to 60 inputs, and names that `--only` can tell apart."""
    assert {0.05, 1.0, 60.0, 300.0, 3600.0} <= {machine.step_s for machine in ALL}
    inputs = {machine.make(np.random.default_rng(0), 200).shape[1] for machine in ALL}
    assert (min(inputs), max(inputs)) == (1, 60)
    assert len({machine.name for machine in ALL}) == len(ALL)


@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_changes_its_channel_for_its_time_alone(kind: str) -> None:
    """Rows before and after, and the other channels, stay as they were."""
    random = np.random.default_rng(0)
    healthy = random.standard_normal((ROWS, 3)).cumsum(axis=0)
    found = inject(random, kind, healthy, CHANNEL, BEGIN, 1.0)
    changed = found != healthy
    end = BEGIN + rows_of(kind, ROWS)
    assert changed[BEGIN:end, CHANNEL].mean() > 0.8
    assert changed.sum() == changed[BEGIN:end, CHANNEL].sum()


def test_faults_are_short_usual_and_slow() -> None:
    """An event is 20 rows, the usual fault 600, wear as long as the healthy time allows."""
    assert (rows_of("event", 9999), rows_of("offset", 9999)) == (EVENT_ROWS, FAULT_ROWS)
    assert (rows_of("wear", 4000), rows_of("wear", 90_000)) == (2000, 3000)


def test_a_set_of_recordings_is_pooled_over_its_cases(tmp_path: Path) -> None:
    """FAR by rows, raises by days, AUC in the mean of the cases that have one."""
    _store(tmp_path / "before", "a", fp=10, good=100, auc=0.5)
    _store(tmp_path / "before", "b", fp=0, good=300, auc=float("nan"))
    _store(tmp_path / "after", "a", fp=1, good=100, auc=0.75)
    _store(tmp_path / "after", "b", fp=1, good=300, auc=1.0)
    text = as_text(read_results(tmp_path / "before"), read_results(tmp_path / "after"))
    assert "| s | 2 | FAR % | 2.50 | 0.50 |" in text
    assert "| s | 2 | AUC | 0.50 | 0.88 |" in text
    assert "| s | 2 | found | 2 of 4 | 2 of 4 |" in text
    assert "| s | 2 | raises a healthy day | 6.00 | 6.00 |" in text


def _store(folder: Path, case: str, *, fp: int, good: int, auc: float) -> None:
    measured: dict[str, Any] = {"fp": fp, "good": good, "days": 0.5, "false_raises": 3}
    measured |= {"events": 2, "found": 1, "auc": auc}
    result = {"set": "s", "auc": auc, **dict.fromkeys(("product", "mean|z|", "pca"), measured)}
    (folder / "s" / case).mkdir(parents=True)
    (folder / "s" / case / "result.json").write_text(json.dumps(result))
