"""The view of the maintenance plan as a person uses it, in a browser."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from chromium import browsing
from plan_support import shown_plan
from status_support import TOKEN, commanding, plant_of

from edge_agent.service import plan_api

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from chromium import Page

pytestmark = [pytest.mark.slow, pytest.mark.integration]

ROWS = "document.querySelectorAll('.plan-lines tbody tr').length"


@asynccontextmanager
async def viewing(folder: Path, plan: dict[str, Any] | None, *flags: str) -> AsyncIterator[Page]:
    routes = plan_api.plan_routes(lambda: plan, "en")
    async with (
        commanding(plant_of(50), routes=routes) as server,
        browsing(folder, f"http://127.0.0.1:{server.port}/#token={TOKEN}", *flags) as page,
    ):
        await page.until("document.querySelector('#view > *') !== null")
        await page.js("location.hash = '#/plan'")
        yield page


async def test_the_plan_is_a_ranked_table_and_a_drawing(tmp_path: Path) -> None:
    """Reasons open by the keyboard; each job is drawn in its stop, also with its words."""
    plan = shown_plan()
    async with viewing(tmp_path, plan) as page:
        await page.until(f"{ROWS} === {len(plan['lines'])}")
        first = await page.text(".plan-lines tbody tr")
        for part in (plan["lines"][0]["asset"], plan["lines"][0]["what"]["en"]):
            assert part in first
        placed = [one for one in plan["lines"] if one["start_ms"] is not None]
        assert await page.js("document.querySelectorAll('.gantt .job').length") == len(placed)
        assert await page.js("document.querySelectorAll('.gantt .job.late').length") == 1
        title = await page.js("document.querySelector('.gantt .job title').textContent")
        assert ", " in title
        await page.js("document.querySelector('.plan-lines summary').focus()")
        assert not await page.js("document.querySelector('.plan-lines details').open")
        await page.press("Enter", "\r")
        assert await page.js("document.querySelector('.plan-lines details').open")
        assert plan["lines"][0]["why"]["en"][:40] in await page.text(".plan-why")
        assert "No longer needed: P-9:imbalance" in await page.text("#view")
        assert page.console == []


async def test_it_speaks_german_and_fits_a_phone(tmp_path: Path) -> None:
    async with viewing(tmp_path, shown_plan(), "--lang=de", "--accept-lang=de-DE,de") as page:
        await page.until(f"{ROWS} > 3")
        words = await page.text("#view")
        assert "Wartungsplan" in words
        assert "Lagerverschleiß" in words
        size: dict[str, Any] = {"width": 360, "height": 740, "deviceScaleFactor": 1}
        await page.call("Emulation.setDeviceMetricsOverride", **size, mobile=True)
        assert await page.js("document.documentElement.scrollWidth") <= 360


async def test_without_a_plan_it_says_so(tmp_path: Path) -> None:
    async with viewing(tmp_path, None) as page:
        await page.until("document.querySelector('#view .empty:not([hidden])') !== null")
        assert "There is no plan" in await page.text("#view .empty")


async def test_markup_in_a_plan_is_inert(tmp_path: Path) -> None:
    evil = "<img src=x onerror=\"document.title='owned'\">"
    plan = dict(shown_plan())
    line = next(one for one in plan["lines"] if one["stop"])
    stop = {**line["stop"], "name": evil}
    bad = {**line, "asset": evil, "crew": evil, "what": {"en": evil}, "why": {"en": evil}}
    plan |= {"lines": [{**bad, "stop": stop}], "notes": [evil], "currency": evil}
    async with viewing(tmp_path, plan) as page:
        await page.until(f"{ROWS} === 1")
        assert await page.js("document.querySelectorAll('main img').length") == 0
        assert "owned" not in str(await page.js("document.title"))
