"""The page of /openapi.json, in a real browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from chromium import browsing
from status_support import plant_of, serving

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.integration]


async def test_every_route_is_shown(tmp_path: Path) -> None:
    """Without any other host, and within the Content Security Policy."""
    async with (
        serving(plant_of(50)) as server,
        browsing(tmp_path, f"http://127.0.0.1:{server.port}/openapi") as page,
    ):
        await page.until("document.querySelectorAll('details').length > 10")
        shown = await page.text("#routes")
        assert "GET /api/alarms" in shown
        assert "scope: command" in shown
        assert page.console == []
