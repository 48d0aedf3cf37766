"""What open pages are told of the daemon: as changes, the same as they would be told if asked."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from daemon_support import Feed, Running, Site
from sink_support import Subscriber
from support import until

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.testing import Mosquitto

pytestmark = pytest.mark.integration

TEMPLATE: dict[str, Any] = {
    "when": "flow > 0",
    "signals": {
        "flow": {},
        "pressure": {},
        "temp": {"valid": [0, 100], "limits": {"high": {"limit": 80, "off_delay": 0}}},
    },
    "quality_alarm": {"off_delay": "300ms"},
    "models": [],
}


async def follow(url: str, rows: dict[str, Any]) -> None:
    """Keep the newest rows that the stream says."""
    async with aiohttp.ClientSession() as session, session.get(f"{url}/api/events") as answer:
        while event := await answer.content.readuntil(b"\n\n"):
            body = json.loads(event.decode().split("data: ", 1)[1])
            for row in body.get("assets", {}).get("rows", []):
                rows[row["id"]] = row
            for row in body.get("alarms", {}).get("rows", []):
                rows[row["alarm_id"]] = row


async def test_pages_hear_of_alarms_and_stops(tmp_path: Path, broker: Mosquitto) -> None:
    """As changes alone, within the state of the API; its rows and the short ones agree."""
    bus = await Subscriber(broker.port).ready()
    site = Site(tmp_path, broker.url, templates={"pump": TEMPLATE})
    async with site.daemon() as running:
        await until(running.up, "up")
        feed, told = Feed(bus), dict[str, Any]()
        reading = asyncio.create_task(follow(running.url, told))

        async def fed(state: str, **row: float) -> None:
            for _ in range(200):
                feed.send("P-1", 1, **row)
                await asyncio.sleep(0.1)
                if told.get("P-1", {}).get("state") == state:
                    return
            raise AssertionError((told, state))

        await fed("normal", flow=10.0, temp=50.0)
        await fed("alarm", flow=10.0, temp=85.0)
        await until(lambda: told["P-1.temp.high"]["state"] == "unack", "the alarm's own row")
        assert_agree(running)
        await fed("stopped", flow=0.0, temp=85.0)
        assert told["P-1"]["note"].startswith("stopped since ")
        assert_agree(running)
        reading.cancel()
    await asyncio.to_thread(bus.stop)


def assert_agree(running: Running) -> None:
    """The short rows say the same as the whole ones."""
    status = running.daemon.parts.status
    for whole in status.assets():
        (short,) = status.asset_states([whole["id"]])
        off = sum(one["quality"] not in {"good", "uncertain"} for one in whole["inputs"])
        assert short | {"off": off} == short
        same = ("id", "path", "state", "alarms", "note")
        assert {key: short[key] for key in same} == {key: whole[key] for key in same}
    assert {row["id"] for row in status.assets(["P-2", "none"])} == {"P-2"}
