"""«This is healthy», as an operator says it to a running daemon, and what is kept of it."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from daemon_support import Running
from support import until
from test_baseline_reset import BASELINE, Pump, audit, learned, states, write_config

from edge_agent.cli import main
from edge_agent.sinks import Command

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

MOVED = 11.0  # instead of 10: some spreads away


async def healthy(path: Path, running: Running, *words: str) -> int:
    """`edge-agent assets healthy` from another process's point of view."""
    command = ["assets", "healthy", "-c", str(path), "--url", running.url, "--by", "anna", *words]
    return await asyncio.to_thread(main, command)


def followed(running: Running) -> list[dict[str, Any]]:
    """What the API says of it."""
    (asset,) = running.daemon.parts.status.assets()
    rows: list[dict[str, Any]] = asset["followed"]
    return rows


def called_false(running: Running) -> int:
    """The alarms of all versions that count as false, by the API."""
    (model,) = running.daemon.parts.status.models()
    counted: int = model["all_versions"]["called_false"]
    return counted


async def alarmed(running: Running, pump: Pump) -> None:
    """Learn a pump of flow 10, and let it do something else until its alarm stands."""
    await learned(running, pump, flow=10)
    await pump.send(running, 300, flow=MOVED)
    await until(lambda: states(running) == {BASELINE: "unack"}, "the alarm")


async def is_quiet(running: Running, pump: Pump) -> bool:
    """True if the alarm is not active after some more of the same."""
    await pump.send(running, 400, flow=MOVED)
    return not running.daemon.runtime.alarms.is_active(BASELINE)


async def test_the_alarm_clears_and_all_is_kept_over_a_restart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One command; who said it and why is in the audit, how far it moved on page and metrics."""
    path, pump = write_config(tmp_path), Pump()
    async with Running(path) as running:
        await alarmed(running, pump)
        (row,) = running.daemon.parts.status.alarms(None)
        assert (row["alarm_id"], row["follows"]) == (BASELINE, True), "the page offers it"
        assert await healthy(path, running, "P-1", "--comment", "new impeller") == 0
        assert "centred on what it does now" in capsys.readouterr().out
        assert running.daemon.runtime.alarms.is_active(BASELINE), "it clears by its own rule"
        assert await is_quiet(running, pump)
        row = next(row for row in await audit(running) if row["action"] == "healthy")
        assert (row["actor"], row["subject"], row["detail"]) == ("anna", "P-1", "new impeller")
        assert called_false(running) == 1, "it was a false alarm then"
        assert await healthy(path, running, "P-1") == 0
        moved = followed(running)
        assert (moved[0]["input"], moved[0]["kind"]) == ("flow", "confirmed")
        assert abs(moved[0]["since_ms"] / 1000 - time.time()) < 3600
        running.daemon.parts.status.export()
        told = running.daemon.parts.metrics.render().decode()
        name = running.daemon.runtime.pipeline.deployments.models()[0].manifest.name
        assert f'edge_agent_baseline_followed_sigmas{{asset="P-1",model="{name}"}}' in told
    async with Running(path) as running:
        assert [one["sigmas"] for one in followed(running)] == pytest.approx(
            [one["sigmas"] for one in moved], abs=0.5
        )
        assert called_false(running) == 1, "one, although it was said twice"
        assert await is_quiet(running, pump)
        await pump.send(running, 300, flow=10)
        await until(lambda: running.daemon.runtime.alarms.is_active(BASELINE), "10 is a fault now")


async def test_a_reload_with_another_runtime_keeps_it(tmp_path: Path) -> None:
    """A changed tuning builds all anew; what the baseline has followed goes on."""
    path, pump = write_config(tmp_path), Pump()
    async with Running(path) as running:
        await alarmed(running, pump)
        assert await healthy(path, running, "P-1") == 0
        moved, before = followed(running), running.daemon.runtime
        path.write_text(path.read_text() + "\ntuning: {intake_values: 150000}\n")
        await running.daemon.parts.reloader.reload()
        assert running.daemon.runtime.pipeline is not before.pipeline
        assert moved
        assert followed(running) == moved
        assert await is_quiet(running, pump)


async def test_it_is_said_over_the_plant_bus(tmp_path: Path) -> None:
    """The topic names the asset; the answer names what was moved, or why nothing was."""
    path, pump = write_config(tmp_path), Pump()
    answers: list[dict[str, Any]] = []

    def command(asset: str, number: int) -> Command:
        (known,) = running.daemon.runtime.plant.assets.values()
        place = known.path.replace(known.id, asset)
        return Command(
            "healthy",
            alarm_id="",
            actor="ben",
            duration_s=0.0,
            id=f"c-{number}",
            place=place,
            comment="run in",
            expires_us=time.time_ns() // 1000 + 60_000_000,
            sink="bus",
            reply=lambda body: answers.append(json.loads(body)),
        )

    async with Running(path) as running:
        commands = running.daemon.parts.commands
        await commands.from_bus(command("P-1", 1))
        assert (answers[0]["ok"], answers[0]["reason"]) == (False, "refused")
        await alarmed(running, pump)
        await commands.from_bus(command("P-1", 2))
        (name,) = {m.manifest.name for m in running.daemon.runtime.pipeline.deployments.models()}
        assert answers[1] == {"id": "c-2", "ok": True, "models": [name]}
        await commands.from_bus(command("P-9", 3))
        assert len(answers) == 2, "another gateway's"
        assert await is_quiet(running, pump)
        rows = [(row["actor"], row["action"], row["subject"]) for row in await audit(running)]
        assert rows.count(("ben", "healthy", "P-1")) == 1
        assert rows.count(("ben", "refused", "P-1")) == 1


async def test_what_cannot_be_moved_is_said_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An asset that is not there, and one that has no baseline."""
    path = write_config(tmp_path)
    async with Running(path) as running:
        assert await healthy(path, running, "P-9") == 1
        assert "no such asset" in capsys.readouterr().err
        assert await healthy(path, running, "P-1") == 1
        assert "no learned baseline of this asset can be moved" in capsys.readouterr().err
