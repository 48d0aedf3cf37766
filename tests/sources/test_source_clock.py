"""Which clock judges: wrong source clocks are corrected and told of, late values are left alone."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from clock_rig import HOUR, NOW, Rig, S
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.config.schema import TimeOf
from edge_agent.messages import LinkState
from edge_agent.values import BAD

DAY = 86_400.0


def test_stamps_of_a_right_clock_pass_unchanged_and_nothing_is_said() -> None:
    rig = Rig()
    assert rig.live(60, -0.2) == pytest.approx([0.2] * 120)
    assert rig.fault == ""
    assert rig.told == []
    assert rig.link.clock_offset_s == pytest.approx(-0.2, abs=0.01)


def test_the_offset_of_a_right_clock_is_measured_again_within_ten_seconds() -> None:
    """A clock of which no stamp was ever doubtful is looked at seldom, yet its metric follows."""
    rig = Rig()
    rig.live(30, -1.5)
    rig.live(11, -0.2)
    assert rig.link.clock_offset_s == pytest.approx(-0.2, abs=0.01)
    assert rig.told == []


@pytest.mark.parametrize("ahead", [2 * HOUR, HOUR, 1000.0, 34 * 365 * DAY, 75 * 365 * DAY])
def test_a_clock_that_is_ahead_is_judged_from_its_first_value_and_said(ahead: float) -> None:
    """No value may vanish: by arrival at once, by its own shifted stamps once the offset shows."""
    rig = Rig()
    lags = rig.live(60, ahead)
    assert all(-0.1 <= lag <= 1 for lag in lags)
    assert rig.fault.startswith("bus: clock ")
    assert "ahead" in rig.fault
    assert len(rig.told) == 1


@pytest.mark.parametrize("behind", [HOUR, 2 * HOUR, 5000 * DAY, 56 * 365 * DAY])
def test_a_clock_that_was_always_behind_is_corrected_within_seconds(behind: float) -> None:
    """A controller without a battery begins at 1970 or 2012 and counts on from there."""
    rig = Rig()
    lags = rig.live(60, -behind)
    assert all(lag <= 1 for lag in lags[22:])
    assert "behind" in rig.fault


def test_an_offset_that_is_a_whole_quarter_of_an_hour_looks_like_a_time_zone() -> None:
    rig = Rig()
    rig.live(30, 2 * HOUR - 0.3)
    assert "7200 s ahead (looks like a time zone: +2 h)" in rig.fault
    args = rig.link.faults["clock.bus"].detail.message_args
    assert (args["seconds"], args["zone"]) == (7200, "+2 h")
    rig = Rig()
    rig.live(30, 1500)
    assert "zone" not in rig.fault


@pytest.mark.parametrize("step", [-HOUR, -600.0, -60.0, -9 * 365 * DAY, HOUR, 2 * HOUR])
def test_a_clock_that_steps_goes_on_being_judged_within_seconds(step: float) -> None:
    rig = Rig()
    rig.live(60)
    lags = rig.live(60, step)
    assert all(abs(lag) <= 1 for lag in lags[12:])
    assert bool(rig.fault) == (abs(step) > 300)


def test_a_clock_that_steps_and_returns_is_believed_again_at_once() -> None:
    rig = Rig()
    rig.live(30)
    rig.live(30, 2 * HOUR)
    assert rig.fault
    assert max(map(abs, rig.live(30))) <= 1
    assert rig.fault == ""
    assert rig.told[-1] == ""
    rig.live(30, -2 * HOUR)
    assert rig.fault
    assert max(map(abs, rig.live(30))) <= 1
    assert rig.fault == ""


def test_a_clock_somewhat_ahead_that_steps_back_goes_on_in_its_own_time() -> None:
    """Events never go back with it; what is ahead comes back slowly."""
    rig = Rig()
    assert rig.live(30, 250)[-1] == pytest.approx(-250)
    lags = rig.live(60, 0.0)
    assert lags[14] < -240
    assert all(later - earlier < 0.1 for earlier, later in pairwise(lags[14:]))
    rig.live(6000, 0.0)
    assert rig.live(1, 0.0)[-1] == pytest.approx(0.0)
    assert rig.fault == ""


@pytest.mark.parametrize("constant_for", [0, 30])
def test_stamps_that_stand_still_give_way_to_the_time_of_arrival(constant_for: float) -> None:
    rig = Rig()
    rig.live(20)
    rig.live(constant_for, 0.0, pace=0.0, constant=True)
    lags = rig.live(60, -constant_for, pace=0.0)
    assert all(lag == 0 for lag in lags[14:])
    assert "do not change" in rig.fault
    assert rig.link.faults["clock.bus"].detail.message_key == "clock_stands"


def test_stamps_that_stood_still_and_go_on_are_believed_after_a_while() -> None:
    rig = Rig()
    rig.live(20)
    rig.live(30, 0.0, pace=0.0)
    assert rig.fault
    rig.live(120, -0.3)
    assert rig.fault == ""
    assert rig.live(1, -0.3)[-1] == pytest.approx(0.3)


def test_stamps_of_the_year_2000_in_every_message_do_not_blind() -> None:
    rig = Rig()
    lags = rig.live(30, -26 * 365 * DAY, pace=0.0)
    assert all(lag == 0 for lag in lags[24:])
    assert "do not change" in rig.fault


def test_stamps_of_whole_seconds_are_no_clock_that_stands() -> None:
    rig = Rig()
    for n in range(600):
        rig.pass_s(0.1)
        into_s = (rig.true_us % S) / S
        rig.send((0, -into_s, float(n)))
    assert rig.told == []


def test_a_slow_drift_says_nothing() -> None:
    """One second an hour for a day."""
    rig = Rig()
    for hour in range(24):
        lags = rig.live(60, hour * 1.0)
        assert max(map(abs, lags)) <= 25
        rig.pass_s(3540)
    assert rig.told == []


def test_a_drift_beyond_what_is_allowed_is_told_and_no_event_goes_back() -> None:
    rig = Rig()
    newest = 0.0
    for n in range(3500):
        rig.pass_s(1)
        (lag,) = rig.send((0, 250 + n * 0.02, float(n)))
        event = rig.clock.monotonic_s() - lag
        assert event >= newest - 0.01
        newest = event
        assert lag >= -306
    assert "ahead" in rig.fault


@pytest.mark.parametrize("pace", [20.0, 600.0])
def test_a_device_that_delivers_an_hour_that_it_kept_has_no_wrong_clock(pace: float) -> None:
    rig = Rig()
    rig.live(30)
    rig.pass_s(3600)
    seconds = 3600 / (pace - 1)
    lags = rig.live(seconds, -3600, every=0.2, pace=pace)
    assert lags[0] == pytest.approx(3600)
    rig.live(30)
    assert rig.told == []


def test_one_batch_of_an_hour_at_once_is_no_clock_step() -> None:
    rig = Rig()
    rig.live(30)
    rig.pass_s(3600)
    rows = [(0, -3600.0 + n, float(n)) for n in range(3600)]
    lags = rig.send(*rows)
    assert lags == [-ahead for _, ahead, _ in rows]
    assert rig.live(30)[-1] == 0
    assert rig.told == []


def test_old_values_among_new_ones_keep_their_time_for_ever() -> None:
    rig = Rig()
    for n in range(200):
        rig.pass_s(0.5)
        lags = rig.send((0, -900.0, float(n)), (0, 0.0, float(n)), (1, -90.0, float(n)))
        assert lags == [900.0, 0.0, 90.0]
    assert rig.told == []


def test_a_value_that_rarely_changes_is_legitimately_old_when_it_comes_first() -> None:
    """What an OPC UA server holds when we subscribe may have changed last year."""
    rig = Rig()
    for _ in range(20):  # and again with each connection
        rig.pass_s(10)
        lags = rig.send((0, -300 * DAY, 7.0), (1, -3 * HOUR, 1.0), first=True)
        assert lags == [300 * DAY, 3 * HOUR]
        rig.live(5, signals=(1,))
    assert rig.told == []


def test_quality_that_is_taken_back_with_an_old_stamp_is_no_proof() -> None:
    """Many servers say Bad with the time of the last good value, and Good again with the same."""
    rig = Rig()
    rig.send((0, 0.0, 1.0))
    for n in range(40):
        rig.pass_s(5)
        rig.send((0, -5.0 * (n + 1), float("nan")), status=BAD)
        rig.send((0, -5.0 * (n + 1), 1.0))
    assert rig.told == []


def test_a_retained_message_that_comes_again_and_again_is_no_wrong_clock() -> None:
    rig = Rig()
    for n in range(50):
        rig.pass_s(60)
        assert rig.send((0, -60.0 * (n + 1), 1.0)) == [60.0 * (n + 1)]
    assert rig.told == []


def test_of_two_devices_on_one_source_only_the_wrong_one_is_corrected_and_named() -> None:
    rig = Rig()
    for n in range(60):
        rig.pass_s(0.5)
        lags = rig.send((0, 0.0, float(n)), (1, -0.1, float(n)), (2, HOUR, float(n)))
        assert lags[:2] == pytest.approx([0, 0.1])
        assert lags[2] == pytest.approx(0.0)
    assert "on 1 of 2 machines, worst on B" in rig.fault


def test_two_devices_of_one_machine_may_have_clocks_of_their_own() -> None:
    rig = Rig()
    for n in range(60):
        rig.pass_s(0.5)
        lags = rig.send((0, 0.0, float(n)), (1, 2 * HOUR, float(n)))
    assert lags == pytest.approx([0, 0])


def test_signals_of_one_clock_keep_their_order_and_spacing() -> None:
    """Their stamps are shifted by one and the same offset."""
    rig = Rig()
    for n in range(60):
        rig.pass_s(0.5)
        lags = rig.send((0, HOUR - 0.4, float(n)), (1, HOUR - 0.2, float(n)))
    assert lags[0] - lags[1] == pytest.approx(0.2)


def test_a_sparse_signal_takes_the_offset_of_its_machine() -> None:
    rig = Rig()
    rig.live(30, -HOUR, signals=(0,))
    rig.live(30)
    rig.live(30, -HOUR, signals=(0,))
    assert rig.send((1, -HOUR, 1.0)) == pytest.approx([0.0])


def test_the_servers_time_stands_in_where_it_is_sound() -> None:
    rig = Rig()
    assert max(map(abs, rig.live(60, 2 * HOUR, server=-0.25))) == pytest.approx(0.25)
    assert "ahead" in rig.fault
    rig = Rig()
    assert rig.live(60, 2 * HOUR, server=2 * HOUR)[-1] == pytest.approx(0.0)


def test_time_of_arrival_takes_no_stamp_and_finds_no_fault() -> None:
    rig = Rig(TimeOf.ARRIVAL)
    assert set(rig.live(30, 2 * HOUR)) == {0.0}
    assert rig.fault == ""


@pytest.mark.parametrize(("ahead", "pace"), [(HOUR, 1.0), (0.0, 0.0)])
def test_values_that_are_refused_by_their_own_clock_are_said_not_to_be_judged(
    ahead: float, pace: float
) -> None:
    rig = Rig(TimeOf.SOURCE)
    assert rig.live(60, ahead, pace=pace)[0] == pytest.approx(-ahead, abs=1)
    assert "NOT used (time: source)" in rig.fault
    assert rig.link.faults["clock.bus"].detail.message_key == "clock_refused"


def test_a_clock_behind_by_explicit_wish_is_judged_by_itself_and_said() -> None:
    rig = Rig(TimeOf.SOURCE)
    assert rig.live(60, -HOUR)[-1] == pytest.approx(HOUR)
    assert "judged by its own time" in rig.fault


def test_values_without_a_stamp_have_the_time_of_arrival() -> None:
    rig = Rig()
    assert rig.send((0, None, 1.0)) == [0.0]
    rig.live(10)
    assert rig.send((0, None, 1.0), (1, 0.0, 1.0)) == [0.0, 0.0]


@pytest.mark.parametrize("step", [HOUR, -HOUR, 3 * HOUR, -200.0, 4000 * DAY])
def test_a_step_of_the_gateways_clock_moves_all_events_with_it(step: float) -> None:
    """No source is to blame, and the link says whose clock it was."""
    rig = Rig()
    rig.live(30)
    rig.step_gateway(step)
    assert max(map(abs, rig.live(30))) <= 0.1
    assert rig.fault == ""
    assert rig.link.gateway_moved is (abs(step) > 300)
    rig.step_gateway(-step)
    assert max(map(abs, rig.live(30))) <= 0.1
    assert rig.link.gateway_moved is False


def test_a_gateway_that_gets_the_right_time_at_last_finds_its_sources_right() -> None:
    rig = Rig()
    rig.step_gateway(-3 * DAY)
    assert max(map(abs, rig.live(30))) <= 0.1
    assert "ahead" in rig.fault
    rig.step_gateway(3 * DAY)
    assert max(map(abs, rig.live(30))) <= 0.1
    assert rig.fault == ""


def test_the_link_is_degraded_while_it_is_connected_with_a_wrong_clock() -> None:
    rig = Rig()
    assert rig.source.shown(LinkState.UP, "2 nodes") == (LinkState.UP, "2 nodes")
    rig.live(30, HOUR)
    state, detail = rig.source.shown(LinkState.UP, "2 nodes")
    assert (state, f"bus: {detail}") == (LinkState.DEGRADED, rig.fault)
    assert rig.source.shown(LinkState.DOWN, "gone") == (LinkState.DOWN, "gone")


@settings(max_examples=60, deadline=None)
@given(
    offset=st.sampled_from([0.0, 100.0, -100.0, HOUR, -HOUR, -5000 * DAY, 75 * 365 * DAY]),
    lags=st.lists(st.floats(0, 1.5), min_size=100, max_size=100),
    batches=st.lists(st.integers(1, 7), min_size=100, max_size=100),
    drift=st.floats(-3e-4, 3e-4),
)
def test_whatever_the_lags_batches_and_drift_events_stay_near_the_gateways_time(
    offset: float, lags: list[float], batches: list[int], drift: float
) -> None:
    """Once an offset has shown itself, the event time is off by the lags alone."""
    rig = Rig()
    value = 0.0
    for turn, (lag, size) in enumerate(zip(lags, batches, strict=True)):
        rig.pass_s(1)
        ahead = offset + drift * turn - lag
        rows = []
        for n in reversed(range(size)):
            value += 1
            rows.append((0, ahead - n * 0.9 / size, value))
        found = rig.send(*rows)
        if turn > 15:
            allowed = abs(offset) if abs(offset) <= 300 else 0.0
            assert max(map(abs, found)) <= allowed + 3.5
    assert bool(rig.fault) == (abs(offset) > 300)


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from([0.0, HOUR, -HOUR, 400.0, -400.0, 7200.0, -9000 * DAY]),
            st.integers(20, 40),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_whatever_the_steps_events_never_go_back_for_long(steps: list[tuple[float, int]]) -> None:
    rig = Rig()
    rig.live(20)
    for offset, seconds in steps:
        lags = rig.live(seconds, offset, every=1.0)
        assert max(map(abs, lags[12:])) <= 2
        assert bool(rig.fault) == (offset != 0.0)


def test_a_thousand_signals_are_looked_at_in_columns() -> None:
    """An exception to the fast way costs columns too, never a loop over values."""
    rig = Rig()
    signal = np.tile(np.arange(4, dtype=np.int32), 2500)
    rig.pass_s(1)
    stamps = NOW + np.arange(10_000) + int(HOUR) * S
    times = rig.source.stamp(
        signal, stamps, np.arange(10_000.0), np.zeros(10_000, np.uint32), rig.clock.now_us()
    )
    assert (times == rig.clock.now_us()).all()


def test_a_servers_time_that_stands_still_with_the_sources_does_not_stand_in() -> None:
    rig = Rig()
    for n in range(80):
        rig.pass_s(0.5)
        (lag,) = rig.send((0, -0.5 * n, float(n)), server=-0.5 * n)
    assert lag == 0


@pytest.mark.parametrize("pace", [1.0, 0.001, 1000.0])
def test_a_clock_that_was_never_set_is_judged_whatever_its_unit(pace: float) -> None:
    """Seconds, or milliseconds taken for seconds or the other way round, since it was started."""
    rig = Rig()
    lags = rig.live(60, -56 * 365 * DAY, pace=pace)
    assert max(map(abs, lags[24:])) <= 1
    assert rig.fault
