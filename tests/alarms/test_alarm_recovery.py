"""The way back that ends above the limit: when an alarm clears all the same, and when not."""

from __future__ import annotations

import pytest
from alarm_helpers import Desk

from edge_agent.config.schema import AlarmRule
from edge_agent.config.types import Duration

OFF_S = 30
RULE = AlarmRule(off_delay=Duration(OFF_S))


def at_level(
    desk: Desk, level: float, begin: int, end: int, step: int = 5
) -> list[tuple[int, str]]:
    """Raises and clears, with their times, while the level is seen every `step` seconds."""
    return [
        (at, kind.split()[1])
        for at in range(begin, end, step)
        for kind in desk.see(level, at=at)
        if not kind.endswith("update")
    ]


def raised(rule: AlarmRule = RULE, level: float = 50.0) -> Desk:
    """An alarm that has held its level for five minutes."""
    desk = Desk(rule)
    assert at_level(desk, level, 0, 300) == [(0, "raise")]
    return desk


def test_a_level_that_falls_far_at_once_clears_above_the_limit() -> None:
    """From 50 to 3: the machine left the fault, and settles elsewhere than it was."""
    assert at_level(raised(), 3.0, 300, 600) == [(330, "clear")]


@pytest.mark.parametrize(
    "rule",
    [AlarmRule(off_delay=Duration(OFF_S), recovery=0.0), AlarmRule(off_delay=Duration(0))],
)
def test_it_stays_where_that_is_not_wanted(rule: AlarmRule) -> None:
    """`recovery: 0` or no off-delay: the limit alone counts."""
    assert at_level(raised(rule), 3.0, 300, 600) == []


def test_half_of_what_it_held_is_no_recovery() -> None:
    assert at_level(raised(), 25.0, 300, 600) == []


def test_a_short_dip_is_none_either() -> None:
    desk = raised()
    assert at_level(desk, 3.0, 300, 325) == []
    assert at_level(desk, 50.0, 325, 600) == []


def test_a_level_that_falls_slowly_stays() -> None:
    """A fault that a controller makes up for over an hour is still there."""
    desk = raised()
    for at in range(300, 4000, 5):
        assert at_level(desk, 50 * 0.9992 ** (at - 300), at, at + 5) == []


def test_one_spike_is_not_what_the_level_held() -> None:
    desk = raised(level=4.0)
    desk.see(5000.0, at=300)
    assert at_level(desk, 4.0, 305, 900) == []


def test_what_stays_above_the_limit_is_raised_again_in_the_end() -> None:
    """After thirty off-delays it is no recovery, but another fault state."""
    desk = raised()
    assert at_level(desk, 3.0, 300, 2000) == [(330, "clear"), (330 + 30 * OFF_S, "raise")]


def test_a_relapse_is_raised_at_once_and_the_next_recovery_waits_longer() -> None:
    """A machine that cycles while it is ill must not make an alarm of each cycle."""
    desk = raised()
    assert at_level(desk, 3.0, 300, 400) == [(330, "clear")]
    assert at_level(desk, 5.9, 400, 420) == []
    assert at_level(desk, 50.0, 420, 700) == [(420, "raise")]
    assert at_level(desk, 3.0, 700, 900) == [(700 + 4 * OFF_S, "clear")]


def test_below_the_limit_all_is_forgotten() -> None:
    """The next fault is as the first: raised at 1, and cleared after one off-delay."""
    desk = raised()
    assert at_level(desk, 3.0, 300, 400) == [(330, "clear")]
    assert at_level(desk, 0.5, 400, 500) == []
    assert at_level(desk, 1.1, 500, 510) == [(500, "raise")]
    assert at_level(desk, 50.0, 510, 900) == []
    assert at_level(desk, 3.0, 900, 1000) == [(930, "clear")]


def test_an_alarm_that_cleared_above_the_limit_is_still_watched() -> None:
    """Acknowledged and normal, yet every observation counts until the level is below the limit."""
    desk = raised()
    at_level(desk, 3.0, 300, 400)
    desk.table.apply_command("ack", "P-1.a", "me")
    assert "P-1.a" in desk.table.watched
    at_level(desk, 0.5, 400, 405)
    assert "P-1.a" not in desk.table.watched
    assert at_level(desk, 3.0, 405, 410) == [(405, "raise")]
