"""RTSP streams: a child reads and decodes each, and hands over the newest frame as JPEG."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from contextlib import asynccontextmanager, suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlsplit

from edge_agent.errors import ConnectError
from edge_agent.sources.pictures.base import CameraSource
from edge_agent.sources.pictures.rtsp_child import FRAME, HEAD
from edge_agent.transport import LostError, RefusedError, origin

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from edge_agent.config.cameras import Stream

_START_S: Final = 30.0  # of the child and its libraries, on a busy machine
_MAX_TEXT: Final = 300
_MODULE: Final = "edge_agent.sources.pictures.rtsp_child"
_RUN: Final = """
import importlib, json, sys
sys.path[:] = json.loads(sys.argv.pop(1))
sys.exit(importlib.import_module(sys.argv.pop(1)).main())
"""
_REFUSED: Final = ("401", "403", "unauthorized", "forbidden")


class StreamCamera(CameraSource):
    """A camera with an RTSP stream."""

    def _prepare(self) -> None:
        super()._prepare()
        assert self._config.rtsp is not None  # noqa: S101 (its kind)
        self._stream = self._config.rtsp
        self.target = origin(self._stream.url)

    async def _serve(self) -> None:
        frames = frames_of(self._stream, int(self._config.max_bytes), self._config.max_pixels)
        async with frames as reading:
            async for frame in reading:
                self._reconnector.set_connected()
                self.deliver(frame)
        raise LostError("the stream has ended", where=self.target)


@asynccontextmanager
async def frames_of(
    stream: Stream, max_bytes: int, max_pixels: int
) -> AsyncIterator[AsyncIterator[bytes]]:
    """The frames of a stream as JPEG; ConnectError if there is none for `timeout`."""
    if find_spec("av") is None:
        hint = "pip install 'edge-agent-pdm[rtsp]'"
        raise RefusedError("av is not installed", where="rtsp", hint=hint)
    child = await _started()
    try:
        assert child.stdin is not None  # noqa: S101 (we made the pipes)
        child.stdin.write(_question(stream, max_pixels))
        child.stdin.close()
        yield _frames(child, stream, max_bytes)
    finally:
        with suppress(ProcessLookupError):
            child.kill()
        await child.wait()


def _question(stream: Stream, max_pixels: int) -> bytes:
    """What the child is told: on stdin, for its arguments could be seen by every user."""
    url = stream.url
    if stream.password is not None:
        parts = urlsplit(url)
        login = f"{quote(stream.username, safe='')}:{quote(stream.password.reveal(), safe='')}"
        url = parts._replace(netloc=f"{login}@{parts.netloc}").geturl()
    asked = {
        "url": url,
        "every_s": stream.every,
        "timeout_s": stream.timeout,
        "udp": stream.udp,
        "max_pixels": max_pixels,
    }
    return json.dumps(asked).encode() + b"\n"


async def _started() -> asyncio.subprocess.Process:
    path = json.dumps([entry for entry in sys.path if entry])
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-c", _RUN, path, _MODULE),
        env=kept,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )


async def _frames(
    child: asyncio.subprocess.Process, stream: Stream, max_bytes: int
) -> AsyncIterator[bytes]:
    assert child.stdout is not None  # noqa: S101 (we made the pipes)
    where = origin(stream.url)
    limit_s = _START_S + stream.timeout
    while True:
        try:
            async with asyncio.timeout(limit_s):
                kind, length = HEAD.unpack(await child.stdout.readexactly(HEAD.size))
                if length > max_bytes:
                    raise RefusedError("a frame is larger than max_bytes", where=where)
                data = await child.stdout.readexactly(length)
        except TimeoutError as error:
            raise ConnectError("no frame in time", where=where) from error
        except asyncio.IncompleteReadError as error:
            raise LostError("the process of the stream has ended", where=where) from error
        if kind != FRAME:
            raise _reason(data, where)
        yield data
        limit_s = stream.timeout + stream.every


def _reason(data: bytes, where: str) -> ConnectError:
    text = data.decode(errors="replace").lower()[:_MAX_TEXT]
    text = "".join(one if one.isprintable() else "?" for one in text)
    is_refused = any(one in text for one in _REFUSED)
    return RefusedError(text, where=where) if is_refused else ConnectError(text, where=where)
