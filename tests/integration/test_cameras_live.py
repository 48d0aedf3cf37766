"""Cameras of a daemon: over a broker beside values, from a folder, and triggered by a value."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import time
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from camera_support import jpeg
from daemon_support import fed_config
from mqtt_support import Publisher
from support import until

from edge_agent.daemon.daemon import Daemon
from edge_agent.daemon.tables import load_config
from edge_agent.messages import LinkState

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.testing import Mosquitto

pytestmark = [pytest.mark.integration]


def config_of(folder: Path, broker: str, camera: str) -> Path:
    subscribe = [{"topic": "plant/{asset}/{signal}"}]
    cameras: dict[str, Any] = {
        "weld": {"asset": "P-1", "mqtt": {"topic": "cam/weld", "image": "image", "part": "id"}},
        "seam": {"asset": "P-1", "mqtt": {"topic": "plant/P-1/seam"}},
        "gate": {"asset": "P-1", "folder": {"path": str(folder / "in"), "every": "50ms"}},
        "press": {
            "asset": "P-1",
            "http": {"url": camera, "trigger": {"signal": "P-1.ready", "part": "P-1.serial"}},
        },
    }
    for one in cameras.values():
        one["view"] = {"exposure": False, "frozen_after": 0}
    return fed_config(
        folder,
        ("pump", {"signals": {"ready": {}, "serial": {}}}),
        "P-1",
        cameras=cameras,
        sources={"bus": {"type": "mqtt", "url": broker, "subscribe": subscribe}},
    )


async def test_pictures_of_every_source_reach_the_process(
    broker: Mosquitto, tmp_path: Path
) -> None:
    """One connection brings values and pictures of more than its max_payload; values trigger."""
    (tmp_path / "in").mkdir()
    (tmp_path / "models").mkdir()
    runner = await camera_server()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    daemon = Daemon(load_config(config_of(tmp_path, broker.url, url)))
    await daemon.startup()
    assert daemon.parts.cameras is not None
    running = asyncio.create_task(daemon.parts.cameras.run())
    publisher = Publisher(broker.port)
    try:
        sources = daemon.runtime.sources
        await until(lambda: all(one.link.state is LinkState.UP for one in sources.values()))
        large = jpeg(1600)
        assert len(large) > 1 << 20
        text = base64.b64encode(large).decode()
        publisher.publish("plant/P-1/seam", jpeg())
        publisher.publish("cam/weld", json.dumps({"image": text, "id": "A1"}).encode())
        write_atomically(tmp_path / "in" / "1.jpg")
        for ready in (0, 1):
            publisher.publish("plant/P-1/serial", b"4711")
            publisher.publish("plant/P-1/ready", b"%d" % ready)
        await until(lambda: len(seen(daemon)) == 4, lambda: str(seen(daemon)))
        assert seen(daemon)["weld"] == ("A1", 1600)
        assert seen(daemon)["press"] == ("4711", 48)
        assert seen(daemon)["seam"] == seen(daemon)["gate"] == (None, 32)
        types = {row["name"]: row["type"] for row in daemon.parts.status.summary()["sources"]}
        assert types.pop("bus") == "mqtt"
        assert types == dict.fromkeys(("weld", "seam", "gate", "press"), "camera")
    finally:
        publisher.close()
        running.cancel()
        await daemon.shutdown()
        await runner.cleanup()


def write_atomically(path: Path) -> None:
    part = path.with_suffix(".tmp")
    part.write_bytes(jpeg())
    os.utime(part, (time.time() + 1, time.time() + 1))
    part.rename(path)


def seen(daemon: Daemon) -> dict[str, tuple[str | None, int]]:
    """Part and width of the newest picture of each camera that has one."""
    cameras = daemon.parts.cameras
    assert cameras is not None
    states = {name: cameras.states.of(name).seen for name in daemon.runtime.config.cameras}
    return {str(name): (one[-1].part, one[-1].width) for name, one in states.items() if one}


async def camera_server() -> web.AppRunner:
    async def snapshot(_: web.Request) -> web.Response:
        return web.Response(body=jpeg(48))

    app = web.Application()
    app.router.add_get("/", snapshot)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner
