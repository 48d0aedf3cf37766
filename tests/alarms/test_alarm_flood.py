"""The flood limit: what is held, what says so, and that nothing held is lost."""

from __future__ import annotations

from typing import Any

from alarm_helpers import Desk

from edge_agent.config.schema import AlarmRule
from edge_agent.config.types import Duration
from edge_agent.messages import Alarm, AlarmState

FLOOD = "P-1.flood"


def flooded(limit: int = 2, window: float = 600, **more: Any) -> Desk:
    """A desk on which two alarms of P-1 were raised at 0 and the third is held."""
    desk = Desk(flood_limit=limit, flood_window=Duration(window), **more)
    for n in range(limit):
        assert desk.see(2.0, 0, f"P-1.{n}") == [f"P-1.{n} raise"]
    assert desk.see(2.0, 1, "P-1.late") == [f"{FLOOD} raise"]
    return desk


def test_the_first_held_raise_announces_the_flood_and_only_the_first() -> None:
    desk = flooded()
    assert desk.see(2.0, 2, "P-1.later") == []
    assert desk.see(2.0, 3, "P-1.late") == []
    assert desk.table.flooded == {"P-1"}
    assert desk.held == ["P-1", "P-1"]
    late = desk.alarm("P-1.late")
    assert (late.state, late.active, late.seq) == (AlarmState.NORMAL, True, 0)
    flood = desk.alarm(FLOOD)
    assert (flood.priority, flood.stage) == ("high", "advisory_generation")
    assert flood.detail is not None
    assert flood.detail.message_args == {"limit": 2, "minutes": 10}


def test_other_assets_are_not_held() -> None:
    assert flooded().see(2.0, 2, "P-2.a") == ["P-2.a raise"]


def test_held_alarms_are_raised_as_there_is_room_and_the_flood_ends() -> None:
    """At no time more than the limit; in the order held; the flood ends below half the limit."""
    desk = flooded()
    desk.see(2.0, 2, "P-1.later")
    desk.see(2.0, 3, "P-1.last")
    assert desk.see(2.0, 599, "P-1.later") == []
    assert desk.see(2.0, 600, "P-1.later") == ["P-1.late raise", "P-1.later raise"]
    assert desk.table.advance("P-1", 1_767_225_600_000_000 + 1_199_000_000) == []
    assert desk.see(2.0, 1200, "P-1.last") == ["P-1.last raise"]
    assert desk.see(2.0, 1799, "P-1.last") == []
    assert desk.see(2.0, 1800, "P-1.last") == [f"{FLOOD} clear"]
    assert desk.table.flooded == set()
    assert desk.alarm("P-1.late").first_seen_us == 1_767_225_601_000_000


def test_advance_ends_a_flood_without_observations() -> None:
    """The asset's event time is enough, and what was held is still raised."""
    desk = flooded()
    found = desk.table.advance("P-1", 1_767_225_600_000_000 + 601_000_000)
    assert [(each.alarm.alarm_id, each.kind) for each in found] == [("P-1.late", "raise")]
    found = desk.table.advance("P-1", 1_767_225_600_000_000 + 1_201_000_000)
    assert [(each.alarm.alarm_id, each.kind) for each in found] == [(FLOOD, "clear")]
    assert not desk.table.advance("P-1", 1_767_225_600_000_000 + 1_202_000_000)


def test_a_held_alarm_whose_condition_goes_is_never_raised() -> None:
    desk = flooded()
    assert desk.see(0.0, 2, "P-1.late") == []
    assert desk.see(0.0, 600, "P-1.0") == [f"{FLOOD} clear", "P-1.0 clear"]
    assert "P-1.late" not in desk.table.watched


def test_a_held_alarm_that_is_shelved_leaves_the_queue() -> None:
    desk = flooded()
    desk.table.shelve("P-1.late", 60, "me")
    assert desk.see(2.0, 600, "P-1.0") == [f"{FLOOD} clear"]
    assert desk.table.apply_command("unshelve", "P-1.late", "me").alarm.state is AlarmState.UNACK


def test_a_held_return_can_be_acknowledged_and_is_still_raised() -> None:
    desk = Desk(flood_limit=1, flood_window=Duration(600))
    desk.see(2.0, 0)
    desk.see(0.0, 1)
    assert desk.see(2.0, 2) == [f"{FLOOD} raise"]
    assert desk.table.apply_command("ack", "P-1.a", "me").alarm.state is AlarmState.NORMAL
    assert desk.see(2.0, 600) == ["P-1.a raise"]


def test_service_alarms_are_never_held() -> None:
    desk = Desk(kind="service", flood_limit=1)
    assert [desk.see(2.0, 0, f"P-1.{n}") for n in range(3)] == [
        [f"P-1.{n} raise"] for n in range(3)
    ]


def test_the_limit_counts_raises_in_a_window_of_event_time() -> None:
    """Ten in ten minutes pass, as ISA-18.2 has it; so does any number at a slower pace."""
    desk = Desk()
    for n in range(50):
        assert desk.see(2.0, 60 * n, f"P-1.{n}") == [f"P-1.{n} raise"]
    desk = Desk()
    found = [desk.see(2.0, 59 * n, f"P-1.{n}") for n in range(11)]
    assert found[9:] == [["P-1.9 raise"], [f"{FLOOD} raise"]]


def test_a_recording_that_starts_over_is_not_held_by_its_former_raises() -> None:
    desk = Desk(flood_limit=1)
    desk.see(2.0, 7200)
    assert desk.see(2.0, 0, "P-1.b") == ["P-1.b raise"]


def test_a_flood_survives_a_restart_and_ends() -> None:
    old = flooded()
    new = Desk(restored=old.table.all())
    assert new.table.flooded == {"P-1"}
    # The window of raises is not stored: what was held is free at its next observation.
    assert new.see(2.0, 10, "P-1.late") == [f"{FLOOD} clear", "P-1.late raise"]


def test_a_shelved_flood_alarm_still_holds() -> None:
    desk = Desk(flood_limit=1)
    desk.table.shelve(FLOOD, 3600, "me")
    desk.see(2.0, 0)
    assert desk.see(2.0, 1, "P-1.b") == []
    assert desk.alarm("P-1.b").state is AlarmState.NORMAL
    assert desk.see(2.0, 600, "P-1.b") == ["P-1.b raise"]


def test_retiring_the_alarms_of_an_asset_forgets_its_flood() -> None:
    desk = flooded()
    desk.plant.gone = {"P-1.late", FLOOD}
    assert {alarm.alarm_id for alarm in desk.table.retire()} == desk.plant.gone
    assert desk.table.flooded == set()
    assert desk.see(2.0, 700, "P-1.new") == ["P-1.new raise"]


def test_cool_down_comes_before_the_queue() -> None:
    """An alarm in its cool-down is not held by the flood and does not announce one."""
    rule = AlarmRule(off_delay=Duration(0), cooldown=Duration(100))
    desk = Desk(rule, flood_limit=1, flood_window=Duration(600))
    desk.see(2.0, 0)
    desk.see(0.0, 1)
    assert desk.see(2.0, 50) == []
    assert desk.table.flooded == set()
    assert desk.see(2.0, 101) == [f"{FLOOD} raise"]


def test_alarms_restored_while_held_are_raised() -> None:
    """A held alarm that a command had stored is active and normal: it comes at once."""
    desk = Desk(restored=[Alarm("P-1.a", "P-1", active=True)])
    assert desk.see(0.95, 0) == ["P-1.a raise"]
