"""FD001 as the factory reads it: short histories, engines that might have been, splits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from edge_agent.factory.recipe import Context
from edge_agent.factory.split import refuse_shared_groups
from edge_agent.factory.turbofan.fd001 import (
    CAP,
    LEAST,
    LENGTH,
    SENSORS,
    Basis,
    basis_of,
    splits,
    synthetic,
    windows,
)

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

CHANNELS = len(SENSORS) + 1


def engine(life: int, seed: int) -> NDArray[np.float64]:
    """Rows [life, 15]: two directions of wear that grow to the end, noise of sensor i is i + 1."""
    random = np.random.default_rng(seed)
    wear = np.exp((np.arange(life) - life) / 30.0)
    ways = np.eye(2, len(SENSORS)) * 20
    clean = np.stack([wear, wear * random.uniform(0.5, 1.5)], axis=1) @ ways
    noise = random.normal(size=clean.shape)
    spread = np.arange(1.0, len(SENSORS) + 1)
    return np.column_stack([(clean + noise + 50) * spread, np.arange(1.0, life + 1)])


@pytest.fixture(scope="module")
def engines() -> list[NDArray[np.float64]]:
    return [engine(life, seed) for seed, life in enumerate((150, 180, 210, 240))]


def test_before_the_first_row_a_window_holds_the_first_row() -> None:
    """As the daemon fills the cells of a short history."""
    rows = engine(200, 0)
    found = windows(rows)
    assert found.shape == (200, LENGTH, CHANNELS)
    assert (found[9, : LENGTH - 10] == rows[0].astype(np.float32)).all()
    assert (found[9, LENGTH - 10 :] == rows[:10].astype(np.float32)).all()
    assert (found[-1] == rows[-LENGTH:].astype(np.float32)).all()


def test_the_basis_finds_noise_and_the_directions_of_wear(
    engines: list[NDArray[np.float64]],
) -> None:
    basis = basis_of(engines)
    assert basis.spread == pytest.approx(np.arange(1.0, len(SENSORS) + 1), rel=0.1)
    inside = basis.weights[:2]  # wear moves sensors 0 and 1 alone
    assert np.linalg.norm(inside) == pytest.approx(np.sqrt(2), rel=0.02)


def test_sensors_of_a_state_show_that_state(engines: list[NDArray[np.float64]]) -> None:
    """What synthetic rows are made by is what features undo, but for noise of deviation 1."""
    basis: Basis = basis_of(engines)
    state = np.tile([3.0, -2.0], (4000, 1))
    rows = basis.sensors(state, np.random.default_rng(1))
    back = basis.latent(np.column_stack([rows, np.arange(4000.0)]))
    assert back.mean(axis=0) == pytest.approx([3.0, -2.0], abs=0.1)
    assert back.std(axis=0) == pytest.approx([1.0, 1.0], rel=0.05)


def test_synthetic_engines_end_where_they_say(engines: list[NDArray[np.float64]]) -> None:
    """Cycles run on by one, life down to zero; some are first seen in mid-life."""
    made = list(synthetic(engines, basis_of(engines), np.random.default_rng(3)))
    late = [rows[0, -1] > 1 for rows, _ in made]
    assert 0.05 < np.mean(late) < 0.5
    for rows, left in made:
        assert (np.diff(rows[:, -1]) == 1).all()
        assert (np.diff(left) == -1).all()
        assert left[-1] == 0
        assert rows[-1, -1] == rows[0, -1] + left[0]


def test_no_engine_both_teaches_and_calibrates(data_dir: Path) -> None:
    """70 and 30 engines, other ones for another seed; the capped truth goes before the truth."""
    found = splits(Context(seed=1, data=data_dir, progress=lambda steps, _: steps))
    refuse_shared_groups(found)
    assert len(np.unique(found.train.group)) == 70
    assert len(np.unique(found.valid.group)) == 30
    assert len(found.test) == 100
    assert found.test.target[:, 0].max() == CAP < found.test.target[:, 1].max()
    cycles = found.train.inputs["x"][:, :, -1]
    assert ((np.diff(cycles) > 0).sum(axis=1) + 1).min() >= LEAST
