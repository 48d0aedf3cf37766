"""Ages of messages that wait, over steps of the gateway's clock."""

from __future__ import annotations

import pytest

from edge_agent.clock import US_PER_S
from edge_agent.delivery.health import MessageAges


class Hands:
    """A clock whose wall time may be set apart from the monotonic one."""

    def __init__(self) -> None:
        self.passed_s = 0.0
        self.wall_s = 1_800_000_000.0

    def now_us(self) -> int:
        return round((self.wall_s + self.passed_s) * US_PER_S)

    def monotonic_s(self) -> float:
        return self.passed_s


@pytest.mark.parametrize("step_s", [0.2, 5.0, 10_800.0, -10_800.0, 86_400.0 * 365])
def test_a_step_of_the_clock_makes_no_message_older(step_s: float) -> None:
    """Ten seconds are ten seconds; what is made after the step has its own age."""
    clock = Hands()
    ages = MessageAges(clock)
    old_us = clock.now_us()
    clock.passed_s = 5.0
    ages.detect_clock_step()
    clock.wall_s += step_s
    ages.detect_clock_step()
    new_us = clock.now_us()
    clock.passed_s = 10.0
    ages.detect_clock_step()
    assert ages.seconds(old_us) == pytest.approx(10.0, abs=1.0)
    assert ages.seconds(new_us) == pytest.approx(5.0, abs=1.0)


def test_several_steps_add_up() -> None:
    clock = Hands()
    ages = MessageAges(clock)
    created_us = clock.now_us()
    for step_s in (3600.0, 7200.0, 50.0):
        clock.wall_s += step_s
        clock.passed_s += 1.0
        ages.detect_clock_step()
    assert ages.seconds(created_us) == pytest.approx(3.0, abs=1.0)
