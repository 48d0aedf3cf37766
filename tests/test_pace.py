"""How long reader and pipeline rest: by the work there is, never longer than the config says."""

from __future__ import annotations

import pytest

from edge_agent.clock import ApartTime, FakeClock
from edge_agent.daemon import pipeline_loop
from edge_agent.daemon.pipeline_loop import BUSY, FREE, FollowerPace
from edge_agent.sources.mqtt import session
from edge_agent.sources.mqtt.session import RESTS_PER_WORK, SHORTEST_S, ReaderPace

LONGEST_S = 0.02


class Machine:
    """Processor time and time, as a loop of equal turns spends them."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.cpu_s = 0.0

    def spend(self, work_s: float, passed_s: float) -> None:
        self.cpu_s += work_s
        self.clock.advance(passed_s)


@pytest.mark.parametrize(
    ("work_s", "rest_s"), [(0.0, SHORTEST_S), (0.002, 0.002 * RESTS_PER_WORK), (1.0, LONGEST_S)]
)
def test_a_reader_rests_by_its_work_and_never_longer_than_it_may(
    work_s: float, rest_s: float
) -> None:
    """Little work, prompt scores; much work, large batches."""
    machine = Machine()
    pace = ReaderPace(lambda: machine.cpu_s)
    for _ in range(300):
        machine.spend(work_s, work_s)
        found_s = pace.pause_s(LONGEST_S)
    assert found_s == pytest.approx(rest_s, rel=0.01)


def test_one_long_turn_makes_no_long_rest() -> None:
    """Windows of many assets close at once: what comes next must not wait for that."""
    machine = Machine()
    pace = ReaderPace(lambda: machine.cpu_s)
    for _ in range(300):
        machine.spend(0.002, 0.002)
        usual_s = pace.pause_s(LONGEST_S)
    machine.spend(0.01, 0.01)
    assert pace.pause_s(LONGEST_S) < 1.2 * usual_s


def test_what_others_spent_before_the_first_value_came_does_not_count() -> None:
    """A reader that waited for a minute rests no longer for what the store did meanwhile."""
    machine = Machine()
    pace = ReaderPace(lambda: machine.cpu_s)
    machine.spend(60, 60)
    pace.wake_up()
    assert pace.pause_s(LONGEST_S) == SHORTEST_S


def test_a_config_may_ask_for_shorter_rests_than_the_usual_ones() -> None:
    """`coalesce: 0s` reads without a pause."""
    assert ReaderPace(lambda: 0.0).pause_s(0.0) == 0


@pytest.mark.parametrize(
    ("load", "share"), [(0.0, 0), (FREE, 0), ((FREE + BUSY) / 2, 0.5), (BUSY, 1), (1.0, 1)]
)
def test_the_pipeline_follows_at_once_until_the_processor_is_busy(
    load: float, share: float
) -> None:
    """Then it rests up to its limit, so that many values share the cost of a turn."""
    machine = Machine()
    pace = FollowerPace(lambda: machine.cpu_s, machine.clock.monotonic_s)
    for _ in range(1000):
        machine.spend(0.01 * load, 0.01)
        found_s = pace.pause_s(LONGEST_S)
    assert found_s == pytest.approx(share * LONGEST_S, abs=LONGEST_S / 100)


def test_what_other_programs_ask_for_makes_nobody_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their processor time is in that of the process, and no load of the plant."""
    apart, machine = ApartTime(), Machine()
    monkeypatch.setattr(session, "APART", apart)
    monkeypatch.setattr(pipeline_loop, "APART", apart)
    reader = ReaderPace(lambda: machine.cpu_s)
    pipeline = FollowerPace(lambda: machine.cpu_s, machine.clock.monotonic_s)
    for _ in range(1000):
        machine.spend(0.01, 0.01)
        apart.s += 0.01
        found_s = reader.pause_s(LONGEST_S), pipeline.pause_s(LONGEST_S)
    assert found_s == pytest.approx((SHORTEST_S, 0.0))


def test_two_calls_in_one_instant_are_no_load() -> None:
    """A clock that has not moved says nothing of the load."""
    pace = FollowerPace(lambda: 1.0, lambda: 1.0)
    assert pace.pause_s(LONGEST_S) == 0
