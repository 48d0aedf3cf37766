"""A pair of gateways at a real broker: one is active, the other takes over, no alarm is doubled."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from daemon_support import Feed, Running, Site, now_ms, write_bundle
from sink_support import Subscriber
from support import until

from edge_agent.config.schema import Shard
from edge_agent.delivery import Role
from edge_agent.testing import DaemonProcess, find_free_port

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.testing import Mosquitto

pytestmark = [pytest.mark.integration]

WAIT_S = 60.0
ASSETS = ["P-1", "P-2"]
ALARM = "P-1.watch"
LEASE = "1s"
LONG_LEASE_S = 8
SHARDS = 4
ALL = [f"P-{n}" for n in range(1, 9)]


def models_of(folder: Path) -> Path:
    """The models that all gateways of a test share: to learn them takes seconds."""
    models = folder / "shared"
    if not models.exists():
        write_bundle(models / "watch", ALL)
    return models


def site_of(folder: Path, broker: Mosquitto, name: str, **changes: Any) -> Site:
    """The files of one gateway of the pair."""
    own = folder / name
    own.mkdir(exist_ok=True)
    changes["models_dir"] = str(models_of(folder))
    named = {"gateway": {"id": "gateway", "member": name}, "standby": {"lease": LEASE}}
    return Site(own, broker.url, **(named | changes))


def member(folder: Path, broker: Mosquitto, name: str, **changes: Any) -> Running:
    """A daemon of the pair in this process."""
    return site_of(folder, broker, name, **changes).daemon()


def role(one: Running) -> Role:
    return one.daemon.parts.pair.role


def events(bus: Subscriber, transition: str) -> set[str]:
    """The ids of all transitions of this kind; a repeated event has the same id."""
    found = (json.loads(body) for body in bus.bodies("/event") if body)
    return {one["id"] for one in found if one["data"]["transition"] == transition}


def raises(bus: Subscriber, asset: str) -> set[str]:
    return {one for one in events(bus, "raise") if one.startswith(f"{asset}.")}


async def ready(*running: Running) -> None:
    """Wait until one of them is active, and all are connected to the plant."""
    await until(lambda: any(role(one) is Role.ACTIVE for one in running), "active", WAIT_S)
    await until(lambda: all(one.up() for one in running), "connected", WAIT_S)


async def acknowledge(bus: Subscriber, alarm_id: str) -> None:
    place = f"edge/enterprise/site/area/line/{alarm_id.partition('.')[0]}"
    body = {"id": "ack-1", "alarm_id": alarm_id, "by": "anna", "expires": now_ms() + 60_000}
    bus.publish(f"{place}/_pdm/cmd/ack", orjson.dumps(body))
    await until(lambda: events(bus, "ack"), "acknowledged", WAIT_S)


async def test_a_planned_stop_hands_the_alarm_over_with_its_acknowledgement(
    tmp_path: Path, broker: Mosquitto
) -> None:
    """The alarm keeps its id and its state, and the next fault is raised once, by the other one."""
    bus = await Subscriber(broker.port, "edge/#").ready()
    feed = Feed(bus)
    lease = {"standby": {"lease": f"{LONG_LEASE_S}s"}}
    async with member(tmp_path, broker, "a", **lease) as first:
        await ready(first)
        async with member(tmp_path, broker, "b", **lease) as second:
            await until(second.up, "connected", WAIT_S)
            assert (role(first), role(second)) == (Role.ACTIVE, Role.STANDBY)
            for asset in ASSETS:
                feed.send(asset, 30)
            feed.send("P-1", 30, flow=14.0)
            await until(lambda: raises(bus, "P-1"), "raised", WAIT_S)
            await acknowledge(bus, ALARM)
            await until(lambda: second.states().get(ALARM) == "acked", "followed", WAIT_S)
            begin = asyncio.get_running_loop().time()
            stopping = asyncio.create_task(first.stop())
            await until(lambda: role(second) is Role.ACTIVE, "taken over", WAIT_S)
            took_s = asyncio.get_running_loop().time() - begin
            await stopping
            Feed(bus, now_ms() - 3_000).send("P-2", 30, flow=14.0)
            await until(lambda: raises(bus, "P-2"), "raised by the other one", WAIT_S)
            await until(
                lambda: bus.bodies("/_svc/gateway/status")[-1:] == [b"online"], "online", WAIT_S
            )
            await asyncio.sleep(0.5)
            states = second.states()
    await asyncio.to_thread(bus.stop)
    assert took_s < LONG_LEASE_S  # it does not wait for the end of the lease
    assert states[ALARM] == "acked"
    assert len(raises(bus, "P-1")) == len(raises(bus, "P-2")) == 1


def child(folder: Path, broker: Mosquitto, **changes: Any) -> DaemonProcess:
    """Member `a` of the first of four shards, in a process of its own, which may be killed."""
    site = site_of(folder, broker, "a", http={"port": find_free_port()}, **changes)
    return DaemonProcess(site.path)


def shard(index: int) -> dict[str, Any]:
    return {
        "shard": {"index": index, "of": SHARDS},
        "assets": {"P-{1..2}": None, "P-{1..8}": {"template": "pump"}},
    }


async def fail(one: DaemonProcess, how: str) -> None:
    """As the kernel does it, or a debugger, a disk, a virtual machine that is paused."""
    if how == "kill":
        await asyncio.to_thread(one.kill)
    else:
        one.process.send_signal(signal.SIGSTOP)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["kill", "stop"])
async def test_four_shards_raise_each_fault_once_while_one_fails(
    tmp_path: Path, broker: Mosquitto, how: str
) -> None:
    """Its standby takes over; the fault begins while nobody is active for these machines."""
    bus = await Subscriber(broker.port, "edge/#").ready()
    feed = Feed(bus, now_ms() - 5_000)
    async with contextlib.AsyncExitStack() as stack:
        first = child(tmp_path, broker, **shard(0))
        await asyncio.to_thread(first.start)
        stack.push_async_callback(asyncio.to_thread, first.kill)
        role_a = "edge/_svc/gateway/member/a"
        await until(lambda: bus.bodies(role_a)[-1:] == [b"active"], "active", WAIT_S)
        second = await stack.enter_async_context(member(tmp_path, broker, "b", **shard(0)))
        others = []
        for index in range(1, SHARDS):
            folder = tmp_path / str(index)
            folder.mkdir()
            own = {"gateway": {"id": f"gateway-{index}"}, "models_dir": str(models_of(tmp_path))}
            site = Site(folder, broker.url, **own, **shard(index))
            others.append(await stack.enter_async_context(site.daemon()))
        await until(lambda: all(one.up() for one in (second, *others)), "connected", WAIT_S)
        for asset in ALL:
            feed.send(asset, 30)
        await until(lambda: second.windows() > 0, "warm", WAIT_S)
        await fail(first, how)
        feed = Feed(bus, now_ms() - 3_000)
        for asset in ALL:
            feed.send(asset, 30, flow=14.0)
        await until(lambda: all(raises(bus, asset) for asset in ALL), "all raised", WAIT_S)
        assert role(second) is Role.ACTIVE
        if how == "stop":
            first.process.send_signal(signal.SIGCONT)
            await until(lambda: bus.bodies(role_a)[-1:] == [b"standby"], "stepped down", WAIT_S)
        await asyncio.sleep(1.0)
    await asyncio.to_thread(bus.stop)
    assert {asset: len(raises(bus, asset)) for asset in ALL} == dict.fromkeys(ALL, 1)
    owned = [one for one in ALL if Shard(0, SHARDS).owns(one)]
    assert owned  # or the failure would not matter
