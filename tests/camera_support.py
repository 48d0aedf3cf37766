"""Cameras for tests: a source with all it needs, pictures to send, and what it passed on."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from PIL import Image

from edge_agent.clock import FakeClock
from edge_agent.config import schema
from edge_agent.config.cameras import Camera
from edge_agent.ops.metrics import Metrics
from edge_agent.plant import Plant
from edge_agent.sources.pictures import CAMERAS
from edge_agent.testing import ListIntake

if TYPE_CHECKING:
    from edge_agent.clock import Clock
    from edge_agent.signals import EncodedPicture

NOW_S = 1_800_000_000
RNG = np.random.default_rng(1)


def jpeg(side: int = 32) -> bytes:
    """A JPEG that no other call returns."""
    out = io.BytesIO()
    Image.fromarray(RNG.integers(0, 256, (side, side, 3), np.uint8)).save(out, "JPEG")
    return out.getvalue()


class CameraRig:
    """A camera named gate, and the pictures that it passed on."""

    def __init__(self, clock: Clock | None = None, **config: Any) -> None:
        self.clock = clock or FakeClock(NOW_S * 1_000_000)
        self.metrics = Metrics()
        self.pictures: list[EncodedPicture] = []
        camera = Camera("P-1", **config)
        self.source: Any = CAMERAS[camera.kind](
            "gate",
            camera,
            Plant(schema.Config()),
            ListIntake(),
            self.metrics,
            self.clock,
            schema.Gateway(),
        )
        self.source.accept = self.pictures.append

    @property
    def data(self) -> list[bytes]:
        return [one.data for one in self.pictures]

    async def __aenter__(self) -> Self:
        await self.source.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.source.stop()
