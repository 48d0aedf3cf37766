"""A route of the running daemon: an alarm reaches people, and only the route's sink tells them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from daemon_support import Site, healthy, now_ms
from support import until

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.testing import Mosquitto

pytestmark = pytest.mark.integration


async def test_an_alarm_reaches_people(tmp_path: Path, broker: Mosquitto) -> None:
    """From value to chat, by the outbox; the bus still has every transition."""
    got: list[dict[str, object]] = []

    async def answer(request: web.Request) -> web.Response:
        got.append(orjson.loads(await request.read()))
        return web.Response()

    app = web.Application()
    app.router.add_post("/", answer)
    async with TestServer(app) as server:
        chat = {"type": "webhook", "url": str(server.make_url("/")), "template": "work_order"}
        notify = {"routes": {"shift": {"sink": "chat", "assets": ["P-*"], "language": "de"}}}
        site = Site(tmp_path, broker.url, notify=notify)
        site.change(sinks={"chat": chat})
        async with site.daemon() as running:
            bus = running.daemon.parts.publisher.sinks["bus"]
            await until(lambda: bus.link.state == "up", "up")
            values = running.values("P-1", [(now_ms(), healthy(temp=200.0))])
            running.daemon.runtime.intake.append(values)
            await until(lambda: got, "told")
            stats = running.daemon.parts.publisher.stats()
            assert {one["sink"] for one in stats} >= {"bus", "chat"}
    assert [(one["asset"], one["kind"]) for one in got] == [("P-1", "alarm")]
    assert got[0]["external_id"] == "P-1.temp.quality:1"
    assert "Prüfen:\n1. " in str(got[0]["description"])
