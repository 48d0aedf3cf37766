"""The store's disk fails under the running daemon: alarms go out, it is said, nothing is lost."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import subprocess
import time
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from daemon_support import Running, Site, healthy, now_ms
from sink_support import Subscriber
from support import until, value_of

from edge_agent.store.fallback import FallbackStore
from edge_agent.store.store import Store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from edge_agent.testing import Mosquitto

pytestmark = pytest.mark.integration

ALARMS = ("P-1.temp.quality", "P-2.temp.quality")
SERVICE = "gateway.service.store"
READY_S = 10.0  # a new store is ready within it
BOTH = pytest.mark.parametrize("protected", [True, False], ids=["", "control"])


@pytest.fixture
async def bus(broker: Mosquitto) -> AsyncIterator[Subscriber]:
    subscriber = await Subscriber(broker.port).ready()
    yield subscriber
    await asyncio.to_thread(subscriber.stop)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system, seen at two places: one may be unmounted and mounted again."""
    real, seen = tmp_path / "real", tmp_path / "disk"
    real.mkdir()
    seen.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(real)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("mounting a file system needs root")
    bind(seen)
    yield seen
    for place in (seen, real):
        subprocess.run(["umount", "-l", str(place)], check=False, capture_output=True)


def bind(seen: Path) -> None:
    subprocess.run(["mount", "--bind", str(seen.with_name("real")), str(seen)], check=True)


def unmount(seen: Path) -> None:
    subprocess.run(["umount", "-l", str(seen)], check=True)


def overwrite(path: Path) -> None:
    """Damage everything but the first page."""
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(max(0, size - 4096)))


def is_empty(folder: Path) -> bool:
    return not any(folder.iterdir())


def bring(running: Running, asset: str, temp: float) -> None:
    rows = [(now_ms() + 1000 * n, healthy(temp=temp)) for n in range(3)]  # the last ends the delay
    running.daemon.runtime.intake.append(running.values(asset, rows))


def events(bus: Subscriber, alarm_id: str) -> list[tuple[str, bool]]:
    """(id, stored) of the events of an alarm, in their order."""
    found = [orjson.loads(body) for body in bus.bodies("/_pdm/event")]
    return [
        (one["id"], one["data"]["stored"]) for one in found if one["data"]["alarm_id"] == alarm_id
    ]


def unprotected(monkeypatch: pytest.MonkeyPatch) -> None:
    """The store as it was: its file, whatever happens."""
    monkeypatch.setattr(FallbackStore, "call", lambda self, do, *a, **o: do(self.store, *a, **o))
    monkeypatch.setattr(FallbackStore, "check_file", lambda _: None)


async def comes(done: Any, what: str, within_s: float) -> bool:
    """Whether it comes within that time."""
    with contextlib.suppress(AssertionError, TimeoutError):
        await until(done, what, within_s)
        return True
    return False


def stored_ids(path: Path) -> list[str]:
    with contextlib.closing(sqlite3.connect(path)) as db:
        return [f"{a}:{n}" for a, n in db.execute("SELECT alarm_id, seq FROM history ORDER BY row")]


@BOTH
async def test_damage_under_the_running_daemon_is_set_aside(
    tmp_path: Path,
    broker: Mosquitto,
    bus: Subscriber,
    monkeypatch: pytest.MonkeyPatch,
    *,
    protected: bool,
) -> None:
    """In a small store, too, which is all in SQLite's cache; the states are in the new file."""
    if not protected:
        unprotected(monkeypatch)
    site = Site(tmp_path, broker.url)
    async with site.daemon() as running:
        await until(running.up, "up")
        bring(running, "P-1", 200.0)
        await until(lambda: events(bus, ALARMS[0]), "raised")
        for name in ("store.db", "store.db-wal"):
            overwrite(tmp_path / name)
        begun_s = time.monotonic()
        aside = await comes(lambda: list(tmp_path.glob("*.corrupt-*Z")), "set aside", READY_S)
        assert aside == protected
        if not protected:
            return
        store = running.daemon.parts.publisher.store
        await until(lambda: not store.trouble and store.set_aside, "a new one is ready", READY_S)
        assert time.monotonic() - begun_s < READY_S
        await until(lambda: bool(events(bus, SERVICE)), "said on the bus")
        bring(running, "P-2", 200.0)
        await until(lambda: events(bus, ALARMS[1]), "the next alarm")
        number = int(events(bus, ALARMS[1])[0][0].rpartition(":")[2])
        assert number > 1 << 22, "numbers of the new store are its own"
    async with site.daemon() as running:
        states = running.states()
        assert [states[alarm_id] for alarm_id in ALARMS] == ["unack", "unack"]
    ids = [one for one, _ in events(bus, ALARMS[0])]
    assert set(ids) == {f"{ALARMS[0]}:1"}, "its id is that of its episode"


@BOTH
async def test_a_file_system_that_goes_and_comes_back(
    tmp_path: Path,
    broker: Mosquitto,
    bus: Subscriber,
    disk: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    protected: bool,
) -> None:
    """Unmounted: alarms go out, marked as not stored; mounted again: they are in the file."""
    if not protected:
        unprotected(monkeypatch)
    site = Site(tmp_path, broker.url, store={"path": str(disk / "store.db")})
    async with site.daemon() as running:
        await until(running.up, "up")
        bring(running, "P-1", 200.0)
        await until(lambda: events(bus, ALARMS[0]), "raised")
        unmount(disk)
        said = await comes(lambda: running.states().get(SERVICE) == "unack", "said", READY_S)
        assert said == protected
        if not protected:
            return
        bring(running, "P-2", 200.0)
        await until(lambda: events(bus, ALARMS[1]), "sent from memory")
        assert events(bus, ALARMS[1]) == [(f"{ALARMS[1]}:1", False)]
        assert is_empty(disk), "nothing is written into the empty mount point"
        assert value_of(running.daemon.parts.metrics.store_up) == 0
        bind(disk)
        await until(lambda: not running.daemon.parts.publisher.store.trouble, "back", READY_S)
        bring(running, "P-2", 50.0)
        await until(lambda: len(events(bus, ALARMS[1])) == 2, "cleared")
        assert events(bus, ALARMS[1])[1] == (f"{ALARMS[1]}:2", True)
    ids = [one for one in stored_ids(disk / "store.db") if SERVICE not in one]
    assert ids == [f"{ALARMS[0]}:1", f"{ALARMS[1]}:1", f"{ALARMS[1]}:2"]


@BOTH
async def test_a_disk_with_io_errors_holds_up_no_alarm(
    tmp_path: Path,
    broker: Mosquitto,
    bus: Subscriber,
    monkeypatch: pytest.MonkeyPatch,
    *,
    protected: bool,
) -> None:
    """The broker is well: alarms and the alarm of the store itself reach it at once."""
    if not protected:
        unprotected(monkeypatch)
    failing, write = [False], Store.write

    def with_errors(store: Store, *args: Any) -> Any:
        if failing[0] and store.is_durable:
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR
            with store.reporting("commit"):
                raise error
        return write(store, *args)

    monkeypatch.setattr(Store, "write", with_errors)
    site = Site(tmp_path, broker.url)
    async with site.daemon() as running:
        await until(running.up, "up")
        failing[0] = True
        bring(running, "P-1", 200.0)
        sent = await comes(lambda: events(bus, ALARMS[0]), "sent", 3.0)
        assert sent == protected
        if not protected:
            failing[0] = False
            return
        assert events(bus, ALARMS[0]) == [(f"{ALARMS[0]}:1", False)]
        await until(lambda: events(bus, SERVICE), "said on the bus")
        await running.daemon.parts.commands.apply_one("ack", ALARMS[0], "anna")
        await until(lambda: len(events(bus, ALARMS[0])) == 2, "acknowledged")
        failing[0] = False
        await until(lambda: not running.daemon.parts.publisher.store.trouble, "back", READY_S)
        assert running.daemon.parts.supervisor.troubles() == []
    ids = [one for one in stored_ids(tmp_path / "store.db") if SERVICE not in one]
    assert ids == [f"{ALARMS[0]}:1", f"{ALARMS[0]}:2"]


async def test_a_degraded_start_takes_over_the_disk_when_it_comes(
    tmp_path: Path, broker: Mosquitto, bus: Subscriber, disk: Path
) -> None:
    """Alarms of the last run come back with their ids; those of the meantime keep theirs."""
    site = Site(tmp_path, broker.url, store={"path": str(disk / "store.db")})
    async with site.daemon() as running:
        await until(running.up, "up")
        bring(running, "P-1", 200.0)
        await until(lambda: events(bus, ALARMS[0]), "raised")
    hidden = disk / "hidden"
    (disk / "store.db").rename(hidden)
    (disk / "store.db").mkdir()
    async with site.daemon() as running:
        await until(running.up, "up without the disk")
        await until(lambda: running.states().get(SERVICE) == "unack", "said")
        bring(running, "P-2", 200.0)
        await until(lambda: events(bus, ALARMS[1]), "sent from memory")
        (disk / "store.db").rmdir()
        hidden.rename(disk / "store.db")
        await until(lambda: running.states().get(ALARMS[0]) == "unack", "known again", READY_S)
        await running.daemon.parts.commands.apply_one("ack", ALARMS[0], "anna")
        await until(lambda: len(events(bus, ALARMS[0])) == 2, "acknowledged")
    assert events(bus, ALARMS[0]) == [(f"{ALARMS[0]}:1", True), (f"{ALARMS[0]}:2", True)]
    ((early, stored),) = events(bus, ALARMS[1])
    assert stored is False
    assert int(early.rpartition(":")[2]) > 1 << 22, "the file may know a lower one"
    async with site.daemon() as running:
        await until(lambda: running.states().get(ALARMS[1]) == "unack", "stored")
        await running.daemon.parts.commands.apply_one("ack", ALARMS[1], "anna")
        await until(lambda: len(events(bus, ALARMS[1])) == 2, "acknowledged")
    assert numbers(bus, ALARMS[1]) == [numbers(bus, ALARMS[1])[0] + n for n in (0, 1)]


def numbers(bus: Subscriber, alarm_id: str) -> list[int]:
    return [int(one.rpartition(":")[2]) for one, _ in events(bus, alarm_id)]
