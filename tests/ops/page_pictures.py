"""The pictures of the status page in docs/pictures, and the outline of what each one shows.

Made anew by `python tests/ops/page_pictures.py`, in the browser that is installed. A test compares
the outlines (elements, classes, words; every digit a 0), not pixels, which depend on fonts.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

ROOT: Final = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "ops")]

from camera_pages import ListCameras  # noqa: E402 (the path is set above)
from chromium import browsing  # noqa: E402
from plan_support import shown_plan_routes  # noqa: E402
from quality_support import ShownQuality  # noqa: E402
from shown_bottlenecks import ShownBottlenecks  # noqa: E402
from shown_lines import ShownLines  # noqa: E402
from status_support import (  # noqa: E402
    TOKEN,
    ListStatus,
    alarm_row,
    asset_row,
    commanding,
    link_row,
    plant_of,
)

from edge_agent.clock import SystemClock  # noqa: E402
from edge_agent.service.bottleneck_api import bottleneck_routes  # noqa: E402
from edge_agent.service.camera_api import camera_routes  # noqa: E402
from edge_agent.service.lines_api import LinesApi  # noqa: E402
from edge_agent.service.quality_api import quality_routes  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chromium import Page

    from edge_agent.ops.routes import Route

FOLDER: Final = ROOT / "docs" / "pictures"
OUTLINES: Final = FOLDER / "outlines.json"
# Elements and words of what is in sight, one a line; digits are 0, since times go on.
OUTLINE: Final = """(() => {
  const lines = [];
  const walk = (node, depth) => {
    if (!node.checkVisibility()) return;
    const own = [...node.childNodes].filter((one) => one.nodeType === 3);
    const words = own.map((one) => one.data.trim()).filter(Boolean).join(' ').replace(/\\d+/g, '0');
    lines.push(`${' '.repeat(depth)}${node.localName}.${[...node.classList].join('.')} ${words}`);
    for (const child of node.children) walk(child, depth + 1);
  };
  walk(document.getElementById('view'), 0);
  return lines;
})()"""


@dataclass(frozen=True)
class Picture:
    """A view as docs/ shows it. ready: true when all is there; flags: of the browser."""

    name: str
    path: str
    ready: str
    size: tuple[int, int] = (1280, 800)
    flags: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()


ROWS: Final = "document.querySelectorAll('.virtual [role=row]').length > 5"
WHOLE: Final = (
    "document.querySelectorAll('.asset').length === 48 &&"
    " [...document.querySelectorAll('.asset')].every((one) => one.querySelector('.input'))"
)
DARK: Final = "--blink-settings=preferredColorScheme=0"
PICTURES: Final = (
    Picture("overview", "/#/overview", WHOLE),
    Picture(
        "alarms",
        "/#/alarms",
        f"{ROWS} && document.querySelector('.details .past li')",
        steps=(
            "group.value = 'cause'; group.onchange()",
            "document.querySelector('.virtual [data-alarm]').focus()",
        ),
    ),
    Picture(
        "plant-german-dark",
        "/#/plant",
        ROWS,
        flags=("--lang=de", "--accept-lang=de-DE,de", DARK),
    ),
    Picture(
        "cameras",
        "/#/cameras/seam",
        "document.querySelectorAll('.thumb img[src]').length === 8 &&"
        " document.querySelectorAll('.layers rect').length === 1 &&"
        " document.querySelector('.layers img').naturalWidth > 100",
        size=(1280, 1000),
    ),
    Picture("phone", "/#/alarms", ROWS, size=(390, 780)),
    Picture(
        "quality",
        "/#/quality/PRESS-1/bore",
        "document.querySelectorAll('.control-chart .dot').length > 100 &&"
        " document.querySelectorAll('.facts-list dt').length > 5 &&"
        " document.querySelectorAll('.grid tbody tr').length > 40",
        size=(1280, 1100),
    ),
    Picture(
        "wall", "/wall", "document.querySelectorAll('.wall-tile').length > 3", size=(1920, 1080)
    ),
    Picture(
        "lines",
        "/#/lines",
        "document.querySelectorAll('.lane').length === 3"
        " && document.querySelectorAll('.grid-box:not([hidden])').length >= 4"
        " && document.querySelector('.bottleneck:not([hidden])')",
        size=(1280, 1500),
    ),
    Picture(
        "plan",
        "/#/plan",
        "document.querySelectorAll('.plan-lines tbody tr').length === 6"
        " && document.querySelectorAll('.gantt .job').length === 5",
        size=(1280, 900),
    ),
)


def shown_plant() -> ListStatus:
    """A plant on a bad day: two machines are worn, and one outage took a line's signals."""
    status = plant_of(48)
    places = ("intake/line1", "intake/line2", "treatment/filters", "treatment/dosing")
    for number, row in enumerate(status.asset_rows):
        row["path"] = f"acme/hamburg/{places[number // 12]}/{row['id']}"
    for row in status.asset_rows[12:24]:
        row |= {"state": "unjudged", "health": None, "alarms": 1, "note": "plc2: disconnected"}
        status.alarm_rows.append(
            alarm_row(
                f"{row['id']}.quality",
                severity=400,
                priority="medium",
                detail={"contributors": [], "model": None, "message_key": "source_lost"},
                message={
                    "en": f"{row['id']}: no values from plc2",
                    "de": f"{row['id']}: keine Werte von plc2",
                },
            )
        )
    status.asset_rows[30] = asset_row("P-031", path="acme/hamburg/treatment/filters/P-031")
    status.links.append(link_row("plc2", "opcua", "down", "timeout"))
    status.history_rows = [
        {"at_ms": 1_767_225_600_000, "transition": kind, "actor": actor, "row": row, "alarm": {}}
        for row, (kind, actor) in enumerate([("raise", ""), ("ack", "Lena"), ("raise", "")])
    ]
    return status


def shown_routes() -> list[Route]:
    """The routes that only some gateways have."""
    lines = LinesApi(ShownLines(), SystemClock()).routes()
    quality, cameras = quality_routes(ShownQuality()), camera_routes(ListCameras())
    shown = [*lines, *bottleneck_routes(ShownBottlenecks()), *quality, *cameras]
    return [*shown, *shown_plan_routes()]


async def look(page: Page, picture: Picture) -> list[str]:
    """Wait until all is there; the outline."""
    await page.until("document.querySelector('#view > *') !== null")
    for step in picture.steps:
        await page.until("document.querySelectorAll('.virtual [role=row]').length > 1")
        await page.js(f"{step}; undefined")
    await page.until(f"Boolean({picture.ready})")
    return list(await page.js(OUTLINE))


async def outline_of(picture: Picture, folder: Path, into: Path | None = None) -> list[str]:
    """The outline of a view, and its picture, if `into` is a folder."""
    width, height = picture.size
    async with (
        commanding(shown_plant(), routes=shown_routes()) as server,
        browsing(folder, f"http://127.0.0.1:{server.port}/#token={TOKEN}", *picture.flags) as page,
    ):
        await page.until("document.querySelector('#view > *') !== null")
        size: dict[str, Any] = {"width": width, "height": height, "deviceScaleFactor": 1}
        await page.call("Emulation.setDeviceMetricsOverride", **size, mobile=width < 600)
        await page.call("Page.navigate", url="about:blank")  # else only the hash would change
        await page.call("Page.navigate", url=f"http://127.0.0.1:{server.port}{picture.path}")
        outline = await look(page, picture)
        if into is not None:
            found = await page.call("Page.captureScreenshot", format="png")
            (into / f"{picture.name}.png").write_bytes(base64.b64decode(found["data"]))
    return outline


async def main(names: Sequence[str]) -> None:
    """Make pictures again, all unless some are named."""
    FOLDER.mkdir(exist_ok=True)
    outlines = json.loads(OUTLINES.read_text("utf-8")) if names else {}
    for picture in (one for one in PICTURES if not names or one.name in names):
        with tempfile.TemporaryDirectory() as folder:
            outlines[picture.name] = await outline_of(picture, Path(folder), FOLDER)
        print(picture.name)  # noqa: T201 (a script)
    OUTLINES.write_text(json.dumps(outlines, indent=0, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
