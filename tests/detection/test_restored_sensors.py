"""After a restart or a reload a sensor's alarm goes with the good values that come."""

from __future__ import annotations

import pytest
from live_plants import BEGIN_S, Live, of
from plants import S

from edge_agent.config.schema import Signal
from edge_agent.config.types import Duration
from edge_agent.messages import Alarm, AlarmState, Detail
from edge_agent.values import BAD_SENSOR_FAILURE, RETAINED, columns

HOUR = Duration(3600.0)
CONFIG = of(
    flow=Signal(source="bus", stale_after=HOUR),
    temp=Signal(source="bus", stale_after=HOUR, valid=(0.0, 100.0)),
)


def restored(name: str, key: str) -> Live:
    """A pipeline after a restart, with one active alarm from the store."""
    detail = Detail(key, {"input": "temp"})
    alarm = Alarm(name, "any", AlarmState.UNACK, 1, active=True, detail=detail)
    plant = Live(CONFIG, [alarm])
    plant.pipeline.follow_alarms(BEGIN_S * S)
    return plant


def speak(plant: Live, seconds: int, value: float = 50.0, status: int = 0) -> list[str]:
    """The kinds of the transitions while both signals send a value a second."""
    for second in range(1, seconds + 1):
        at_us = (BEGIN_S + second) * S
        plant.turn(float(second), columns([0, 1], [at_us] * 2, [value] * 2, [status] * 2))
    return [str(t.kind) for t in plant.transitions]


@pytest.mark.parametrize("key", ["sensor_out_of_range", "sensor_bad", "sensor_stale"])
def test_a_sensor_that_is_well_again_clears_with_its_values(key: str) -> None:
    """Not only after `stale_after`, an hour here."""
    assert speak(restored("any.temp.quality", key), 90) == ["clear"]


def test_a_machine_that_speaks_again_is_silent_no_more() -> None:
    assert speak(restored("any.silent", "asset_silent"), 90) == ["clear"]


@pytest.mark.parametrize(
    ("value", "status"), [(500.0, 0), (50.0, BAD_SENSOR_FAILURE), (50.0, RETAINED)]
)
def test_one_that_is_not_well_keeps_its_alarm(value: float, status: int) -> None:
    """A retained value is no sign of life."""
    plant = restored("any.temp.quality", "sensor_out_of_range")
    assert "clear" not in speak(plant, 30, value, status)


def test_a_stuck_sensor_is_not_well_because_it_sends() -> None:
    assert speak(restored("any.temp.quality", "sensor_stuck"), 30) == []
