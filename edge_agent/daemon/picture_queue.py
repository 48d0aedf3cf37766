"""Pictures that wait for their process: a few of each camera, and each camera has its turn."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from edge_agent.signals import EncodedPicture

WAITING: Final = 4  # pictures of one camera
WAITING_BYTES: Final = 64 << 20  # of all cameras


class PictureQueue:
    """The newest pictures of each camera; a camera that sends many takes no turn of another.

    If a camera has more, its oldest are dropped: `put` returns how many. Of one event loop.
    """

    def __init__(self, waiting: int = WAITING, max_bytes: int = WAITING_BYTES) -> None:
        self._waiting = waiting
        self._max_bytes = max_bytes
        self._bytes = 0
        self._by_camera: dict[str, deque[EncodedPicture]] = {}  # the camera of the next turn first
        self._is_there = asyncio.Event()

    def put(self, picture: EncodedPicture) -> dict[str, int]:
        """Add a picture; returns how many were dropped for it, by camera."""
        dropped: dict[str, int] = {}
        self._by_camera.setdefault(picture.camera, deque()).append(picture)
        self._bytes += len(picture.data)
        while len(self._by_camera[picture.camera]) > self._waiting:
            self._drop(picture.camera, dropped)
        while self._bytes > self._max_bytes and len(self) > 1:
            self._drop(max(self._by_camera, key=self._bytes_of), dropped)
        self._is_there.set()
        return dropped

    async def take(self) -> EncodedPicture:
        """The oldest picture of the camera whose turn it is; waits for one."""
        while not self._by_camera:
            self._is_there.clear()
            await self._is_there.wait()
        camera = next(iter(self._by_camera))
        waiting = self._by_camera.pop(camera)
        picture = waiting.popleft()
        self._bytes -= len(picture.data)
        if waiting:
            self._by_camera[camera] = waiting  # behind all others
        return picture

    def __len__(self) -> int:
        """Pictures that wait."""
        return sum(map(len, self._by_camera.values()))

    def _drop(self, camera: str, dropped: dict[str, int]) -> None:
        waiting = self._by_camera[camera]
        self._bytes -= len(waiting.popleft().data)
        dropped[camera] = dropped.get(camera, 0) + 1
        if not waiting:
            del self._by_camera[camera]

    def _bytes_of(self, camera: str) -> int:
        return sum(len(one.data) for one in self._by_camera[camera])
