"""Cameras beside the plant: drawn pictures, a model that is learned from them, and their load."""

from __future__ import annotations

import io
import time
from itertools import count
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from PIL import Image

from edge_agent.learning.pictures import PictureRecipe, learn_pictures
from scripts.pipeline_bench.others import OtherLoad

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.synchronize import Event
    from pathlib import Path

CAMERAS, PER_S = 4, 5
_WIDTH, _HEIGHT, _LEARNED = 640, 480, 60
_CAMERA = '  camera-{n}: {{asset: cam-{n}, mqtt: {{topic: "pictures/{n}"}}, bundle: seams}}\n'
_CONFIG = (
    "trust: {{allow_unsigned: ['*']}}\nassets: {{'cam-{{1..{count}}}': {{template: still}}}}\n"
)


def picture(number: int) -> bytes:
    """A JPEG of brushed metal with a seam."""
    random = np.random.default_rng(number)
    rows = np.arange(_HEIGHT)[:, None]
    grey = 120 + 6 * random.standard_normal((_HEIGHT, 1))
    grey = grey + 4 * random.standard_normal((_HEIGHT, _WIDTH))
    grey += 60 * np.exp(-(((rows - 240 - random.uniform(-6, 6)) / 30) ** 2))
    out = io.BytesIO()
    pixels = np.repeat(grey.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)
    Image.fromarray(pixels).save(out, "JPEG", quality=88)
    return out.getvalue()


def add_cameras(config: Path, folder: Path) -> None:
    """Add cameras with a learned model to a config."""
    images = folder / "images"
    images.mkdir()
    for number in range(_LEARNED):
        (images / f"{number}.jpg").write_bytes(picture(number))
    learn_pictures(PictureRecipe("seams", images, folder / "models", bundle="seams"))
    text = config.read_text().replace("templates:\n", "templates:\n  still: {signals: {}}\n")
    text += _CONFIG.format(count=CAMERAS)
    text += "cameras:\n" + "".join(_CAMERA.format(n=n + 1) for n in range(CAMERAS))
    config.write_text(text)


class CameraLoad(OtherLoad):
    """Publishes the pictures of all cameras; url: of the broker's port on this machine."""

    pace_s: ClassVar[float] = 1.0 / (CAMERAS * PER_S)

    def _run(self, stop: Event, out: Connection) -> None:
        client = mqtt.Client(CallbackAPIVersion.VERSION2)
        client.connect("127.0.0.1", int(self._place))
        client.loop_start()
        drawn = [picture(1000 + number) for number in range(40)]
        next_s = time.perf_counter()
        for number in count():
            if stop.wait(max(0.0, next_s - time.perf_counter())):
                break
            next_s += self.pace_s
            client.publish(f"pictures/{number % CAMERAS + 1}", drawn[number % len(drawn)], 0)
        client.loop_stop()
        client.disconnect()
        out.send(0.0)
