"""The view of process quality: what is drawn, what is readable, what it commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from chromium import browsing
from quality_support import ASSET, ShownQuality
from status_support import TOKEN, commanding, plant_of

from edge_agent.service.quality_api import quality_routes

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.integration]


async def test_a_control_chart_is_drawn_read_as_a_table_and_commanded(tmp_path: Path) -> None:
    """Limits, zones, specification, phase I, a mark for each violation; by keyboard, too."""
    quality = ShownQuality()
    async with (
        commanding(plant_of(50), routes=quality_routes(quality)) as server,
        browsing(tmp_path, f"http://127.0.0.1:{server.port}/#token={TOKEN}") as page,
    ):
        await page.until("document.querySelectorAll('.asset').length > 0")
        await page.js("location.hash = '#/quality'")
        worst = "document.querySelector('.stack > section:first-child tr.abnormal')"
        await page.until(f"{worst}?.innerText.includes('out of control')")
        await page.js("document.querySelector('.grid a').focus()")
        await page.press("Enter", "\r")
        await page.until("document.querySelectorAll('.control-chart .dot').length > 100")
        await page.until("document.querySelector('.control-chart .specified') !== null")
        await page.until("document.querySelector('.facts-list')?.innerText.includes('Cpk')")
        rows = await quality.points(ASSET, "bore", "")
        out = sum(any(rule != "spread" for rule in row["rules"]) for row in rows)
        first = "document.querySelector('.control-chart .strip')"
        for kind, n in (
            *(("dot", 60), ("violation", out), ("limit", 2), ("zone", 4), ("center", 1)),
            *(("specified", 2), ("phase-one", 1)),
        ):
            count = f"{first}.querySelectorAll('.{kind}').length"
            assert await page.js(count) == n, kind
        assert out >= 1
        facts = await page.text(".facts-list")
        assert "Cpk" in facts
        assert "9.9 \u2013 10.1" in facts
        last = "document.querySelector('.stack > section:last-child')"
        await page.until(f"{last}?.innerText.includes('PRESS-1 4299')")
        parts = await page.text(".stack > section:last-child")
        assert "top: defect" in parts
        assert "force 90" in parts
        await page.js("document.querySelector('details').open = true")
        await page.until("document.querySelectorAll('details tbody tr').length === 50")
        await page.js("operator.value = 'Lena'")
        await page.js("document.querySelector('.actions-line button').click()")
        await page.until("document.querySelector('[role=status]').innerText === 'Done.'")
        assert quality.commanded == [(ASSET, "bore", False, "Lena", "")]
        assert page.console == []
        await page.js("URL.createObjectURL = (blob) => { window.saved = blob; return '#'; }; 0")
        await page.js("document.querySelector('.stack > section:last-child h2 button').click()")
        await page.until("window.saved !== undefined")
        saved = await page.js("window.saved.text()")
        assert saved.startswith("at_ms,asset,part,product,verdict,measurements.bore")


async def test_without_charts_the_view_says_so(tmp_path: Path) -> None:
    async with (
        commanding(plant_of(50)) as server,
        browsing(tmp_path, f"http://127.0.0.1:{server.port}/#token={TOKEN}") as page,
    ):
        await page.until("document.querySelectorAll('.asset').length > 0")
        await page.js("location.hash = '#/quality'")
        await page.until("document.querySelector('#view .empty:not([hidden])') !== null")
        assert "control_charts" in await page.text("#view")
