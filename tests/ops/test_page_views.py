"""What holds for every view of the status page, also for those that are added later."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from chromium import browsing
from status_support import TOKEN, commanding, plant_of

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.integration]

VIEWS = "import('/static/views.js').then((m) => m.VIEWS.map((one) => one.name))"
TITLES = "import('/static/views.js').then((m) => m.VIEWS.map((one) => Object.keys(one.title)))"
WORDS = """import('/static/views.js').then(({ VIEWS }) => Promise.all(VIEWS.map(async (one) => {
  const { words } = await one.load();
  return [one.name, Object.fromEntries(Object.entries(words).map(([k, v]) => [k, Object.keys(v)]))];
})))"""
LANGUAGES = {"en", "de", "zh", "ja"}


async def test_every_view_opens_from_its_address(tmp_path: Path) -> None:
    """One after the other, within the page's policy, and none leaves the last one behind."""
    async with (
        commanding(plant_of(50)) as server,
        browsing(tmp_path, f"http://127.0.0.1:{server.port}/#token={TOKEN}") as page,
    ):
        await page.until("document.querySelectorAll('.asset').length > 0")
        for name in await page.js(VIEWS):
            await page.js(f"location.hash = '#/{name}/P-042'")
            await page.until(f"document.body.dataset.view === '{name}'")
            await page.until("document.getElementById('view').children.length === 1")
        known = [line for line in page.console if "404" not in line]  # routes of the daemon alone
        assert known == []


async def test_views_have_their_words_in_every_language(tmp_path: Path) -> None:
    async with (
        commanding(plant_of(50)) as server,
        browsing(tmp_path, f"http://127.0.0.1:{server.port}/") as page,
    ):
        titles, words = await page.js(TITLES), await page.js(WORDS)
    assert all(set(title) == LANGUAGES for title in titles)
    for name, known in words:
        assert not known or set(known) == LANGUAGES, name
        assert len({tuple(sorted(keys)) for keys in known.values()}) <= 1, name


async def test_a_view_is_told_by_its_link_and_skipped_to(tmp_path: Path) -> None:
    """The link of the open view is marked; the first stop of the keyboard leads past the head."""
    async with (
        commanding(plant_of(50)) as server,
        browsing(tmp_path, f"http://127.0.0.1:{server.port}/#token={TOKEN}") as page,
    ):
        await page.until("document.querySelectorAll('.asset').length > 0")
        current = "document.querySelector('#views [aria-current]').getAttribute('href')"
        assert await page.js(current) == "#/overview"
        await page.press("Tab")
        assert await page.js("document.activeElement.id") == "skip"
        await page.press("Enter", "\r")
        assert await page.js("document.activeElement.id") == "view"
        assert await page.js("location.hash") == ""


async def test_a_view_needs_its_scope(tmp_path: Path) -> None:
    """A client without it sees no link, and the reason at the address."""
    async with (
        commanding(plant_of(50)) as server,
        browsing(tmp_path, f"http://127.0.0.1:{server.port}/") as page,
    ):
        await page.until("document.querySelectorAll('.asset').length > 0")
        asset = "m.VIEWS.find((one) => one.name === 'asset')"
        await page.js(f"import('/static/views.js').then((m) => {{ {asset}.scope = 'admin'; }})")
        await page.js("location.hash = '#/asset/P-042'")
        await page.until("document.getElementById('view').innerText.includes('scope admin')")
