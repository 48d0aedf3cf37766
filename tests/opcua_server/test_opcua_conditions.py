"""Alarms as conditions: which states of ISA-18.2 read as which states of OPC 10000-9."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opcua_plants import ServedPlant

from edge_agent.alarms.table import AlarmTable
from edge_agent.alarms.transitions import Event, commands
from edge_agent.clock import FakeClock
from edge_agent.config.schema import Alarms
from edge_agent.errors import EdgeAgentError
from edge_agent.messages import Alarm, AlarmState, Detail, ModelInfo, Observation
from edge_agent.opcua_server.conditions import (
    Condition,
    event_id,
    next_condition,
    parse_event_id,
)

ID = "P-1.vibration"
S = AlarmState


@pytest.mark.parametrize(
    ("state", "active", "shown"),
    [
        # active, acked, confirmed, shelved, suppressed, out of service, retain
        (S.NORMAL, False, (False, True, True, False, False, False, False)),
        (S.NORMAL, True, (False, True, True, False, False, False, False)),  # waits for its delay
        (S.UNACK, True, (True, False, True, False, False, False, True)),
        (S.ACKED, True, (True, True, False, False, False, False, True)),
        (S.RTN_UNACK, False, (False, False, True, False, False, False, True)),
        (S.SHELVED, True, (True, True, True, True, False, False, True)),
        (S.SHELVED, False, (False, True, True, True, False, False, True)),
        (S.SUPPRESSED, True, (True, True, True, False, True, False, True)),
        (S.OUT_OF_SERVICE, False, (False, True, True, False, False, True, True)),
    ],
)
def test_each_state_reads_as_the_states_of_a_condition(
    state: AlarmState,
    active: bool,  # noqa: FBT001 (of the table above)
    shown: tuple[bool, ...],
) -> None:
    """One table of ISA-18.2 states and the two-state variables that a SCADA shows."""
    one = Condition(Alarm(ID, "P-1", state, active=active), 500, 0)
    assert shown == (
        one.is_active,
        one.is_acked,
        one.is_confirmed,
        one.is_shelved,
        one.is_suppressed,
        one.is_out_of_service,
        one.retain,
    )


@given(st.text(min_size=1).filter(lambda text: text < "\ud800" or text.isascii()), st.integers(0))
def test_event_ids_come_back(alarm_id: str, seq: int) -> None:
    """An EventId holds the alarm and the number of its transition, also after a restart."""
    assert parse_event_id(event_id(alarm_id, seq)) == (alarm_id, seq)


@given(st.one_of(st.binary(), st.text(), st.none(), st.integers()))
def test_foreign_event_ids_are_none_of_ours(value: object) -> None:
    """Whatever a client sends as an EventId, nothing breaks."""
    found = parse_event_id(value)
    assert found is None or event_id(*found) is not None


def test_event_ids_of_an_earlier_occurrence_are_unknown() -> None:
    """Who acknowledges what he saw yesterday does not acknowledge what is new today."""
    alarm = Alarm(ID, "P-1", S.UNACK, seq=1, active=True)
    first = next_condition(None, alarm)
    acked = next_condition(first, replace(alarm, state=S.ACKED, seq=2))
    normal = next_condition(acked, replace(alarm, state=S.NORMAL, seq=3, active=False))
    again = next_condition(normal, replace(alarm, seq=4))
    assert [acked.knows(seq) for seq in (0, 1, 2, 3)] == [False, True, True, False]
    assert [again.knows(seq) for seq in (1, 3, 4, 5)] == [False, False, True, False]


def test_the_severity_before_a_change_stays_known() -> None:
    """LastSeverity is the one before the last change, not the one of the last transition."""
    alarm = Alarm(ID, "P-1", S.UNACK, seq=1, severity=300)
    first = next_condition(None, alarm)
    worse = next_condition(first, replace(alarm, seq=2, severity=700))
    same = next_condition(worse, replace(alarm, seq=3, severity=700))
    assert [first.last_severity, worse.last_severity, same.last_severity] == [300, 300, 300]


def test_a_comment_stays_until_the_next_one() -> None:
    """A transition without a comment does not erase what somebody wrote."""
    alarm = Alarm(ID, "P-1", S.ACKED, seq=2, acked_by="ben", comment="seen", changed_us=7)
    first = next_condition(None, alarm)
    later = next_condition(first, replace(alarm, seq=3, comment="", changed_us=9))
    assert (later.comment, later.comment_by, later.comment_us) == ("seen", "ben", 7)


@pytest.mark.parametrize(("mode", "certain"), [("active", True), ("provisional", False)])
def test_a_young_model_makes_the_quality_uncertain(
    mode: str,
    certain: bool,  # noqa: FBT001 (of the table above)
) -> None:
    """Quality says if the model that raised an alarm may be believed."""
    detail = Detail("anomaly", model=ModelInfo("watch", "1", "", mode))
    assert Condition(Alarm(ID, "P-1", detail=detail), 0, 0).is_certain is certain


STEPS = st.lists(
    st.one_of(
        st.floats(0, 3),
        st.sampled_from([one for one in Event if one.value not in {"on", "off", "change"}]),
    ),
    max_size=30,
)


@given(STEPS)
def test_conditions_follow_whatever_happens_to_an_alarm(steps: list[float | Event]) -> None:
    """For every history of an alarm its condition says what the table allows now."""
    clock = FakeClock(1_767_225_600_000_000)
    table = AlarmTable(ServedPlant().policy, Alarms(), clock)
    condition: Condition | None = None
    for step in steps:
        clock.advance(1)
        for alarm in _happen(table, step, clock.now_us()):
            condition = next_condition(condition, alarm)
            allowed = set(commands(alarm.state))
            assert condition.is_acked != (Event.ACK in allowed)
            assert condition.is_shelved == (Event.UNSHELVE in allowed)
            assert condition.retain == (alarm.state is not S.NORMAL)
            assert condition.knows(alarm.seq)
            if not condition.is_confirmed:
                assert Event.CONFIRM in allowed


def _happen(table: AlarmTable, step: float | Event, at_us: int) -> list[Alarm]:
    try:
        if isinstance(step, float):
            found = table.accept_observation(Observation(ID, step, at_us, Detail("anomaly")))
        elif step is Event.SHELVE:
            found = (table.shelve(ID, 60.0, "ben"),)
        else:
            found = (table.apply_command(step, ID, "ben", "why"),)
    except EdgeAgentError:
        return []
    return [one.alarm for one in found]
