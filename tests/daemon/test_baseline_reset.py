"""Learning again after an overhaul, as an operator does it, with the daemon up and down."""

from __future__ import annotations

import asyncio
import math
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from daemon_support import STEP_MS, Running, fed_config, now_ms
from support import until

from edge_agent.cli import main
from edge_agent.models.repository import ModelRepository
from edge_agent.values import columns

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.models.runtime.model import Model

pytestmark = pytest.mark.slow

LEARNED_ROWS = 220
FAULT_ROWS = 80  # longer than the delay of the alarm
BASELINE = "P-1.baseline"


def write_config(folder: Path, assets: str = "P-1") -> Path:
    """A pump that learns by itself from 20 s of rows; nobody but the test sends them."""
    struct = {
        "signals": {"flow": {}, "pressure": {}},
        # 5 s, because the end of a call of `send` looks like a pause of its source.
        "learn": {
            "auto": True,
            "duration": "20s",
            "step": "100ms",
            "length": 8,
            "alarm": {"on_delay": "5s"},
        },
    }
    # That the broker is not there is no alarm of these tests.
    return fed_config(folder, ("pump", struct), assets, alarms={"link_delay": "1h"})


class Pump:
    """Sends rows of an asset into a running daemon.

    Its time goes on with ours between two calls, as the daemon expects of a silent source: rows
    of a clock that had stopped would be too late for their windows.
    """

    def __init__(self, asset: str = "P-1") -> None:
        self.asset = asset
        self._next_ms = (now_ms() - 600_000) // STEP_MS * STEP_MS
        self._sent_s = time.monotonic()
        self._random = np.random.default_rng(7)

    async def send(self, running: Running, rows: int, flow: float) -> None:
        """Rows of a flow and a pressure of 4, each +- 0.1."""
        signals = running.daemon.runtime.plant.assets[self.asset].signals
        before_s, self._sent_s = self._sent_s, time.monotonic()
        self._next_ms += math.ceil((self._sent_s - before_s) * 1000 / STEP_MS) * STEP_MS
        time_us = np.repeat((self._next_ms + STEP_MS * np.arange(rows)) * 1000, 2)
        self._next_ms += STEP_MS * rows
        index = [signals["flow"].index, signals["pressure"].index] * rows
        value = self._random.normal([flow, 4.0], 0.1, (rows, 2)).ravel()
        running.daemon.runtime.intake.append(columns(index, time_us, value))
        await until(lambda: len(running.daemon.runtime.intake) == 0, "the rows")
        async with running.daemon.parts.loop.turning:  # the turn that took them has ended
            pass


async def learned(running: Running, pump: Pump, flow: float) -> Model:
    """Send healthy rows until something was learned from them; gives it."""
    daemon = running.daemon
    before = {model.sha256 for model in daemon.runtime.pipeline.deployments.models()}
    await pump.send(running, LEARNED_ROWS, flow)
    await until(
        lambda: {m.sha256 for m in daemon.runtime.pipeline.deployments.models()} - before,
        "learned",
        60,
    )
    await until(lambda: pump.asset not in daemon.runtime.models.without, "at work")
    (model,) = (m for m in daemon.runtime.pipeline.deployments.models() if m.sha256 not in before)
    return model


async def again(running: Running, path: Path, *words: str) -> int:
    """`edge-agent learn --again` from another process's point of view."""
    command = ["learn", "-c", str(path), "--again", "--url", running.url, "--by", "anna", *words]
    return await asyncio.to_thread(main, command)


def states(running: Running) -> dict[str, str]:
    """Of the alarms that are not normal."""
    return {alarm: state for alarm, state in running.states().items() if state != "normal"}


def last_scored(running: Running, model: str, asset: str) -> int | None:
    """The end of the last window of an asset that this model scored (us)."""
    found = {
        (str(one.model.manifest.name), mine.id): int(one.scored_us[row])
        for one in running.daemon.runtime.pipeline.deployments
        for row, mine in enumerate(one.assets)
    }
    return found.get((model, asset))


async def test_after_an_overhaul_one_command_learns_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The old baseline and its alarm are void at once, over a restart too, and can come back."""
    path, pump = write_config(tmp_path), Pump()
    async with Running(path) as running:
        old = await learned(running, pump, flow=10)
        name = old.manifest.name
        await pump.send(running, FAULT_ROWS, flow=13)
        await until(lambda: states(running) == {BASELINE: "unack"}, "the alarm")

        assert await again(running, path, "--asset", "P-*") == 0
        assert "P-1: learns again from now on, from 20 s of good data\n" in capsys.readouterr().out
        assert states(running) == {}, "what it rested on is void"
        assert running.daemon.runtime.models.without == {"P-1": "learning"}
        scored = running.windows(name)
        await pump.send(running, FAULT_ROWS, flow=16)
        assert running.windows(name) == scored, "the old baseline judges no more"

    async with Running(path) as running:
        assert running.daemon.runtime.models.without == {"P-1": "learning"}, "after a restart, too"
        assert states(running) == {}
        new = await learned(running, pump, flow=13)
        assert (new.manifest.name, new.sha256 != old.sha256) == (name, True)
        scored = running.windows(name)
        await pump.send(running, FAULT_ROWS, flow=13)
        await until(lambda: running.windows(name) > scored, "windows")
        assert states(running) == {}, "13 is healthy now"
        await pump.send(running, FAULT_ROWS, flow=10)
        await until(lambda: states(running) == {BASELINE: "unack"}, "10 is a fault now")
        assert [row["action"] for row in await audit(running)].count("learn") == 1

        shelf = ModelRepository(tmp_path / "models")
        assert shelf.previous(name) == old.manifest.version
        shelf.rollback(name)
        await until(
            lambda: running.daemon.runtime.pipeline.deployments.models()[0].sha256 == old.sha256,
            "the old one",
        )
        await until(lambda: states(running) == {}, "the alarm of the one that went")
        await pump.send(running, FAULT_ROWS, flow=13)
        await until(lambda: states(running) == {BASELINE: "unack"}, "13 is a fault again")


async def audit(running: Running) -> list[dict[str, Any]]:
    from edge_agent.store.store import Store  # noqa: PLC0415

    return await running.daemon.parts.publisher.store.run(Store.audit_log)


async def test_the_other_assets_of_a_bundle_go_on(tmp_path: Path) -> None:
    """One of two pumps learns anew into a bundle of its own; the other keeps the old one."""
    path = write_config(tmp_path, assets="P-{1..2}")
    one, two = Pump("P-1"), Pump("P-2")
    async with Running(path) as running:
        daemon = running.daemon
        await two.send(running, LEARNED_ROWS - 1, flow=20)
        both = await learned(running, one, flow=10)
        assert both.manifest.units == ("P-1", "P-2")
        assert await again(running, path, "--asset", "P-1") == 0
        name = both.manifest.name
        scored = running.windows(name)
        await two.send(running, FAULT_ROWS, flow=20)
        await until(lambda: running.windows(name) > scored, "windows of the other")
        alone = await learned(running, one, flow=13)
        assert alone.manifest.units == ("P-1",)
        scored_us = last_scored(running, name, "P-1")
        await one.send(running, FAULT_ROWS, flow=13)
        await until(lambda: running.windows(alone.manifest.name), "windows of its own")
        assert last_scored(running, name, "P-1") == scored_us, "not judged by both"
        assert states(running) == {}
        assert daemon.runtime.models.without == {}
    async with Running(path) as running:
        await one.send(running, FAULT_ROWS, flow=13)
        await until(lambda: running.windows(alone.manifest.name), "after a restart, too")
        assert states(running) == {}


async def test_what_is_learned_elsewhere_is_taken_up_by_itself(tmp_path: Path) -> None:
    """From a recording, with the daemon up: the alarm of the old baseline goes with it."""
    path, pump = write_config(tmp_path), Pump()
    numbers = np.random.default_rng(1).normal([13, 4], 0.1, (LEARNED_ROWS, 2))
    lines = [f"{1_767_225_600 + n / 10:.1f},{f:.4f},{p:.4f}" for n, (f, p) in enumerate(numbers)]
    (tmp_path / "healthy.csv").write_text("time,flow,pressure\n" + "\n".join(lines) + "\n")
    async with Running(path) as running:
        old = await learned(running, pump, flow=10)
        await pump.send(running, FAULT_ROWS, flow=13)
        await until(lambda: states(running) == {BASELINE: "unack"}, "the alarm")
        words = ["--asset", "P-1", "--input", str(tmp_path / "healthy.csv")]
        assert await again(running, path, *words) == 0
        await until(
            lambda: running.daemon.runtime.pipeline.deployments.models()[0].sha256 != old.sha256,
            "taken up",
        )
        await until(lambda: states(running) == {}, "void")
        await pump.send(running, FAULT_ROWS, flow=13)
        assert states(running) == {}


async def test_what_cannot_learn_again_is_said_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An asset that is not there, and a daemon that is not."""
    path = write_config(tmp_path)
    async with Running(path) as running:
        assert await again(running, path, "--asset", "P-9") == 2
        assert "the daemon has no asset 'P-9'" in capsys.readouterr().err
    assert main(["learn", "-c", str(path), "--again", "--asset", "P-1", "--url", running.url]) == 1
    assert "no answer" in capsys.readouterr().err
