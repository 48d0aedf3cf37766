"""The middle of a baseline follows slow change within bounds; it follows no wear and no fault."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.config.schema import Follow
from edge_agent.config.types import Duration, Name
from edge_agent.learning.estimation import fit
from edge_agent.learning.forms import Plan
from edge_agent.learning.statistics import deviations_of, judge
from edge_agent.models.bundle.manifest import InputSpec, Manifest
from edge_agent.models.bundle.tasks import OutputNames, Task
from edge_agent.serving.followed import ACCEPTED, CONFIRMED, FOLLOWED
from edge_agent.serving.following import (
    STATISTICS,
    TURN,
    FollowedWindows,
    Following,
)

ROWS, STEP_S = 400, 60.0
MEMORY = 100  # rows: a quarter of those that were learned
DAY = 1440  # rows
S = 1_000_000


class Machine:
    """One asset with one input, whose deviations are told row by row."""

    def __init__(self, budget: float = 3.0, settle_after: float = 86_400.0) -> None:
        self.table = Following(1, ROWS, STEP_S, Follow(budget, Duration(settle_after)))
        self.table.grow()
        self.accepted: list[int] = []
        self.row = 0

    def run(self, deviations: np.ndarray, limit: float = 5.0) -> np.ndarray:
        """The levels of these windows, each judged less what was followed before it."""
        levels = []
        for deviation in deviations.tolist():
            level = abs(deviation - float(self.table.shown[0, 0, 0])) / limit
            found = np.full((1, len(STATISTICS), 1), deviation, np.float32)
            at_us = np.array([self.row * STEP_S * S], np.int64)
            windows = FollowedWindows(
                np.zeros(1, np.intp), at_us, np.array([level], np.float32), found
            )
            self.table.follow(windows, self.accepted.append)
            levels.append(level)
            self.row += 1
        return np.array(levels)

    @property
    def moved(self) -> float:
        return float(self.table.moved[0, 0, 0])


def test_a_season_is_followed_and_raises_nothing() -> None:
    """A swing of three sigmas over ten days; without following it is half of the limit."""
    season = 3 * np.sin(2 * np.pi * np.arange(10 * DAY) / (10 * DAY))
    followed, fixed = Machine(), Machine(budget=0.0)
    assert followed.run(season).max() < 0.1
    assert fixed.run(season).max() > 0.55
    assert fixed.moved == 0.0


def test_what_it_follows_is_bounded_and_said() -> None:
    machine = Machine()
    machine.run(np.full(20 * MEMORY, 4.5))
    assert machine.moved == 3.0
    (slow, *_) = machine.table.of(0, _manifest())
    assert (slow.input, slow.sigmas, slow.budget, slow.kind) == ("flow", 3.0, 3.0, FOLLOWED)


def test_wear_is_not_followed() -> None:
    """It moves in one direction for long; what was followed before that is little."""
    machine = Machine()
    levels = machine.run(np.linspace(0, 8, 20 * MEMORY))
    assert machine.moved < 1.5
    assert levels[-1] > 1.0


def test_a_fault_is_not_followed_while_it_stands() -> None:
    machine = Machine(settle_after=0.0)
    machine.run(np.zeros(3 * MEMORY))
    levels = machine.run(np.full(20 * DAY, 9.0))
    assert levels.min() >= 1.0
    assert machine.moved == 0.0


def test_a_new_state_that_settled_is_accepted_after_a_day() -> None:
    """Not before: somebody must have seen the alarm."""
    machine = Machine()
    machine.run(np.zeros(3 * MEMORY))
    first = machine.run(np.full(DAY - 1, 9.0))
    assert first.min() >= 1.0
    assert machine.accepted == []
    machine.run(np.full(10, 9.0))
    assert machine.accepted == [0]
    assert machine.moved == pytest.approx(9.0)
    assert machine.table.of(0, _manifest())[0].kind == ACCEPTED
    # A fault on top of it is found from there.
    assert machine.run(np.full(10, 15.0)).min() > 1.0


def test_a_state_that_still_moves_is_not_accepted() -> None:
    machine = Machine()
    assert machine.run(np.linspace(6, 30, 3 * DAY)).min() >= 1.0
    assert machine.accepted == []


def test_states_that_are_accepted_without_a_person_are_counted_and_few() -> None:
    """Steps of wear would add up without bound; a person resets the count."""
    machine = Machine()
    machine.table.rule = Follow(states=2)
    machine.run(np.zeros(3 * MEMORY))
    for number, step in enumerate((9.0, 18.0), start=1):
        machine.run(np.full(DAY + 2 * MEMORY, step))
        assert len(machine.accepted) == number
    assert machine.run(np.full(5 * DAY, 27.0)).min() >= 1.0, "the alarm stands"
    assert len(machine.accepted) == 2
    (told, *_) = machine.table.of(0, _manifest())
    assert (told.accepted, told.states, told.by) == (2, 2, "")
    assert 0 < told.accepted_us < told.since_us, "that of the first state"
    again = Machine()
    again.table.restore(0, machine.table.state(0))
    assert again.table.of(0, _manifest())[0] == replace(told, states=5), "of the rule of now"
    machine.table.confirm(0, 7 * S, "anna")
    (told, *_) = machine.table.of(0, _manifest())
    assert (told.kind, told.by, told.accepted, told.accepted_us) == (CONFIRMED, "anna", 0, 0)
    machine.run(np.full(DAY + 2 * MEMORY, 36.0))
    assert len(machine.accepted) == 3, "from now on, some may be accepted again"


def test_this_is_healthy_moves_the_middle_at_once() -> None:
    machine = Machine()
    machine.run(np.zeros(3 * MEMORY))
    machine.run(np.full(200, 9.0))
    machine.table.confirm(0, 7 * S)
    assert machine.moved == pytest.approx(9.0, abs=0.1)
    assert machine.run(np.full(10, 9.0)).max() < 0.1
    told = machine.table.of(0, _manifest())[0]
    assert (told.kind, told.since_us) == (CONFIRMED, 7 * S)


def test_a_restart_goes_on_from_there() -> None:
    before, after = Machine(), Machine()
    before.run(np.full(5 * MEMORY, 2.0))
    after.table.restore(0, before.table.state(0))
    assert after.moved == before.moved > 1.5
    other = Following(2, ROWS, STEP_S, Follow())
    other.grow()
    other.restore(0, before.table.state(0))  # of another number of inputs
    assert not other.is_moved


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), assets=st.integers(1, 4))
def test_windows_of_one_turn_count_in_their_order(seed: int, assets: int) -> None:
    """A turn with many windows of several assets is the same as one turn each."""
    random = np.random.default_rng(seed)
    rows = random.integers(0, assets, 300)
    deviation = random.standard_normal((300, len(STATISTICS), 2)).astype(np.float32)
    level = (np.abs(deviation[:, 0, 0]) / 2).astype(np.float32)
    end_us = np.arange(300) * S
    together, apart = (Following(2, 64, 3600.0, Follow()) for _ in range(2))
    for table in (together, apart):
        table.grow(assets)
    together.follow(FollowedWindows(rows, end_us, level, deviation), lambda _: None)
    for i in range(300):
        one = slice(i, i + 1)
        windows = FollowedWindows(rows[one], end_us[one], level[one], deviation[one])
        apart.follow(windows, lambda _: None)
    assert np.allclose(together.moved, apart.moved)
    assert (together.standing == apart.standing).all()


def test_scores_that_are_no_numbers_move_nothing() -> None:
    table = Following(1, ROWS, STEP_S, Follow())
    table.grow()
    deviation = np.full((1, len(STATISTICS), 1), np.nan, np.float32)
    level = np.full(1, np.nan, np.float32)
    windows = FollowedWindows(np.zeros(1, np.intp), np.zeros(1, np.int64), level, deviation)
    table.follow(windows, lambda _: None)
    assert not table.is_moved
    assert np.isfinite(table.recent).all()


def _manifest() -> Manifest:
    outputs = OutputNames(score="score", deviation="deviation")
    return Manifest(
        Name("b"), Name("1"), Task.ANOMALY, (InputSpec("flow"),), outputs, learned_rows=ROWS
    )


def test_turns_count_on_over_the_batches_of_a_step() -> None:
    """No window of the second batch comes before one of the first."""
    table = Following(1, ROWS, STEP_S, Follow())
    table.grow()
    ahead = np.zeros(1, np.int64)
    rows = np.zeros(20, np.intp)
    first, second = (table.turns_of(rows, ahead) for _ in range(2))
    turns = np.concatenate([first, second])
    assert (np.diff(turns) >= 0).all()
    assert np.bincount(turns).tolist() == [TURN, TURN, 40 - 2 * TURN]


def test_a_reload_that_switches_acceptance_on_still_waits_a_day() -> None:
    """The wait is that of the rule of now, not of the one at the start."""
    machine = Machine(settle_after=0.0)
    machine.run(np.zeros(3 * MEMORY))
    machine.table.rule = Follow()
    machine.run(np.full(DAY - 1, 9.0))
    assert machine.accepted == []
    machine.run(np.full(10, 9.0))
    assert machine.accepted == [0]


LENGTH = 64


class Learned:
    """A learned baseline of three inputs, of rows that are told; each window is followed."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        healthy = self.random.standard_normal((4000, 3))
        rows = np.ones(len(healthy), bool)
        found = fit(healthy, rows, np.full(3, 0.01), LENGTH, Plan())
        self.baseline = found.limited(4.0 * judge(found, healthy).max(axis=0))
        self.table = Following(3, len(healthy), 1.0, Follow())
        self.table.window = LENGTH
        self.table.grow()
        self.rows = healthy[-LENGTH:]

    def run(self, count: int, offset: tuple[float, float, float] = (0, 0, 0)) -> np.ndarray:
        """The levels of so many rows with this offset."""
        more = self.random.standard_normal((count, 3)) + offset
        rows = np.concatenate([self.rows[-LENGTH + 1 :], more])
        self.rows = rows
        levels = []
        for number, deviation in enumerate(deviations_of(self.baseline, rows)):
            away = (deviation - self.table.shown[0])[None]
            level = self.baseline.charts(away).max(axis=1)
            windows = FollowedWindows(
                np.zeros(1, np.intp),
                np.array([number * S]),
                level.astype(np.float32),
                deviation[None].astype(np.float32),
            )
            self.table.follow(windows, lambda _: None)
            levels.append(float(level[0]))
        return np.array(levels)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("size", [2.0, 25.0])
@pytest.mark.parametrize("after", [1, 5, 60, 80, 500])
def test_this_is_healthy_is_said_once(after: int, size: float, seed: int) -> None:
    """However soon after a change: at most one more window is over its limit."""
    offset, machine = (size, 0, -size), Learned(seed)
    machine.run(200)
    assert machine.run(after, offset).shape == (after,)
    machine.table.confirm(0, 7 * S)
    assert machine.run(600, offset)[1:].max() < 1.0
    # A fault on top of it is found from there.
    assert machine.run(80, (size, 3.0, -size)).max() > 1.0


def test_what_comes_after_a_confirmed_change_is_judged() -> None:
    """As soon as a window holds no row of before, also over a restart meanwhile."""
    machine = Learned(1)
    machine.run(200)
    machine.run(LENGTH - 10, (4.0, 0, 0))
    machine.table.confirm(0, 7 * S)
    again = Learned(1)
    again.table.restore(0, machine.table.state(0))
    again.rows = machine.rows
    for one in (machine, again):
        assert one.run(10, (4.0, 0, 0)).max() < 1.0
        assert one.run(80, (4.0, 5.0, 0))[-1] > 1.0
        assert not one.table.settling.any()
