"""Pictures through the whole daemon: their process, the alarm with boxes, the thumbnail."""

from __future__ import annotations

import io
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pytest
from daemon_support import fed_config
from picture_models import SIDE, hanging_model, write_bright_bundle
from PIL import Image

from edge_agent.daemon import cameras
from edge_agent.daemon.daemon import Daemon
from edge_agent.daemon.tables import load_config
from edge_agent.models.runtime.picture_child import PictureQuestion
from edge_agent.models.runtime.picture_engine import PictureGraph
from edge_agent.models.runtime.picture_process import PictureProcess
from edge_agent.signals import EncodedPicture

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.daemon.cameras import Cameras
    from edge_agent.messages import Alarm, Transition

RNG = np.random.default_rng(5)
WIDTH, HEIGHT = 2 * SIDE, SIDE


def scene(*, defect: bool = False) -> bytes:
    """A JPEG of grey noise; a defect is a bright place at the right."""
    pixels = RNG.integers(20, 90, (HEIGHT, WIDTH, 3), np.uint8)
    if defect:
        pixels[16:32, 96:112] = 250
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=95)
    return out.getvalue()


class Watched:
    """A daemon with a camera, fed by the test picture by picture."""

    def __init__(self, folder: Path, **camera: Any) -> None:
        models = folder / "models"
        models.mkdir()
        self.bundle = write_bright_bundle(models)
        seam = {
            "asset": "P-1",
            "folder": {"path": str(folder)},
            "bundle": "bright",
            "view": {"exposure": False, "blur": 0, "frozen_after": 0},
            "alarm": {"off_delay": "0s"},
            **camera,
        }
        path = fed_config(
            folder, ("pump", {"signals": {"flow": {}}}), "P-1", cameras={"seam": seam}
        )
        self.daemon = Daemon(load_config(path), path=path)
        self.transitions: list[Transition] = []
        self._at_us = time.time_ns() // 1000

    async def __aenter__(self) -> Self:
        await self.daemon.startup()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.daemon.shutdown()

    @property
    def cameras(self) -> Cameras:
        assert self.daemon.parts.cameras is not None
        return self.daemon.parts.cameras

    async def show(self, *pictures: bytes, status: int = 0) -> None:
        """Each picture, a tenth of a second after the one before, and a turn of the pipeline."""
        for data in pictures:
            self._at_us += 100_000
            at_ns = self._at_us * 1000
            seen = EncodedPicture("seam", data, at_ns, at_ns, f"part-{self._at_us}", status)
            await self.cameras.inspect(seen)
            before = len(self.daemon.runtime.pipeline.announced)
            await self.daemon.parts.loop.run_turn()
            self.transitions += list(self.daemon.runtime.pipeline.announced)[before:]

    def alarm(self, alarm_id: str = "P-1.seam") -> Alarm | None:
        return self.daemon.runtime.alarms.get(alarm_id)


async def test_two_of_three_defects_raise_an_alarm_with_a_box_and_good_ones_clear_it(
    tmp_path: Path,
) -> None:
    """One alone does not; the box is in pixels of the picture, its thumbnail is kept on disk."""
    async with Watched(tmp_path) as watched:
        await watched.show(scene(), scene(), scene(defect=True), scene())
        assert watched.alarm() is None
        await watched.show(scene(defect=True))
        raised = watched.transitions[-1].alarm
        assert raised.active
        assert raised.detail is not None
        picture = raised.detail.picture
        assert picture is not None
        assert (picture.camera, picture.width, picture.height) == ("seam", WIDTH, HEIGHT)
        (box,) = picture.boxes
        assert (box.x, box.y, box.width, box.height) == (96, 16, 16, 16)
        assert raised.detail.score == pytest.approx(250 / 128, rel=0.05)
        (first,) = raised.detail.contributors
        assert first.weight == pytest.approx(raised.detail.score)
        assert first.input == "seam 96,16 16×16"  # noqa: RUF001 (a size)
        texts = watched.daemon.parts.publisher.texts_of(raised)["message"]["en"]
        assert "camera seam sees something unusual" in texts
        assert "mainly at 96, 16; 2 of the last 3 pictures" in texts
        thumbnail = await watched.cameras.thumbnail(picture.picture_id)
        assert Image.open(io.BytesIO(thumbnail or b"")).size == (WIDTH, HEIGHT)
        rows = await watched.cameras.pictures("seam", 10)
        assert rows is not None
        assert [row["over"] for row in rows] == [True, False, True, False, False]
        assert rows[0]["part"].startswith("part-")
        assert rows[0]["map"]["width"] == SIDE // 8
        await watched.show(scene(), scene())
        alarm = watched.alarm()
        assert alarm is not None
        assert not alarm.active
        (row,) = watched.cameras.rows()
        assert (row["model"], row["version"], row["quality"]) == ("bright", "1", "good")
        assert row["pictures"] == 0  # none came by the queue
    kept = {path.suffix for path in (tmp_path / "store.db.pictures").iterdir()}
    assert kept == {".jpg", ".json"}
    assert len(list((tmp_path / "labelled" / "pictures").rglob("*.jpg"))) == 1


async def test_a_thumbnail_and_its_facts_are_there_after_a_restart(tmp_path: Path) -> None:
    async with Watched(tmp_path, alarm={"over": 1, "of": 1, "off_delay": "0s"}) as watched:
        await watched.show(scene(defect=True))
        detail = watched.transitions[-1].alarm.detail
    assert detail is not None
    assert detail.picture is not None
    daemon = Daemon(load_config(tmp_path / "edge-agent.yaml"))
    await daemon.startup()
    try:
        assert daemon.parts.cameras is not None
        assert await daemon.parts.cameras.thumbnail(detail.picture.picture_id)
        rows = await daemon.parts.cameras.pictures("seam", 5)
        assert rows is not None
        assert [row["id"] for row in rows] == [detail.picture.picture_id]
        assert await daemon.parts.cameras.thumbnail("seam-none") is None
        alarm = daemon.runtime.alarms.get("P-1.seam")
        assert alarm is not None
        assert alarm.detail == detail
    finally:
        await daemon.shutdown()


async def test_a_blind_camera_is_a_fault_of_its_quality_and_no_defect(tmp_path: Path) -> None:
    """Its alarm says why; the model is not asked, and its alarm stays as it was."""
    async with Watched(tmp_path, view={"frozen_after": 0}) as watched:
        black = io.BytesIO()
        Image.new("RGB", (WIDTH, HEIGHT), (250, 250, 250)).save(black, "JPEG")
        await watched.show(scene(), black.getvalue(), black.getvalue(), b"no picture")
        assert watched.alarm() is None
        quality = watched.alarm("P-1.seam.quality")
        assert quality is not None
        assert quality.active
        assert quality.detail is not None
        assert quality.detail.message_key == "camera_bright"
        texts = watched.daemon.parts.publisher.texts_of(quality)
        assert "too bright" in texts["message"]["en"]
        assert watched.daemon.runtime.pipeline.watch.quality_of(1) == "bad"


async def test_another_version_of_the_bundle_takes_over_and_gives_way(tmp_path: Path) -> None:
    """As any model's: a shadow scores the same pictures; a version that fails is replaced."""
    async with Watched(tmp_path, alarm={"over": 1, "of": 1, "off_delay": "0s"}) as watched:
        deployments = watched.daemon.runtime.pipeline.deployments
        models = watched.daemon.runtime.models
        (tmp_path / "next").mkdir()
        other = write_bright_bundle(tmp_path / "next", version="2", threshold=3.0)
        shadow = await models.load_model("bright", other)
        deployments.set_shadow("bright", shadow)
        await watched.show(scene(), scene(defect=True))
        report = deployments.reports.shadow_report("bright")
        assert report is not None
        assert report["compared"] == 2
        deployments.replace_version(shadow)
        before = watched.transitions[:]
        await watched.show(scene(defect=True), scene(defect=True))
        assert watched.cameras.rows()[0]["version"] == "2"
        assert [str(one.kind) for one in watched.transitions[len(before) :]] == ["clear"]
        runner = watched.cameras.engines.runner
        runner.remove_graph(shadow.sha256)  # it fails from now on
        await watched.show(scene(defect=True))
        assert watched.cameras.rows()[0]["version"] == "1"
        assert watched.transitions[-1].alarm.active


async def test_a_version_whose_graph_hangs_gives_way_with_the_same_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one that fails: the picture is no bad one, and it is asked once."""
    monkeypatch.setattr(cameras, "PictureQuestion", partial(PictureQuestion, cpu_s=1.0))
    async with Watched(tmp_path, alarm={"over": 1, "of": 1, "off_delay": "0s"}) as watched:
        (tmp_path / "next").mkdir()
        other = write_bright_bundle(tmp_path / "next", version="2", threshold=3.0)
        new = await watched.daemon.runtime.models.load_model("bright", other)
        watched.daemon.runtime.pipeline.deployments.replace_version(new)
        await watched.show(scene())
        runner = watched.cameras.engines.runner
        assert isinstance(runner, PictureProcess)
        runner.stop()  # the next one loads this graph
        runner.add_graph(new.sha256, PictureGraph(hanging_model(), SIDE, ("score",)))
        starts = runner.starts
        await watched.show(scene(defect=True))
        assert watched.cameras.rows()[0]["version"] == "1"
        assert watched.cameras.rows()[0]["refused"] == 0
        assert watched.transitions[-1].alarm.active
        assert runner.starts == starts + 2
