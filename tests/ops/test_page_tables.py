"""The dense views of the status page in a real browser: alarms, plant, history, audit, wall."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from chromium import browsing
from page_pictures import FOLDER, OUTLINES, PICTURES, Picture, outline_of, shown_plant
from status_support import TOKEN, ListStatus, alarm_row, asset_row, commanding

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from chromium import Page

pytestmark = [pytest.mark.slow, pytest.mark.integration]

ROW = ".virtual [role=row]"
COUNT = f"document.querySelectorAll('{ROW}').length"
FOCUSED = "document.activeElement.dataset.alarm ?? document.activeElement.dataset.node"


@asynccontextmanager
async def viewing(folder: Path, status: ListStatus, path: str, *flags: str) -> AsyncIterator[Page]:
    """A view, opened by somebody who may command."""
    async with (
        commanding(status) as server,
        browsing(folder, f"http://127.0.0.1:{server.port}/#token={TOKEN}", *flags) as page,
    ):
        await page.until("document.querySelector('#view > *') !== null")
        await page.call("Page.navigate", url="about:blank")  # else only the hash would change
        await page.call("Page.navigate", url=f"http://127.0.0.1:{server.port}{path}")
        yield page


def big_plant(assets: int, alarms: int) -> ListStatus:
    """`alarms` of one outage, in a plant of 10 lines."""
    rows = [
        asset_row(f"M-{n:04}", path=f"acme/x/area{n % 2}/line{n % 10}/M-{n:04}")
        for n in range(assets)
    ]
    found = []
    for row in rows[:alarms]:
        row |= {"alarms": 1, "state": "alarm"}
        message = {"en": f"{row['id']}: no values from plc1"}
        detail: dict[str, Any] = {"contributors": [], "model": None}
        detail["message_key"] = "source_lost"
        found.append(alarm_row(f"{row['id']}.quality", message=message, detail=detail))
    return ListStatus(rows, found)


async def test_many_alarms_are_acknowledged_and_shelved_with_one_comment(tmp_path: Path) -> None:
    """All of one cause, in requests that fit; what was done is said."""
    status = big_plant(300, 120)
    status.alarm_rows.append(alarm_row("M-0200.model", state="acked"))
    async with viewing(tmp_path, status, "/#/alarms") as page:
        await page.until(f"{COUNT} > 5")
        assert await page.js(COUNT) < 60, "only what is in sight is an element"
        await page.js("group.value = 'cause'; group.onchange()")
        head = "document.querySelector('[data-group=source_lost] input')"
        await page.until(f"{head} !== null")
        await page.js(f"{head}.click()")
        assert await page.text("#selected-count") == "120 selected"
        await page.js("document.getElementById('bulk-ack').click()")
        await page.until("document.getElementById('bulk-said').textContent.includes('your name')")
        assert status.selected == []
        await page.js("operator.value = 'Lena'")
        await page.js("document.getElementById('bulk-comment').value = ' power cut '")
        await page.js("document.getElementById('bulk-ack').click()")
        await page.until(
            "document.getElementById('bulk-said').textContent.startsWith('120 changed')"
        )
        assert [len(wanted["ids"]) for _, wanted, *_ in status.selected] == [50, 50, 20]
        assert {(kind, who, said) for kind, _, who, _, said in status.selected} == {
            ("ack", "Lena", "power cut")
        }
        assert await page.text("#selected-count") == "0 selected"
        await page.js("document.getElementById('select-all').click()")
        menu = "document.getElementById('bulk-shelve')"
        await page.js(f"{menu}.selectedIndex = 2; {menu}.onchange()")
        await page.until(
            "document.getElementById('bulk-said').textContent.startsWith('121 changed')"
        )
        assert {(kind, seconds) for kind, _, _, seconds, _ in status.selected[3:]} == {
            ("shelve", 3600)
        }
        assert page.console == []


async def test_what_is_done_and_what_is_said_are_commands_of_the_table(tmp_path: Path) -> None:
    """A comment alone needs its text; Confirm is for what is acknowledged and not yet confirmed."""
    status = big_plant(2, 0)
    status.alarm_rows += [
        alarm_row("M-0000.model", state="acked"),
        alarm_row("M-0001.model", state="acked", confirmed_by="Ben"),
    ]
    async with viewing(tmp_path, status, "/#/alarms") as page:
        await page.until("document.querySelectorAll('[data-alarm]').length === 2")
        await page.js("operator.value = 'Lena'")
        await page.js("document.getElementById('select-all').click()")
        button = "document.getElementById('bulk-comment-only')"
        assert await page.js(f"{button}.disabled")
        field = "document.getElementById('bulk-comment')"
        await page.js(f"{field}.value = 'belt ordered'; {field}.oninput()")
        await page.js(f"{button}.click()")
        said = "document.getElementById('bulk-said').textContent"
        await page.until(f"{said}.startsWith('2 changed')")
        await page.js("document.getElementById('select-all').click()")
        await page.js("document.getElementById('bulk-confirm').click()")
        await page.until(f"{said}.startsWith('2 changed')")
        done = [(kind, who, text) for kind, _, who, _, text in status.selected]
        assert done == [("comment", "Lena", "belt ordered"), ("confirm", "Lena", "")]
        assert page.console == []


async def test_the_table_is_sorted_filtered_and_grouped(tmp_path: Path) -> None:
    status = shown_plant()
    first = f"document.querySelector('{ROW}').innerText"
    shown = "document.getElementById('alarms-count').textContent"
    async with viewing(tmp_path, status, "/#/alarms") as page:
        await page.until(f"{COUNT} > 5")
        assert "P-042" in await page.js(first)
        await page.js("document.getElementById('sort-asset').click()")
        assert "P-007" in await page.js(first)
        await page.js("document.getElementById('sort-asset').click()")
        assert "P-042" in await page.js(first)
        await page.js("which.value = 'parked'; which.onchange()")
        assert await page.js(shown) == "1 of 15 shown"
        await page.js("which.value = 'all'; least.value = 'medium'; least.onchange()")
        assert await page.js(shown) == "13 of 15 shown"
        filter_ = "document.getElementById('alarm-filter')"
        await page.js(f"{filter_}.value = 'P-013'; {filter_}.oninput()")
        assert await page.js(shown) == "1 of 15 shown"
        await page.js(f"{filter_}.value = 'nothing'; {filter_}.oninput()")
        assert await page.js(COUNT) == 0
        await page.js(
            f"{filter_}.value = ''; least.value = ''; group.value = 'asset'; group.onchange()"
        )
        await page.until("document.querySelector('[data-group=\"P-042\"]') !== null")


async def test_the_table_is_used_by_the_keyboard_alone(tmp_path: Path) -> None:
    """One stop for Tab; arrows, Home, End lead on; Space selects; details follow the focus."""
    status = big_plant(300, 200)
    async with viewing(tmp_path, status, "/#/alarms") as page:
        await page.until(f"{COUNT} > 5")
        await page.js("document.getElementById('sort-asset').click()")
        assert await page.js(f"document.querySelectorAll('{ROW}[tabindex=\"0\"]').length") == 1
        await page.js("document.getElementById('sort-count').focus()")
        await page.press("Tab")
        assert await page.js(FOCUSED) == "M-0000.quality"
        await page.press("ArrowDown")
        assert await page.js(FOCUSED) == "M-0001.quality"
        await page.press(" ")
        assert await page.text("#selected-count") == "1 selected"
        await page.press("End")
        assert await page.js(FOCUSED) == "M-0199.quality"
        await page.until(
            "document.querySelector('.details .message').textContent.includes('M-0199')"
        )
        outline = "getComputedStyle(document.activeElement).outlineStyle"
        assert await page.js(outline) == "solid"
        await page.press("Home")
        assert await page.js(FOCUSED) == "M-0000.quality"
        assert page.console == []


async def test_the_details_say_what_to_check_and_mend(tmp_path: Path) -> None:
    """By priority, with how safe it is, and what was written last time; all of it as text."""
    status = big_plant(300, 2)
    steps = [{"priority": 1, "text": {"en": "Replace <b>it</b>."}, "safety": "lockout"}]
    first = status.alarm_rows[0]["alarm_id"]
    status.guidance_rows[first] = {"cause": [], "check": [], "mend": steps}
    status.last_time = {"at_ms": 0, "by": "Lena", "action": "ack", "comment": "seal was worn"}
    async with viewing(tmp_path, status, "/#/alarms") as page:
        await page.until(f"{COUNT} > 1")
        await page.js(f"document.querySelector('[data-alarm=\"{first}\"]').focus()")
        await page.until("document.querySelector('.guidance li') !== null")
        words = await page.text(".guidance")
        assert "Replace <b>it</b>. (stopped and locked out)" in words
        assert "Lena · seal was worn" in words
        assert "Possible causes" not in words
        assert page.console == []


async def test_focus_and_selection_stay_while_alarms_come_and_go(tmp_path: Path) -> None:
    status = big_plant(300, 100)
    async with viewing(tmp_path, status, "/#/alarms") as page:
        await page.until(f"{COUNT} > 5")
        await page.js("document.getElementById('sort-asset').click()")
        await page.js("document.querySelector('[data-alarm=\"M-0003.quality\"]').focus()")
        await page.press(" ")
        del status.alarm_rows[:2]
        await page.until("document.getElementById('alarms-count').textContent === '98'")
        assert await page.js(FOCUSED) == "M-0003.quality"
        assert await page.text("#selected-count") == "1 selected"
        del status.alarm_rows[:2]
        await page.until("document.getElementById('alarms-count').textContent === '96'")
        assert await page.text("#selected-count") == "0 selected", "it is gone"


async def test_the_tree_shows_areas_lines_and_assets_with_their_health(tmp_path: Path) -> None:
    """Rolled up; by keyboard it opens and closes, and leads to the asset."""
    status = big_plant(300, 0)
    status.asset_rows[7] |= {"health": 0.12, "alarms": 2, "state": "alarm"}
    line = "document.querySelector('[data-node=\"/area1/line7\"]')"
    async with viewing(tmp_path, status, "/#/plant") as page:
        await page.until(f"{line} !== null")
        words = str(await page.js(f"{line}.innerText"))
        for part in ("line7", "30 assets", "1 alarm", "12 %"):
            assert part in words
        assert await page.js(f"{line}.getAttribute('aria-level')") == "2"
        assert await page.js(f"{line}.getAttribute('aria-expanded')") == "false"
        await page.js(f"{line}.focus()")
        await page.press("ArrowRight")
        assert await page.js(f"{line}.getAttribute('aria-expanded')") == "true"
        await page.press("ArrowRight")
        assert await page.js(FOCUSED) == "asset M-0007"
        await page.press("ArrowLeft")
        assert await page.js(FOCUSED) == "/area1/line7"
        await page.js("document.getElementById('plant-abnormal').click()")
        await page.until("document.getElementById('plant-count').textContent === '1'")
        await page.js("document.querySelector('[data-node=\"asset M-0007\"]').focus()")
        await page.press("Enter", "\r")
        await page.until("document.body.dataset.view === 'asset'")
        await page.until("document.querySelector('.asset')?.dataset.asset === 'M-0007'")
        known = [line for line in page.console if "404" not in line]  # no trends in this server
        assert known == []


async def test_history_and_audit_are_read_with_filters_and_page_by_page(tmp_path: Path) -> None:
    status = shown_plant()
    async with viewing(tmp_path, status, "/#/history/P-042") as page:
        await page.until("document.querySelectorAll('.records tbody tr').length === 3")
        assert status.asked[-1][:2] == ("P-042", None)
        assert "acknowledged" in await page.text(".records")
        await page.js("document.getElementById('older').click()")
        await page.until("document.querySelectorAll('.records tbody tr').length === 6")
        assert status.asked[-1][2] == 2, "what is older than the last row"
        await page.js("location.hash = '#/audit'")
        await page.until("document.getElementById('by-by') !== null")
        await page.until("document.querySelector('.records').innerText.includes('Lena')")
        await page.js("document.getElementById('by-by').value = 'Lena'")
        await page.js("document.querySelector('.tools button').click()")
        for _ in range(100):
            if status.audited[-1][0].actor == "Lena":
                break
            await page.js("new Promise((done) => setTimeout(done, 50))")
        assert status.audited[-1][0].actor == "Lena"
        assert page.console == []


async def test_a_change_comes_to_the_wall_by_itself(tmp_path: Path) -> None:
    """The lines that need it first; on a 4K screen the letters are large, and all fits."""
    status = shown_plant()
    async with viewing(tmp_path, status, "/wall") as page:
        size: dict[str, Any] = {"width": 3840, "height": 2160, "deviceScaleFactor": 1}
        await page.call("Emulation.setDeviceMetricsOverride", **size, mobile=False)
        await page.until("document.querySelectorAll('.wall-tile').length === 4")
        assert await page.js("parseFloat(getComputedStyle(document.body).fontSize)") > 30
        assert await page.js("document.documentElement.scrollWidth") <= 3840
        assert await page.js("document.querySelector('header').offsetParent === null")
        status.alarm_rows.append(alarm_row("P-001.model", severity=950, priority="critical"))
        first = "document.querySelector('.wall-alarm').textContent"
        await page.until(f"{first}.includes('P-001')")
        assert page.console == []


async def test_times_and_numbers_have_the_forms_of_the_browser(tmp_path: Path) -> None:
    status = shown_plant()
    status.asset_rows[0]["inputs"][0]["value"] = 1234.5
    flags = ("--lang=de", "--accept-lang=de-DE,de")
    async with viewing(tmp_path, status, "/#/history", *flags) as page:
        await page.until("document.querySelectorAll('.records tbody tr').length === 3")
        assert await page.js(
            "document.querySelector('.records time').textContent.slice(0, 10)"
        ) in {
            "01.01.2026",
            "31.12.2025",
        }
        await page.js("location.hash = '#/asset/P-001'")
        await page.until("document.querySelector('.inputs')?.textContent.includes('1.23')")
        assert "1.235 mm/s" in await page.text(".inputs"), (
            "four digits, with the point of thousands"
        )


@pytest.mark.parametrize("path", ["/#/alarms", "/#/plant", "/#/history"])
async def test_dense_views_fit_a_phone(path: str, tmp_path: Path) -> None:
    async with viewing(tmp_path, shown_plant(), path) as page:
        size: dict[str, Any] = {"width": 360, "height": 740, "deviceScaleFactor": 1}
        await page.call("Emulation.setDeviceMetricsOverride", **size, mobile=True)
        await page.until(
            f"{COUNT} > 5 || document.querySelectorAll('.records tbody tr').length > 2"
        )
        assert await page.js("document.documentElement.scrollWidth") <= 360


async def test_markup_in_alarms_and_paths_is_inert_in_dense_views(tmp_path: Path) -> None:
    evil = "<img src=x onerror=\"document.title='owned'\">"
    asset = asset_row(evil, path=f"a/b/{evil}/{evil}/c", note=evil, state=evil, alarms=1)
    detail: dict[str, Any] = {"contributors": [], "model": None, "message_key": evil}
    detail["failure_mode"] = "__proto__"
    alarm = alarm_row("P-1.model", asset=evil, message={"en": evil}, detail=detail, state=evil)
    status = ListStatus([asset], [alarm | {"priority": "__proto__", "acked_by": evil}])
    status.history_rows = [
        {"at_ms": 1, "transition": evil, "actor": evil, "asset": evil, "alarm": {"comment": evil}}
    ]
    async with viewing(tmp_path, status, "/#/alarms") as page:
        for path, where in (
            ("alarms", ROW),
            ("plant", ROW),
            ("history", ".records td"),
            ("wall", ".wall-tile"),
        ):
            await page.js(f"location.hash = '#/{path}'")
            await page.until(f"document.body.dataset.view === '{path}'")
            await page.until(f"document.querySelector('{where}') !== null")
            await page.until("document.getElementById('view').textContent.includes('<img')")
            assert await page.js("document.querySelectorAll('main img').length") == 0
        assert "owned" not in str(await page.js("document.title"))
        assert page.console == []


@pytest.mark.parametrize("picture", PICTURES, ids=lambda one: one.name)
async def test_the_pictures_of_the_docs_show_the_page_as_it_is(
    picture: Picture, tmp_path: Path
) -> None:
    """Else make them anew: `python tests/ops/page_pictures.py`."""
    known = json.loads(OUTLINES.read_text("utf-8"))
    assert (FOLDER / f"{picture.name}.png").stat().st_size > 10_000
    assert await outline_of(picture, tmp_path) == known[picture.name]
