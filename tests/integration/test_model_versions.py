"""The life of a version on a real bus: installed, compared, activated, rolled back by itself."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from daemon_support import LENGTH, STEP_MS, Feed, Site
from sink_support import Subscriber
from support import until, value_of
from tiny_versions import NAME, fails_over, hangs_over, mean, nan_over

from edge_agent.cli import main
from edge_agent.models.repository import ModelRepository

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from daemon_support import Running

    from edge_agent.testing import Mosquitto

pytestmark = [pytest.mark.integration, pytest.mark.slow]

ALARM = "gateway.service.model"
SOON_S = 3.0  # 0.75 s of waiting, and the rest for a busy machine


@pytest.fixture
async def bus(broker: Mosquitto) -> AsyncIterator[Subscriber]:
    subscriber = await Subscriber(broker.port).ready()
    yield subscriber
    await asyncio.to_thread(subscriber.stop)


def bundle(folder: Path, made: Any, version: str, **more: Any) -> Path:
    """A bundle with the windows of this site."""
    made(version=version, folder=folder, length=LENGTH, step_s=STEP_MS / 1000, **more)
    return folder


def scores(bus: Subscriber, asset: str) -> dict[int, float]:
    """Score by the time (ms) of the window's end; each is told once."""
    told = [orjson.loads(body) for body in bus.bodies(f"/{asset}/_pdm/score/{NAME}")]
    found = {row["ts"]: row["score"] for row in told}
    assert len(found) == len(told), "a window is told once"
    return found


def missing(bus: Subscriber, feed: Feed) -> list[tuple[str, int]]:
    """Windows without a score that is a number: (asset, ms)."""
    lost = []
    for asset, rows in feed.sent.items():
        found = scores(bus, asset)
        ends = [feed._begin_ms + row * STEP_MS for row in range(LENGTH - 1, rows)]
        lost += [(asset, end) for end in ends if found.get(end) is None]
    return lost


def row_of(running: Running, mode: str = "active") -> dict[str, Any]:
    """What /api/models says of the one model, or of its shadow."""
    rows = running.daemon.parts.status.models()
    return next((row for row in rows if row["mode"] == mode), {})


def windows_of_both(running: Running) -> set[int]:
    """How many windows the report has of each of the two versions."""
    report = running.daemon.runtime.pipeline.deployments.reports.shadow_report(NAME)
    assert report is not None
    return {report[side]["windows"] for side in ("active", "candidate")}


class Line:
    """Rows that flow all the while."""

    def __init__(self, feed: Feed) -> None:
        self.level = 1.0
        self._feed = feed
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while True:
            for asset in ("P-1", "P-2"):
                self._feed.send(asset, flow=self.level)
            await asyncio.sleep(0.02)

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


async def command(site: Site, running: Running, *words: str) -> int:
    """`edge-agent models ...` as an operator types it, while the daemon runs."""
    where = ["-c", str(site.path), "--url", running.url]
    return await asyncio.to_thread(main, ["models", *words, *where])


async def test_from_version_1_to_2_and_back_by_itself(
    tmp_path: Path, broker: Mosquitto, bus: Subscriber, capsys: pytest.CaptureFixture[str]
) -> None:
    """Version 2 agrees for as long as it is compared, and gives NaN once the flow passes 50.

    Every window has its score, those that version 2 could not score by version 1; the operator is
    told over the bus.
    """
    site = Site(tmp_path, broker.url)
    models = site.folder / "models"
    bundle(models / NAME, mean, "1")
    feed = Feed(bus)
    async with site.daemon() as running:
        await until(running.up, "up")
        line = Line(feed)
        new = bundle(tmp_path / "new", lambda **k: nan_over(50.0, **k), "2")
        assert await command(site, running, "install", str(new), "--allow-unsigned", NAME) == 0
        assert await command(site, running, "shadow", f"{NAME}@2") == 0
        await until(lambda: row_of(running, "shadow").get("compared", 0) > 60, "compared")
        capsys.readouterr()
        report = ["models", "report", NAME, "--url", running.url]
        assert await asyncio.to_thread(main, report) == 0
        assert "watch: shadow running" in capsys.readouterr().out
        assert await asyncio.to_thread(main, [*report, "--json"]) == 0
        said = json.loads(capsys.readouterr().out)
        assert (said["agreement"], said["active"]["version"]) == (1.0, "1")
        assert said["candidate"]["version"] == "2"

        assert await command(site, running, "activate", f"{NAME}@2") == 0
        assert (row_of(running)["version"], row_of(running)["previous"]) == ("2", "1")
        line.level = 60.0
        await until(lambda: row_of(running)["version"] == "1", "rolled back")
        await until(lambda: ModelRepository(models).active(NAME) == "1", "on disk, too")
        await until(lambda: running.states().get(ALARM) == "unack", "service alarm")
        await asyncio.sleep(2.5)  # two looks at the disk: the bad version stays away
        await line.stop()
        await until(lambda: not missing(bus, feed), "every window")
        assert row_of(running)["refused_version"] == "2"
        assert row_of(running)["version"] == "1"
        capsys.readouterr()
        assert await command(site, running, "list") == 0
        assert capsys.readouterr().out.splitlines()[-1].startswith("watch 2: refused: ")
        assert (
            value_of(running.daemon.parts.metrics.model_rollbacks.labels(NAME, "not_a_number")) == 1
        )
        events = [orjson.loads(body) for body in bus.bodies("/_pdm/event")]
    (told,) = [one["data"] for one in events if one["data"]["alarm_id"] == ALARM]
    assert "watch rolled back to 1" in told["message"]["en"]
    assert "not a number" in told["message"]["en"]
    assert max(scores(bus, "P-1").values()) > 30, "version 1 scored what version 2 could not"
    assert running.windows() >= sum(n - LENGTH + 1 for n in feed.sent.values())


async def test_a_version_that_hangs_in_one_operator_gives_way(
    tmp_path: Path, broker: Mosquitto, bus: Subscriber
) -> None:
    """P-1 makes it hang; P-2 has its alarm within a second all the same, by version 1.

    On disk, too, so that a restart does not load it again; the operator is told.
    """
    site = Site(tmp_path, broker.url, runtime={"model_memory": "1GiB"})
    models = site.folder / "models"
    bundle(models / NAME, mean, "1")
    shelf = ModelRepository(models)
    shelf.install(bundle(tmp_path / "b", lambda **k: hangs_over(100.0, **k), "2"))
    shelf.activate(NAME, "2")
    feed = Feed(bus)
    async with site.daemon() as running:
        await until(lambda: row_of(running).get("previous") == "1", "stands by")
        assert row_of(running)["isolated"]
        for asset in ("P-1", "P-2"):
            feed.send(asset, LENGTH, flow=1.0)
        await until(lambda: not missing(bus, feed), "windows")
        feed.send("P-1", LENGTH, flow=300.0)
        began_s = time.monotonic()
        feed.send("P-2", LENGTH, flow=60.0)
        alarm = f"P-2.{NAME}"
        await until(lambda: running.states().get(alarm) == "unack", "P-2's alarm")
        assert time.monotonic() - began_s < SOON_S
        await until(lambda: row_of(running)["version"] == "1", "rolled back")
        await until(lambda: shelf.active(NAME) == "1", "on disk, too")
        await until(lambda: running.states().get(ALARM) == "unack", "service alarm")
        await until(lambda: not missing(bus, feed), "every window")
    assert "no answer after" in row_of(running)["refused"]


async def test_a_restart_forgets_neither_the_version_before_nor_the_shadow(
    tmp_path: Path, broker: Mosquitto, bus: Subscriber
) -> None:
    """Version 2 was activated long ago; it fails now, and version 1 is put back."""
    site = Site(tmp_path, broker.url)
    models = site.folder / "models"
    bundle(models / NAME, mean, "1")
    shelf = ModelRepository(models)
    shelf.install(bundle(tmp_path / "b", lambda **k: fails_over(50, **k), "2"))
    shelf.install(bundle(tmp_path / "c", mean, "3"))
    shelf.activate(NAME, "2")
    shelf.set_shadow(NAME, "3")
    feed = Feed(bus)
    async with site.daemon() as running:
        await until(lambda: row_of(running).get("previous") == "1", "stands by")
        await until(lambda: row_of(running, "shadow").get("state") == "running", "shadow")
        feed.send("P-1", 20, flow=1.0)
        await until(lambda: len(scores(bus, "P-1")) == 20 - LENGTH + 1, "windows")
        feed.send("P-1", 20, flow=60.0)
        await until(lambda: row_of(running)["version"] == "1", "rolled back")
        await until(lambda: not missing(bus, feed), "every window")
        await until(lambda: shelf.active(NAME) == "1", "on disk, too")
        assert row_of(running, "shadow")["state"] == "running"


async def test_an_activated_version_that_fails_its_tests_is_put_back(
    tmp_path: Path, broker: Mosquitto, bus: Subscriber
) -> None:
    """Its golden vectors do not hold; the version at work has not rested for it."""
    site = Site(tmp_path, broker.url)
    models = site.folder / "models"
    bundle(models / NAME, mean, "1")
    bad = bundle(tmp_path / "b", mean, "2")
    text = (bad / "model.yaml").read_text().replace("length: 8", "length: 9")
    (bad / "model.yaml").write_text(text)
    shelf = ModelRepository(models)
    shelf.install(bad)
    feed = Feed(bus)
    async with site.daemon() as running:
        await until(running.up, "up")
        line = Line(feed)
        await asyncio.to_thread(shelf.activate, NAME, "2")
        await until(lambda: row_of(running).get("refused_version") == "2", "refused")
        await until(lambda: shelf.active(NAME) == "1", "put back")
        await until(lambda: running.states().get(ALARM) == "unack", "service alarm")
        await line.stop()
        await until(lambda: not missing(bus, feed), "every window")
        assert row_of(running)["version"] == "1"
        assert value_of(running.daemon.parts.metrics.model_rollbacks.labels(NAME, "self_test")) == 1


async def test_a_reload_keeps_the_shadow_and_the_version_before(
    tmp_path: Path, broker: Mosquitto, bus: Subscriber
) -> None:
    """One that rebuilds the whole intake: the comparison goes on where it was."""
    site = Site(tmp_path, broker.url)
    models = site.folder / "models"
    bundle(models / NAME, mean, "1")
    shelf = ModelRepository(models)
    for version in ("2", "3"):
        shelf.install(bundle(tmp_path / version, mean, version))
    shelf.activate(NAME, "2")
    shelf.set_shadow(NAME, "3")
    feed = Feed(bus)
    async with site.daemon() as running:
        await until(lambda: row_of(running, "shadow").get("state") == "running", "shadow")
        feed.send("P-1", 20, flow=1.0)
        await until(lambda: row_of(running, "shadow")["compared"] > 20 - LENGTH, "compared")
        before = running.daemon.runtime.pipeline
        site.change(discovery={"max_assets": 7})
        await running.daemon.parts.reloader.reload()
        assert running.daemon.runtime.pipeline is not before
        assert row_of(running)["previous"] == "1"
        assert row_of(running, "shadow")["compared"] > 20 - LENGTH
        feed.send("P-1", 60, flow=1.0)
        both = 2 * (20 - LENGTH)  # the new intake begins with new windows
        await until(lambda: row_of(running, "shadow")["compared"] > both, "goes on")
        await until(lambda: windows_of_both(running) == {running.windows()}, "each window, by both")
