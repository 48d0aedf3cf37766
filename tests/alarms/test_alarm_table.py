"""Delays, deadband, cool-down, commands and what an alarm carries."""

from __future__ import annotations

import math

import pytest
from alarm_helpers import QUICK, Desk, blaming, us

from edge_agent.alarms.track import priority, severity
from edge_agent.config.schema import AlarmRule
from edge_agent.config.types import Duration
from edge_agent.errors import EdgeAgentError, NotFoundError, UsageError
from edge_agent.messages import Alarm, AlarmState, Ne107

RAISE, CLEAR, UPDATE = "P-1.a raise", "P-1.a clear", "P-1.a update"


def test_on_delay_is_over_at_the_observation_that_reaches_it() -> None:
    desk = Desk(AlarmRule(on_delay=Duration(10)))
    assert desk.see(1.0, 0) == []
    assert desk.see(1.5, 9.999999) == []
    assert desk.see(1.5, 10) == [RAISE]


def test_on_delay_begins_anew_after_a_dip_below_the_deadband() -> None:
    desk = Desk(AlarmRule(on_delay=Duration(10), deadband=0.1))
    desk.see(1.0, 0)
    assert desk.see(0.89, 5) == []
    assert desk.table.watched == set()
    assert desk.see(1.0, 10) == []
    assert desk.see(1.0, 19) == []
    assert desk.see(1.0, 20) == [RAISE]


def test_a_dip_into_the_deadband_does_not_interrupt_the_on_delay() -> None:
    desk = Desk(AlarmRule(on_delay=Duration(10), deadband=0.1))
    desk.see(1.0, 0)
    desk.see(0.9, 5)
    assert desk.see(0.95, 10) == []
    assert desk.see(1.0, 11) == [RAISE]


def test_off_delay_and_its_restart() -> None:
    desk = Desk(AlarmRule(off_delay=Duration(30)))
    desk.see(2.0, 0)
    assert desk.see(0.0, 10) == []
    assert desk.see(1.0, 20) == []
    assert desk.see(0.0, 30) == []
    assert desk.see(0.0, 59) == []
    assert desk.see(0.0, 60) == [CLEAR]


@pytest.mark.parametrize(("level", "transitions"), [(0.8, []), (0.799999, [CLEAR])])
def test_only_below_the_deadband_is_back(level: float, transitions: list[str]) -> None:
    desk = Desk(AlarmRule(off_delay=Duration(0), deadband=0.2))
    desk.see(1.0, 0)
    assert desk.see(level, 1) == transitions


def test_just_below_the_limit_is_not_over() -> None:
    """Neither for an alarm never seen nor for one that cleared: the deadband is for going back."""
    below = math.nextafter(1.0, 0.0)
    desk = Desk()
    assert desk.see(below, 0) == []
    desk.see(1.0, 1)
    desk.see(0.0, 2)
    assert desk.see(below, 3) == []


def test_cool_down_keeps_a_cleared_alarm_from_coming_back() -> None:
    """No re-raise before the cool-down is over; then at once, since the condition was there."""
    desk = Desk(AlarmRule(off_delay=Duration(0), cooldown=Duration(60)))
    assert desk.see(2.0, 0) == [RAISE]
    assert desk.see(0.0, 10) == [CLEAR]
    assert desk.see(2.0, 20) == []
    assert desk.see(2.0, 69) == []
    assert desk.see(2.0, 70) == [RAISE]
    assert desk.alarm().first_seen_us == us(0)


def test_a_condition_that_goes_within_the_cool_down_leaves_no_trace() -> None:
    desk = Desk(AlarmRule(off_delay=Duration(0), cooldown=Duration(60)))
    desk.see(2.0, 0)
    desk.table.apply_command("ack", "P-1.a", "me")
    desk.see(0.0, 10)
    desk.see(2.0, 20)
    assert desk.see(0.0, 30) == []
    assert desk.table.watched == set()


def test_nan_is_neither_over_nor_back() -> None:
    desk = Desk()
    assert desk.see(math.nan, 0) == []
    desk.see(2.0, 1)
    assert desk.see(math.nan, 2) == []
    assert desk.alarm().active


@pytest.mark.parametrize("level", [math.inf, 1e300])
def test_an_endless_level_is_the_highest_severity(level: float) -> None:
    desk = Desk()
    assert desk.see(level, 0) == [RAISE]
    assert desk.alarm().severity == 1000


def test_an_alarm_without_observations_stays() -> None:
    """Time alone clears nothing: neither the clock's nor that of other alarms."""
    desk = Desk(AlarmRule(off_delay=Duration(30)))
    desk.see(2.0, 0)
    desk.see(0.0, 1)
    desk.see(2.0, 86400, "P-1.b")
    desk.clock.advance(86400)
    assert desk.table.tick(desk.clock.now_us()) == []
    assert desk.alarm().state is AlarmState.UNACK


def test_delays_begin_anew_when_event_time_steps_back() -> None:
    """A recording that starts over neither raises early nor blocks the alarm."""
    desk = Desk(AlarmRule(on_delay=Duration(10)))
    desk.see(2.0, 1000)
    assert desk.see(2.0, 0) == []
    assert desk.see(2.0, 9) == []
    assert desk.see(2.0, 10) == [RAISE]


def test_cool_down_and_update_interval_end_when_event_time_steps_back() -> None:
    desk = Desk(AlarmRule(off_delay=Duration(0), cooldown=Duration(60)))
    desk.see(1.0, 1000)
    assert desk.see(4.0, 0) == [UPDATE]
    desk.see(0.0, 1000)
    assert desk.see(1.0, 0) == [RAISE]


def test_a_disabled_rule_reads_as_normal() -> None:
    """Switching a rule off by a reload clears its alarm, and nothing raises it."""
    desk = Desk()
    desk.see(2.0, 0)
    desk.plant.rule = AlarmRule(off_delay=Duration(0), enabled=False)
    assert desk.see(2.0, 1) == [CLEAR]
    assert desk.see(2.0, 2) == []


def test_watched_is_all_that_is_not_idle() -> None:
    """Pending, active and shelved alarms are watched; a normal one is not."""
    desk = Desk(AlarmRule(on_delay=Duration(10), off_delay=Duration(0)))
    desk.see(2.0, 0)
    assert desk.table.watched == {"P-1.a"}
    desk.see(2.0, 10)
    desk.table.apply_command("ack", "P-1.a", "me")
    assert desk.table.watched == {"P-1.a"}
    desk.see(0.0, 11)
    assert desk.table.watched == set()
    desk.table.shelve("P-1.a", 60, "me")
    assert desk.table.watched == {"P-1.a"}


def test_a_pending_alarm_stays_watched_through_commands() -> None:
    desk = Desk(AlarmRule(on_delay=Duration(10)))
    desk.see(2.0, 0)
    desk.table.shelve("P-1.a", 60, "me")
    desk.table.apply_command("unshelve", "P-1.a", "me")
    assert desk.table.watched == {"P-1.a"}


def test_nothing_is_allocated_for_what_was_always_normal() -> None:
    desk = Desk()
    desk.see(0.5, 0)
    assert desk.table.all() == []


# What an alarm carries ----------------------------------------------------------------------------


def test_a_raise_carries_everything() -> None:
    desk = Desk(AlarmRule(severity=600, ne107=Ne107.FAILURE))
    desk.see(2.0, 5, detail=blaming("flow", "current"))
    alarm = desk.alarm()
    assert alarm == Alarm(
        "P-1.a",
        "P-1",
        state=AlarmState.UNACK,
        seq=1,
        active=True,
        severity=720,
        priority="high",
        ne107=Ne107.FAILURE,
        detail=blaming("flow", "current"),
        first_seen_us=us(5),
        changed_us=us(5),
        count=1,
    )


def test_a_transition_keeps_its_own_copy() -> None:
    desk = Desk()
    desk.table.shelve("P-1.a", 60, "me")
    first = desk.table.apply_command("unshelve", "P-1.a", "me")
    desk.see(2.0, 1)
    assert (first.alarm.seq, first.alarm.state) == (2, AlarmState.NORMAL)


def test_count_is_the_raises_since_it_was_last_normal() -> None:
    desk = Desk()
    for at in (0, 10, 20):
        desk.see(2.0, at)
        desk.see(0.0, at + 1)
    assert (desk.alarm().count, desk.alarm().first_seen_us) == (3, us(0))
    desk.table.apply_command("ack", "P-1.a", "me")
    desk.see(2.0, 30)
    assert (desk.alarm().count, desk.alarm().first_seen_us) == (1, us(30))


def test_shelving_does_not_forget_the_episode() -> None:
    desk = Desk()
    desk.see(2.0, 0)
    desk.table.shelve("P-1.a", 60, "me")
    desk.table.apply_command("unshelve", "P-1.a", "me")
    assert (desk.alarm().count, desk.alarm().first_seen_us) == (2, us(0))


def test_shelving_a_normal_alarm_begins_anew() -> None:
    """The episode that ended before has no part in it."""
    desk = Desk()
    desk.see(2.0, 0)
    desk.see(0.0, 1)
    desk.table.apply_command("ack", "P-1.a", "me")
    shelved = desk.table.shelve("P-1.a", 60, "me").alarm
    assert (shelved.count, shelved.first_seen_us) == (0, 0)


def test_what_appeared_while_shelved_dates_from_then() -> None:
    desk = Desk()
    desk.table.shelve("P-1.a", 600, "me")
    assert desk.see(3.0, 5, detail=blaming("flow")) == []
    desk.table.apply_command("unshelve", "P-1.a", "me")
    alarm = desk.alarm()
    assert (alarm.state, alarm.count, alarm.first_seen_us) == (AlarmState.UNACK, 1, us(5))
    assert alarm.detail == blaming("flow")


@pytest.mark.parametrize(
    ("base", "level", "value"),
    [(600, 1, 600), (600, 0.9, 600), (600, 2, 720), (600, 4, 840), (900, 2, 1000), (1, 1, 1)],
)
def test_severity_grows_a_fifth_per_doubling(base: int, level: float, value: int) -> None:
    assert severity(base, level) == value


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (1, "low"),
        (333, "low"),
        (334, "medium"),
        (666, "medium"),
        (667, "high"),
        (800, "high"),
        (801, "critical"),
        (1000, "critical"),
    ],
)
def test_priority_bands(value: int, name: str) -> None:
    assert priority(value) == name


# Updates ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("level", "detail"),
    [
        (4.0, blaming("flow", "current")),
        (1.0, blaming("current", "flow")),
        (1.0, blaming("flow", "current", failure_mode="cavitation")),
    ],
)
@pytest.mark.parametrize("acked", [False, True])
def test_an_update_says_that_priority_cause_or_mode_changed(
    level: float,
    detail: object,
    acked: bool,  # noqa: FBT001
) -> None:
    desk = Desk()
    desk.see(1.0, 0, detail=blaming("flow", "current"))
    if acked:
        desk.table.apply_command("ack", "P-1.a", "me")
    state = desk.alarm().state
    assert desk.see(level, 59.999, detail=detail) == []  # type: ignore[arg-type]
    assert desk.see(level, 60, detail=detail) == [UPDATE]  # type: ignore[arg-type]
    assert desk.alarm().detail == detail
    assert desk.alarm().state is state
    assert desk.see(level, 200, detail=detail) == []


def test_other_weights_and_levels_are_no_news() -> None:
    desk = Desk()
    desk.see(1.1, 0, detail=blaming("flow", "current"))
    assert desk.see(1.2, 100, detail=blaming("flow", "pressure")) == []


def test_a_shelved_alarm_sends_no_updates() -> None:
    desk = Desk()
    desk.see(1.0, 0)
    desk.table.shelve("P-1.a", 600, "me")
    assert desk.see(100.0, 100, detail=blaming("flow")) == []


# Commands -----------------------------------------------------------------------------------------


def test_shelving_ends_by_the_gateways_clock() -> None:
    """Event time does not end it; at its time it does, and the alarm asks again if it is there."""
    desk = Desk()
    desk.see(2.0, 0)
    shelved = desk.table.shelve("P-1.a", 60, "anna")
    assert (shelved.actor, shelved.alarm.shelved_until_us) == ("anna", us(60))
    assert desk.see(2.0, 5000) == []
    desk.clock.advance(59.9)
    assert desk.table.tick(desk.clock.now_us()) == []
    desk.clock.advance(0.1)
    (over,) = desk.table.tick(desk.clock.now_us())
    assert (over.kind, over.actor, over.at_us) == ("unshelve", "timer", us(60))
    assert (over.alarm.state, over.alarm.shelved_until_us) == (AlarmState.UNACK, 0)
    assert desk.table.tick(desk.clock.now_us()) == []


@pytest.mark.parametrize("duration_s", [0, -1, math.nan, math.inf, 28801])
def test_a_shelving_has_bounds(duration_s: float) -> None:
    desk = Desk()
    with pytest.raises(UsageError, match=r"P-1\.a: cannot shelve.*at most 28800 s"):
        desk.table.shelve("P-1.a", duration_s, "me")


@pytest.mark.parametrize("alarm_id", ["", "Q-9.x", "P-1/#", "P-1 a", "P-ü", "P-" + "x" * 300])
def test_unknown_or_unusable_ids_are_refused(alarm_id: str) -> None:
    desk = Desk()
    with pytest.raises(EdgeAgentError):
        desk.table.apply_command("ack", alarm_id, "me")
    with pytest.raises(EdgeAgentError):
        desk.see(2.0, 0, alarm_id)
    assert desk.table.all() == []


def test_an_id_without_a_rule_is_not_found() -> None:
    with pytest.raises(NotFoundError, match="'Q-9\\.x': no such alarm"):
        Desk().table.apply_command("ack", "Q-9.x", "me")


def test_the_actor_is_cut_to_one_printable_line() -> None:
    desk = Desk()
    desk.see(2.0, 0)
    made = desk.table.apply_command("ack", "P-1.a", "an\x1b[2Jna\n\udce4 " + "x" * 500)
    assert made.actor.startswith("an [2Jna xxx")
    assert len(made.actor) <= 100
    assert made.alarm.acked_by == made.actor


def test_a_new_raise_forgets_who_acknowledged() -> None:
    desk = Desk()
    desk.see(2.0, 0)
    desk.table.apply_command("ack", "P-1.a", "me")
    desk.see(0.0, 1)
    assert desk.alarm().acked_by == "me"
    desk.see(2.0, 2)
    assert desk.alarm().acked_by == ""


# Restart and reload -------------------------------------------------------------------------------


def test_states_survive_a_restart() -> None:
    """Number, state and condition go on where they were; delays begin anew."""
    rule = AlarmRule(off_delay=Duration(30))
    old = Desk(rule)
    old.see(2.0, 0)
    old.see(0.0, 20)
    new = Desk(rule, restored=old.table.all())
    assert new.table.watched == {"P-1.a"}
    assert new.alarm() == old.alarm()
    assert new.see(0.0, 40) == []
    assert new.see(0.0, 70) == [CLEAR]
    assert new.alarm().seq == 2


def test_a_restored_alarm_is_a_copy() -> None:
    alarm = Alarm("P-1.a", "P-1")
    desk = Desk(restored=[alarm])
    desk.see(2.0, 0)
    assert alarm.seq == 0


def test_alarms_without_a_rule_are_retired() -> None:
    desk = Desk()
    desk.see(2.0, 0)
    desk.see(2.0, 0, "P-1.b")
    desk.plant.gone = {"P-1.a"}
    assert [alarm.alarm_id for alarm in desk.table.retire()] == ["P-1.a"]
    assert desk.table.retire() == []
    assert desk.table.watched == {"P-1.b"}
    assert desk.table.get("P-1.a") is None


def test_restored_alarms_wait_for_their_rules() -> None:
    """An asset that announces itself is unknown after a restart, its alarms are not forgotten."""
    old = Desk()
    old.see(2.0, 0)
    old.table.shelve("P-1.a", 60, "me")
    new = Desk(restored=old.table.all())
    new.plant.gone = {"P-1.a"}
    assert new.table.tick(us(60)) == []
    assert new.alarm() == old.alarm()
    new.plant.gone = set()
    assert [each.kind for each in new.table.tick(us(60))] == ["unshelve"]


def test_what_the_table_shows() -> None:
    desk = Desk()
    desk.see(2.0, 0)
    desk.see(1.0, 0, "P-1.b")
    desk.table.apply_command("ack", "P-1.b", "me")
    desk.see(0.0, 1, "P-1.b")
    desk.table.apply_command("remove_from_service", "P-2.c", "me")
    assert [alarm.alarm_id for alarm in desk.table.active()] == ["P-1.a", "P-2.c"]
    assert [alarm.alarm_id for alarm in desk.table.all()] == ["P-1.a", "P-1.b", "P-2.c"]
    assert desk.table.counts() == {
        (AlarmState.UNACK, "high"): 1,
        (AlarmState.NORMAL, "medium"): 1,
        (AlarmState.OUT_OF_SERVICE, "medium"): 1,
    }
    desk.alarm().seq = 99
    assert desk.alarm().seq == 1


def test_the_rule_in_use_is_the_newest() -> None:
    """A reload takes hold with the next observation."""
    desk = Desk(AlarmRule(on_delay=Duration(100)))
    desk.see(2.0, 0)
    desk.plant.rule = QUICK
    assert desk.see(2.0, 1) == [RAISE]


def test_what_rests_by_design_is_suppressed_and_comes_back_if_it_stands() -> None:
    """Only an alarm that stands is announced; who rested it must be the one who resumes it."""
    desk = Desk(QUICK)
    assert desk.table.pause_alarm("P-1.a", "stopped", us(0)) == ()
    desk.see(2.0, 1)
    (rested,) = desk.table.pause_alarm("P-1.a", "stopped", us(2))
    assert (rested.kind, rested.alarm.state, rested.alarm.suppressed_by) == (
        "suppress",
        AlarmState.SUPPRESSED,
        "stopped",
    )
    assert desk.table.pause_alarm("P-1.a", "stopped", us(3)) == ()
    assert desk.table.resume_alarm("P-1.a", "ann", us(3)) == ()
    (back,) = desk.table.resume_alarm("P-1.a", "stopped", us(4))
    assert (back.kind, back.alarm.state, back.alarm.suppressed_by) == (
        "unsuppress",
        AlarmState.UNACK,
        "",
    )


def test_what_rests_by_design_and_is_over_meanwhile_is_normal_afterwards() -> None:
    desk = Desk(QUICK)
    desk.see(2.0, 1)
    desk.table.pause_alarm("P-1.a", "stopped", us(2))
    assert desk.see(0.0, 3) == []
    (over,) = desk.table.resume_alarm("P-1.a", "stopped", us(4))
    assert over.alarm.state is AlarmState.NORMAL


def test_a_delay_that_had_begun_is_void_after_a_rest() -> None:
    """The time in which nothing was judged does not count."""
    desk = Desk(AlarmRule(on_delay=Duration(10)))
    desk.see(2.0, 0)
    assert desk.table.pause_alarm("P-1.a", "stopped", us(5)) == ()
    assert desk.see(2.0, 100) == []
    assert desk.see(2.0, 110) == [RAISE]


def test_the_stage_of_a_models_task_holds_in_every_state() -> None:
    """For an alarm that waits for its delay, one that exists, and one that does not exist yet."""
    desk = Desk(AlarmRule(on_delay=Duration(10)))
    desk.see(2.0, 0)
    desk.table.set_stage("P-1.a", "prognostics_assessment")
    desk.table.set_stage("P-1.b", "health_assessment")
    assert desk.alarm().stage == "prognostics_assessment"
    assert desk.table.shelve("P-1.a", 60, "me").alarm.stage == "prognostics_assessment"
    assert desk.table.shelve("P-1.b", 60, "me").alarm.stage == "health_assessment"
