"""The shared fixtures themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workers import BUSY

from edge_agent.testing import ListIntake, Mosquitto, is_listening
from edge_agent.values import columns
from scripts.rigs import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.clock import FakeClock


def test_list_intake_keeps_everything_in_order(intake: ListIntake) -> None:
    intake.append(columns([0, 1], [1, 2], [0.5, 1.5]))
    intake.append(columns([2], [3], [2.5]))
    assert len(intake) == 3
    assert intake.columns.value.tolist() == [0.5, 1.5, 2.5]


def test_fake_clock_moves_only_when_told(clock: FakeClock) -> None:
    before = clock.now_us()
    clock.advance(1.5)
    assert clock.now_us() - before == 1_500_000


def test_broker_comes_back_on_the_same_port(broker: Mosquitto) -> None:
    assert is_listening(broker.port)
    broker.kill()
    assert not is_listening(broker.port)
    broker.start()
    assert is_listening(broker.port)


def test_free_ports_are_free(free_port: Callable[[], int]) -> None:
    assert not is_listening(free_port())


def test_what_must_run_alone_is_there() -> None:
    """A file that was renamed would run beside the others of its kind."""
    assert {path.name for path in (ROOT / "tests").rglob("test_*.py")} >= BUSY
