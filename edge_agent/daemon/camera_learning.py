"""Cameras that learn: good pictures are collected on the disk, then a child learns from them.

Until a camera has a model its pictures are taken as good. They are kept as they came, so that a
restart goes on where it was, and are removed once the bundle is there, which the reconciler loads.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from edge_agent.clock import US_PER_S
from edge_agent.errors import EdgeAgentError
from edge_agent.learning.pictures import PictureRecipe, learn_pictures

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edge_agent.clock import Clock
    from edge_agent.config.schema import Config, PlantCamera
    from edge_agent.signals import EncodedPicture

log = logging.getLogger("edge_agent.models")

LEAST: Final = 50  # pictures
_RETRY_S: Final = 600.0
_MORE: Final = 1.25  # times as many pictures after a failure
_MOST_BYTES: Final = 512 << 20  # of the pictures of one camera
_SILENT_S: Final = 300.0
_PNG: Final = b"\x89PNG"


@dataclass(slots=True)
class Collected:
    """The good pictures of a camera so far. size: in bytes; last_us: time of the newest."""

    wanted: int
    count: int = 0
    size: int = 0
    last_us: int = 0
    taken_s: float = 0.0
    retry_s: float = 0.0
    failure: str = ""

    @property
    def is_full(self) -> bool:
        """True if enough is collected."""
        return self.count >= self.wanted or (self.size >= _MOST_BYTES and self.count >= LEAST)


class CameraLearning:
    """Collects pictures and learns, one camera after the other.

    folder: of the pictures that wait, one for each camera. learn: blocks for a minute.
    """

    def __init__(
        self,
        config: Callable[[], Config],
        folder: Path,
        clock: Clock,
        learn: Callable[[PictureRecipe], Any] = learn_pictures,
    ) -> None:
        self._config = config
        self._folder = folder
        self._clock = clock
        self._learn = learn
        self._collected: dict[str, Collected] = {}
        self._busy = ""

    def wants(self, name: str, camera: PlantCamera, at_us: int) -> bool:
        """True if the next good picture of a camera is wanted."""
        if camera.learn is None or not camera.learn.auto or name == self._busy:
            return False
        found = self._of(name, camera)
        spacing_us = round(camera.learn.spacing * US_PER_S)
        return not found.is_full and at_us - found.last_us >= spacing_us

    def add(self, picture: EncodedPicture, camera: PlantCamera) -> None:
        """Keep a good picture; blocking. OSError if the disk fails."""
        found = self._of(picture.camera, camera)
        place = self._folder / picture.camera
        place.mkdir(parents=True, exist_ok=True, mode=0o750)
        ending = "png" if picture.data.startswith(_PNG) else "jpg"
        half = place / f".{picture.at_ns}.half"
        half.write_bytes(picture.data)
        half.replace(place / f"{picture.at_ns}.{ending}")
        found.count += 1
        found.size += len(picture.data)
        found.last_us = picture.at_ns // 1000
        found.taken_s = self._clock.monotonic_s()

    async def learn(self) -> None:
        """Learn for the first camera that has enough."""
        for name, camera in self._config().cameras.items():
            found = self._collected.get(name)
            if found is None or not found.is_full or self._clock.monotonic_s() < found.retry_s:
                continue
            self._busy = str(name)
            try:
                await self._learn_from(str(name), camera, found)
            finally:
                self._busy = ""

    async def _learn_from(self, name: str, camera: PlantCamera, found: Collected) -> None:
        models_dir, place = self._config().models_dir, self._folder / name
        recipe = PictureRecipe(camera.asset, place, models_dir, camera.view, bundle=camera.bundle)
        try:
            learned = await asyncio.to_thread(self._learn, recipe)
        except (EdgeAgentError, OSError) as error:
            log.error("learning failed", extra={"camera": name, "reason": str(error)})
            found.failure = str(error)
            found.wanted = round(found.count * _MORE)
            found.retry_s = self._clock.monotonic_s() + _RETRY_S
            return
        extra = {"model": recipe.name, "camera": name, "pictures": learned.pictures}
        log.info("learned", extra=extra)
        self._collected.pop(name, None)
        await asyncio.to_thread(shutil.rmtree, place, True)  # noqa: FBT003 (errors are ignored)

    def _of(self, name: str, camera: PlantCamera) -> Collected:
        """What is collected of a camera, also before a restart."""
        if name not in self._collected:
            wanted = 0 if camera.learn is None else camera.learn.pictures
            found = Collected(wanted, taken_s=self._clock.monotonic_s())
            place = self._folder / name
            for file in place.glob("*.[jp][pn]g") if place.is_dir() else ():
                found.count += 1
                found.size += file.stat().st_size
            self._collected[name] = found
        return self._collected[name]

    def row(self, name: str, camera: PlantCamera) -> dict[str, Any] | None:
        """The progress of a camera as `asset_learning.learning_rows` shows it; None if none."""
        if camera.learn is None or not camera.learn.auto:
            return None
        found = self._of(name, camera)
        obstacle = ""
        if name != self._busy and not found.is_full:
            silent_s = self._clock.monotonic_s() - found.taken_s
            obstacle = f"camera {name} has no good picture" if silent_s > _SILENT_S else ""
        return {
            "asset": camera.asset,
            "camera": name,
            "progress": round(min(1.0, found.count / max(1, found.wanted)), 3),
            "rows": found.count,
            "wanted_rows": found.wanted,
            "step_s": float(camera.learn.spacing),
            "step_found": True,
            "left_out": {},
            "failure": found.failure,
            "obstacle": obstacle,
        }
