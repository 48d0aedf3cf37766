"""The verdict of the demo: it must fail whenever the daemon does."""

from __future__ import annotations

from typing import Any

import pytest

from edge_agent.demo.judge import Judge


def alert(asset: str, first_input: str, transition: str = "raise", seq: int = 1) -> dict[str, Any]:
    data = {
        "alarm_id": f"{asset}.baseline",
        "asset": asset,
        "transition": transition,
        "contributors": [{"input": first_input}, {"input": "speed"}],
    }
    return {"id": f"{asset}.baseline:{seq}", "data": data}


def test_all_well() -> None:
    judge = Judge()
    judge.inject("P-1", "bearing_wear", 20.0)
    assert judge.alarm(alert("P-1", "vibration"), 22.5) is judge.faults[0]
    well, line = judge.verdict(40.0)
    assert well
    assert line == (
        "demo: 1 faults, 1 alarms in time, slowest 2.5 s, right input first 1/1, "
        "0 false alarms before the first fault, 0 later: ok"
    )


@pytest.mark.parametrize(
    ("asset", "first_input", "at_s"),
    [("P-1", "speed", 22.0), ("P-1", "vibration", 35.5), ("P-2", "vibration", 22.0)],
    ids=["wrong input", "too late", "another pump"],
)
def test_what_is_not_the_right_alarm_fails(asset: str, first_input: str, at_s: float) -> None:
    judge = Judge()
    judge.inject("P-1", "bearing_wear", 20.0)
    judge.alarm(alert(asset, first_input), at_s)
    well, line = judge.verdict(40.0)
    assert not well
    assert line.endswith("FAILED")


def test_an_alarm_before_the_first_fault_fails() -> None:
    judge = Judge()
    judge.alarm(alert("P-1", "vibration"), 19.0)
    judge.inject("P-1", "bearing_wear", 20.0)
    judge.alarm(alert("P-1", "vibration", seq=2), 21.0)
    well, line = judge.verdict(40.0)
    assert not well
    assert "1 false alarms before the first fault" in line


def test_no_fault_at_all_fails() -> None:
    assert not Judge().verdict(60.0)[0]


def test_a_fault_whose_time_is_not_over_is_not_counted_yet() -> None:
    judge = Judge()
    judge.inject("P-1", "bearing_wear", 20.0)
    judge.alarm(alert("P-1", "vibration"), 22.0)
    judge.inject("P-2", "bearing_wear", 30.0)
    assert judge.verdict(40.0)[0]
    assert not judge.verdict(45.1)[0]


def test_only_the_first_raise_answers_a_fault_and_a_repeated_one_is_nothing() -> None:
    judge = Judge()
    judge.inject("P-1", "bearing_wear", 20.0)
    assert judge.alarm(alert("P-1", "vibration", "update"), 21.0) is None
    assert judge.alarm(alert("P-1", "vibration", seq=2), 22.0) is judge.faults[0]
    assert judge.alarm(alert("P-1", "vibration", seq=2), 23.0) is None
    assert judge.alarm(alert("P-1", "speed", seq=3), 24.0) is None
    assert judge.verdict(40.0)[0]


def test_a_pump_that_was_just_repaired_may_still_alarm_but_not_for_ever() -> None:
    judge = Judge()
    fault = judge.inject("P-1", "bearing_wear", 20.0)
    judge.alarm(alert("P-1", "vibration"), 22.0)
    fault.repaired_s = 30.0
    judge.alarm(alert("P-1", "bearing_temperature", seq=2), 50.0)
    assert judge.verdict(60.0)[0]
    judge.alarm(alert("P-1", "bearing_temperature", seq=3), 91.0)
    assert not judge.verdict(100.0)[0]


def test_a_model_that_was_rolled_back_is_no_false_alarm() -> None:
    """Whoever tries another model on the demo is told so; the plant is well all the same."""
    judge = Judge()
    event = alert("demo", "")
    event["data"]["alarm_id"] = "demo.service.model"
    assert judge.alarm(event, 5.0) is None
    assert judge.before == []
