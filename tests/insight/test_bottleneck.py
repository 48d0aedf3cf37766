"""The bottleneck of simulated lines: named where the data tells, not sure where it does not."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edge_agent.insight import CODES, LineData, MachineState, StateLog, find_bottleneck
from edge_agent.insight.bottleneck import turning_point
from edge_agent.insight.hidden_waits import hides_waits
from edge_agent.insight.line_simulation import same_line, simulate
from scripts.rigs.lines import TrueLine, data_of, record

if TYPE_CHECKING:
    from edge_agent.insight import Bottleneck

NAMES = ("S1", "S2", "S3", "S4", "S5")
UNKNOWN = CODES[MachineState.UNKNOWN]
BLOCKED, STARVED = CODES[MachineState.BLOCKED], CODES[MachineState.STARVED]
RUNNING, IDLE = CODES[MachineState.RUNNING], CODES[MachineState.IDLE]


def line_of(cycle_s: list[float], buffer: int = 4) -> TrueLine:
    n = len(cycle_s)
    return TrueLine(
        np.array([cycle_s]),
        np.full(n, 0.2),
        np.full(n, 1500.0),
        np.full(n, 100.0),
        np.ones(n),
        np.full(n - 1, buffer),
        is_calendar=False,
        run_parts=1 << 30,
    )


@cache
def clear_line(step_s: float = 0.0) -> LineData:
    """A line whose third machine is by far the slowest, for eight hours."""
    line = line_of([30, 31, 42, 30, 29])
    return data_of(line, record(line, 1, 8.0), step_s)


def with_states(data: LineData, state: np.ndarray) -> LineData:
    log = data.log
    changed = StateLog(log.machine, state.astype(np.int8), log.start_ns, log.end_ns)
    return replace(data, log=changed)


def gain_of(found: Bottleneck, machine: str) -> float:
    return next(one.faster.share for one in found.stations if one.machine == machine)


def test_a_clear_bottleneck_is_named_with_its_gain() -> None:
    """The slowest machine is named, all three ways agree, and only it gains the line much."""
    found = find_bottleneck(clear_line())
    assert (found.verdict, found.named, found.doubts) == ("named", ("S3",), ())
    assert (found.by_active, found.by_waits) == ("S3", "S3")
    assert 0.05 < gain_of(found, "S3") < 0.12
    assert all(gain_of(found, one) < 0.02 for one in NAMES if one != "S3")
    assert found.parts_per_h == pytest.approx(80, rel=0.1)


def test_what_is_learned_is_what_the_line_is() -> None:
    """Cycles, stops, repairs and buffers come out of states and counts as they were put in."""
    found = find_bottleneck(clear_line())
    assert [one.cycle_s for one in found.stations] == pytest.approx([30, 31, 42, 30, 29], rel=0.05)
    mtbf = np.mean([one.mtbf_s or 0 for one in found.stations])
    mttr = np.mean([one.mttr_s or 0 for one in found.stations])
    assert mtbf == pytest.approx(1500, rel=0.4)
    assert mttr == pytest.approx(100, rel=0.4)
    assert [one.capacity for one in found.buffers] == [4, 4, 4, 4]
    assert {one.origin for one in found.buffers} == {"counts"}


def test_rounded_times_change_nothing() -> None:
    """States and counts with times in whole seconds give the same name."""
    found = find_bottleneck(clear_line(1.0))
    assert (found.verdict, found.named) == ("named", ("S3",))


def test_without_counts_it_is_named_from_states_alone() -> None:
    """Parts follow from the intervals of running, buffers from how long machines wait."""
    data = clear_line()
    none = data.counts.machine == -1
    counts = replace(
        data.counts,
        machine=data.counts.machine[none],
        at_ns=data.counts.at_ns[none],
        parts=data.counts.parts[none],
    )
    found = find_bottleneck(replace(data, counts=counts))
    assert (found.verdict, found.named) == ("named", ("S3",))
    assert found.parts_per_h is None
    assert {one.origin for one in found.buffers} == {"waits"}


def test_equal_machines_are_not_sure() -> None:
    """Two machines of the same speed, with nothing between them that tells, are both named."""
    line = line_of([30, 40, 30, 40, 30], buffer=8)
    found = find_bottleneck(data_of(line, record(line, 3, 8.0)))
    assert found.verdict == "not_sure"
    assert {"S2", "S4"} <= set(found.named)


def test_swapped_flags_are_a_contradiction() -> None:
    """A plant that calls blocked what is starved gets no wrong name."""
    data = clear_line()
    state = data.log.state
    swapped = np.where(state == BLOCKED, STARVED, np.where(state == STARVED, BLOCKED, state))
    found = find_bottleneck(with_states(data, swapped))
    assert found.verdict == "not_sure"


@cache
def close_line() -> LineData:
    """A line whose machines are nearly as slow as the third one, for a day."""
    line = line_of([36, 37, 40, 37, 36])
    return data_of(line, record(line, 1, 24.0))


def saying(data: LineData, machine: int, states: tuple[int, ...], said: int) -> LineData:
    """The same, but a machine says something else while it is in these states."""
    told = (data.log.machine == machine) & np.isin(data.log.state, states)
    return with_states(data, np.where(told, said, data.log.state))


def test_a_close_line_is_named() -> None:
    """With right states the slowest machine is named, also where it waits for its neighbours."""
    found = find_bottleneck(close_line())
    assert (found.verdict, found.named) == ("named", ("S3",))


@pytest.mark.parametrize(
    ("hidden", "waits"),
    [(4, (STARVED,)), (0, (BLOCKED,)), (1, (BLOCKED, STARVED)), (3, (BLOCKED, STARVED))],
)
def test_running_while_it_waits_is_no_bottleneck(hidden: int, waits: tuple[int, ...]) -> None:
    """A machine that says it runs while it waits looks slowest, and is not named for that."""
    found = find_bottleneck(saying(close_line(), hidden, waits, RUNNING))
    assert found.by_active == found.named[0] == NAMES[hidden]
    assert found.verdict == "not_sure"
    assert "contradiction" in found.doubts


def test_work_that_does_not_follow_the_buffers_hides_no_waits() -> None:
    """Nobody is suspected on a line with right states; a neighbour of the slowest that lies is."""
    data = close_line()
    assert not any(hides_waits(data, machine) for machine in range(len(NAMES)))
    assert hides_waits(saying(data, 3, (STARVED,), RUNNING), 3)
    assert hides_waits(saying(data, 1, (BLOCKED,), RUNNING), 1)


def test_a_machine_that_is_idle_for_long_asks_for_more_confidence() -> None:
    """Where waits are told as idle, a close bottleneck is not sure, and a clear one is named."""
    line = line_of([36, 37, 38, 36, 30])
    close = data_of(line, record(line, 1, 24.0))
    assert find_bottleneck(close).verdict == "named"
    found = find_bottleneck(saying(close, 4, (STARVED,), IDLE))
    assert (found.verdict, found.named[0], found.doubts) == ("not_sure", "S3", ("tie",))
    found = find_bottleneck(saying(clear_line(), 4, (STARVED,), IDLE))
    assert (found.verdict, found.named) == ("named", ("S3",))


def test_a_silent_bottleneck_is_not_sure() -> None:
    """If the states of the bottleneck are missing, no other machine is named for it."""
    data = clear_line()
    silent = np.where(data.log.machine == NAMES.index("S3"), UNKNOWN, data.log.state)
    found = find_bottleneck(with_states(data, silent))
    assert found.verdict == "not_sure"
    assert "unseen" in found.doubts
    assert "S3" in found.named


def test_a_silent_other_machine_leaves_the_name() -> None:
    """Without the states of a machine that does not limit, the bottleneck is still named."""
    data = clear_line()
    silent = np.where(data.log.machine == NAMES.index("S5"), UNKNOWN, data.log.state)
    found = find_bottleneck(with_states(data, silent))
    assert found.named[0] == "S3"


@pytest.mark.parametrize(
    ("hours", "unknown", "doubt"), [(0.2, 0, "few_parts"), (8.0, 4, "few_states")]
)
def test_too_little_is_refused(hours: float, unknown: int, doubt: str) -> None:
    """Few parts, or few machines that send states, give no name and no figures."""
    line = line_of([30, 31, 42, 30, 29])
    data = data_of(line, record(line, 1, hours))
    state = np.where(data.log.machine < unknown, UNKNOWN, data.log.state)
    found = find_bottleneck(with_states(data, state))
    assert (found.verdict, found.named, found.doubts) == ("too_little", (), (doubt,))
    assert found.stations == ()


def test_a_line_that_waits_for_material_is_not_blamed_on_a_machine() -> None:
    """A first machine that starves for long is said, and no machine is named as certain."""
    data = clear_line()
    line = (data.log.machine == 0) & (data.log.state == BLOCKED)
    found = find_bottleneck(with_states(data, np.where(line, STARVED, data.log.state)))
    assert "supply" in found.doubts


def test_turning_point() -> None:
    """The machine between blocked and starved ones; none if nobody waits."""
    blocked, starved = np.array([0.3, 0.2, 0.0, 0.0]), np.array([0.0, 0.0, 0.0, 0.3])
    assert turning_point(blocked, starved) == 2
    assert turning_point(np.zeros(4), np.zeros(4)) is None


def test_recursion_of_departures_by_hand() -> None:
    """Two stations of 1 s and 2 s: the second one never waits; the first one is blocked."""
    work = np.ones((50, 2, 1))
    work[:, 1] = 2.0
    run = simulate(work, np.zeros_like(work), same_line(2, 1, np.array([1])), warm=10)
    assert run.rate[0, 0] == pytest.approx(0.5)
    assert run.blocked[0].tolist() == pytest.approx([0.5, 0.0])
    assert run.starved[0].tolist() == pytest.approx([0.0, 0.0])
