"""The page of cameras in a real browser: picture, boxes, map, the pictures before, feedback."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from camera_pages import ListCameras
from chromium import browsing
from status_support import TOKEN, alarm_row, commanding, plant_of

from edge_agent.service.camera_api import camera_routes

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.integration]

RECTS = "document.querySelectorAll('.layers rect').length"
THUMBS = "document.querySelectorAll('.thumb').length"
CAPTION = "document.querySelector('figcaption').innerText"


async def test_a_picture_is_shown_with_its_boxes_and_judged_by_the_keyboard(tmp_path: Path) -> None:
    """Arrows lead from picture to picture; what is called true names the kind of defect."""
    status = plant_of(50)
    status.alarm_rows.append(alarm_row("P-042.seam", feedback=""))
    async with (
        commanding(status, routes=camera_routes(ListCameras())) as server,
        browsing(tmp_path, f"http://127.0.0.1:{server.port}/#token={TOKEN}") as page,
    ):
        await page.until("document.querySelector('#view > *') !== null")
        await page.js("location.hash = '#/cameras/seam'")
        await page.until(f"{THUMBS} === 8 && {RECTS} === 1")
        image = "document.querySelector('.layers img')"
        await page.until(f"{image}.complete && {image}.naturalWidth > 100")
        assert "over the limit" in await page.js(CAPTION)
        assert "100 %" in await page.js(CAPTION)
        await page.js("document.querySelector('.history').focus()")
        await page.press("ArrowRight")
        await page.until(f"{RECTS} === 0")
        assert "in order" in await page.js(CAPTION)
        await page.press("Home")
        await page.until(f"{RECTS} === 1")
        await page.js("document.getElementById('show_map').click()")
        await page.until("document.querySelector('.heat').width === 28")
        await page.js("operator.value = 'Lena'")
        await page.js("document.getElementById('defect-kind').value = 'scratch'")
        await page.js("document.querySelector('.say-true').click()")
        await page.until("document.querySelector('.camera-view [role=status]').textContent !== ''")
        assert status.judged[0] | {"comment": ""} == {
            "alarm_id": "P-042.seam",
            "verdict": "true",
            "by": "Lena",
            "comment": "",
            "part": "scratch",
        }
        await page.js("location.hash = '#/cameras/press'")
        await page.until("document.querySelector('.why').innerText.includes('84 of 200')")
        assert await page.js(THUMBS) in {0, 8}
        assert page.console == []
