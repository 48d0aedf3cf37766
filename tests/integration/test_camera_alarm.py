"""A camera over a real broker: learned on the box, a defect found, told with boxes, and cleared."""

from __future__ import annotations

import asyncio
import io
import json
import os
from typing import TYPE_CHECKING, Any

import aiohttp
import jsonschema
import numpy as np
import pytest
from daemon_support import WAIT_S, Site
from PIL import Image
from sink_support import Subscriber
from support import until

from edge_agent.alarms.envelope import alert_schema

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.daemon.cameras import Cameras
    from edge_agent.testing import Mosquitto

pytestmark = [pytest.mark.integration]

TOPIC = "plant/cameras/seam"
ALARM = "P-1.seam"
SIDE = 160
LEARN_S = 180.0  # of a busy machine
TOKEN = os.environ["EDGE_AGENT_CAMERA_TOKEN"] = "a-key-of-this-test"  # noqa: S105 (of this test)


class Seam:
    """Draws brushed metal with a seam; a defect is a dark hole."""

    def __init__(self) -> None:
        self._random = np.random.default_rng(11)

    def picture(self, *, defect: bool = False) -> bytes:
        y, x = np.mgrid[:SIDE, :SIDE]
        random = self._random
        grey = (
            120 + 6 * random.standard_normal((SIDE, 1)) + 4 * random.standard_normal((SIDE, SIDE))
        )
        grey = grey + 60 * np.exp(-(((y - 80 - random.uniform(-2, 2)) / 10) ** 2))
        if defect:
            grey = np.where((x - 120) ** 2 + (y - 40) ** 2 < 12**2, 5.0, grey)
        out = io.BytesIO()
        pixels = np.repeat(grey.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)
        Image.fromarray(pixels).save(out, "JPEG", quality=92)
        return out.getvalue()


def alerts(bus: Subscriber) -> list[dict[str, Any]]:
    """The transitions of the camera's alarm, as they were published."""
    found = [json.loads(body) for body in bus.bodies("/event") if body]
    for one in found:
        jsonschema.validate(one, alert_schema())
    return [one["data"] for one in found if one["data"]["alarm_id"] == ALARM]


def inspected(cameras: Cameras) -> int:
    (row,) = cameras.rows()
    return int(row["inspected"] + row["refused"])


async def test_a_camera_learns_finds_a_defect_shows_it_and_is_calm_again(
    tmp_path: Path, broker: Mosquitto
) -> None:
    """After fifty good pictures; the box is where the hole is, and the thumbnail needs a key."""
    camera = {
        "asset": "P-1",
        "mqtt": {"topic": TOPIC, "source": "plant"},
        "learn": {"pictures": 50, "spacing": "0s"},
        "alarm": {"off_delay": "0s"},
    }
    http = {
        "port": 0,
        "token": {"env": "EDGE_AGENT_CAMERA_TOKEN"},
        "local_scopes": [],
    }
    site = Site(tmp_path, broker.url, cameras={"seam": camera}, http=http)
    bus, seam = await Subscriber(broker.port, "edge/#").ready(), Seam()
    async with site.daemon() as running:
        cameras = running.daemon.parts.cameras
        assert cameras is not None
        await until(running.up, "up", WAIT_S)

        async def show(count: int = 1, *, defect: bool = False) -> None:
            """Publish pictures, each when the one before is inspected."""
            for _ in range(count):
                before = inspected(cameras)
                bus.publish(TOPIC, seam.picture(defect=defect))
                async with asyncio.timeout(WAIT_S):
                    while inspected(cameras) == before:
                        await asyncio.sleep(0.005)

        await show(50)
        await until(lambda: cameras.rows()[0]["model"] is not None, "learned", LEARN_S)
        assert not (tmp_path / "store.db.pictures" / "learning" / "seam").exists()
        await show(5)
        assert alerts(bus) == []
        await show(3, defect=True)
        await until(lambda: bool(alerts(bus)), "raised", WAIT_S)
        raised = alerts(bus)[0]
        picture = raised["picture"]
        box = picture["boxes"][0]
        assert (picture["width"], picture["height"]) == (SIDE, SIDE)
        assert box["x"] < 120 < box["x"] + box["width"]
        assert box["y"] < 40 < box["y"] + box["height"]
        assert sum(one["weight"] for one in raised["contributors"]) == pytest.approx(
            raised["score"], rel=0.05
        )
        url = f"{running.url}{picture['url']}"
        async with aiohttp.ClientSession() as client:
            async with client.get(url) as refused:
                assert refused.status == 401
            async with client.get(url, headers={"Authorization": f"Bearer {TOKEN}"}) as answer:
                assert (answer.status, answer.content_type) == (200, "image/jpeg")
                assert Image.open(io.BytesIO(await answer.read())).size == (SIDE, SIDE)
        await show(4)
        await until(lambda: alerts(bus)[-1]["transition"] == "clear", "cleared", WAIT_S)
    await asyncio.to_thread(bus.stop)
    assert any("score/seam" in one.topic for one in bus.received)
