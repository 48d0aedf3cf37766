"""Four gateways on one broker: together they raise what one raises, each asset exactly once."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from daemon_support import Feed, Site, write_bundle
from sink_support import Subscriber
from support import until

if TYPE_CHECKING:
    from pathlib import Path

    from daemon_support import Running

    from edge_agent.testing import Mosquitto

pytestmark = [pytest.mark.integration]

SHARDS = 4
WAIT_S = 60.0  # four daemons in one process
LISTED = [f"P-{n}" for n in range(1, 5)]
DISCOVERED = [f"X-{n}" for n in range(1, 4)]


def raises(bus: Subscriber) -> Counter[str]:
    events = [json.loads(body)["data"] for body in bus.bodies("/event") if body]
    return Counter(e["asset"] for e in events if e["transition"] == "raise")


async def test_each_asset_is_monitored_by_exactly_one(tmp_path: Path, broker: Mosquitto) -> None:
    bus = await Subscriber(broker.port, "edge/#").ready()
    async with contextlib.AsyncExitStack() as stack:
        running: list[Running] = []
        for index in range(SHARDS):
            folder = tmp_path / str(index)
            folder.mkdir()
            site = Site(
                folder,
                broker.url,
                gateway={"id": f"gateway-{index}"},
                shard={"index": index, "of": SHARDS},
                assets={"P-{1..2}": None, "P-{1..4}": {"template": "pump"}},
            )
            write_bundle(folder / "models" / "watch", [*LISTED, *DISCOVERED])
            running.append(await stack.enter_async_context(site.daemon()))
        await until(lambda: all(one.up() for one in running), "connected", WAIT_S)
        feed = Feed(bus)
        for flow, rows in ((10.0, 30), (14.0, 30)):
            for asset in [*LISTED, *DISCOVERED]:
                feed.send(asset, rows, flow=flow)
        await until(lambda: len(raises(bus)) == len(LISTED + DISCOVERED), "all raised", WAIT_S)
        await asyncio.sleep(1.0)
        owned = [asset for one in running for asset in one.daemon.runtime.plant.assets]
    await asyncio.to_thread(bus.stop)
    assert sorted(owned) == sorted(LISTED + DISCOVERED)
    assert raises(bus) == Counter(dict.fromkeys(LISTED + DISCOVERED, 1))
