"""The view of lines as a person uses it: states by keyboard, losses, shifts, without a line."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from chromium import Page, browsing
from shown_bottlenecks import ShownBottlenecks
from shown_lines import ShownLines
from status_support import TOKEN, ListStatus, commanding, serving

from edge_agent.clock import SystemClock
from edge_agent.config.types import Secret
from edge_agent.service.bottleneck_api import bottleneck_routes
from edge_agent.service.lines_api import LinesApi

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.integration]

LANES = "document.querySelectorAll('.lane').length"
LOSSES = "[...document.querySelectorAll('.losses tbody tr')].map((one) => one.innerText)"


@asynccontextmanager
async def viewing(folder: Path, *flags: str) -> AsyncIterator[Page]:
    routes = LinesApi(ShownLines(), SystemClock()).routes()
    routes += bottleneck_routes(ShownBottlenecks())
    token = Secret(env="EDGE_AGENT_TEST_TOKEN")
    async with (
        serving(ListStatus(), routes=routes, token=token) as server,
        browsing(folder, f"http://127.0.0.1:{server.port}/#token={TOKEN}", *flags) as page,
    ):
        await page.until("document.querySelector('#views a') !== null")
        await page.js("location.hash = '#/lines'")
        await page.until(f"{LANES} === 3 && document.querySelector('.losses tbody tr') !== null")
        yield page


async def test_machines_losses_and_shifts_of_a_line(tmp_path: Path) -> None:
    """The losses of another machine are one choice away; every rect is a stay of a known state."""
    async with viewing(tmp_path) as page:
        await page.until("document.querySelectorAll('.grid').length >= 3")
        text = await page.js("document.getElementById('view').innerText")
        assert "assembly" in text
        assert "packer" in text
        losses = await page.js(LOSSES)
        assert any("Breakdowns" in row for row in losses)
        assert any("No data (no loss)" in row for row in losses)
        before = str(losses)
        await page.js(
            "(() => { const s = document.querySelector('.line-view select');"
            " s.value = 'press'; s.onchange(); })()"
        )
        await page.until(f"String({LOSSES}) !== {before!r}")
        classes = await page.js(
            "[...new Set([...document.querySelectorAll('.lane rect[class^=state]')]"
            ".map((one) => one.getAttribute('class')))]"
        )
        assert {"state-running", "state-down", "state-unknown"} <= set(classes)
        assert page.console == []


async def test_states_are_read_by_the_keyboard(tmp_path: Path) -> None:
    """Stay by stay, with its begin and end in words."""
    async with viewing(tmp_path) as page:
        await page.js("document.querySelector('.lane-plot').focus()")
        await page.press("Home")
        said = "document.querySelector('.timeline .about').textContent"
        assert "set-up" in await page.js(said)
        await page.press("ArrowRight")
        assert "running" in await page.js(said)
        await page.press("End")
        assert "running" in await page.js(said)


async def test_without_lines_the_view_says_so(tmp_path: Path) -> None:
    async with (
        commanding(ListStatus()) as server,
        browsing(tmp_path, f"http://127.0.0.1:{server.port}/#token={TOKEN}") as page,
    ):
        await page.until("document.querySelector('#views a') !== null")
        await page.js("location.hash = '#/lines'")
        await page.until(
            "document.querySelector('#view .empty:not([hidden])')?.innerText.includes('No line')"
        )


async def test_it_fits_a_phone(tmp_path: Path) -> None:
    async with viewing(tmp_path) as page:
        size = {"width": 360, "height": 740, "deviceScaleFactor": 1}
        await page.call("Emulation.setDeviceMetricsOverride", **size, mobile=True)
        assert await page.js("document.documentElement.scrollWidth") <= 360


async def test_the_bottleneck_of_a_line(tmp_path: Path) -> None:
    """Both spans in a sentence, a row with gains for each machine, the drift with what explains."""
    async with viewing(tmp_path) as page:
        await page.until("document.querySelector('.bottleneck:not([hidden]) tbody tr') !== null")
        said = await page.js("document.querySelector('.bottleneck').innerText")
        assert "oven limits the line (confidence 91 %)." in said
        assert "Not sure: oven or press. Machines are too close to each other." in said
        assert "+18.4/h (12.1 to 24.6)" in said
        assert (
            "press: cycle 7.2 % longer (3.31 s, now 3.55 s); clamp_pressure moves with it." in said
        )
        assert page.console == []


async def test_the_bottleneck_in_german(tmp_path: Path) -> None:
    async with viewing(tmp_path, "--lang=de", "--accept-lang=de-DE,de") as page:
        await page.until("document.querySelector('.bottleneck:not([hidden]) tbody tr') !== null")
        said = await page.js("document.querySelector('.bottleneck').innerText")
        assert "oven begrenzt die Linie (Sicherheit 91 %)." in said
