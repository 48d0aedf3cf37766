"""Pictures of cameras on the disk: written and read on a thread of their own."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from edge_agent.store import KeptPicture, PictureFolder

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.clock import Clock
    from edge_agent.daemon.picture_views import SeenPicture

T = TypeVar("T")

log = logging.getLogger("edge_agent.daemon")


class PictureDisk:
    """The thumbnails and facts of alarms in a folder, and other writes of pictures."""

    def __init__(self, folder: PictureFolder, clock: Clock) -> None:
        self._folder = folder
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="thumbnails")

    def keep(self, seen: SeenPicture) -> None:
        """Write a thumbnail and its facts, once."""
        if not seen.is_kept:
            seen.is_kept = True
            self.write(self._add, seen)

    def _add(self, seen: SeenPicture) -> None:
        kept = KeptPicture(seen.picture_id, seen.at_us, seen.thumbnail, seen.facts())
        self._folder.add(kept, self._clock.now_us())

    def write(self, work: Callable[..., object], *args: object) -> None:
        """Write on the thread, later; a failure is logged."""
        self._thread.submit(self._guarded, work, *args)

    def _guarded(self, work: Callable[..., object], *args: object) -> None:
        try:
            work(*args)
        except OSError as error:
            extra = {"folder": str(self._folder.folder), "reason": str(error)}
            log.warning("picture not kept", extra=extra)

    async def newest(self, camera: str, count: int) -> list[dict[str, Any]]:
        """The facts of the newest pictures of a camera; none if the disk fails."""
        return await self._read(lambda: self._newest(camera, count)) or []

    def _newest(self, camera: str, count: int) -> list[dict[str, Any]]:
        ids = self._folder.newest(f"{camera}-", count)
        return [facts for one in ids if (facts := self._folder.facts(one)) is not None]

    async def thumbnail(self, picture_id: str) -> bytes | None:
        """The JPEG of a picture; None if it is not kept, or the disk fails."""
        return await self._read(lambda: self._folder.thumbnail(picture_id))

    async def _read(self, work: Callable[[], T]) -> T | None:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except OSError as error:
            log.warning("pictures not read", extra={"reason": str(error)})
            return None

    async def stop(self) -> None:
        """Finish what is to be written; safe when repeated."""
        await asyncio.to_thread(self._thread.shutdown)
