"""Checks of the students of a plant's own history; run_checks.py runs them."""

from __future__ import annotations

from functools import cache

import numpy as np

from edge_agent.factory import History
from edge_agent.factory.history_students import FORECASTER, MIXER, forecaster, mixer
from edge_agent.learning import Network, Recipe, features, learn, linear_map, sees_others, taps_for
from edge_agent.models import InputSpec

LENGTH = 32
RANDOM = np.random.default_rng(0)
JUDGED = np.ones(4, bool)


def machine(rows: int = 3000) -> np.ndarray:
    """Speed and valve wander; flow bends with both, and power with speed and flow."""
    steps = RANDOM.standard_normal((rows + 49, 2))
    kernel = np.exp(-np.arange(50) / 6) / 2
    speed, valve = (0.5 + 0.4 * np.tanh(np.convolve(one, kernel, "valid")) for one in steps.T)
    flow = speed / np.sqrt(0.2 + 0.1 / valve**2)
    rows_of = np.column_stack([speed, valve, flow, speed**3 + 0.3 * (flow - 1) ** 2])
    return np.asarray(rows_of + 0.004 * RANDOM.standard_normal((rows, 4)))


ROWS = machine()


@cache
def mixed() -> Network:
    return mixer(1, silent).train(ROWS, JUDGED, LENGTH)


@cache
def forecast() -> Network:
    return forecaster(1, silent).train(ROWS, JUDGED, LENGTH)


def silent(_line: str) -> None:
    """No progress."""


def left(network: Network, rows: np.ndarray) -> np.ndarray:
    return np.asarray((rows - network.predict(rows))[network.context :].var(axis=0))


def a_mixer_explains_what_no_matrix_does() -> None:
    network, fresh = mixed(), machine()
    given = features(fresh, network.taps)
    linear, _ = linear_map(given, fresh, sees_others(len(network.taps), 4))
    by_matrix = (fresh - given @ linear).var(axis=0)
    assert (left(network, fresh)[2:] < 0.5 * by_matrix[2:]).all()


def a_mixer_never_reads_the_input_it_predicts() -> None:
    network, rows = mixed(), machine(100)
    for channel in range(4):
        moved = rows.copy()
        moved[:, channel] += RANDOM.standard_normal(100)
        found = network.predict(moved)[:, channel]
        np.testing.assert_allclose(found, network.predict(rows)[:, channel])


def a_forecaster_never_reads_the_row_it_predicts() -> None:
    network, rows = forecast(), machine(100)
    moved = rows.copy()
    moved[-1] += 5
    np.testing.assert_allclose(network.predict(moved)[-1], network.predict(rows)[-1])
    assert np.abs(network.predict(rows)).max() > 0
    np.testing.assert_array_equal(network.taps, taps_for(LENGTH))


def what_bends_nothing_stays_linear() -> None:
    """Held-out rows decide for each input; one without relations is not predicted at all."""
    base, noise = ROWS[:, :2], RANDOM.standard_normal((len(ROWS), 2))
    rows = np.column_stack([base, base @ [1.0, -0.5] + 0.05 * noise[:, 0], noise[:, 1]])
    network = mixer(1, silent).train(rows, JUDGED, LENGTH)
    assert not network.last[:, 2].any()
    assert network.linear[:, 2].any()
    assert not network.predict(rows)[:, 3].any()


def a_condition_is_not_predicted_and_a_gap_is_no_row() -> None:
    rows = machine()
    rows[1000:1100] = np.nan
    network = mixer(1, silent).train(rows, np.array([False, True, True, True]), LENGTH)
    fresh = machine()
    assert not network.predict(fresh)[:, 0].any()
    assert (left(network, fresh)[2:] < 0.5 * fresh[:, 2:].var(axis=0)).all()


def the_same_seed_is_the_same_network() -> None:
    again = mixer(1, silent).train(ROWS, JUDGED, LENGTH)
    assert (again.first == mixed().first).all()


def a_bent_machine_gets_the_mixer_and_its_card_says_all() -> None:
    """In the same choice as the forms of the chart, all told in the manifest."""
    lines: list[str] = []
    history = History(("chart", "mixer", "forecaster"), 1, "the command", lines.append)
    inputs = tuple(InputSpec(name) for name in ("speed", "valve", "flow", "power"))
    recipe = Recipe("bent", inputs, length=LENGTH)
    bundle = learn({"P-1": ROWS}, recipe, now_us=0, rivals=history.rivals())
    calibration = bundle.manifest.calibration
    for tried in (MIXER, FORECASTER, "plain", "each input given the others"):
        assert tried in calibration["tried"]
    assert calibration["form"].startswith(MIXER), calibration["tried"]
    assert len(lines) == 9  # four quarters of each student, then the winner of all rows
    assert lines[0].startswith("training 1, after ")
