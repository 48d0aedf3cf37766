"""Trends on the page of an asset: what is drawn, how it moves, what is read without seeing it."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from chromium import browsing
from status_support import TOKEN, commanding, plant_of

from edge_agent.clock import SystemClock
from edge_agent.service.trend_api import TrendApi
from edge_agent.trends import BAD, REPLAYED, UNCERTAIN, Trends, rows_of

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.integration]

ASSET = "P-042"
STRIP = "[...document.querySelectorAll('.strip')]"


def trends_of(folder: Path, now_s: int) -> Trends:
    """Four hours of a temperature with a gap, bad and replayed values, and of a score."""
    trends = Trends(folder / "plant.trends", 64 << 20)
    trends.tend(now_s, 0.0)
    time_s = np.arange(now_s - 4 * 3600, now_s, 10)
    ago_s = now_s - time_s
    marks = np.zeros(len(time_s), np.uint8)
    marks[(ago_s > 600) & (ago_s < 900)] = BAD
    marks[(ago_s > 1200) & (ago_s < 1500)] = REPLAYED
    marks[(ago_s > 1800) & (ago_s < 2000)] = UNCERTAIN
    there = ~((ago_s > 2400) & (ago_s < 2900))
    wave = 61 + 3 * np.sin(time_s / 400) + np.random.default_rng(0).normal(0, 0.3, len(time_s))
    for kind, name, value in (
        ("input", "temp_de", wave),
        ("input", "flow", 118 + 0 * wave),
        ("score", "pump-vibration", np.where(ago_s < 1700, 1.3, 0.4) + 0.02 * (wave - 61)),
        ("limit", "pump-vibration", 1.0 + 0 * wave),
        ("contribution", "temp_de", wave / 100),
    ):
        series = np.full(there.sum(), trends.number(ASSET, kind, name), np.int32)
        mine = marks[there] if name == "temp_de" else np.zeros(there.sum(), np.uint8)
        given = value[there]
        trends.add(rows_of(series, time_s[there], given, good=mine == 0, marks=mine))
    return trends


def transitions(now_s: int) -> list[dict[str, Any]]:
    about = {"alarm_id": f"{ASSET}.pump", "asset": ASSET, "alarm": {"severity": 700}}
    return [{**about, "transition": "raise", "at_ms": (now_s - 1700) * 1000, "row": 1}]


def api_of(folder: Path) -> TrendApi:
    now_s = int(time.time())
    past = transitions(now_s)
    history = lambda *_: asyncio.sleep(0, list(past))  # noqa: E731
    units = lambda asset: {"temp_de": "°C", "flow": "m³/h"} if asset == ASSET else None  # noqa: E731
    return TrendApi(trends_of(folder, now_s), units, history, SystemClock(), asyncio.Semaphore(2))


async def test_the_trends_of_an_asset(tmp_path: Path) -> None:
    """Drawn with gap, quality, replay and alarm; moved by keys and buttons; readable as a table."""
    routes = api_of(tmp_path).routes()
    async with (
        commanding(plant_of(50), routes=routes) as server,
        browsing(tmp_path / "chromium", f"http://127.0.0.1:{server.port}/#token={TOKEN}") as page,
    ):
        await page.until("document.querySelectorAll('.asset').length > 0")
        await page.js(f"location.hash = '#/asset/{ASSET}'")
        await page.until(f"{STRIP}.length === 4")
        names = await page.js(f"{STRIP}.map((one) => one.querySelector('.name').innerText)")
        assert names == [
            "score pump-vibration",
            "temp_de",
            "flow",
            "Contributions to the score: temp_de",
        ]
        drawn = f"(n, kind) => {STRIP}[n].querySelectorAll('svg .' + kind).length"
        for strip, kind, n in (
            (0, "limit", 2),
            (0, "raised", 1),
            (1, "gap", 1),
            (1, "bad", 1),
            (1, "uncertain", 1),
            (1, "replayed", 1),
            (2, "bad", 0),
        ):
            assert await page.js(f"({drawn})({strip}, '{kind}')") == n, (strip, kind)
        assert "118 m³/h" in await page.js(f"{STRIP}[2].innerText")

        about = "document.querySelector('.about').innerText"
        before = await page.js(about)
        assert "step 10 s" in before
        await page.js("document.querySelector('.plots').focus()")
        await page.press("ArrowLeft")
        await page.until(f"{about} !== {before!r} && {about}.includes('step')")
        await page.press("Home")
        await page.js("document.querySelectorAll('.spans button')[1].click()")
        await page.until(f"{about}.includes('step 1 min') || {about}.includes('step 2 min')")

        await page.js("document.querySelector('.trends details').open = true")
        await page.until("document.querySelectorAll('.trends tbody tr').length > 50")
        heads = await page.js("document.querySelector('.trends thead').innerText")
        assert heads.split("\t")[:3] == ["time", "temp_de (°C)", "flow (m³/h)"]
        cells = await page.js("document.querySelector('.trends tbody').innerText")
        assert "(bad)" in cells
        assert "(came late)" in cells
        assert page.console == []


async def test_without_trends_the_rest_of_the_page_is_there(tmp_path: Path) -> None:
    """A gateway that keeps none answers 404, and the page says so."""
    async with (
        commanding(plant_of(50)) as server,
        browsing(tmp_path / "chromium", f"http://127.0.0.1:{server.port}/#token={TOKEN}") as page,
    ):
        await page.until("document.querySelectorAll('.asset').length > 0")
        await page.js(f"location.hash = '#/asset/{ASSET}'")
        await page.until("document.querySelector('.about')?.innerText.includes('keeps no trends')")
        assert await page.js("document.querySelectorAll('.why li').length") > 0
