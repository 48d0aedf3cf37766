"""What a restart keeps: alarms, what waits for a sink, assets that announced themselves."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from contextlib import closing
from typing import TYPE_CHECKING

import orjson
import pytest
from daemon_support import LENGTH, PLACE, STATUS, STEP_MS, Feed, Site, healthy, now_ms
from sink_support import Subscriber
from support import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from edge_agent.testing import Mosquitto

pytestmark = pytest.mark.integration

MARK = "edge/_svc/gateway/confirmed/bus"


@pytest.fixture
async def bus(broker: Mosquitto) -> AsyncIterator[Subscriber]:
    subscriber = await Subscriber(broker.port).ready()
    yield subscriber
    await asyncio.to_thread(subscriber.stop)


async def heard(bus: Subscriber, *ids: str) -> None:
    """Wait for the events with these ids, in any order, and for no others."""
    await until(lambda: len(set(bus.ids("/_pdm/event"))) >= len(ids), f"{ids}")
    assert set(bus.ids("/_pdm/event")) == set(ids)


async def test_a_stop_scores_and_sends_what_has_arrived(
    tmp_path: Path, broker: Mosquitto, bus: Subscriber
) -> None:
    """Values lie in the intake at the very moment of the stop: the last raise an alarm."""
    site = Site(tmp_path, broker.url)
    running = site.daemon()
    async with running:
        await until(running.up, "up")
        start_ms = now_ms() // STEP_MS * STEP_MS - 10_000
        rows = [(start_ms + STEP_MS * n, healthy(temp=200.0 * (n > 18))) for n in range(20)]
        running.daemon.stop()  # before the pipeline wakes up
        running.daemon.runtime.intake.append(running.values("P-1", rows))
    assert running.windows() == 20 - LENGTH + 1
    assert len(running.daemon.runtime.intake) == 0
    await heard(bus, "P-1.temp.quality:1")
    await until(lambda: bus.bodies(STATUS) == [b"online", b"offline"], "status")


async def test_a_stop_without_the_broker_ends_in_time_and_the_next_start_delivers(
    tmp_path: Path, broker: Mosquitto, make_broker: Callable[..., Mosquitto]
) -> None:
    away = make_broker("persistence true")
    subscriber = await Subscriber(away.port).ready()
    site = Site(tmp_path, broker.url, sinks={"bus": {"url": away.url}})
    running = site.daemon()
    async with running:
        await until(running.up, "up")
        away.stop()
        rows = [(now_ms(), healthy(temp=200.0))]
        running.daemon.runtime.intake.append(running.values("P-1", rows))
        await until(lambda: running.states() == {"P-1.temp.quality": "unack"}, "raised")
    assert running.took_s < 4
    away.start()
    await subscriber.ready()
    async with site.daemon():
        await heard(subscriber, "P-1.temp.quality:1")
    await asyncio.to_thread(subscriber.stop)


@pytest.mark.parametrize("asset", ["P-1", "discovered"])
async def test_a_restored_alarm_stays_with_its_condition_and_goes_with_it(
    tmp_path: Path, broker: Mosquitto, bus: Subscriber, asset: str
) -> None:
    """Both kinds, of assets that the config names and of such as announce themselves."""
    site = Site(tmp_path, broker.url)
    feed = Feed(bus)
    bad = {"temp": 200.0, "flow": 15.0} if asset == "P-1" else {"temp": 200.0}
    alarms = [f"{asset}.temp.quality", *([f"{asset}.watch"] if asset == "P-1" else [])]
    async with site.daemon() as running:
        await until(running.up, "up")
        feed.send(asset, 12, **bad)
        await until(lambda: running.states() == dict.fromkeys(alarms, "unack"), "raised")
    async with site.daemon() as running:
        await until(running.up, "up again")
        assert running.states() == dict.fromkeys(alarms, "unack")
        feed.send(asset, 12, **bad)
        await asyncio.sleep(1.0)
        assert running.states() == dict.fromkeys(alarms, "unack"), "neither cleared nor raised anew"
        feed.send(asset, 20)
        await until(lambda: running.states() == dict.fromkeys(alarms, "rtn_unack"), "cleared")
    await heard(bus, *(f"{alarm}:{seq}" for alarm in alarms for seq in (1, 2)))


async def test_a_condition_that_went_while_we_were_away_clears(
    tmp_path: Path, broker: Mosquitto, bus: Subscriber
) -> None:
    """Nothing but good values comes after the restart: no change of quality ever tells."""
    site = Site(tmp_path, broker.url, sources={"plant": {"stale_after": "3s"}})
    feed = Feed(bus)
    alarms = ("P-1.temp.quality", "P-1.watch")
    async with site.daemon() as running:
        await until(running.up, "up")
        feed.send("P-1", 12, temp=200.0, flow=15.0)
        await until(lambda: set(alarms) <= set(running.states()), "raised")
    async with site.daemon() as running:
        await until(running.up, "up again")
        assert [running.states()[alarm] for alarm in alarms] == ["unack", "unack"]
        for _ in range(100):
            feed.send("P-1")
            await asyncio.sleep(STEP_MS / 1000)
            if [running.states()[alarm] for alarm in alarms] == ["rtn_unack", "rtn_unack"]:
                return
    pytest.fail("not cleared")


async def test_a_discovered_asset_that_stays_silent_after_a_restart_is_missed(
    tmp_path: Path, broker: Mosquitto, bus: Subscriber
) -> None:
    site = Site(tmp_path, broker.url, sources={"plant": {"stale_after": "1s"}})
    feed = Feed(bus, now_ms())
    async with site.daemon() as running:
        await until(running.up, "up")
        feed.send("C-7")
        await until(lambda: "C-7" in running.daemon.runtime.plant.assets, "discovered")
        await asyncio.sleep(0.1)
    async with site.daemon() as running:
        assert "C-7" in running.daemon.runtime.plant.assets
        for _ in range(300):  # another machine speaks: it is not the source that is silent
            feed.send("P-1")
            await asyncio.sleep(STEP_MS / 1000)
            if "C-7.silent" in running.states():
                break
        assert "C-7.silent" in running.states()
        single = {f"C-7.{name}.quality" for name in ("flow", "pressure", "temp")}
        assert not single & set(running.states()), "one alarm for the machine"


async def test_sequence_numbers_go_on_after_a_restart(
    tmp_path: Path, broker: Mosquitto, bus: Subscriber
) -> None:
    """An id stands for one transition for ever, also of an alarm that had come to rest."""
    site = Site(tmp_path, broker.url)
    feed = Feed(bus)
    for start in range(3):
        async with site.daemon() as running:
            await until(running.up, "up")
            feed.send("D-9", 2, temp=200.0)
            await until(lambda: running.states().get("D-9.temp.quality") == "unack", "raised")
            feed.send("D-9", 10)
            await until(lambda: running.states()["D-9.temp.quality"] == "rtn_unack", "cleared")
            await running.daemon.parts.commands.apply_one("ack", "D-9.temp.quality", "anna")
        numbers = range(1, 3 * start + 4)
        await heard(bus, *(f"D-9.temp.quality:{n}" for n in numbers))
    bodies = bus.bodies("/_pdm/event")
    assert len(bodies) == len(set(bus.ids("/_pdm/event"))), "each once"


def spoken(bus: Subscriber) -> set[bytes]:
    return {body for part in ("/_pdm/event", "/_pdm/alert") for body in bus.bodies(part)}


async def test_a_broker_that_forgot_everything_is_told_again(
    tmp_path: Path, broker: Mosquitto, make_broker: Callable[..., Mosquitto]
) -> None:
    """Standing alarms as they are, and the last events: with their old ids and contents."""
    forgetful = make_broker()
    bus = await Subscriber(forgetful.port).ready()
    site = Site(tmp_path, broker.url, sinks={"bus": {"url": forgetful.url}})
    async with site.daemon() as running:
        await until(running.up, "up")
        rows = [(now_ms(), healthy(temp=200.0))]
        for asset in ("P-1", "P-2"):
            running.daemon.runtime.intake.append(running.values(asset, rows))
        await until(lambda: len(running.states()) == 2, "raised")
        await running.daemon.parts.commands.apply_one("ack", "P-2.temp.quality", "anna")
        await heard(bus, "P-1.temp.quality:1", "P-2.temp.quality:1", "P-2.temp.quality:2")
        before = spoken(bus)
        forgetful.kill()
        bus.received.clear()
        bus.subscribed = False
        forgetful.start()
        await bus.ready()
        await heard(bus, "P-1.temp.quality:1", "P-2.temp.quality:1", "P-2.temp.quality:2")
        alerts = {"P-1.temp.quality:1", "P-2.temp.quality:2"}
        await until(lambda: set(bus.ids("/_pdm/alert")) == alerts, "alerts")
        assert spoken(bus) <= before, "word for word"
    await asyncio.to_thread(bus.stop)


@pytest.mark.parametrize("forgot", [True, False])
async def test_after_a_kill_events_are_told_again_that_the_broker_may_have_lost(
    tmp_path: Path, broker: Mosquitto, bus: Subscriber, *, forgot: bool
) -> None:
    """It may have been killed, too, and have kept our session but not what it confirmed.

    If it still holds our mark, which came after the events, it has them as well.
    """
    site = Site(tmp_path, broker.url)
    async with site.daemon() as running:
        await until(running.up, "up")
        running.daemon.runtime.intake.append(
            running.values("P-1", [(now_ms(), healthy(temp=200.0))])
        )
        await heard(bus, "P-1.temp.quality:1")
        path = running.daemon.runtime.config.store.path
        await until(lambda: bus.bodies(MARK), "the broker holds a mark")
    if forgot:
        bus.publish(MARK, b"", retain=True)
        await until(lambda: not bus.bodies(MARK)[-1], "the mark is gone")
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE vault SET value = ? WHERE key = 'life'", (b"begun",))
    marks = len(bus.bodies(MARK))
    async with site.daemon() as running:
        await until(running.up, "up again")
        await until(lambda: len(bus.bodies(MARK)) > marks, "what is in doubt was sent")
        again = ["P-1.temp.quality:1"] * (2 if forgot else 1)
        await until(lambda: bus.ids("/_pdm/event") == again, "told again")


async def test_a_broker_with_an_old_memory_loses_its_ghosts(
    tmp_path: Path, broker: Mosquitto, make_broker: Callable[..., Mosquitto]
) -> None:
    """It comes back with our session and with an alert that is long over."""
    aged = make_broker("persistence true\nautosave_interval 100000")
    site = Site(tmp_path, broker.url, sinks={"bus": {"url": aged.url}})
    alarm = "P-1.temp.quality"
    async with site.daemon() as running:
        await until(running.up, "up")
        running.daemon.runtime.intake.append(
            running.values("P-1", [(now_ms(), healthy(temp=200.0))])
        )
        await until(lambda: running.states() == {alarm: "unack"}, "raised")
        await until(lambda: running.daemon.parts.publisher.stats()[0]["rows"] == 0, "delivered")
        await asyncio.sleep(0.5)
        aged.stop()  # only now it writes its file
        aged.start()
        await until(lambda: not running.up(), "down", 5)
        await until(running.up, "up again")
        later = [(now_ms() + 1000 * n, healthy()) for n in range(3)]
        running.daemon.runtime.intake.append(running.values("P-1", later))
        await until(lambda: running.states() == {alarm: "rtn_unack"}, "cleared")
        await running.daemon.parts.commands.apply_one("ack", alarm, "anna")
        await asyncio.sleep(1.0)
        aged.kill()
        aged.start()
        late = await Subscriber(aged.port, f"{PLACE}/+/_pdm/alert/+").ready()
        await until(lambda: late.ids("alert") == [f"{alarm}:1"], "the ghost is there")
        await until(lambda: late.bodies("alert")[-1:] == [b""], "and gone")
        await asyncio.to_thread(late.stop)


async def test_a_command_that_comes_before_we_are_ready_is_carried_out(
    tmp_path: Path, broker: Mosquitto, bus: Subscriber
) -> None:
    """The broker kept it while we were away, and hands it over as soon as we connect."""
    site = Site(tmp_path, broker.url)
    alarm = "P-1.temp.quality"
    async with site.daemon() as running:
        await until(running.up, "up")
        running.daemon.runtime.intake.append(
            running.values("P-1", [(now_ms(), healthy(temp=200.0))])
        )
        await until(lambda: running.states() == {alarm: "unack"}, "raised")
    expires = int(time.time() * 1000) + 60_000
    command = {"id": "c-1", "alarm_id": alarm, "by": "anna", "expires": expires}
    bus.publish(f"{PLACE}/P-1/_pdm/cmd/ack", orjson.dumps(command))
    await until(lambda: bus.bodies("cmd/ack"), "with the broker")
    async with site.daemon() as running:
        await until(lambda: running.states() == {alarm: "acked"}, "acknowledged")
