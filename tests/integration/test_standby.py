"""A pair of gateways at a real broker: one is active, the other takes over, no alarm is doubled."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from daemon_support import Feed, Running, Site, now_ms, write_bundle
from sink_support import Subscriber
from support import until

from edge_agent.delivery import Role

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.testing import Mosquitto

pytestmark = [pytest.mark.integration]

WAIT_S = 30.0
ASSETS = ["P-1", "P-2"]
ALARM = "P-1.watch"
LEASE = "1s"


def member(folder: Path, broker: Mosquitto, name: str, **changes: Any) -> Running:
    """A daemon of the pair, with files of its own."""
    own = folder / name
    own.mkdir(exist_ok=True)
    site = Site(
        own,
        broker.url,
        gateway={"id": "gateway", "member": name},
        standby={"lease": LEASE},
        **changes,
    )
    write_bundle(own / "models" / "watch", ASSETS)
    return site.daemon()


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
    async with member(tmp_path, broker, "a") as first:
        await ready(first)
        async with member(tmp_path, broker, "b") as second:
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
            feed.send("P-2", 30, flow=14.0)
            await until(lambda: raises(bus, "P-2"), "raised by the other one", WAIT_S)
            await until(lambda: bus.bodies("/_svc/gateway/status")[-1:] == [b"online"], "online")
            await asyncio.sleep(0.5)
            states = second.states()
    await asyncio.to_thread(bus.stop)
    assert took_s < 2.0  # two busy cores; a second alone
    assert states[ALARM] == "acked"
    assert len(raises(bus, "P-1")) == len(raises(bus, "P-2")) == 1
