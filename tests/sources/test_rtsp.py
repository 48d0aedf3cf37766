"""Cameras with an RTSP stream, in a child: frames, keepalive, login, loss."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pytest
from camera_support import CameraRig
from PIL import Image
from rtsp_server import RtspServer
from support import until

from edge_agent.clock import SystemClock
from edge_agent.config.cameras import Stream
from edge_agent.config.types import Duration, Secret
from edge_agent.messages import LinkState

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.integration]


@pytest.fixture(autouse=True)
def short_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_agent.transport.reconnect.backoff_s", lambda *_: 0.05)


def rig_of(url: str, **more: Any) -> CameraRig:
    stream = Stream(url, every=Duration(0.1), timeout=Duration(3), **more)
    return CameraRig(SystemClock(), rtsp=stream)


async def test_the_newest_frame_is_taken_and_a_lost_stream_comes_back() -> None:
    """A server that goes away is a lost camera."""
    async with RtspServer(frames=60) as server, rig_of(server.url) as rig:
        await until(lambda: len(rig.pictures) > 2)
        assert rig.data[0] != rig.data[1]
        assert Image.open(io.BytesIO(rig.data[0])).size == (64, 64)
        await until(lambda: server.methods.count("PLAY") > 1)  # its 60 frames have ended
        before = len(rig.pictures)
        await until(lambda: len(rig.pictures) > before)
        assert rig.source.link.state is LinkState.UP


async def test_the_login_is_sent_and_never_shown(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("pass/wörd")
    secret = Secret(file=tmp_path / "password")
    async with RtspServer("edge:pass/wörd") as server:
        async with rig_of(server.url, username="edge", password=secret) as rig:
            await until(lambda: rig.pictures)
        async with rig_of(server.url, username="other", password=secret) as rig:
            await until(lambda: rig.source.link.state is LinkState.DOWN)
            assert "127.0.0.1" in rig.source.link.detail
            assert "rd" not in rig.source.link.detail.replace("unauthorized", "")


async def test_a_stream_that_does_not_answer_says_so() -> None:
    async with rig_of("rtsp://127.0.0.1:1/stream") as rig:
        await until(lambda: rig.source.link.state is LinkState.DOWN)
        assert "connection refused" in rig.source.link.detail
