"""Conditions, limits, rates, gates and quality against what their words say, second by second."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.config.conditions import Compare, Every, Held, Not, parse_condition
from edge_agent.config.conditions import Signal as Named
from edge_agent.signals import (
    FALSE,
    TRUE,
    UNKNOWN,
    Bound,
    Conditions,
    Gate,
    Limits,
    Points,
    QualityWatch,
    Rates,
    Span,
)
from edge_agent.signals.limit_state import SETTLE_US
from edge_agent.values import columns

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge_agent.config.conditions import Node

S = 1_000_000
STALE_S, STUCK_S = 5, 9
Row = tuple[int, int, float]  # second, signal, value (NaN: not known)
OF_ALL = np.ones(1, bool)
CONDITIONS = (
    "a > 5",
    "a > 5 for 4s",
    "not a or b > 1",
    "(a > 1 and b) for 3s",
    "not (a for 2s) for 2s",
    "a >= b or (b == 0 for 5s)",
)


def _at_times(steps: Sequence[Row]) -> list[Row]:
    """Steps of time to times, one value of a signal at each."""
    found: dict[tuple[int, int], float] = {}
    second = 0
    for step, signal, value in steps:
        second += step
        found[second, signal] = value
    return [(second, signal, value) for (second, signal), value in sorted(found.items())]


ROWS = st.lists(
    st.tuples(
        st.integers(0, 4),
        st.integers(0, 1),
        st.sampled_from([0.0, 1.0, 5.0, 6.5, 7.0, 8.0, 9.0, math.nan]),
    ),
    min_size=1,
    max_size=30,
).map(_at_times)
TAIL_S = 20  # after the last row
CUT = st.integers(0, 30)
STEP_S = st.integers(-10_000, 10_000)


def later(rows: Sequence[Row], by_s: int) -> list[Row]:
    return [(second + by_s, signal, value) for second, signal, value in rows]


def points(rows: Sequence[Row]) -> Points:
    second, number, value = zip(*(rows or [(0, 9, 0.0)]), strict=True)
    return Points(np.array(number, np.intp), np.array(second, np.int64) * S, np.array(value, float))


def now(second: float) -> np.ndarray:
    return np.array([round(second * S)], np.int64)


class Said(NamedTuple):
    """Something that was said of a second, and of what."""

    second: float
    what: tuple[Any, ...]


def said(
    rows: Sequence[Row],
    take: Callable[[list[Row], int], list[Said]],
    move: Callable[[int], None] = lambda _: None,
    *,
    at: int = 0,
    by_s: int = 0,
) -> list[Said]:
    """All that is said of the rows, one second after the other, as if the clock was never moved.

    take: values of a second and that second; move: of the clock, by `by_s` before row `at`.
    """
    found: list[Said] = []
    shift, moves_at = 0, rows[at % len(rows)][0]
    for second in range(rows[-1][0] + TAIL_S):
        mine = [row for row in rows if row[0] == second]
        if second == moves_at and by_s:
            move(by_s)
            shift = by_s
        here = take(later(mine, shift), second + shift)
        found += [each._replace(second=each.second - shift) for each in here]
    return found


# -- conditions -------------------------------------------------------------------------------


def conditions_of(text: str) -> tuple[Conditions, int]:
    conditions = Conditions(live=False)
    number = conditions.add(0, parse_condition(text), {"a": (0, STALE_S * S), "b": (1, None)})
    return conditions, number


def value_at(rows: Sequence[Row], signal: int, second: int, stale_s: float) -> float:
    mine = [row for row in rows if row[1] == signal and row[0] <= second]
    if not mine or second - mine[-1][0] >= stale_s:
        return math.nan
    return mine[-1][2]


def truth_at(node: Node, rows: Sequence[Row], second: int) -> int:
    """What a condition is by its words, of values that hold until the next one."""
    if isinstance(node, Not):
        return -truth_at(node.part, rows, second)
    if isinstance(node, Held):
        back = range(second, second - round(node.seconds) - 1, -1)
        for each in back:
            truth = truth_at(node.part, rows, each)
            if truth != TRUE:
                return truth if each == second else FALSE
        return TRUE
    if isinstance(node, Compare):
        left, right = (
            value_at(rows, "ab".index(side.name), second, STALE_S if side.name == "a" else math.inf)
            if isinstance(side, Named)
            else side
            for side in (node.left, node.right)
        )
        if math.isnan(left) or math.isnan(right):
            return UNKNOWN
        signs = {">": left > right, ">=": left >= right, "!=": left != right, "==": left == right}
        return TRUE if signs[node.sign] else FALSE
    truths = [truth_at(part, rows, second) for part in node.parts]
    return min(truths) if isinstance(node, Every) else max(truths)


def truths(text: str, rows: Sequence[Row]) -> list[int]:
    """By second."""
    root = parse_condition(text).root
    return [truth_at(root, rows, second) for second in range(rows[-1][0] + TAIL_S)]


@settings(max_examples=200, deadline=None)
@given(ROWS, st.sampled_from(CONDITIONS), CUT, STEP_S)
def test_a_condition_turns_when_its_words_say_so(
    rows: Sequence[Row], text: str, at: int, by_s: int
) -> None:
    """Also when the clock is moved meanwhile."""
    conditions, _ = conditions_of(text)

    def take(mine: list[Row], second: int) -> list[Said]:
        conditions.update(points(mine), now(second))
        turns, conditions.changes = conditions.changes, []
        return [Said(turn.at_us / S, (turn.truth,)) for turn in turns]

    found = said(rows, take, lambda s: conditions.shift_clock(s * S, OF_ALL), at=at, by_s=by_s)
    wanted, before = [], UNKNOWN
    for second, truth in enumerate(truths(text, rows)[:-1]):  # the last second is not over
        if truth != before:
            wanted.append(Said(second, (truth,)))
        before = truth
    assert found == wanted


@settings(max_examples=150, deadline=None)
@given(ROWS, st.sampled_from(CONDITIONS), st.integers(0, 60), st.integers(1, 12))
def test_a_gate_lets_through_what_lies_in_the_time_in_which_its_condition_held(
    rows: Sequence[Row], text: str, start: int, length: int
) -> None:
    """All of a window, and a moment after it; when it is asked makes no difference."""
    conditions, number = conditions_of(text)
    gate = Gate[Span](lambda span: span, lambda span, m: Span(*(part[m] for part in span)))
    gate.bind(conditions, 0, number)
    end = start + length
    window = Span(np.zeros(1, np.intp), now(start), now(end))

    def take(mine: list[Row], second: int) -> list[Said]:
        conditions.update(points(mine), now(second))
        return [Said(second, ()) for _ in gate.admit([window] if second == end else [])]

    last = rows[-1][0] + TAIL_S
    settled = end + SETTLE_US // S
    found = said(rows, take)
    held = truths(text, rows)[start:settled]
    known = settled < last
    assert len(found) == (known and all(truth == TRUE for truth in held))


# -- limits -----------------------------------------------------------------------------------


class Rule(NamedTuple):
    limit: float = 7.0
    deadband: float = 1.0
    on_s: int = 3
    off_s: int = 2

    @property
    def reset(self) -> float:
        return self.limit - self.deadband

    def made(self, *, above: bool = True) -> Limits:
        limits, sign = Limits(), 1 if above else -1
        delays = (self.on_s * S, self.off_s * S)
        limits.add(Bound(0, 0, above, sign * self.limit, self.deadband, *delays))
        return limits


RULES = st.builds(
    Rule,
    limit=st.sampled_from([1.0, 7.0]),
    deadband=st.sampled_from([0.0, 1.0, 3.0]),
    on_s=st.integers(0, 5),
    off_s=st.integers(0, 5),
)
KNOWN = ROWS.map(lambda rows: [row for row in rows if row[1] == 0 and not math.isnan(row[2])])


def crossings(
    rule: Rule, rows: Sequence[Row], *, above: bool = True, at: int = 0, by_s: int = 0
) -> list[Said]:
    limits, sign = rule.made(above=above), 1 if above else -1

    def take(mine: list[Row], second: int) -> list[Said]:
        found = limits.update(points([(s, n, sign * v) for s, n, v in mine]), [])
        found += limits.advance(now(second))
        return [Said(c.at_us / S, (c.change.value, sign * c.value)) for c in found]

    return said(rows, take, lambda s: limits.shift_clock(s * S, OF_ALL), at=at, by_s=by_s)


@settings(max_examples=300, deadline=None)
@given(KNOWN.filter(bool), RULES)
def test_a_limit_is_raised_and_cleared_when_its_words_say_so(
    rows: Sequence[Row], rule: Rule
) -> None:
    """Beyond for `on_delay`: raised. Inside by the deadband for `off_delay`, not beyond: clear."""
    changes = {each.second: each.what[0] for each in crossings(rule, rows)}
    raised = wanted = False
    beyond_s = inside_s = math.inf
    for second in range(rows[0][0], rows[-1][0] + TAIL_S):
        value = value_at(rows, 0, second, math.inf)
        for looked in (False, True):  # what lasted until now counts, whatever the value is now
            if looked and value >= rule.limit:
                beyond_s, inside_s = min(beyond_s, second), math.inf
            elif looked:
                beyond_s = math.inf
                inside_s = min(inside_s, second) if value < rule.reset else inside_s
            since_s, delay_s = (inside_s, rule.off_s) if wanted else (beyond_s, rule.on_s)
            wanted ^= second - since_s >= delay_s
        raised = {"raise": True, "clear": False}.get(changes.get(second, ""), raised)
        assert raised == wanted, second


@settings(max_examples=150, deadline=None)
@given(KNOWN.filter(bool), RULES, CUT, STEP_S)
def test_a_limit_from_below_is_one_from_above_and_a_moved_clock_changes_nothing(
    rows: Sequence[Row], rule: Rule, at: int, by_s: int
) -> None:
    assert crossings(rule, rows, above=False) == crossings(rule, rows)
    assert crossings(rule, rows, at=at, by_s=by_s) == crossings(rule, rows)


# -- rates ------------------------------------------------------------------------------------


def rates(rows: Sequence[Row], size: int = 1000, *, holds: bool = False) -> list[Said]:
    """The rate of signal 0 over a minute, of rows that come in parts of that size."""
    made, found = Rates(), []
    made.add(0, 0, 7, window_us=60 * S, rolls_over_at=0.0, holds=holds)
    for start in range(0, len(rows), size):
        part = rows[start : start + size]
        told = made.update(points(part), now(part[-1][0]))
        found += [] if told is None else list(told.rows())
    return [Said(at / S, (value,)) for _, at, value in found]


RAMPS = st.lists(st.tuples(st.integers(1, 12), st.integers(-50, 50)), min_size=20, max_size=60).map(
    lambda steps: [
        (int(second), 0, float(value))
        for second, value in zip(
            np.cumsum([step for step, _ in steps]), (value for _, value in steps), strict=True
        )
    ]
)


@settings(max_examples=100, deadline=None)
@given(RAMPS, st.integers(1, 9), st.booleans())
def test_a_rate_is_the_same_in_every_batching(
    rows: Sequence[Row],
    size: int,
    holds: bool,  # noqa: FBT001
) -> None:
    assert repr(rates(rows, size, holds=holds)) == repr(rates(rows, 1, holds=holds))


@settings(max_examples=100, deadline=None)
@given(RAMPS, st.integers(-9, 9), st.integers(-1000, 1000))
def test_a_rate_follows_the_unit_and_not_the_level(
    rows: Sequence[Row], factor: int, offset: int
) -> None:
    plain = [value for _, (value,) in rates(rows)]
    other = rates([(second, n, factor * v + offset) for second, n, v in rows])
    assert [v for _, (v,) in other] == pytest.approx([factor * v for v in plain], nan_ok=True)


@settings(max_examples=100, deadline=None)
@given(RAMPS)
def test_a_rate_is_no_steeper_than_the_steepest_of_its_window(rows: Sequence[Row]) -> None:
    """And has the sign of a signal that only rises."""
    rising = sorted(value for _, _, value in rows)
    again = [(second, n, value) for (second, n, _), value in zip(rows, rising, strict=True)]
    assert all(math.isnan(rate) or rate >= 0 for _, (rate,) in rates(again))
    slopes = [(v - u) / (t - s) for i, (s, _, u) in enumerate(rows) for t, _, v in rows[i + 1 :]]
    steepest = max(map(abs, slopes)) + 1e-9
    assert all(math.isnan(rate) or abs(rate) <= steepest for _, (rate,) in rates(rows))


# -- quality ----------------------------------------------------------------------------------

HEARD: list[Row] = [(0, 0, 1.0), (0, 1, 1.0)]  # of what was never heard, only `live` knows


def episodes(rows: Sequence[Row], *, live: bool, at: int = 0, by_s: int = 0) -> list[Said]:
    """Every begin and end of a problem; live: looked at every second, else only at the end."""
    watch = QualityWatch()
    for _ in range(2):
        watch.add(0, stale_us=STALE_S * S, stuck_us=STUCK_S * S, valid=(0.0, 8.0))
    last = rows[-1][0] + TAIL_S - 1
    shift = 0

    def take(mine: list[Row], second: int) -> list[Said]:
        found = []
        if mine:
            seconds, signal, value = zip(*mine, strict=True)
            made = columns(signal, [s * S for s in seconds], value)
            found += watch.update(watch.refuse_out_of_range(made))
        if live or second - shift == last:
            found += watch.overdue(now(second), now(shift))
        return [
            Said(e.at_us / S, (e.signal, e.problem.name, e.begins, str(e.value))) for e in found
        ]

    def move(step_s: int) -> None:
        nonlocal shift
        shift = step_s
        watch.shift_clock(step_s * S, OF_ALL)

    return sorted(said(rows, take, move, at=at, by_s=by_s))


@settings(max_examples=200, deadline=None)
@given(ROWS, CUT, STEP_S)
def test_quality_says_the_same_live_and_of_a_recording_and_after_a_move_of_the_clock(
    rows: Sequence[Row], at: int, by_s: int
) -> None:
    """Stale and stuck are stamped with when they were due, not with when somebody looked."""
    rows = [*HEARD, *later(rows, 1)]
    assert episodes(rows, live=True) == episodes(rows, live=False)
    assert episodes(rows, live=True, at=at, by_s=by_s) == episodes(rows, live=True)


@settings(max_examples=200, deadline=None)
@given(ROWS)
def test_a_signal_is_stale_whenever_nothing_came_for_its_time(rows: Sequence[Row]) -> None:
    """Of a signal without other problems; every episode that begins ends before the next one."""
    rows = [*HEARD, *((second + 1, signal, second % 2) for second, signal, _ in rows)]
    found = [each for each in episodes(rows, live=True) if each.what[1] == "STALE"]
    for signal in (0, 1):
        times = [*(s for s, n, _ in rows if n == signal), rows[-1][0] + TAIL_S]
        due = [s + STALE_S for s, t in pairwise(times) if t - s > STALE_S]
        begins = [each.second for each in found if each.what[0] == signal and each.what[2]]
        assert begins == due
