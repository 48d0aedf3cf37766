"""The end of a life, told to the running daemon, and what it keeps of it over a restart."""

from __future__ import annotations

import asyncio
import urllib.request
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

import insight_models
import numpy as np
import pytest
from daemon_support import Running, fed_config, now_ms
from support import until

from edge_agent.cli import main
from edge_agent.values import columns

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

HOUR_MS = 3_600_000


def write_config(folder: Path) -> Path:
    """Two turbines whose remaining life is their flow, in hours."""
    insight_models.hours(folder / "models")
    struct = {
        "signals": {name: {"stale_after": "10d"} for name in insight_models.NAMES},
        "models": [{"bundle": "hours"}],
    }
    return fed_config(folder, ("turbine", struct), "T-{1..2}")


async def tell(running: Running, asset: str, begin_ms: int, hours: list[float]) -> None:
    """One prediction an hour."""
    daemon = running.daemon
    signals = [
        daemon.runtime.plant.assets[asset].signals[name].index for name in insight_models.NAMES
    ]
    for number, left in enumerate(hours):
        at_us = (begin_ms + number * HOUR_MS) * 1000
        time_us = np.repeat(at_us + 1_000_000 * np.arange(3), 3).tolist()
        wanted = running.windows("hours") + 1
        daemon.runtime.intake.append(columns(signals * 3, time_us, [left, 4.0, 20.0] * 3))
        await until(partial(_has_windows, running, wanted), "a window")


def _has_windows(running: Running, wanted: int) -> bool:
    return running.windows("hours") >= wanted


async def report(path: Path, running: Running, *words: str) -> int:
    kind, *more = words
    command = ["assets", kind, "-c", str(path), "--url", running.url, "--by", "anna", *more]
    return await asyncio.to_thread(main, command)


async def scraped(running: Running) -> str:
    def get() -> str:
        with urllib.request.urlopen(f"{running.url}/metrics") as answer:  # noqa: S310
            return str(answer.read().decode())

    return await asyncio.to_thread(get)


def iso(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat()


async def test_a_failure_teaches_the_interval_and_outlives_a_restart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """100 h were told of it and it failed after 10: from then on p10 is lower, for all turbines."""
    path = write_config(tmp_path)
    begin_ms = now_ms() - 20 * HOUR_MS
    async with Running(path) as running:
        await tell(running, "T-1", begin_ms, [100.0] * 3)
        await tell(running, "T-2", begin_ms, [100.0] * 2)
    async with Running(path) as running:  # what was told is known, though nothing is told again
        end = iso(begin_ms + 10 * HOUR_MS)
        assert await report(path, running, "failed", "T-1", "--at", end) == 0
        assert "T-1: hours 1: 3 predictions, 0% of them contained" in capsys.readouterr().out
    async with Running(path) as running:
        await tell(running, "T-2", begin_ms + 11 * HOUR_MS, [100.0])
        text = await scraped(running)
        assert 'edge_agent_rul_coverage{model="hours"} 0.0' in text
        assert 'edge_agent_rul_lives{model="hours"} 1.0' in text
        name = 'edge_agent_remaining_life_seconds{asset="T-2",model="hours",p="0.1"} '
        (line,) = [line for line in text.splitlines() if line.startswith(name)]
        assert float(line.removeprefix(name)) < 3600 * 88.5, "90 h by the model alone"


async def test_an_overhaul_begins_a_new_life(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And what is not so is refused in one line."""
    path = write_config(tmp_path)
    begin_ms = now_ms() - 20 * HOUR_MS
    async with Running(path) as running:
        await tell(running, "T-1", begin_ms, [100.0] * 3)
        assert await report(path, running, "overhauled", "T-1") == 0
        assert "the time of failure is unknown" in capsys.readouterr().out
        for words, says in (
            (("T-1",), "there was no prediction for it until then"),
            (("T-9",), "no such asset"),
            (("T-1", "--at", iso(now_ms() + HOUR_MS)), "a time in the future"),
            (("T-1", "--at", "yesterday"), "is not a time such as"),
        ):
            assert await report(path, running, "failed", *words) in {1, 2}
            assert says in capsys.readouterr().err
