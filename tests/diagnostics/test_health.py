"""The health index that is told where a model has none of its own."""

from __future__ import annotations

import numpy as np

from edge_agent.models.bundle.tasks import TASKS, Outputs, Task


def test_a_certain_fault_has_no_health_left() -> None:
    """One half at the limit, whatever the limit is, and falling with the probability throughout."""
    fault = np.linspace(0, 1, 11, dtype=np.float32)
    task = TASKS[Task.CLASSIFICATION]
    outputs = Outputs(fault, probabilities=np.stack([1 - fault, fault], axis=1))
    for limit in (0.2, 0.5, 0.9):
        health = task.healths(outputs, (fault / np.float32(limit)).astype(np.float32))
        assert (np.diff(health) < 0).all()
        assert (health[0], health[-1]) == (1.0, 0.0)
        assert np.isclose(np.interp(limit, fault, health), 0.5, atol=1e-3)


def test_a_score_has_no_end() -> None:
    level = np.array([0, 1, 3], np.float32)
    assert TASKS[Task.ANOMALY].healths(Outputs(level), level).tolist() == [1.0, 0.5, 0.25]
