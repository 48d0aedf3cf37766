"""The child that reads one RTSP stream: whatever the stream does, it does it here.

On stdin one line of JSON: url, every_s, timeout_s, udp, max_pixels. On stdout the newest frame
every so many seconds, as JPEG, or the reason of the end; each with its kind and length in front.
It ends with the stream, or when nobody reads it any more.
"""

from __future__ import annotations

import io
import json
import os
import resource
import struct
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from av import VideoFrame

HEAD: Final = struct.Struct("!cI")  # kind, bytes behind it
FRAME: Final = b"J"
ERROR: Final = b"E"
_MEMORY: Final = 1 << 30
_NICER: Final = 10
_QUALITY: Final = 92
# Nothing else, whatever a stream refers to: no files, no other URLs.
_PROTOCOLS: Final = "rtsp,rtsps,rtp,udp,tcp,tls"


def main() -> int:
    """Read the stream until it ends."""
    asked = json.loads(sys.stdin.readline())
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what anything prints is no frame
    _limit()
    try:
        for picture in pictures_of(asked):
            out.write(HEAD.pack(FRAME, len(picture)) + picture)
            out.flush()
    except BrokenPipeError:
        return 0
    except Exception as error:  # noqa: BLE001 (FFmpeg has a hundred; the parent reports it)
        text = str(getattr(error, "strerror", None) or type(error).__name__).encode()[:300]
        with suppress(OSError):
            out.write(HEAD.pack(ERROR, len(text)) + text)
            out.flush()
    return 1


def pictures_of(asked: dict[str, Any]) -> Iterator[bytes]:
    """The newest frame, every so many seconds; the others are only decoded."""
    import av  # noqa: PLC0415 (an extra)

    transport = "udp" if asked["udp"] else "tcp"
    limit_us = str(int(asked["timeout_s"] * 1e6))
    options = {
        "rtsp_transport": transport,
        "timeout": limit_us,
        "fflags": "nobuffer",
        "protocol_whitelist": _PROTOCOLS,
    }
    limits = asked["timeout_s"], asked["timeout_s"]
    with av.open(asked["url"], options=options, timeout=limits) as stream:
        if not stream.streams.video:
            raise OSError(0, "the stream has no video")
        video = stream.streams.video[0]
        video.codec_context.thread_count = 1
        due_s = time.monotonic()
        for frame in stream.decode(video):
            if time.monotonic() >= due_s:
                due_s = time.monotonic() + asked["every_s"]
                yield _jpeg(frame, asked["max_pixels"])


def _jpeg(frame: VideoFrame, max_pixels: int) -> bytes:
    if frame.width * frame.height > max_pixels:
        text = f"{frame.width} x {frame.height} pixels, more than max_pixels ({max_pixels})"
        raise OSError(0, text)
    out = io.BytesIO()
    frame.to_image().save(out, "JPEG", quality=_QUALITY, subsampling=0)
    return out.getvalue()


def _limit() -> None:
    """Behind everything else, the first to go if memory is short, and it writes no file."""
    with suppress(OSError):  # our systemd unit forbids it
        os.nice(_NICER)
    with suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:  # noqa: PTH123
        file.write("1000")
    resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY, _MEMORY))
    for what in (resource.RLIMIT_CORE, resource.RLIMIT_FSIZE):
        resource.setrlimit(what, (0, 0))


if __name__ == "__main__":
    sys.exit(main())
