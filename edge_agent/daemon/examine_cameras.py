"""Probes of cameras: whether one answers, its picture can be decoded, and it sees anything."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from edge_agent.findings import Finding, error, fine, warning
from edge_agent.models.runtime.picture_child import PictureQuestion
from edge_agent.models.runtime.picture_decode import PictureLimits
from edge_agent.models.runtime.picture_process import PictureProcess
from edge_agent.signals import FAULTS, EncodedPicture
from edge_agent.sources.pictures import probe_camera

if TYPE_CHECKING:
    from edge_agent.config.cameras import Camera
    from edge_agent.config.schema import Config

_KIB: Final = 1024


async def examine_camera(config: Config, name: str, seconds: float) -> list[Finding]:
    """One picture of a camera: its size, exposure and form. EdgeAgentError if none can be had."""
    where, camera = f"camera {name}", config.cameras[name]  # type: ignore[index]
    data = await probe_camera(config, camera, seconds)
    if data is None:
        mend = "does it send, under this topic, or write files whose names fit the pattern?"
        return [warning(where, f"no picture within {seconds:g} s", mend)]
    return await asyncio.to_thread(_look_at, where, camera, data)


def _look_at(where: str, camera: Camera, data: bytes) -> list[Finding]:
    limits = PictureLimits(camera.max_bytes, camera.max_pixels)
    asked = PictureQuestion(where, camera.view, limits=limits)
    process = PictureProcess()
    try:
        found = process.inspect(EncodedPicture(where, data, 0, 0), asked)
    finally:
        process.stop()
    if found.error:
        return [error(where, found.error, "see the camera's own page, and its settings here")]
    if found.faults:
        return [warning(where, FAULTS[one].text) for one in found.faults]
    size = f"{found.width} x {found.height} pixels, {len(data) / _KIB:.0f} KiB"
    look = found.look
    seen = "" if look is None else f", grey levels {look.darkest:.0f} to {look.brightest:.0f}"
    return [fine(where, size + seen)]
