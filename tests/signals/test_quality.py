"""The quality watch: when a signal's quality went and came back, by the source's own time."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.config.schema import Uncertain
from edge_agent.signals.episodes import Episode, Problem
from edge_agent.signals.quality import QualityWatch
from edge_agent.values import BAD, BAD_NO_COMMUNICATION, RETAINED, columns

S = 1_000_000
Row = tuple[int, int, float, int]


def watch(signals: int = 2) -> QualityWatch:
    made = QualityWatch()
    for _ in range(signals):
        made.add(0, stale_us=5 * S, stuck_us=20 * S, valid=(0.0, 100.0))
    return made


def feed(made: QualityWatch, rows: list[Row]) -> list[Episode]:
    signal, time_us, value, status = zip(*rows, strict=True)
    values = columns(signal, time_us, value, np.array(status, np.uint32))
    return made.update(made.refuse_out_of_range(values))


def told(episodes: list[Episode]) -> list[tuple[int, Problem, bool, int, str, int]]:
    """What can be compared: NaN is not even equal to itself."""
    return [(e.signal, e.problem, e.begins, e.at_us, str(e.value), e.status) for e in episodes]


def test_a_bad_status_begins_and_ends_with_the_values_that_carry_it() -> None:
    made = watch()
    nan = float("nan")
    found = feed(made, [(0, S, 1.0, 0), (0, 2 * S, nan, BAD), (0, 3 * S, 2.0, 0)])
    assert told(found) == [
        (0, Problem.BAD, True, 2 * S, "nan", BAD),
        (0, Problem.BAD, False, 3 * S, "2.0", 0),
    ]


def test_one_problem_gives_way_to_another() -> None:
    made = watch()
    feed(made, [(0, S, 1.0, 0)])
    found = feed(made, [(0, 2 * S, 500.0, 0), (0, 3 * S, float("nan"), BAD_NO_COMMUNICATION)])
    assert [(e.problem, e.begins) for e in found] == [
        (Problem.OUT_OF_RANGE, True),
        (Problem.OUT_OF_RANGE, False),
        (Problem.LOST, True),
    ]


def test_a_silence_is_stamped_with_the_time_at_which_it_was_due() -> None:
    """Noticed while it lasts (live) or only when it is over (a recording): the same episode."""
    live, recorded = watch(1), watch(1)
    feed(live, [(0, S, 1.0, 0)])
    feed(recorded, [(0, S, 1.0, 0)])
    noticed = live.overdue(np.array([9 * S]), np.array([0])) + feed(live, [(0, 12 * S, 2.0, 0)])
    later = feed(recorded, [(0, 12 * S, 2.0, 0)])
    assert told(noticed) == told(later)
    assert told(noticed) == [
        (0, Problem.STALE, True, 6 * S, "1.0", 0),
        (0, Problem.STALE, False, 12 * S, "2.0", 0),
    ]


def test_a_stuck_sensor_keeps_sending_and_is_noticed_all_the_same() -> None:
    live, recorded = watch(1), watch(1)
    rows = [(0, t * S, 7.0, 0) for t in range(1, 31)]
    noticed: list[Episode] = []
    for row in rows:
        noticed += feed(live, [row])
        noticed += live.overdue(np.array([row[1]]), np.array([0]))
    assert live.problem_of(0) is Problem.STUCK
    noticed += feed(live, [(0, 31 * S, 8.0, 0)])
    later = feed(recorded, [*rows, (0, 31 * S, 8.0, 0)])
    assert told(noticed) == told(later)
    assert [(e.begins, e.at_us) for e in noticed] == [(True, 21 * S), (False, 31 * S)]


def test_a_sensor_that_never_spoke_is_stale_from_when_its_asset_is_watched() -> None:
    made = watch()
    feed(made, [(0, 10 * S, 1.0, 0)])
    found = made.overdue(np.array([14 * S]), np.array([3 * S]))
    assert told(found) == [(1, Problem.STALE, True, 8 * S, "nan", 0)]


def test_a_signal_that_lags_is_not_silent() -> None:
    """A broker delivers what it kept through an outage while other sources are minutes ahead."""
    made = watch(1)
    made.update(columns([0], [S], [1.0]), monotonic_s=100.0)
    far_ahead = np.array([15 * S]), np.array([0])
    assert made.overdue(*far_ahead, monotonic_s=104.9) == []
    (begun,) = made.overdue(*far_ahead, monotonic_s=105.0)
    assert (begun.problem, begun.at_us) == (Problem.STALE, 6 * S)


def test_values_that_come_out_of_order_change_nothing() -> None:
    made = watch()
    feed(made, [(0, 5 * S, 1.0, 0)])
    assert feed(made, [(0, 4 * S, float("nan"), BAD)]) == []
    assert made.value[0] == 1.0


def test_troubled_and_unseen_tell_signals_apart() -> None:
    made = watch(3)
    feed(made, [(0, S, 1.0, 0), (1, S, -1.0, 0)])
    assert made.has_problem().tolist() == [False, True, False]
    assert made.unseen().tolist() == [False, False, True]


@given(
    st.lists(
        st.tuples(
            st.integers(0, 1),
            st.integers(1, 9),
            st.sampled_from([1.0, 2.0, float("nan"), 500.0]),
        ),
        max_size=40,
    ),
    st.integers(1, 7),
)
def test_episodes_do_not_depend_on_batches_and_alternate(
    steps: list[tuple[int, int, float]], size: int
) -> None:
    now, rows = 0, []
    for signal, gap, value in steps:
        now += gap * S
        rows.append((signal, now, value, 0))
    whole, parts = watch(), watch()
    expected = feed(whole, rows) if rows else []
    found: list[Episode] = []
    for start in range(0, len(rows), size):
        found += feed(parts, rows[start : start + size])

    assert sorted(told(found)) == sorted(told(expected))
    for signal in (0, 1):
        for problem in Problem:
            turns = [e.begins for e in found if (e.signal, e.problem) == (signal, problem)]
            assert turns == [i % 2 == 0 for i in range(len(turns))]


def test_the_last_value_of_a_lost_device_is_no_data() -> None:
    """A gateway server says so with an Uncertain code, and the number is an old one."""
    made = watch(1)
    feed(made, [(0, S, 20.0, 0)])
    (begun,) = feed(made, [(0, 2 * S, 20.0, 0x408F_0000)])
    assert (begun.problem, begun.begins) == (Problem.LOST, True)
    assert made.quality_of(0) == "lost"


def uncertain_watch(uncertain: Uncertain) -> QualityWatch:
    made = QualityWatch()
    made.add(0, stale_us=5 * S, stuck_us=None, valid=None, uncertain=uncertain)
    feed(made, [(0, S, 1.0, 0)])
    return made


def test_an_uncertain_value_is_data_of_a_quality_that_is_shown() -> None:
    made = uncertain_watch(Uncertain.USE)
    assert feed(made, [(0, 2 * S, 2.0, 0x4093_0000)]) == []
    assert made.quality_of(0) == "uncertain"
    assert made.value[0] == 2.0
    feed(made, [(0, 3 * S, 3.0, 0)])
    assert made.quality_of(0) == "good"


def test_an_uncertain_value_that_counts_as_bad_is_a_problem() -> None:
    made = uncertain_watch(Uncertain.BAD)
    (begun,) = feed(made, [(0, 2 * S, 2.0, 0x4093_0000)])
    assert begun.problem is Problem.BAD


def test_a_value_that_is_held_in_place_of_uncertain_ones_grows_stale() -> None:
    made = uncertain_watch(Uncertain.HOLD)
    assert feed(made, [(0, t * S, 9.0, 0x4093_0000) for t in range(2, 9)]) == []
    assert (made.quality_of(0), made.value[0]) == ("uncertain", 1.0)
    (begun,) = made.overdue(np.array([8 * S]), np.array([0]))
    assert (begun.problem, begun.at_us) == (Problem.STALE, 6 * S)


def test_a_node_that_is_refused_is_another_problem_than_a_bad_sensor() -> None:
    """The one is the config's, the other the sensor's: one must not hide that the other begins."""
    made = watch(1)
    nan = float("nan")
    feed(made, [(0, S, 1.0, 0)])
    found = feed(made, [(0, 2 * S, nan, 0x8034_0000), (0, 3 * S, nan, 0x808C_0000)])
    assert [(one.problem, one.begins) for one in found] == [
        (Problem.REFUSED, True),
        (Problem.REFUSED, False),
        (Problem.BAD, True),
    ]


def keep(made: QualityWatch, rows: list[Row]) -> int:
    """Hand over values; gives how many of them are no retained ones."""
    signal, time_us, value, status = zip(*rows, strict=True)
    return len(made.without_retained(columns(signal, time_us, value, np.array(status, np.uint32))))


def test_a_retained_value_fills_what_is_unknown_and_nothing_else() -> None:
    """Shown as uncertain, until the signal is due; then it is as silent as without it."""
    made = watch(2)
    feed(made, [(1, 10 * S, 5.0, 0)])
    rows = [(0, 10 * S, 7.0, RETAINED), (1, 10 * S, 8.0, RETAINED), (1, 11 * S, 6.0, 0)]
    assert keep(made, rows) == 1
    assert (made.value[0], made.quality_of(0)) == (7.0, "uncertain")
    assert (made.value[1], made.quality_of(1)) == (5.0, "good")
    assert keep(made, [(0, 14 * S, 7.5, RETAINED)]) == 0
    assert made.value[0] == 7.0
    found = made.overdue(np.array([15 * S + 1]), np.array([0]), 100.0)
    assert told(found)[:1] == [(0, Problem.STALE, True, 15 * S, "7.0", RETAINED)]
    assert keep(made, [(0, 16 * S, 7.0, RETAINED)]) == 0
    assert made.problem_of(0) is Problem.STALE
    assert told(feed(made, [(0, 17 * S, 1.0, 0)])) == [(0, Problem.STALE, False, 17 * S, "1.0", 0)]


def test_a_retained_value_that_is_no_number_fills_nothing() -> None:
    made = watch(1)
    keep(made, [(0, S, float("nan"), RETAINED)])
    assert made.unseen().tolist() == [True]
