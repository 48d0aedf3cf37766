"""The columns of machine states: cut, left out, summed up."""

from __future__ import annotations

from edge_agent.config.lines import RuleState
from edge_agent.insight import CODES, STATES, MachineState, StateLog

RUNNING, DOWN, UNKNOWN = MachineState.RUNNING, MachineState.DOWN, MachineState.UNKNOWN


def test_rules_name_every_state_but_unknown() -> None:
    """The words of the config are those of the states."""
    assert [one.value for one in RuleState] == [one.value for one in STATES if one is not UNKNOWN]


def test_a_log_gives_back_its_rows() -> None:
    rows = [(0, RUNNING, 0, 10), (1, UNKNOWN, 0, 4), (0, DOWN, 10, 12)]
    log = StateLog.of(rows)
    assert [tuple(one) for one in log.rows()] == rows
    assert len(log.of_machine(0)) == 2
    assert len(StateLog.concat([])) == 0


def test_stays_are_cut_at_the_ends_of_a_span() -> None:
    log = StateLog.of([(0, RUNNING, 0, 10), (0, DOWN, 10, 20), (0, RUNNING, 20, 30)]).within(5, 20)
    assert [tuple(one) for one in log.rows()] == [(0, RUNNING, 5, 10), (0, DOWN, 10, 20)]


def test_breaks_are_cut_out_of_stays() -> None:
    """A break in the middle of a stay leaves two, and the order of time stays."""
    log = StateLog.of([(0, RUNNING, 0, 10), (0, DOWN, 10, 20)]).without([(4, 6), (8, 12)])
    assert [(one.start_ns, one.end_ns) for one in log.rows()] == [(0, 4), (6, 8), (12, 20)]


def test_time_is_summed_by_machine_and_state() -> None:
    log = StateLog.of([(0, RUNNING, 0, 10), (1, DOWN, 0, 4), (0, RUNNING, 20, 25)])
    total = log.time_ns(2)
    assert total[0, CODES[RUNNING]] == 15
    assert total[1, CODES[DOWN]] == 4
    assert total.sum() == 19
