"""The delays of a learned baseline's alarm follow the step of its model."""

from __future__ import annotations

import pytest

from edge_agent.alarms.catalogue import AlarmPolicy
from edge_agent.alarms.table import AlarmTable
from edge_agent.clock import FakeClock
from edge_agent.config.schema import AlarmRule, Alarms, LearnedAlarm
from edge_agent.config.types import Duration
from edge_agent.messages import Detail, Observation

S = 1_000_000


@pytest.mark.parametrize(
    ("step_s", "on_s", "off_s"),
    [(0.05, 0.25, 1.5), (1, 5, 30), (3, 5, 30), (10, 10, 30), (180, 180, 360), (3600, 3600, 7200)],
)
def test_delays_are_counted_in_rows(step_s: float, on_s: float, off_s: float) -> None:
    rule = LearnedAlarm().at_step(step_s)
    assert (rule.on_delay, rule.off_delay) == pytest.approx((on_s, off_s))


def test_what_is_told_stays_in_seconds() -> None:
    told = LearnedAlarm(on_delay=Duration(20), off_delay=Duration(10), in_rows=False)
    assert told.at_step(180.0) == told
    assert not LearnedAlarm(off_delay=Duration(0)).at_step(180.0).off_delay


def run(step_s: float, over: list[bool], rule: AlarmRule) -> list[tuple[str, int]]:
    """(transition, number of its row) of rows over the limit or well below it."""
    policy = AlarmPolicy("P-1", "a/b/c/d/P-1", rule)
    table = AlarmTable(lambda _: policy, Alarms(), FakeClock())
    found = []
    for row, is_over in enumerate(over):
        at_us = round(row * step_s * S)
        seen = Observation("P-1.a", 3.0 * is_over, at_us, Detail("anomaly"), step_s)
        found += [(str(one.kind), row) for one in table.accept_observation(seen)]
    return found


@pytest.mark.parametrize("step_s", [15.0, 180.0, 3600.0])
def test_one_slow_row_over_the_limit_raises_nothing_and_two_do(step_s: float) -> None:
    """And one row below it does not clear; the third does."""
    assert run(step_s, [True, False] * 5, LearnedAlarm()) == []
    rows = [False, True, True, False, True, *[False] * 8]
    assert run(step_s, rows, LearnedAlarm()) == [("raise", 2), ("clear", 7)]


def test_at_50_ms_five_rows_raise() -> None:
    rows = [True] * 5 + [False] * 3 + [True] * 7
    assert run(0.05, rows, LearnedAlarm()) == [("raise", 13)]
