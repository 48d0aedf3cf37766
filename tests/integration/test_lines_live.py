"""Lines of a whole daemon with a real broker: from a value to `_kpi/`, the API and the SDK."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from daemon_support import Site
from sink_support import Subscriber
from support import until

from edge_agent.client import Client
from edge_agent.daemon import line_work

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.testing import Mosquitto

pytestmark = pytest.mark.integration

LINES: dict[str, Any] = {
    "main": {
        "machines": {
            "P-1": {
                "states": [
                    {"state": "running", "when": "flow > 5"},
                    {"state": "down", "when": "flow < 1"},
                ],
                "parts": "pressure",
                "ideal_cycle": "1s",
            }
        }
    }
}


async def test_from_a_value_to_the_bus_and_the_sdk(
    tmp_path: Path, broker: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The state is on the bus, retained, and what the SDK reads is the same."""
    monkeypatch.setattr(line_work, "SHOW_EVERY_S", 1.0)
    monkeypatch.setattr("edge_agent.daemon.optional_parts.LINE_FIGURES_EVERY_S", 1.0)
    site = Site(tmp_path, broker.url, lines=LINES)
    heard = await Subscriber(broker.port, "edge/#").ready()
    async with site.daemon() as running:
        await until(running.up, "connected")

        def is_running() -> bool:
            now_ms = time.time_ns() // 1_000_000
            row = {"flow": 7.0, "pressure": now_ms // 1000, "temp": 20.0, "ts": now_ms}
            heard.publish("plant/P-1", json.dumps(row).encode())
            found = [json.loads(body)["data"] for body in heard.bodies("/P-1/_kpi/current")]
            return any(one["state"] == "running" for one in found)

        await until(is_running, "running on the bus")
        client = Client(running.url)
        (line,) = await asyncio.to_thread(client.lines)
        assert line.machines[0].state == "running"
        (shift,) = await asyncio.to_thread(client.oee, "main")
        assert not shift.is_closed
        assert shift.elements["apt_s"] > 0
    late = await Subscriber(broker.port, "edge/#").ready()
    await until(lambda: late.bodies("/main/_kpi/current"), "what is retained")
    for one in (heard, late):
        await asyncio.to_thread(one.stop)
    assert (tmp_path / "store.db.lines").exists()
