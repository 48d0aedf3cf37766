"""A small RTSP server (RFC 2326) that plays H.264 (RFC 6184) inside its TCP connection."""

from __future__ import annotations

import asyncio
import base64
import struct
from typing import Any, Self

import av
import numpy as np

_SDP = (
    "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\n"
    "a=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\na=control:track1\r\n"
)
_LARGEST = 1200


class RtspServer:
    """Grey frames whose level rises by one; login: Basic, if it is told."""

    def __init__(self, login: str = "", *, frames: int = 100_000) -> None:
        self._login = base64.b64encode(login.encode()).decode() if login else ""
        self._frames = frames
        self.methods: list[str] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"rtsp://127.0.0.1:{port}/stream"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                await self._answer(head.decode(errors="replace"), writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.LimitOverrunError):
            pass
        finally:
            writer.close()

    async def _answer(self, head: str, writer: asyncio.StreamWriter) -> None:
        method = head.split(" ", 1)[0].lstrip("$\0\1")
        lines = dict(one.split(": ", 1) for one in head.split("\r\n")[1:] if ": " in one)
        self.methods.append(method)
        status, more, body = "200 OK", "", ""
        if self._login and f"Basic {self._login}" != lines.get("Authorization"):
            status, more = "401 Unauthorized", 'WWW-Authenticate: Basic realm="cam"\r\n'
        elif method == "DESCRIBE":
            body, more = _SDP, f"Content-Type: application/sdp\r\nContent-Length: {len(_SDP)}\r\n"
        elif method == "SETUP":
            more = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1;timeout=60\r\n"
        elif method == "OPTIONS":
            more = "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN, GET_PARAMETER\r\n"
        answer = f"RTSP/1.0 {status}\r\nCSeq: {lines.get('CSeq', 0)}\r\n{more}\r\n{body}"
        writer.write(answer.encode())
        await writer.drain()
        if method == "PLAY" and status.startswith("200"):
            task = asyncio.create_task(self._play(writer))
            self._tasks.add(task)

    async def _play(self, writer: asyncio.StreamWriter) -> None:
        encoder: Any = av.CodecContext.create("libx264", "w")
        encoder.width = encoder.height = 64
        encoder.pix_fmt, encoder.framerate = "yuv420p", 25
        encoder.options = {"tune": "zerolatency", "preset": "ultrafast", "x264-params": "keyint=1"}
        sequence = 0
        for number in range(self._frames):
            grey = np.full((64, 64, 3), 40 + number % 150, np.uint8)
            for packet in encoder.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")):
                stream = bytes(packet).replace(b"\0\0\0\1", b"\0\0\1")
                for unit in filter(None, stream.split(b"\0\0\1")):
                    assert len(unit) < _LARGEST
                    stamp = number * 3600
                    head = struct.pack("!BBHII", 0x80, 96 | 0x80, sequence & 0xFFFF, stamp, 7)
                    writer.write(struct.pack("!cBH", b"$", 0, 12 + len(unit)) + head + unit)
                    sequence += 1
            await writer.drain()
            await asyncio.sleep(0.02)
        writer.close()
