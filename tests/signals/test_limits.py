"""Limits and conditions over event time: whatever the batches, and whatever the values are."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.config.conditions import parse_condition
from edge_agent.signals.condition_state import FALSE, TRUE, UNKNOWN
from edge_agent.signals.conditions import Conditions
from edge_agent.signals.limit_state import Bound, Change
from edge_agent.signals.limits import Limits
from edge_agent.signals.points import Points
from edge_agent.signals.rates import Rates

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

S = 1_000_000
Row = tuple[int, int, float]  # second, signal, value


def points(rows: Sequence[Row]) -> Points:
    seconds, number, value = zip(*rows, strict=True)
    time_us = np.array(seconds, np.int64) * S
    return Points(np.array(number, np.intp), time_us, np.array(value, float))


NOTHING = points([(0, 9, 0.0)])


def now(second: float) -> np.ndarray:
    return np.array([round(second * S)], np.int64)


def cut(rows: Sequence[Row], sizes: Iterable[int]) -> list[Sequence[Row]]:
    """The rows in batches of these sizes, the rest in one."""
    found, start = [], 0
    for size in sizes:
        found.append(rows[start : start + size])
        start += size
    return [batch for batch in (*found, rows[start:]) if batch]


def turns(text: str, batches: Iterable[Sequence[Row]], end: int) -> list[tuple[int, int]]:
    """When a condition on the signals a (0) and b (1) turned: (second, truth)."""
    conditions = Conditions(live=False)
    conditions.add(0, parse_condition(text), {"a": (0, 5 * S), "b": (1, None)})
    for batch in batches:
        conditions.update(points(batch), now(batch[-1][0]))
    conditions.update(NOTHING, now(end))
    return [(turn.at_us // S, turn.truth) for turn in conditions.changes]


def crossings(
    batches: Iterable[Sequence[Row]], end: int, *, with_condition: bool
) -> list[tuple[int, int, str, float]]:
    """What three limits of signal 0 say while signal 1 runs: (second, row, change, value)."""
    conditions, limits = Conditions(live=False), Limits()
    number = -1
    if with_condition:
        number = conditions.add(0, parse_condition("b > 0 for 3s"), {"b": (1, None)})
    for above, limit, on_us, off_us in ((True, 7, 3, 2), (True, 9, 0, 0), (False, 1, 0, 4)):
        limits.add(Bound(0, 0, above, limit, 1.0, on_us * S, off_us * S, 0, number))
    found = []
    for batch in batches:
        made = points(batch)
        conditions.update(made, now(batch[-1][0]))
        turned, conditions.changes = conditions.changes, []
        found += limits.update(made, turned)
        found += limits.advance(now(batch[-1][0]))
    conditions.update(NOTHING, now(end))
    found += limits.update(points([(end, 9, 0.0)]), conditions.changes)
    found += limits.advance(now(end))
    return [(c.at_us // S, c.row, c.change.value, c.value) for c in found]


VALUES = st.sampled_from([0.0, 0.5, 1.0, 5.0, 6.0, 6.5, 7.0, 8.0, 9.0, math.nan])
ROWS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 1), VALUES), min_size=1, max_size=40)
SIZES = st.lists(st.integers(1, 7), max_size=20)


def stream(steps: Iterable[Row]) -> list[Row]:
    """Rows in the order of time, some of them of one time, one value of a signal at each."""
    found: dict[tuple[int, int], float] = {}
    second = 0
    for step, signal, value in steps:
        second += step
        found[second, signal] = value
    return [(second, signal, value) for (second, signal), value in sorted(found.items())]


@settings(max_examples=150, deadline=None)
@given(ROWS, SIZES, st.sampled_from(["a > 5 for 4s", "not a or b > 1", "(a > 1 and b) for 3s"]))
def test_a_condition_turns_at_the_same_time_in_every_batching(
    steps: list[Row], sizes: list[int], text: str
) -> None:
    """Also where a value is unknown, of the same time as another, or becomes stale."""
    rows = stream(steps)
    whole = turns(text, [rows], rows[-1][0] + 60)
    assert turns(text, cut(rows, sizes), rows[-1][0] + 60) == whole
    assert turns(text, cut(rows, [1] * len(rows)), rows[-1][0] + 60) == whole


@settings(max_examples=150, deadline=None)
@given(ROWS, SIZES, st.booleans())
def test_limits_say_the_same_in_every_batching(
    steps: list[Row],
    sizes: list[int],
    with_condition: bool,  # noqa: FBT001
) -> None:
    """The same limits, at the same time, with the same value."""
    rows, key = stream(steps), lambda each: each[:2]
    end = rows[-1][0] + 60

    def told(batches: Iterable[Sequence[Row]]) -> list[str]:
        found = sorted(crossings(batches, end, with_condition=with_condition), key=key)
        return [repr(each) for each in found]

    assert told(cut(rows, sizes)) == told([rows])
    assert told(cut(rows, [1] * len(rows))) == told([rows])


@settings(max_examples=100, deadline=None)
@given(ROWS, st.booleans())
def test_what_is_not_known_changes_nothing(steps: list[Row], with_condition: bool) -> None:  # noqa: FBT001
    """No limit is raised or cleared while the value is not known."""
    rows = stream(steps)
    mine = [(second, value) for second, signal, value in rows if signal == 0]
    end = rows[-1][0] + 60
    for second, _, change, value in crossings([rows], end, with_condition=with_condition):
        around = [v for s, v in mine if s == second] + [v for s, v in mine if s < second][-1:]
        assert change not in {"raise", "clear"} or not all(map(math.isnan, around))
        assert not math.isnan(value) or change == "pause"


def test_raises_and_clears_take_turns() -> None:
    """A limit that is passed is raised once, until it is back."""
    rows = [(n, 0, [5.0, 8.0, 8.0, 8.0, 8.0, 5.0, 5.0, 5.0][n % 8]) for n in range(80)]
    kinds = [c[2] for c in crossings([rows], 90, with_condition=False) if c[1] == 0]
    assert kinds == ["raise", "clear"] * 10


def test_a_condition_is_unknown_while_its_signal_is_stale() -> None:
    rows = [(0, 0, 9.0), (1, 0, 9.0), (20, 0, 9.0), (21, 0, 0.0)]
    assert turns("a > 5", [rows], 30) == [
        (0, TRUE),
        (6, UNKNOWN),
        (20, TRUE),
        (21, FALSE),
        (26, UNKNOWN),
    ]


def test_a_condition_may_compare_two_signals() -> None:
    rows = [(0, 0, 1.0), (0, 1, 2.0), (1, 0, 3.0), (2, 1, 4.0), (3, 0, 4.0)]
    assert turns("a >= b", [rows], 8) == [(0, FALSE), (1, TRUE), (2, FALSE), (3, TRUE)]


def test_a_machine_that_runs_again_is_judged_anew() -> None:
    """What stood when it stopped rests; then it is back, or it is over."""
    run = [(n, 1, 1.0) for n in range(10)] + [(10, 1, 0.0), (20, 1, 1.0)]
    ill = sorted([*run, (5, 0, 8.0), (30, 0, 8.0)])
    well = sorted([*run, (5, 0, 8.0), (15, 0, 5.0), (30, 0, 5.0)])
    first = [c[:3] for c in crossings([ill], 60, with_condition=True)]
    second = [c[:3] for c in crossings([well], 60, with_condition=True)]
    assert first == [(8, 0, "raise"), (10, 0, "pause"), (23, 0, "resume")]
    assert second == [(8, 0, "raise"), (10, 0, "pause"), (23, 0, "end")]


def rates(rows: Sequence[Row], *, holds: bool = False, rolls: float = 0.0) -> dict[int, float]:
    """The rate per second of signal 0 over a minute, by second."""
    made = Rates()
    made.add(0, 0, 7, window_us=60 * S, rolls_over_at=rolls, holds=holds)
    found = made.update(points(rows), now(rows[-1][0]))
    return {} if found is None else {at // S: value for _, at, value in found.rows()}


def test_a_rate_is_that_of_a_ramp_however_it_is_sampled() -> None:
    random = np.random.default_rng(1)
    seconds = np.cumsum(random.integers(1, 6, 200)).tolist()
    found = rates([(second, 0, 3.0 + 0.25 * second) for second in seconds])
    known = [value for second, value in found.items() if second > 70]
    assert known
    assert known == pytest.approx([0.25] * len(known))


def test_one_wrong_value_does_not_move_a_rate() -> None:
    rows = [(n, 0, 10.0 + 0.01 * n) for n in range(0, 300, 5)]
    rows[30] = (150, 0, 1e6)
    found = [value for second, value in rates(rows).items() if second > 70]
    assert max(found) < 0.02
    assert min(found) > 0.005


def test_a_rate_is_not_known_before_five_points_and_half_the_window() -> None:
    found = rates([(n, 0, float(n)) for n in range(40)])
    assert [math.isnan(value) for value in found.values()] == [n < 6 for n in range(7)]


def test_a_counter_rolls_over() -> None:
    """Without its roll-over the same counter falls."""
    rows = [(n, 0, float((60_000 + 40 * n) % 65_536)) for n in range(300)]
    found = [value for second, value in rates(rows, rolls=65_536).items() if second > 70]
    assert found == pytest.approx([40.0] * len(found))
    assert np.nanmin(list(rates(rows).values())) < 0


def test_a_signal_that_reports_changes_only_stands_still_between_them() -> None:
    """Its rate falls to zero although no value comes."""
    rows = [*((n, 0, float(n)) for n in range(60)), *((n, 1, 0.0) for n in range(60, 200))]
    found = rates(rows, holds=True)
    assert found[max(found)] == 0.0
    assert np.nanmax(list(found.values())) == pytest.approx(1.0)


def test_a_change_names_all_that_can_happen() -> None:
    """The pipeline has a row for each of them."""
    assert {change.value for change in Change} == {"raise", "clear", "pause", "resume", "end"}
