"""An alarm goes on where the other gateway of a pair has announced it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from alarm_helpers import Desk, blaming, names, us

from edge_agent.config.schema import AlarmRule
from edge_agent.config.types import Duration
from edge_agent.messages import Alarm, AlarmState, Observation, Transition, TransitionKind

if TYPE_CHECKING:
    from collections.abc import Sequence

SLOW = AlarmRule(off_delay=Duration(10))
ACKED = Alarm(
    "P-1.a", "P-1", AlarmState.ACKED, 7, active=True, acked_by="anna", comment="seen", count=1
)
NORMAL = Alarm("P-1.a", "P-1", seq=9)


def observed(desk: Desk, level: float, at: float) -> list[Transition]:
    """The transitions that the standby's own table makes, and does not send."""
    seen = Observation("P-1.a", level, us(at), blaming("flow"))
    return list(desk.table.accept_observation(seen))


def taken(desk: Desk, announced: Alarm, missed: Sequence[Transition] = ()) -> list[Transition]:
    return list(desk.table.take_over(announced, us(0), missed))


def test_an_announced_alarm_goes_on_with_all_it_has() -> None:
    """The standby raised it, too; the operator acknowledged it at the other one."""
    desk = Desk(SLOW)
    observed(desk, 2.0, 1)
    desk.table.show_announced(ACKED, us(0))
    assert desk.alarm() == ACKED
    assert taken(desk, ACKED) == []
    assert desk.see(2.0, 5) == []
    cleared = [*observed(desk, 0.1, 6), *observed(desk, 0.1, 17)]
    assert [(one.kind, one.alarm.seq) for one in cleared] == [(TransitionKind.CLEAR, 8)]


def test_a_raise_that_was_not_announced_is_made_with_the_next_number() -> None:
    desk = Desk(SLOW)
    missed = observed(desk, 2.0, 3)
    (found,) = taken(desk, NORMAL, missed)
    assert (found.kind, found.alarm.seq, found.at_us) == (TransitionKind.RAISE, 10, us(3))
    assert (found.alarm.count, found.alarm.first_seen_us) == (1, us(3))
    assert found.alarm.detail == missed[0].alarm.detail
    assert desk.see(2.0, 4) == []


def test_an_episode_that_is_over_is_announced_whole() -> None:
    """It began and ended while nobody was active."""
    desk = Desk(replace(SLOW, off_delay=Duration(0)))
    missed = [*observed(desk, 2.0, 3), *observed(desk, 0.1, 5)]
    found = taken(desk, NORMAL, missed)
    assert [(one.kind, one.alarm.seq) for one in found] == [
        (TransitionKind.RAISE, 10),
        (TransitionKind.CLEAR, 11),
    ]
    assert found[0].alarm.detail == missed[0].alarm.detail
    assert desk.alarm().state is AlarmState.RTN_UNACK


def test_a_raise_that_both_have_is_not_repeated() -> None:
    desk = Desk(SLOW)
    missed = observed(desk, 2.0, 3)
    unack = replace(ACKED, state=AlarmState.UNACK)
    assert taken(desk, unack, missed) == []
    assert desk.alarm() == unack


@pytest.mark.parametrize("state", [AlarmState.SHELVED, AlarmState.OUT_OF_SERVICE])
def test_what_an_operator_silenced_stays_silent(state: AlarmState) -> None:
    desk = Desk(SLOW)
    missed = observed(desk, 2.0, 3)
    assert taken(desk, replace(ACKED, state=state, active=False), missed) == []
    assert (desk.alarm().state, desk.alarm().active) == (state, True)


def test_an_alarm_that_only_the_standby_has_is_decided_by_what_comes() -> None:
    """The other one was there and did not raise it: its word holds until values say otherwise."""
    desk = Desk(replace(SLOW, on_delay=Duration(2)))
    observed(desk, 2.0, 1)
    observed(desk, 2.0, 4)
    assert taken(desk, NORMAL) == []
    assert desk.alarm().state is AlarmState.NORMAL
    assert desk.see(2.0, 5) == []
    assert desk.see(2.0, 8) == ["P-1.a raise"]


def test_values_from_before_the_announced_change_do_not_end_it() -> None:
    """The standby is behind: its windows from before the fault come after the alert."""
    desk = Desk(replace(SLOW, off_delay=Duration(0)))
    desk.table.show_announced(ACKED, us(50))
    assert observed(desk, 0.1, 10) == []
    assert list(desk.table.take_over(ACKED, us(50))) == []
    assert observed(desk, 0.1, 20) == []
    assert names(observed(desk, 0.1, 60)) == ["P-1.a clear"]


def test_an_announced_flood_goes_on() -> None:
    """Raises are held back as the other gateway held them."""
    desk = Desk(SLOW, flood_limit=1)
    flood = Alarm("P-1.flood", "P-1", AlarmState.UNACK, 3, active=True, count=1)
    assert list(desk.table.take_over(flood, us(0))) == []
    assert "P-1" in desk.table.flooded


def test_values_that_waited_while_we_were_away_raise_nothing_again() -> None:
    """The broker kept them for us; the other gateway raised and ended that fault."""
    desk = Desk(SLOW)
    desk.table.decided_us = us(50)
    assert desk.see(2.0, 40) == []
    assert desk.see(2.0, 51) == ["P-1.a raise"]
