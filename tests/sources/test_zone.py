"""Local times of a zone become UTC, by columns and in payloads."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from edge_agent.config.schema import TimeOf
from edge_agent.sources.mqtt.config import MqttSourceConfig, Subscription
from edge_agent.sources.mqtt.payload_spec import Payload, TimeUnit
from edge_agent.sources.mqtt.payload_time import time_us
from edge_agent.sources.opcua.config import OpcUaSourceConfig
from edge_agent.sources.zone import Zone, zone_problems

S = 1_000_000


def us(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * S


def to_utc(zone: str, now: str, *local: str) -> list[int]:
    found: list[int] = Zone(zone).to_utc(np.array([us(text) for text in local]), us(now)).tolist()
    return found


def test_local_time_becomes_utc_in_summer_and_winter() -> None:
    found = to_utc("Europe/Berlin", "2026-07-01T10:00", "2026-07-01T12:00", "2026-01-01T12:00")
    assert found == [us("2026-07-01T10:00"), us("2026-01-01T11:00")]


@pytest.mark.parametrize("now", ["2026-10-25T00:30", "2026-10-25T01:30"])
def test_of_the_hour_that_comes_twice_the_one_that_is_now_counts(now: str) -> None:
    assert to_utc("Europe/Berlin", now, "2026-10-25T02:30") == [us(now)]


def test_a_zone_of_quarter_hours_is_exact() -> None:
    assert to_utc("Asia/Kathmandu", "2026-01-01T00:00", "2026-01-01T05:45") == [
        us("2026-01-01T00:00")
    ]


def test_what_is_no_time_of_a_plant_stays() -> None:
    absent = np.array([0, -5, 10**18])
    assert Zone("Europe/Berlin").to_utc(absent, us("2026-01-01")).tolist() == absent.tolist()


def test_utc_needs_no_change() -> None:
    times = np.array([us("2026-01-01")])
    assert Zone("UTC").to_utc(times, 0) is times


@pytest.mark.parametrize("name", ["Berlin", "../etc/passwd", "/etc/localtime", "", "Europe/"])
def test_an_unknown_zone_is_a_problem_with_an_example(name: str) -> None:
    ((key, message),) = zone_problems(name)
    assert key == "timezone"
    assert "Europe/Berlin" in message


def test_a_text_without_zone_is_of_the_sources_zone_and_one_with_it_is_not() -> None:
    berlin = "Europe/Berlin"
    assert time_us("2026-07-01T12:00:00", TimeUnit.AUTO, berlin) == us("2026-07-01T10:00")
    assert time_us("2026-07-01T12:00:00Z", TimeUnit.AUTO, berlin) == us("2026-07-01T12:00")
    assert time_us("2026-07-01T12:00:00", TimeUnit.AUTO) == us("2026-07-01T12:00")


def test_a_payload_may_have_a_zone_of_its_own() -> None:
    config = MqttSourceConfig(
        "mqtt://broker",
        (Subscription("a/#"), Subscription("b/#", payload=Payload(timezone="Asia/Tokyo"))),
        timezone="Europe/Berlin",
    )
    found = [one.payload.timezone for one in config.subscriptions]
    assert found == ["Europe/Berlin", "Asia/Tokyo"]


def test_a_broker_has_no_server_time() -> None:

    config = MqttSourceConfig("mqtt://broker", (Subscription("a/{asset}"),), time=TimeOf.SERVER)
    assert [key for key, _ in config.problems()] == ["time"]
    assert not list(OpcUaSourceConfig("opc.tcp://plc:4840", time=TimeOf.SERVER).problems())
