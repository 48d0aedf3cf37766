"""Between alarm table and store: what the disk refuses, and callers that go away."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from daemon_support import Running, Site, healthy, now_ms
from sink_support import Subscriber
from support import until

from edge_agent.alarms import AlarmMessages
from edge_agent.delivery.memory import Memory
from edge_agent.store import FileError
from edge_agent.store.store import Store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from edge_agent.testing import Mosquitto

pytestmark = pytest.mark.integration

ALARM = "P-1.temp.quality"
STORE_ALARM = "gateway.service.store"


@pytest.fixture
async def bus(broker: Mosquitto) -> AsyncIterator[Subscriber]:
    subscriber = await Subscriber(broker.port).ready()
    yield subscriber
    await asyncio.to_thread(subscriber.stop)


def bring(running: Running, temp: float) -> None:
    running.daemon.runtime.intake.append(running.values("P-1", [(now_ms(), healthy(temp=temp))]))


def committed(folder: Path) -> list[str]:
    """Ids of all transitions, in their order."""
    with contextlib.closing(sqlite3.connect(folder / "store.db")) as db:
        query = "SELECT alarm_id || ':' || json_extract(body, '$.seq') FROM history ORDER BY row"
        return [row[0] for row in db.execute(query)]


async def test_what_even_memory_refuses_is_kept_and_goes_out_later(
    tmp_path: Path, broker: Mosquitto, bus: Subscriber, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In its order and under its ids; the trouble itself is an alarm, too."""
    commit, refusing = Store.commit, threading.Event()

    def unwilling(store: Store, *args: object) -> object:
        if refusing.is_set():
            raise FileError("cannot commit: disk I/O error")
        return commit(store, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(Store, "commit", unwilling)
    async with Site(tmp_path, broker.url).daemon() as running:
        await until(running.up, "up")
        refusing.set()
        bring(running, 200.0)
        await until(lambda: running.states().get(ALARM) == "unack", "raised in memory")
        await until(lambda: STORE_ALARM in running.states(), "the trouble is an alarm")
        await running.daemon.parts.commands.apply_one("ack", ALARM, "anna")
        assert running.daemon.parts.supervisor.troubles() == ["cannot commit: disk I/O error"]
        # A score may go out meanwhile: scores do not pass through the store.
        assert bus.ids("/_pdm/event") + bus.ids("/_pdm/alert/") == []
        refusing.clear()
        wanted = [f"{ALARM}:1", f"{STORE_ALARM}:1", f"{ALARM}:2"]
        await until(lambda: len(bus.ids("/_pdm/event")) == 3, "told")
        assert sorted(bus.ids("/_pdm/event")) == sorted(wanted)
        await until(lambda: running.daemon.parts.supervisor.troubles() == [], "no trouble any more")
    assert committed(tmp_path) == wanted


async def test_a_caller_that_goes_away_costs_nothing(
    tmp_path: Path, broker: Mosquitto, bus: Subscriber, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cancelled in the middle of the commit: it is done once, not twice and not half."""
    commit, slow, begun = Store.commit, threading.Event(), threading.Event()

    def hesitant(store: Store, *args: object) -> object:
        if slow.is_set():
            begun.set()
            threading.Event().wait(0.3)
        return commit(store, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(Store, "commit", hesitant)
    async with Site(tmp_path, broker.url).daemon() as running:
        await until(running.up, "up")
        bring(running, 200.0)
        await until(lambda: bus.ids("/_pdm/event") == [f"{ALARM}:1"], "raised")
        slow.set()
        callers = [
            asyncio.create_task(running.daemon.parts.commands.apply_one("ack", ALARM, "anna"))
        ]
        await until(begun.is_set, "the commit has begun")
        callers.append(
            asyncio.create_task(running.daemon.parts.commands.apply_one("suppress", ALARM, "anna"))
        )
        await asyncio.sleep(0)  # it waits for the commit before it
        for caller in callers:
            caller.cancel()
        await asyncio.gather(*callers, return_exceptions=True)
        slow.clear()
        wanted = [f"{ALARM}:{seq}" for seq in (1, 2, 3)]
        await until(lambda: bus.ids("/_pdm/event") == wanted, "each once")
    assert committed(tmp_path) == wanted


async def test_a_transition_that_cannot_be_written_holds_up_no_other(
    tmp_path: Path,
    broker: Mosquitto,
    bus: Subscriber,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Only what cannot be digested is lost, with a line in the log."""
    make = AlarmMessages.make

    def with_defect(self: AlarmMessages, transitions: Any, *args: Any) -> Any:
        if any(one.alarm.alarm_id == ALARM for one in transitions):
            raise ValueError("a defect")
        return make(self, transitions, *args)

    monkeypatch.setattr(AlarmMessages, "make", with_defect)
    async with Site(tmp_path, broker.url).daemon() as running:
        await until(running.up, "up")
        for asset in ("P-1", "P-2"):
            rows = running.values(asset, [(now_ms(), healthy(temp=200.0))])
            running.daemon.runtime.intake.append(rows)
        await until(lambda: bus.ids("/_pdm/event") == ["P-2.temp.quality:1"], "the other")
    assert [one.message for one in caplog.records if one.levelname == "ERROR"] == [
        "transition lost"
    ]


class SimpleMemory:
    def __init__(self, plant: Any) -> None:
        self._assets = len(plant.assets)

    def dump(self) -> bytes:
        return b"assets %d" % self._assets


async def test_an_asset_that_is_discovered_during_a_save_is_saved_next(
    tmp_path: Path, broker: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a restart would forget the machine, and clear its alarms as those of a removed one."""
    plant: Any = SimpleNamespace(assets=["P-1"])
    saved: list[bytes] = []

    def save(_store: Store, _key: str, value: bytes) -> None:
        if value.startswith(b"assets"):
            saved.append(value)
            plant.assets = ["P-1", "P-2"]

    async with Site(tmp_path, broker.url).daemon() as running:
        publisher = running.daemon.parts.publisher
        monkeypatch.setattr(Store, "save_value", save)
        monkeypatch.setattr(Memory, "of", SimpleMemory)
        publisher.saved_assets = -1
        await publisher.save_memory(plant)
        await publisher.save_memory(plant)
        await publisher.save_memory(plant)
    assert saved == [b"assets 1", b"assets 2"]


async def test_after_a_degraded_start_the_file_learns_the_assets_of_the_meantime(
    tmp_path: Path, broker: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the next start would withdraw their alarms, and not know where to say so."""
    async with Site(tmp_path, broker.url).daemon() as running:
        publisher, plant = running.daemon.parts.publisher, running.daemon.runtime.plant
        await until(lambda: publisher.saved_assets == len(plant.assets), "saved in memory")
        saved: list[bytes] = []
        monkeypatch.setattr(Store, "save_value", lambda _store, _key, value: saved.append(value))
        await publisher.on_recovered([])
    assert Memory.of(plant).dump() in saved


async def test_the_places_of_all_machines_that_left_stay_known(
    tmp_path: Path, broker: Mosquitto, bus: Subscriber
) -> None:
    """Alarms may be withdrawn in several rounds, each with a memory of its own."""
    async with Site(tmp_path, broker.url).daemon() as running:
        await until(running.up, "up")
        bring(running, 200.0)
        await until(lambda: running.states().get(ALARM) == "unack", "raised")
        publisher, runtime = running.daemon.parts.publisher, running.daemon.runtime
        alarm = runtime.alarms.get(ALARM)
        assert alarm is not None
        gone = replace(alarm, alarm_id="P-9.temp.quality", asset="P-9")
        await publisher.withdraw([], Memory((), {"P-9": "acme/berlin/press/line1/P-9"}))
        await publisher.withdraw([], Memory.of(runtime.plant))
        await publisher.withdraw([gone], Memory())
        await until(lambda: any("P-9" in str(body) for body in bus.bodies("/event")), "told")
