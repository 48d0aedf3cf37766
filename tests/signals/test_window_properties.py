"""Event-time windows against a plain calculation of what they must hold, whatever comes and how."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.clock import NEVER
from edge_agent.config.schema import Resample
from edge_agent.signals import BAD, GOOD, MISSING, Layout, Windows
from edge_agent.signals.window_set import HELD, STALE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from edge_agent.signals import WindowSet

S = 1_000_000
CHANNELS, LATENESS_S = 2, 5
ASSET = np.zeros(1, np.intp)
Value = tuple[int, float, float]  # channel, second, value (NaN: bad)


class Window(NamedTuple):
    """A window of the only asset: second of its end, cells (0 where there is none), marks."""

    end_s: float
    x: list[list[float]]
    mark: list[list[int]]


class Case(NamedTuple):
    """What a model wants, with a grid of `step_s` (0: rows are distinct times)."""

    step_s: int = 1
    length: int = 3
    hop: int = 1
    hold_s: int = 4
    resample: Resample = Resample.LAST

    def made(self) -> Windows:
        grid = (self.step_s * S, LATENESS_S * S)
        windows = Windows(Layout(CHANNELS, self.length, self.hop, *grid, (self.resample,) * 2))
        windows.add_asset([self.hold_s * S] * CHANNELS, [0] * CHANNELS)
        return windows

    def row_of(self, second: float) -> float:
        """The time of the row of a value."""
        return -(-second // self.step_s) * self.step_s if self.step_s else second

    def rows(self, values: Sequence[Value]) -> list[float]:
        """All rows, from the first value to the last."""
        times = sorted({self.row_of(second) for _, second, _ in values})
        if not self.step_s or not times:
            return times
        return [*range(round(times[0]), round(times[-1]) + 1, self.step_s)]


def push(windows: Windows, values: Sequence[Value], *, ended: bool = False) -> list[Window]:
    """Hand over values, ordered by time; ended: the recording is over."""
    found: list[WindowSet] = []
    if values:
        channel, second, value = map(np.array, zip(*values, strict=True))
        time_us, value = np.round(second * S).astype(np.int64), value.astype(np.float32)
        mark = np.where(np.isnan(value), BAD, GOOD).astype(np.uint8)
        found += windows.write_values(np.zeros(len(values), np.intp), channel, time_us, value, mark)
    found += windows.close_all() if ended else []
    return read(found)


def read(found: Iterable[WindowSet]) -> list[Window]:
    return [
        Window(end_us / S, np.nan_to_num(x).astype(float).round(3).tolist(), mark.tolist())
        for each in found
        for end_us, x, mark in zip(each.end_us.tolist(), each.x, each.mark, strict=True)
    ]


# -- the plain calculation --------------------------------------------------------------------


def cell(case: Case, values: Iterable[float]) -> tuple[float, int] | None:
    """Value and mark of a cell, of the values that fall into it; None of none."""
    values = list(values)
    good = [value for value in values if not math.isnan(value)]
    if not values:
        return None
    if math.isnan(values[-1]) or not good:
        return math.nan, BAD
    means = {
        Resample.LAST: values[-1],
        Resample.MEAN: sum(good) / len(good),
        Resample.MIN: min(good),
        Resample.MAX: max(good),
    }
    return means[case.resample], GOOD


def column_of(case: Case, values: Sequence[Value], channel: int) -> list[tuple[float, int]]:
    """The cells of one input: what no value fills repeats the last good one, and says so."""
    found, seen_s, seen, good = [], -math.inf, MISSING, 0.0
    for row in case.rows(values):
        mine = [v for c, second, v in values if c == channel and case.row_of(second) == row]
        now = cell(case, mine)
        if now is not None:
            seen_s, seen = row, now[1]
            good = now[0] if seen == GOOD else good
            mark = seen
        else:
            held = STALE if row - seen_s > case.hold_s else HELD
            mark = held if seen == GOOD else seen
        found.append((round(good, 3), mark))
    return found


def expected(case: Case, values: Sequence[Value]) -> list[Window]:
    """Every window of a whole recording."""
    columns = [column_of(case, values, channel) for channel in range(CHANNELS)]
    rows, found = case.rows(values), []
    for end in range(case.length - 1, len(rows), case.hop):
        window = [[c[row] for c in columns] for row in range(end - case.length + 1, end + 1)]
        x = [[value for value, _ in row] for row in window]
        found.append(Window(rows[end], x, [[mark for _, mark in row] for row in window]))
    return found


# -- the properties ---------------------------------------------------------------------------

CASES = st.builds(
    Case,
    step_s=st.sampled_from([0, 1, 2]),
    length=st.integers(1, 4),
    hop=st.integers(1, 3),
    hold_s=st.integers(0, 5),
    resample=st.sampled_from(list(Resample)),
)
NUMBERS = st.sampled_from([1.0, 2.0, 4.0, 8.0, math.nan])
STEPS = st.lists(
    st.tuples(st.integers(0, 1), st.sampled_from([0.25, 0.5, 1, 1, 2, 7]), NUMBERS), max_size=30
)
SIZE = st.integers(1, 9)


def ordered(steps: Sequence[Value]) -> list[Value]:
    """Steps of time to times."""
    seconds = np.cumsum([step for _, step, _ in steps]).tolist()
    return [(c, second, value) for (c, _, value), second in zip(steps, seconds, strict=True)]


def in_parts(values: Sequence[Value], size: int) -> list[Sequence[Value]]:
    return [values[start : start + size] for start in range(0, len(values), size)]


@settings(max_examples=300, deadline=None)
@given(CASES, STEPS, SIZE)
def test_windows_hold_what_a_plain_calculation_says(
    case: Case, steps: Sequence[Value], size: int
) -> None:
    """Cells, marks and times, on a grid and without one, for every `resample`, in any parts."""
    values, windows = ordered(steps), case.made()
    found = [each for part in in_parts(values, size) for each in push(windows, part)]
    found += push(windows, [], ended=True)
    assert found == expected(case, values)
    assert windows.late == 0


@settings(max_examples=150, deadline=None)
@given(CASES, STEPS)
def test_a_row_closes_when_it_is_complete_and_not_before(
    case: Case, steps: Sequence[Value]
) -> None:
    """Every input has reached it, or one is `lateness` past it."""
    values, windows, closed = ordered(steps), case.made(), 0
    for number, value in enumerate(values, 1):
        closed += len(push(windows, [value]))
        last = [max((s for c, s, _ in values[:number] if c == i), default=-1e9) for i in (0, 1)]
        until = max(min(last), max(last) - LATENESS_S)
        whole = expected(case, values[:number])
        assert closed == sum(window.end_s <= until for window in whole)


@settings(max_examples=150, deadline=None)
@given(STEPS, st.lists(st.integers(-9, 0), min_size=30, max_size=30), st.sampled_from([0, 1]))
def test_what_is_closed_never_changes(
    steps: Sequence[Value], delays: Sequence[int], step_s: int
) -> None:
    """Whatever comes late: a row that two windows share is the same in both, and time goes on."""
    case = Case(step_s=step_s, length=3)
    windows = case.made()
    late = [(c, 20 + s + by, v) for (c, s, v), by in zip(ordered(steps), delays, strict=False)]
    found = [window for value in late for window in push(windows, [value])]
    found += push(windows, [], ended=True)
    for one, after in pairwise(found):
        assert one.end_s < after.end_s
        assert (one.x[1:], one.mark[1:]) == (after.x[:-1], after.mark[:-1])


@settings(max_examples=150, deadline=None)
@given(CASES, STEPS, st.integers(0, 30), st.integers(-50, 50))
def test_a_move_of_the_clock_moves_windows_and_changes_nothing_else(
    case: Case, steps: Sequence[Value], at: int, step: int
) -> None:
    values, windows, step_s = ordered(steps), case.made(), step * max(case.step_s, 1)
    found = push(windows, values[:at])
    windows.shift_clock(ASSET, step_s * S)
    after = push(windows, [(c, second + step_s, v) for c, second, v in values[at:]], ended=True)
    found += [window._replace(end_s=window.end_s - step_s) for window in after]
    assert found == expected(case, values)


@settings(max_examples=100, deadline=None)
@given(CASES, STEPS, STEPS, st.integers(-1000, 1000))
def test_after_a_clock_was_set_back_windows_begin_anew(
    case: Case, before: Sequence[Value], after: Sequence[Value], by_s: int
) -> None:
    """Whatever the time is then, nothing of before is in them, and nothing is late."""
    windows = case.made()
    push(windows, ordered(before))
    windows.reset_clock(ASSET)
    values = [(c, second + by_s, value) for c, second, value in ordered(after)]
    found = push(windows, values, ended=True)
    assert [window.end_s for window in found] == [w.end_s for w in expected(case, values)]
    assert windows.late == 0


@settings(max_examples=100, deadline=None)
@given(CASES, STEPS, st.integers(1, 12))
def test_time_that_goes_on_without_values_holds_them(
    case: Case, steps: Sequence[Value], seconds: int
) -> None:
    """The rows of a silence are those that the next value would have closed, or none."""
    case = case._replace(step_s=1, hold_s=5)
    values, quiet, waits = ordered(steps), case.made(), case.made()
    if not values:
        return
    end_s = math.ceil(values[-1][1]) + seconds
    found, other = push(quiet, values), push(waits, values)
    for second in range(end_s - seconds, end_s + 1):
        found += read(quiet.close_by_clock(ASSET, np.array([second * S])))
    other += push(waits, [(0, end_s + 1 + LATENESS_S, 1.0)])
    assert found == other[: len(found)]


def test_a_time_that_is_none_does_not_move() -> None:
    """An asset that never had a value keeps none, so that its first one begins its rows."""
    windows = Case(length=1).made()
    windows.shift_clock(ASSET, NEVER // 2)
    assert push(windows, [(0, 1.0, 2.0), (1, 1.0, 3.0)]) == [Window(1.0, [[2.0, 3.0]], [[1, 1]])]
