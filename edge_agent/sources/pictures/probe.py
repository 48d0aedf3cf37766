"""One picture of a camera, beside a running daemon: for `check --connect` and `doctor`."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from edge_agent.config.camera_check import source_of
from edge_agent.config.cameras import Earlier
from edge_agent.config.types import Size
from edge_agent.errors import ConnectError
from edge_agent.sources.mqtt.receive import receive
from edge_agent.sources.pictures.folder import FolderReader, in_thread
from edge_agent.sources.pictures.http import SnapshotClient
from edge_agent.sources.pictures.rtsp import frames_of
from edge_agent.sources.pictures.topics import parse_payload, payload_limit

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from edge_agent.config.cameras import Camera, WatchedFolder
    from edge_agent.config.schema import Config
    from edge_agent.sources.mqtt.paho_client import Messages

_FOLDER_S: Final = 10.0  # an NFS server that is gone never answers


async def probe_camera(config: Config, camera: Camera, seconds: float) -> bytes | None:
    """A picture of the camera; None if none came within `seconds`, or there is none yet.

    ConnectError, or another EdgeAgentError, says what does not work.
    """
    return await _PROBES[camera.kind](config, camera, seconds)


async def _of_topic(config: Config, camera: Camera, seconds: float) -> bytes | None:
    assert camera.mqtt is not None  # noqa: S101 (its kind)
    topic, found = camera.mqtt, list[bytes]()
    source = config.sources[source_of(topic, config)]

    def accept(messages: Messages) -> None:
        if messages.too_large:
            raise ConnectError("a message is larger than max_bytes allows", where=topic.topic)
        found.extend(messages.payloads)

    roomy = replace(source, max_payload=Size(payload_limit(camera)))  # type: ignore[type-var]
    wanted = [(topic.topic, topic.qos)]
    refused = await receive(roomy, wanted, seconds, accept, lambda _: bool(found))  # type: ignore[arg-type]
    if refused:
        raise ConnectError(f"not subscribed: {'; '.join(refused)}", where=topic.topic)
    if not found:
        return None
    return parse_payload(found[-1], topic).data if topic.image else found[-1]


async def _of_folder(_: Config, camera: Camera, __: float) -> bytes | None:
    assert camera.folder is not None  # noqa: S101 (its kind)
    folder = camera.folder
    asked = in_thread(lambda: _newest(folder, int(camera.max_bytes)), "folder")
    done, _waiting = await asyncio.wait([asked], timeout=_FOLDER_S)
    if not done:
        raise ConnectError("no answer (is the NFS server gone?)", where=str(folder.path))
    try:
        return asked.result()
    except OSError as error:
        text = str(error.strerror or error).lower()
        raise ConnectError(text, where=str(error.filename or folder.path)) from error


def _newest(folder: WatchedFolder, max_bytes: int) -> bytes | None:
    """The newest picture of a folder, which stays there; OSError if it may not be read or kept."""
    kept = replace(folder, done=None, remove=False, earlier=Earlier.ALL)
    found = FolderReader(kept, max_bytes).newest()
    for path in (folder.path if folder.remove or folder.done else None, folder.done):
        if path is not None and path.exists() and not os.access(path, os.W_OK | os.X_OK):
            raise PermissionError(13, "files cannot be moved or removed here", str(path))
    return found


async def _of_url(_: Config, camera: Camera, __: float) -> bytes | None:
    assert camera.http is not None  # noqa: S101 (its kind)
    client = SnapshotClient(camera.http, int(camera.max_bytes))
    try:
        return await client.get()
    finally:
        await client.close()


async def _of_stream(_: Config, camera: Camera, __: float) -> bytes | None:
    assert camera.rtsp is not None  # noqa: S101 (its kind)
    async with frames_of(camera.rtsp, int(camera.max_bytes), camera.max_pixels) as frames:
        return await anext(frames)


_PROBES: Final[Mapping[str, Callable[[Config, Camera, float], Awaitable[bytes | None]]]] = {
    "mqtt": _of_topic,
    "folder": _of_folder,
    "http": _of_url,
    "rtsp": _of_stream,
}
