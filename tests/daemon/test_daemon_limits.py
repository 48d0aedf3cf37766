"""Limits and a stopped machine through the daemon, over a real broker."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

import pytest
from daemon_support import Feed, Running, Site
from sink_support import Subscriber
from support import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from edge_agent.testing import Mosquitto

pytestmark = pytest.mark.integration

TEMPLATE: dict[str, Any] = {
    "when": "flow > 0",
    "signals": {
        "flow": {},
        "pressure": {},
        "temp": {
            "unit": "°C",
            "valid": [0, 100],
            "limits": {"high": {"limit": 80, "off_delay": 0}},
        },
    },
    "quality_alarm": {"off_delay": "300ms"},
    "models": [],
}
HIGH = "P-1.temp.high"


@pytest.fixture
async def bus(broker: Mosquitto) -> AsyncIterator[Subscriber]:
    subscriber = await Subscriber(broker.port).ready()
    yield subscriber
    await asyncio.to_thread(subscriber.stop)


async def get(running: Running, path: str) -> Any:
    def read() -> bytes:
        with urlopen(running.url + path, timeout=10) as answer:  # noqa: S310 (the daemon's own)
            return bytes(answer.read())

    body = await asyncio.to_thread(read)
    return body.decode() if path == "/metrics" else json.loads(body)


async def asset(running: Running) -> dict[str, Any]:
    (row,) = [one for one in await get(running, "/api/assets") if one["id"] == "P-1"]
    return dict(row)


async def test_a_limit_is_raised_and_rests_while_the_machine_is_stopped(
    tmp_path: Path, broker: Mosquitto, bus: Subscriber
) -> None:
    """A template with limits alone: no model. The alarm is back when the machine runs again."""
    site = Site(tmp_path, broker.url, templates={"pump": TEMPLATE})
    async with site.daemon() as running:
        await until(running.up, "up")
        feed = Feed(bus)

        async def fed(wanted: dict[str, str], **row: float) -> None:
            for _ in range(200):
                feed.send("P-1", 1, **row)
                await asyncio.sleep(0.1)
                if running.states() == wanted:
                    return
            raise AssertionError((running.states(), wanted))

        await fed({HIGH: "unack"}, flow=10.0, temp=85.0)
        row = await asset(running)
        limits = next(one["limits"] for one in row["inputs"] if one["name"] == "temp")
        assert row["state"] == "alarm"
        assert [(one["name"], one["limit"], one["state"]) for one in limits] == [
            ("high", 80.0, "alarm")
        ]
        await fed({HIGH: "suppressed"}, flow=0.0, temp=85.0)
        row = await asset(running)
        assert (row["state"], row["note"][:14]) == ("stopped", "stopped since ")
        assert 'edge_agent_asset_running{asset="P-1"} 0.0' in await get(running, "/metrics")
        await fed({HIGH: "unack"}, flow=10.0, temp=85.0)

        def told() -> list[dict[str, Any]]:
            return [json.loads(body)["data"] for body in bus.bodies("/_pdm/event")]

        wanted = ["raise", "suppress", "unsuppress"]
        await until(lambda: len(told()) == len(wanted), "events; they wait for the broker's mark")
        kinds = [one for one in told() if one["alarm_id"] == HIGH]
        assert [one["transition"] for one in kinds] == wanted
        assert kinds[0]["message"]["de"] == "P-1: temp = 85 °C ist hoch (Grenze 80 °C)"
        await fed({HIGH: "rtn_unack"}, flow=10.0, temp=50.0)
