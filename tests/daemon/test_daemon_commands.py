"""Operators' commands to the running daemon: `edge-agent alarms` and the plant bus."""

from __future__ import annotations

import asyncio
import json
import secrets
from typing import TYPE_CHECKING

import pytest
from daemon_support import PLACE, Feed, Running, Site, now_ms, until
from sink_support import Subscriber

from edge_agent.cli import main

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from support import Mosquitto

pytestmark = pytest.mark.integration

ALARM = "P-1.temp.quality"


@pytest.fixture
async def bus(broker: Mosquitto) -> AsyncIterator[Subscriber]:
    subscriber = await Subscriber(broker.port).ready()
    yield subscriber
    await asyncio.to_thread(subscriber.stop)


@pytest.fixture
async def alarmed(tmp_path: Path, broker: Mosquitto, bus: Subscriber) -> AsyncIterator[Running]:
    """A daemon with one alarm."""
    site = Site(tmp_path, broker.url, alarms={"shelve_max": "1h"})
    async with site.daemon() as running:
        await until(running.up, "up")
        Feed(bus).send("P-1", 2, temp=200.0)
        await until(lambda: running.states() == {ALARM: "unack"}, "raised")
        yield running


async def alarms(running: Running, action: str, *words: str) -> int:
    return await asyncio.to_thread(main, ["alarms", action, "--url", running.url, *words])


def command(bus: Subscriber, kind: str, **body: object) -> None:
    whole = {"id": secrets.token_hex(4), "alarm_id": ALARM, "expires": now_ms() + 60_000, **body}
    bus.publish(f"{PLACE}/P-1/_pdm/cmd/{kind}", json.dumps(whole).encode())


async def test_an_alarm_is_acknowledged_from_the_command_line(
    alarmed: Running, bus: Subscriber, capsys: pytest.CaptureFixture[str]
) -> None:
    """And everybody hears of it, by whom."""
    assert await alarms(alarmed, "ack", ALARM, "--by", "anna", "--json") == 0
    row = json.loads(capsys.readouterr().out)
    assert (row["state"], row["acked_by"]) == ("acked", "anna")
    await until(lambda: f"{ALARM}:2" in bus.ids("/_pdm/event"), "event")
    (told,) = [json.loads(b) for b in bus.bodies("/_pdm/event") if f'"{ALARM}:2"'.encode() in b]
    assert (told["data"]["transition"], told["data"]["actor"]) == ("ack", "anna")
    assert await alarms(alarmed, "history", "--json") == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["transition"] for line in lines] == ["ack", "raise"]


async def test_a_shelved_alarm_is_unshelved_by_time(
    alarmed: Running, bus: Subscriber, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await alarms(alarmed, "shelve", ALARM, "--for", "1s", "--by", "anna") == 0
    assert alarmed.states() == {ALARM: "shelved"}
    await until(lambda: alarmed.states() == {ALARM: "unack"}, "its time is over")
    await until(lambda: f"{ALARM}:3" in bus.ids("/_pdm/alert"), "told")
    capsys.readouterr()


async def test_what_cannot_be_done_is_refused_in_a_line(
    alarmed: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await alarms(alarmed, "shelve", ALARM, "--for", "2h") == 2
    assert "shelve_max" in capsys.readouterr().err
    assert await alarms(alarmed, "ack", "P-9.none") == 1
    assert "no such alarm" in capsys.readouterr().err
    assert alarmed.states() == {ALARM: "unack"}


async def test_commands_over_the_bus(alarmed: Running, bus: Subscriber) -> None:
    command(bus, "ack", by="ben")
    await until(lambda: alarmed.states() == {ALARM: "acked"}, "acknowledged")
    command(bus, "shelve", by="ben", duration_s=1800)
    await until(lambda: alarmed.states() == {ALARM: "shelved"}, "shelved")
    alarm = alarmed.daemon.alarms.get(ALARM)
    assert alarm is not None
    assert abs(alarm.shelved_until_us // 1000 - now_ms() - 1_800_000) < 30_000


async def test_commands_that_must_not_count(alarmed: Running, bus: Subscriber) -> None:
    """Expired, for longer than allowed, of an alarm that is not there."""
    command(bus, "ack", expires=now_ms() - 1)
    command(bus, "shelve", duration_s=7200)
    command(bus, "ack", alarm_id="P-9.none")
    counter = alarmed.daemon.metrics.commands
    await until(lambda: counter.labels("bus", "accepted")._value.get() == 2, "heard")
    await until(lambda: counter.labels("bus", "expired")._value.get() == 1, "ignored")
    await asyncio.sleep(0.2)
    assert alarmed.states() == {ALARM: "unack"}


async def test_the_status_page_knows_what_is_wrong(alarmed: Running) -> None:
    """Through the API that it is made of."""
    summary = alarmed.daemon.http._status.summary()
    assert summary["troubles"] == []
    (asset,) = [a for a in alarmed.daemon.http._status.assets() if a["id"] == "P-1"]
    assert (asset["state"], asset["alarms"]) == ("alarm", 1)
    (temp,) = [i for i in asset["inputs"] if i["name"] == "temp"]
    assert temp["quality"] == "out_of_range"
