"""Event-time windows: the same windows whatever way the values are cut into batches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.config.schema import Resample
from edge_agent.signals.window_set import BAD, GOOD, HELD, MISSING, STALE, Layout
from edge_agent.signals.windows import Windows

if TYPE_CHECKING:
    from collections.abc import Sequence

S = 1_000_000
Value = tuple[int, int, float]  # channel, time_us, value


def make(
    *,
    channels: int = 2,
    length: int = 4,
    hop: int = 1,
    step_us: int = S,
    lateness_us: int = 5 * S,
    hold_us: int | None = 8 * S,
    group: int = 0,
    resample: Resample = Resample.LAST,
    least: int = 0,
) -> Windows:
    resamples = (resample,) * channels
    windows = Windows(Layout(channels, length, hop, step_us, lateness_us, resamples, least))
    windows.add_asset([hold_us] * channels, [group] * channels)
    return windows


def push(
    windows: Windows, values: Sequence[Value], *, flush: bool = False
) -> list[tuple[Any, ...]]:
    """Windows as (end_us, x, mark)."""
    found = []
    if values:
        channel, time_us, value = (np.array(column) for column in zip(*values, strict=True))
        order = np.argsort(time_us, kind="stable")
        value = value.astype(np.float32)[order]
        mark = np.where(np.isnan(value), BAD, GOOD).astype(np.uint8)
        asset = np.zeros(len(values), np.intp)
        found += list(windows.write_values(asset, channel[order], time_us[order], value, mark))
    if flush:
        found += list(windows.close_all())
    return [row for s in found for row in zip(s.end_us.tolist(), s.x, s.mark, strict=True)]


def same(left: list[tuple[Any, ...]], right: list[tuple[Any, ...]]) -> bool:
    return len(left) == len(right) and all(
        a[0] == b[0] and np.array_equal(a[1], b[1], equal_nan=True) and np.array_equal(a[2], b[2])
        for a, b in zip(left, right, strict=True)
    )


@st.composite
def recordings(draw: st.DrawFn) -> list[Value]:
    gaps = draw(st.lists(st.sampled_from([1, 1, 1, 2, 3, 7, 400]), min_size=5, max_size=60))
    values: list[Value] = []
    now = 0
    for gap in gaps:
        now += gap * S
        present = draw(st.sets(st.integers(0, 2)))
        values += [(c, now, float(len(values))) for c in sorted(present)]
    return values


@settings(max_examples=150, deadline=None)
@given(
    recordings(),
    st.integers(1, 9),
    st.sampled_from([0, S]),
    st.sampled_from([None, 8 * S]),
    st.sampled_from([0, 1]),
)
def test_windows_do_not_depend_on_how_values_are_cut_into_batches(
    values: list[Value], size: int, step_us: int, hold_us: int | None, group: int
) -> None:
    whole = make(channels=3, step_us=step_us, hold_us=hold_us, group=group)
    parts = make(channels=3, step_us=step_us, hold_us=hold_us, group=group)
    expected = push(whole, values, flush=True)
    found: list[tuple[Any, ...]] = []
    for start in range(0, len(values), size):
        found += push(parts, values[start : start + size])
    found += push(parts, [], flush=True)
    assert same(expected, found)
    assert whole.late == parts.late == 0


def test_a_row_closes_when_every_input_has_reached_it() -> None:
    windows = make(length=1)
    assert push(windows, [(0, S, 1.0)]) == []
    (row,) = push(windows, [(1, S, 2.0)])
    assert row[0] == S
    assert row[1].tolist() == [[1.0, 2.0]]


def test_an_input_that_lags_is_waited_for_no_longer_than_the_lateness() -> None:
    windows = make(length=1, lateness_us=3 * S, hold_us=100 * S)
    push(windows, [(0, S, 1.0), (1, S, 1.0)])
    found = push(windows, [(0, t * S, float(t)) for t in range(2, 8)])
    assert [row[0] for row in found] == [2 * S, 3 * S, 4 * S]
    assert found[0][2].tolist() == [[GOOD, HELD]]


def test_a_held_value_becomes_stale_after_its_time() -> None:
    windows = make(length=1, lateness_us=0, hold_us=2 * S)
    found = push(windows, [(0, S, 1.0), (1, S, 9.0), *((0, t * S, 1.0) for t in range(2, 6))])
    assert [row[2][0, 1] for row in found] == [GOOD, HELD, HELD, STALE, STALE]
    assert {float(row[1][0, 1]) for row in found} == {9.0}


def test_a_bad_value_is_never_data() -> None:
    """The cell keeps the last good value and is marked Bad until a good one comes."""
    windows = make(length=1, lateness_us=0)
    nan = float("nan")
    found = push(
        windows,
        [
            (0, S, 1.0),
            (1, S, 5.0),
            (0, 2 * S, 1.0),
            (1, 2 * S, nan),
            (0, 3 * S, 1.0),
            (0, 4 * S, 1.0),
            (1, 4 * S, 6.0),
        ],
    )
    assert [row[2][0, 1] for row in found] == [GOOD, BAD, BAD, GOOD]
    assert [float(row[1][0, 1]) for row in found] == [5.0, 5.0, 5.0, 6.0]


def test_inputs_of_one_subscription_share_their_progress() -> None:
    """A server reports only what changes: the silent input holds, and nobody waits for it."""
    windows = make(length=1, group=1, hold_us=None)
    push(windows, [(0, S, 1.0), (1, S, 2.0)])
    push(windows, [(0, 50 * S, 3.0)])
    (row,) = push(windows, [(0, 51 * S, 4.0)])
    assert row[0] == 50 * S
    assert row[2].tolist() == [[GOOD, HELD]]


def test_a_report_says_nothing_of_what_happened_at_the_same_time() -> None:
    """The other change of that time may be in the next packet."""
    windows = make(length=1, group=1, hold_us=None)
    push(windows, [(0, S, 1.0), (1, S, 2.0)])
    assert push(windows, [(0, 2 * S, 3.0)]) == []
    (row,) = push(windows, [(1, 2 * S, 4.0)])
    assert row[1].tolist() == [[3.0, 4.0]]


def test_late_values_are_counted_and_hold_from_then_on() -> None:
    windows = make(length=1, lateness_us=0, hold_us=None)
    push(windows, [(0, S, 1.0), (1, S, 2.0)])
    push(windows, [(0, 5 * S, 1.0)])
    push(windows, [(1, 3 * S, 7.0)])
    assert windows.late == 1
    (row,) = push(windows, [(0, 6 * S, 1.0)])
    assert row[1][0, 1] == 7.0


def test_rows_are_distinct_time_stamps_where_the_model_has_no_step() -> None:
    windows = make(length=2, step_us=0)
    found = push(windows, [(c, t, float(t)) for t in (3, 10, 11, 500) for c in (0, 1)])
    assert [row[0] for row in found] == [10, 11, 500]
    assert found[-1][1].tolist() == [[11.0, 11.0], [500.0, 500.0]]


@pytest.mark.parametrize(
    ("how", "expected"),
    [(Resample.LAST, 4.0), (Resample.MEAN, 3.0), (Resample.MIN, 2.0), (Resample.MAX, 4.0)],
)
@pytest.mark.parametrize("cut", [1, 3])
def test_several_values_in_one_step_become_one(how: Resample, expected: float, cut: int) -> None:
    windows = make(channels=1, length=1, resample=how)
    values = [(0, S // 4, 2.0), (0, S // 2, 3.0), (0, S, 4.0), (0, 3 * S, 8.0)]
    found = [row for i in range(0, 4, cut) for row in push(windows, values[i : i + cut])]
    assert found[0][1].tolist() == [[expected]]


def test_a_gap_longer_than_the_ring_begins_anew() -> None:
    windows = make(length=4)
    first = [(c, t * S, 1.0) for t in range(1, 6) for c in (0, 1)]
    after = [(c, (90_000 + t) * S, 2.0) for t in range(1, 6) for c in (0, 1)]
    found = push(windows, first + after)
    assert [row[0] // S for row in found] == [4, 5, 90_004, 90_005]
    assert not np.isnan(found[-1][1]).any()


def test_time_goes_on_without_values() -> None:
    """Rows close by the clock, held and then stale; an asset silent for too long is left alone."""
    windows = make(length=1, hold_us=3 * S)
    push(windows, [(0, S, 1.0), (1, S, 1.0)])
    asset = np.array([0])
    found = list(windows.close_by_clock(asset, np.array([4 * S])))
    assert found[0].mark[:, 0].tolist() == [[HELD, HELD]] * 3
    assert list(windows.close_by_clock(asset, np.array([60 * S]))) == []


def test_assets_do_not_touch_each_other() -> None:
    windows = make(length=2, channels=1)
    for _ in range(6):
        windows.add_asset([None], [0])
    asset = np.array([0, 6, 3, 6, 0, 3])
    time_us = np.array([1, 1, 1, 2, 2, 2]) * S
    value = np.array([10, 60, 30, 61, 11, 31], np.float32)
    channel, mark = np.zeros(6, np.intp), np.full(6, GOOD, np.uint8)
    found = {
        int(a): x[:, 0].tolist()
        for s in windows.write_values(asset, channel, time_us, value, mark)
        for a, x in zip(s.asset, s.x, strict=True)
    }
    assert found == {0: [10, 11], 3: [30, 31], 6: [60, 61]}


def test_an_input_never_seen_is_missing() -> None:
    windows = make(length=1, lateness_us=0)
    (row,) = push(windows, [(0, S, 1.0)])
    assert row[2].tolist() == [[GOOD, MISSING]]


@pytest.mark.parametrize("step_us", [0, S])
def test_a_model_content_with_a_short_history_is_asked_before_its_window_is_full(
    step_us: int,
) -> None:
    """The first window ends with row `least`; what lies before the first row is missing."""
    windows = make(channels=1, length=4, least=2, step_us=step_us)
    found = []
    for second in range(100, 106):
        value = np.array([float(second)], np.float32)
        at = (
            np.array([0]),
            np.array([0]),
            np.array([second * S]),
            value,
            np.array([GOOD], np.uint8),
        )
        found += list(windows.write_values(*at))
    assert [s.end_us.tolist() for s in found] == [[second * S] for second in range(101, 106)]
    assert [s.start_us.tolist()[0] // S for s in found] == [100, 100, 100, 101, 102]
    assert found[0].x[0, :, 0].tolist()[2:] == [100.0, 101.0]
    assert found[0].mark[0, :, 0].tolist() == [MISSING, MISSING, GOOD, GOOD]
    assert found[0].coverage().tolist() == [0.5]


def test_a_short_history_begins_anew_after_a_gap_longer_than_the_ring() -> None:
    """Rows of before the gap are not taken for the short history after it."""
    windows = make(channels=1, length=4, least=2, step_us=S)
    late = 100_000
    found = push(
        windows, [(0, second * S, 1.0) for second in (1, 2, 3, late, late + 1)], flush=True
    )
    assert found[-1][2][:, 0].tolist() == [MISSING, MISSING, GOOD, GOOD]
    assert found[-1][0] == (late + 1) * S
