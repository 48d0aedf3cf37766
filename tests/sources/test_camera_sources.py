"""Cameras as sources: files of a folder, messages, snapshots, and what triggers them."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pytest
from aiohttp import web
from camera_support import NOW_S, CameraRig, jpeg
from mqtt_support import rejected
from PIL import Image
from support import until

from edge_agent.clock import SystemClock
from edge_agent.config.cameras import (
    Earlier,
    Edge,
    FileTime,
    PictureTopic,
    Snapshot,
    Trigger,
    WatchedFolder,
)
from edge_agent.config.types import Duration, Secret, Size
from edge_agent.errors import DecodeError
from edge_agent.messages import LinkState
from edge_agent.sources.mqtt.paho_client import Messages
from edge_agent.sources.pictures.exif import taken_at
from edge_agent.sources.pictures.folder import FolderReader
from edge_agent.sources.pictures.topics import PictureTopics, parse_payload
from edge_agent.sources.pictures.trigger import TriggeredIntake, TriggerState
from edge_agent.values import BAD, GOOD, columns

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# -- a folder -------------------------------------------------------------------------------------


def write(path: Path, data: bytes = b"picture", at_s: float = NOW_S) -> Path:
    path.write_bytes(data)
    os.utime(path, (at_s, at_s))
    return path


def reader(folder: Path, **config: Any) -> FolderReader:
    return FolderReader(WatchedFolder(folder, **config), 1000)


def names(found: FolderReader) -> list[str]:
    """Of the files that two more looks read."""
    return [one.name for _ in range(2) for one in found.look()]


def test_a_file_is_read_once_and_only_when_it_is_whole(tmp_path: Path) -> None:
    """It is whole when two looks find it alike; what was there at the start is not new."""
    write(tmp_path / "old.jpg")
    folder = reader(tmp_path)
    assert folder.look() == []
    file = write(tmp_path / "a.jpg", b"half")
    assert folder.look() == []
    write(file, b"the whole picture", NOW_S + 1)
    assert folder.look() == []
    (found,) = folder.look()
    assert (found.name, found.data) == ("a.jpg", b"the whole picture")
    assert found.at_ns == (NOW_S + 1) * 10**9
    assert names(folder) == []
    write(file, b"another picture of this name", NOW_S + 2)
    assert names(folder) == ["a.jpg"]


def test_what_is_unfinished_hidden_or_no_file_is_never_read(tmp_path: Path) -> None:
    folder = reader(tmp_path, pattern="*.jpg*", earlier=Earlier.ALL)
    for name in (".a.jpg", "a.jpg.tmp", "b.jpg.part", "c.png"):
        write(tmp_path / name)
    (tmp_path / "d.jpg").mkdir()
    (tmp_path / "e.jpg").symlink_to("/etc/passwd")
    os.mkfifo(tmp_path / "f.jpg")
    assert names(folder) == []
    (tmp_path / "a.jpg.tmp").rename(tmp_path / "a.jpg")
    assert names(folder) == ["a.jpg"]


@pytest.mark.parametrize(
    ("earlier", "wanted"),
    [(Earlier.MISSED, ["new.jpg"]), (Earlier.SKIP, []), (Earlier.ALL, ["old.jpg", "new.jpg"])],
)
def test_files_of_the_downtime_are_read_by_choice(
    tmp_path: Path, earlier: Earlier, wanted: list[str]
) -> None:
    """Those that are newer than the last one that was read were missed."""
    write(tmp_path / "old.jpg", at_s=NOW_S)
    write(tmp_path / "new.jpg", at_s=NOW_S + 5)
    folder = reader(tmp_path, earlier=earlier)
    folder.position_us = NOW_S * 10**6
    assert names(folder) == wanted


def test_read_files_are_moved_or_removed_and_what_is_left_was_missed(tmp_path: Path) -> None:
    inbox = tmp_path / "in"
    inbox.mkdir()
    write(inbox / "a.jpg")
    moving = reader(inbox, done=tmp_path / "done")
    assert names(moving) == ["a.jpg"]
    assert [one.name for one in (tmp_path / "done").iterdir()] == ["a.jpg"]
    write(inbox / "b.jpg")
    assert names(reader(inbox, remove=True)) == ["b.jpg"]
    assert list(inbox.iterdir()) == []


def test_a_backlog_is_read_in_its_order_a_few_files_in_a_look(tmp_path: Path) -> None:
    """A folder with thousands of files does not push the pictures of other cameras away."""
    for n in range(6):
        write(tmp_path / f"{9 - n}.jpg", at_s=NOW_S + n)
    folder = reader(tmp_path, earlier=Earlier.ALL)
    assert names(folder) == ["9.jpg", "8.jpg", "7.jpg", "6.jpg"]
    assert folder.waiting == 6
    assert names(folder) == ["5.jpg", "4.jpg"]
    write(tmp_path / "large.jpg", bytes(1001))
    (found,) = (one for _ in range(2) for one in folder.look())
    assert found.data is None


def test_time_and_part_of_a_name(tmp_path: Path) -> None:
    config = {"time": FileTime.NAME, "timezone": "Europe/Berlin", "earlier": Earlier.ALL}
    form = r"(?P<part>[^_]+)_(?P<time>\d{8}-\d{6})"
    folder = reader(tmp_path, name=form, name_time="%Y%m%d-%H%M%S", **config)
    write(tmp_path / "A17_20270115-090000.jpg")
    write(tmp_path / "A18_20271315-090000.jpg")
    (first, second) = (one for _ in range(2) for one in folder.look())
    assert (first.part, first.at_ns) == ("A17", 1_800_000_000 * 10**9)
    assert (second.part, second.at_ns) == ("A18", NOW_S * 10**9)  # no such month: the file's time


def exif_jpeg(tmp_path: Path, taken: str, zone: str = "") -> bytes:
    exif = Image.Exif()
    exif[0x8769] = {0x9003: taken} | ({0x9011: zone} if zone else {})
    file = tmp_path / "exif.jpg"
    Image.new("RGB", (16, 16)).save(file, exif=exif)
    return file.read_bytes()


def test_the_time_of_exif_is_read_without_a_decoder(tmp_path: Path) -> None:
    """With its own zone, or that of the config; damaged EXIF is no error."""
    wanted = 1_800_000_000 * 10**9
    assert taken_at(exif_jpeg(tmp_path, "2027:01:15 08:00:00")) == wanted
    assert taken_at(exif_jpeg(tmp_path, "2027:01:15 09:00:00"), "Europe/Berlin") == wanted
    zoned = exif_jpeg(tmp_path, "2027:01:15 03:30:00", "-04:30")
    assert taken_at(zoned, "Europe/Berlin") == wanted
    assert taken_at(jpeg()) is None
    rng = np.random.default_rng(2)
    for _ in range(500):
        damaged = np.frombuffer(zoned, np.uint8).copy()
        damaged[rng.integers(0, 200, 4)] = rng.integers(0, 256, 4)
        found = taken_at(damaged.tobytes()[: rng.integers(0, len(zoned))])
        assert found is None or isinstance(found, int)


async def test_a_folder_that_is_not_there_is_a_lost_camera_until_it_comes(tmp_path: Path) -> None:
    """It says why, and goes on where it was; the newest time is kept for the next start."""
    path = tmp_path / "pictures"
    config = WatchedFolder(path, every=Duration(0.01), earlier=Earlier.ALL)
    async with CameraRig(SystemClock(), folder=config) as rig:
        await until(lambda: rig.source.link.state is LinkState.DOWN)
        assert "no such file" in rig.source.link.detail
        path.mkdir()
        picture = write(path / "a.jpg", jpeg(), rig.clock.now_us() / 1e6)
        await until(lambda: rig.pictures)
        assert rig.data == [picture.read_bytes()]
        assert rig.source.link.state is LinkState.UP
        assert rig.source.received_until() == {"gate": picture.stat().st_mtime_ns // 1000}


async def test_a_folder_without_new_pictures_stays_lost_until_one_comes(tmp_path: Path) -> None:
    """It does not return by itself with each attempt: an alarm would come and go."""
    config = WatchedFolder(tmp_path, every=Duration(0.01))
    async with CameraRig(SystemClock(), folder=config, stale_after=Duration(0.1)) as rig:
        await until(lambda: rig.source.link.state is LinkState.DOWN)
        assert "no picture for 0.1 s" in rig.source.link.detail
        lost_us = rig.source.link.since_us
        await asyncio.sleep(0.3)
        assert (rig.source.link.state, rig.source.link.since_us) == (LinkState.DOWN, lost_us)
        write(tmp_path / "a.jpg", jpeg(), rig.clock.now_us() / 1e6)
        await until(lambda: rig.pictures)
        await until(lambda: rig.source.link.since_us > lost_us)


def test_a_daemon_without_cameras_loads_nothing_of_them() -> None:
    code = (
        "import sys; import edge_agent.daemon, edge_agent.daemon.daemon;"
        "print([one for one in sys.modules if one.startswith(('PIL', 'av.')) or one == 'av'"
        " or 'sources.pictures' in one or 'runtime.picture' in one])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_stopped_camera_of_a_topic_leaves_no_thread() -> None:
    """A reload makes new ones: nothing may grow."""

    async def parse_and_stop() -> None:
        rig = CameraRig(mqtt=PictureTopic("cam", image="image"))
        for _ in range(2):
            rig.source.accept_payload(json.dumps({"image": "aGk="}).encode())
            await until(lambda: rig.pictures)
            await rig.source.stop()
            rig.pictures.clear()

    asyncio.run(parse_and_stop())
    assert not any(one.name.startswith("pictures") and one.is_alive() for one in settled_threads())


def settled_threads() -> list[threading.Thread]:
    """The threads, after those that were told to end had time for it."""
    for one in threading.enumerate():
        if one.name.startswith("pictures"):
            one.join(5)
    return threading.enumerate()


# -- limits of every camera -----------------------------------------------------------------------


def test_a_picture_has_a_plausible_time_and_size() -> None:
    """From the future it is from now; too old or too large, it is counted and not passed on."""
    rig = CameraRig(mqtt=PictureTopic("cam"), max_bytes=Size(2000), max_age=Duration(60))
    now_ns = NOW_S * 10**9
    rig.source.deliver(b"1", now_ns + 3600 * 10**9)
    rig.source.deliver(b"2", now_ns - 59 * 10**9, "A1")
    rig.source.deliver(b"3", now_ns - 61 * 10**9)
    rig.source.deliver(bytes(2001))
    rig.source.deliver(b"4", status=BAD)
    assert [(one.data, one.at_ns, one.part, one.status) for one in rig.pictures] == [
        (b"1", now_ns, None, GOOD),
        (b"2", now_ns - 59 * 10**9, "A1", GOOD),
        (b"", now_ns, None, BAD),
    ]
    assert rejected(rig.metrics, "gate") == {"old": 1, "too_large": 1}


async def test_a_camera_without_pictures_is_lost_and_comes_back() -> None:
    async with CameraRig(
        SystemClock(), mqtt=PictureTopic("cam"), stale_after=Duration(0.05)
    ) as rig:
        await until(lambda: rig.source.link.state is LinkState.DOWN)
        assert "no picture for 0.05 s" in rig.source.link.detail
        while rig.source.link.state is not LinkState.UP:
            rig.source.deliver(jpeg())
            await asyncio.sleep(0.01)


# -- messages -------------------------------------------------------------------------------------

SPEC = PictureTopic("cam", image="data.image", time="ts", part="part", quality="quality")


def payload(image: Any, **more: Any) -> bytes:
    return json.dumps({"data": {"image": image}, **more}).encode()


@pytest.mark.parametrize("prefix", ["", "data:image/jpeg;base64,"])
def test_a_picture_in_json_has_time_part_and_quality(prefix: str) -> None:
    data = jpeg()
    text = prefix + base64.encodebytes(data).decode()
    found = parse_payload(payload(text, ts=NOW_S * 1000, part=17.0, quality="good"), SPEC)
    assert found == (data, NOW_S * 10**9, "17", GOOD)
    bad = parse_payload(payload(text.rstrip("=\n"), quality="bad", part="  "), SPEC)
    assert bad == (data, None, None, BAD)


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"\xff\xd8\xff", "json"),
        (payload(None), "no_picture"),
        (payload(17), "no_picture"),
        (payload("Grüße"), "base64"),
        (payload("a"), "base64"),
        (payload("aGk=", ts="yesterday"), "time"),
        (b"[" * 100_000, "json"),
    ],
)
def test_a_payload_that_is_no_picture_says_why(sent: bytes, reason: str) -> None:
    with pytest.raises(DecodeError) as raised:
        parse_payload(sent, SPEC)
    assert raised.value.reason == reason


def test_pictures_are_taken_out_of_the_messages_of_a_source() -> None:
    """Retained ones are of an unknown age; values keep their own limit and their places."""
    rig = CameraRig(mqtt=PictureTopic("cam/1"))
    topics = PictureTopics(100)
    topics.add(rig.source)
    messages = Messages(
        [b"a", b"cam/1", b"b", b"cam/1", b"c"],
        [b"1", b"old", bytes(101), b"new", b"2"],
        retained=[1, 4],
        too_large=[b"cam/1", b"d"],
    )
    topics.remove_from(messages)
    assert rig.data == [b"new"]
    assert (messages.topics, messages.payloads) == ([b"a", b"c"], [b"1", b"2"])
    assert messages.retained == [1]
    assert messages.too_large == [b"d", b"b"]
    assert rejected(rig.metrics, "gate") == {"too_large": 1}


def test_a_topic_that_is_subscribed_anyway_is_not_subscribed_twice() -> None:
    """A broker may send a message once for each subscription that matches it."""
    topics = PictureTopics(100)
    for name in ("plant/cam", "cam/1"):
        topics.add(CameraRig(mqtt=PictureTopic(name)).source)
    assert topics.filters(["plant/#", "$share/g/cam/+"]) == [("cam/1", 1)]
    assert topics.max_payload == 8 << 20


# -- snapshots ------------------------------------------------------------------------------------


class CameraServer:
    """An IP camera on loopback; `answer` may be replaced."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answer: Callable[[web.Request], web.Response] = lambda _: web.Response(body=jpeg())

    async def _serve(self, request: web.Request) -> web.Response:
        self.asked.append(request.headers.get("Authorization", ""))
        return self.answer(request)

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get("/snap.jpg", self._serve)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        port = self._runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{port}/snap.jpg"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()


@pytest.fixture(autouse=True)
def short_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_agent.transport.reconnect.backoff_s", lambda *_: 0.02)


def secret(tmp_path: Path) -> Secret:
    (tmp_path / "password").write_text("geheim")
    return Secret(file=tmp_path / "password")


async def test_snapshots_come_at_their_interval_and_after_an_outage_again() -> None:
    async with CameraServer() as camera:
        config = Snapshot(camera.url, every=Duration(0.02))
        async with CameraRig(SystemClock(), http=config) as rig:
            await until(lambda: len(rig.pictures) > 2)
            assert rig.source.link.state is LinkState.UP
            camera.answer = lambda _: web.Response(status=503)
            await until(lambda: rig.source.link.state is LinkState.DOWN)
            assert "HTTP 503" in rig.source.link.detail
            camera.answer = lambda _: web.Response(body=b"again")
            await until(lambda: b"again" in rig.data)


@pytest.mark.parametrize(
    ("asks", "sent"),
    [
        ('Digest realm="cam", nonce="4711", qop="auth", algorithm=MD5', "Digest "),
        ('Basic realm="cam"', "Basic "),
    ],
)
async def test_the_login_is_the_one_that_the_camera_asks_for(
    tmp_path: Path, asks: str, sent: str
) -> None:
    """Never sent before it is asked for; the password itself only to loopback or over TLS."""

    def answer(request: web.Request) -> web.Response:
        if request.headers.get("Authorization", "").startswith(sent):
            return web.Response(body=b"picture")
        return web.Response(status=401, headers={"WWW-Authenticate": asks})

    async with CameraServer() as camera:
        camera.answer = answer
        config = Snapshot(
            camera.url, every=Duration(0.02), username="edge", password=secret(tmp_path)
        )
        async with CameraRig(SystemClock(), http=config) as rig:
            await until(lambda: rig.pictures)
    assert camera.asked[0] == ""


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda _: web.Response(status=302, headers={"Location": "http://x/"}), "it redirects"),
        (lambda _: web.Response(body=bytes(5000)), "larger than max_bytes"),
        (lambda _: web.Response(status=401), "asks for a login"),
    ],
)
async def test_what_a_camera_may_not_do_is_said(
    answer: Callable[[web.Request], web.Response], said: str
) -> None:
    async with CameraServer() as camera:
        camera.answer = answer
        config = Snapshot(camera.url, every=Duration(0.02))
        async with CameraRig(SystemClock(), http=config, max_bytes=Size(2000)) as rig:
            await until(lambda: said in rig.source.link.detail, rig.source.link.detail)
            assert rig.pictures == []


async def test_a_trigger_asks_for_the_picture_of_its_part() -> None:
    """Not before, but once to know that the camera answers."""
    async with CameraServer() as camera:
        config = Snapshot(camera.url, trigger=Trigger("P-1.ready"))
        async with CameraRig(SystemClock(), http=config) as rig:
            await until(lambda: rig.source.link.state is LinkState.UP)
            assert rig.pictures == []
            rig.source.ask("A1")
            rig.source.ask("A2")
            await until(lambda: len(rig.pictures) == 2)
            assert [one.part for one in rig.pictures] == ["A1", "A2"]
            for _ in range(20):
                rig.source.ask(None)
            assert rejected(rig.metrics, "gate")["busy"] >= 15


@pytest.mark.parametrize(
    ("edge", "asked"),
    [
        (Edge.RISING, ["7", "8"]),
        (Edge.FALLING, ["7"]),
        (Edge.CHANGE, ["7", "7", "8"]),
    ],
)
def test_edges_of_a_signal(edge: Edge, asked: list[str]) -> None:
    """The first value is no change, and a bad one is none either."""
    found: list[str | None] = []
    intake = TriggeredIntake(1000, 1000, lambda: None)
    intake.add(TriggerState(0, 1, edge, found.append))
    signal = [1, 0, 2, 0, 0, 0, 1, 0]
    value = [7, 0, 9, 1, 0, 0, 8, 1]
    status = [0, 0, 0, 0, BAD, 0, 0, 0]
    times = list(range(8))
    intake.append(
        columns(signal, times, [float(one) for one in value], np.array(status, np.uint32))
    )
    assert found == asked
    assert len(intake) == 8
