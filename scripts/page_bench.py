"""The status page of a large plant: first paint, a change on screen, and the gateway's CPU.

    scripts/page-bench                  # 5,000 assets, about two minutes
    scripts/page-bench --assets 500 --seconds 5

A daemon reads values of all assets from a broker (each every 4 s); ten alarms are raised or cleared
every second. A headless Chromium opens the page. Printed are medians and the worst: from the start
of a navigation to the first paint and to the first rows; from publishing a value over a limit to
the alarm on the screen; and the processor time of the daemon with five open pages, less that
without.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import sys
import tempfile
import threading
import time
from contextlib import AsyncExitStack
from math import inf, isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Final

import aiohttp
import psutil
import yaml
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from edge_agent.testing import DaemonProcess, Mosquitto, find_free_port

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "ops"))
from chromium import Page, browsing

if TYPE_CHECKING:
    from collections.abc import Sequence

LINES: Final = 20
EVERY_S: Final = 4.0
VIEWS: Final = ("/#/overview", "/#/alarms", "/#/plant", "/#/alarms", "/wall")
ROWS: Final = ".asset, .virtual [role=row], .wall-tile"
PAINT: Final = """(() => {
  window.firstRows = 0;
  const look = () => {
    if (document.querySelector('SELECTOR')) window.firstRows = performance.now();
    else requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
})()""".replace("SELECTOR", ROWS)
SEEN: Final = """new Promise((done) => {
  const look = () => {
    const card = document.querySelector('[data-alarm="ID"]');
    if (card) done(Date.now());
    else requestAnimationFrame(look);
  };
  look();
  setTimeout(() => done(0), 10000);
})"""


def main() -> int:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(
        prog="scripts/page-bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--assets", type=int, default=5000, help="of the plant (default 5000)")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each turn (default 20)")
    parser.add_argument("--turns", type=int, default=3, help="with and without pages (default 3)")
    parser.add_argument("--changes", type=int, default=20, help="that are timed (default 20)")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, Mosquitto(Path(folder)) as broker:
        config = write_config(Path(folder), broker.url, asked.assets)
        with DaemonProcess(config) as daemon:
            feed = Feed(broker.port, asked.assets)
            feed.start()
            asyncio.run(measure(daemon, feed, Path(folder) / "profile", asked))
            feed.stop()
    return 0


def write_config(folder: Path, url: str, assets: int) -> Path:
    """A plant of LINES lines, each asset with a limit on its temperature."""
    limit = {"high": {"limit": 80, "on_delay": 0, "off_delay": 0}}
    config = {
        "gateway": {"id": "bench"},
        "models_dir": str(folder / "models"),
        "store": {"path": str(folder / "store.db")},
        "http": {"port": find_free_port()},
        "sources": {
            "plant": {
                "type": "mqtt",
                "url": url,
                "subscribe": [{"topic": "plant/{asset}/{signal}"}],
            }
        },
        "sinks": {"bus": {"type": "mqtt", "url": url}},
        "templates": {
            "machine": {
                "signals": {"temp": {"unit": "°C", "limits": limit}, "flow": {}},
                "models": [],
            }
        },
        "assets": {
            f"L{line}-{{1..{assets // LINES}}}": {
                "template": "machine",
                "area": f"area{line % 4}",
                "line": f"line{line}",
            }
            for line in range(LINES)
        },
    }
    path = folder / "edge-agent.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


class Feed(threading.Thread):
    """Publishes values of all assets in turn, and raises and clears ten alarms a second."""

    def __init__(self, port: int, assets: int) -> None:
        super().__init__(daemon=True)
        self.ids = [f"L{n % LINES}-{n // LINES + 1}" for n in range(assets)]
        self.is_stopped = False
        self._client = Client(CallbackAPIVersion.VERSION2)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def publish(self, asset: str, temp: float) -> None:
        """Publish a value of now."""
        self._client.publish(f"plant/{asset}/temp", f"{temp:.2f}")

    def run(self) -> None:
        """In steps of 0.1 s."""
        steps, at, hot = round(EVERY_S * 10), 0, self.ids[-50:]
        calm = self.ids[: -(50 + 100)]  # the last are left to the alarms and to timed changes
        numbers = random.Random(1)  # noqa: S311 (values)
        while not self.is_stopped:
            begun_s = time.monotonic()
            for asset in calm[at % steps :: steps]:
                self.publish(asset, numbers.gauss(50, 2))
            self.publish(hot[at % len(hot)], 90.0 if at // len(hot) % 2 else 40.0)
            at += 1
            time.sleep(max(0.0, 0.1 - (time.monotonic() - begun_s)))

    def stop(self) -> None:
        """End it."""
        self.is_stopped = True
        self.join()
        self._client.loop_stop()


async def measure(
    daemon: DaemonProcess, feed: Feed, profile: Path, asked: argparse.Namespace
) -> None:
    """Print each figure as soon as it is there."""
    await asyncio.sleep(2 * EVERY_S)
    process = psutil.Process(daemon.process.pid)
    async with browsing(profile, "about:blank") as first:
        await first_paints(first, daemon.url)
        await changes(first, daemon.url, feed, asked.changes)
        await first.call("Page.navigate", url="about:blank")
        ratios = []
        for _ in range(asked.turns):
            without = await cpu_share(process, asked.seconds)
            async with AsyncExitStack() as stack:
                for view in VIEWS:
                    await open_page(stack, profile, daemon.url + view)
                await asyncio.sleep(3)
                ratios.append((without, await cpu_share(process, asked.seconds)))
    for without, with_pages in ratios:
        print(f"CPU without pages {without:.1f} %, with five {with_pages:.1f} % of a core")
    more = [with_pages - without for without, with_pages in ratios]
    print(
        f"CPU of five pages: median {statistics.median(more):.1f} % of a core, most {max(more):.1f}"
    )


async def open_page(stack: AsyncExitStack, profile: Path, url: str) -> Page:
    """Another tab of the browser, which is seen as well."""
    port = (profile / "DevToolsActivePort").read_text().splitlines()[0]
    session = await stack.enter_async_context(aiohttp.ClientSession())
    async with session.put(f"http://127.0.0.1:{port}/json/new?about:blank") as answer:
        target = json.loads(await answer.text())
    socket = await session.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=64 << 20)
    page = Page(socket)
    await page.call("Page.enable")
    await page.call("Emulation.setFocusEmulationEnabled", enabled=True)
    await page.call("Page.navigate", url=url)
    await page.until(f"document.querySelector('{ROWS}') !== null")
    assert await page.js("document.visibilityState") == "visible"  # noqa: S101 (else it rests)
    close = f"http://127.0.0.1:{port}/json/close/{target['id']}"
    stack.push_async_callback(_close, close)
    return page


async def _close(url: str) -> None:
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        await answer.read()


async def cpu_share(process: psutil.Process, seconds: float) -> float:
    """Processor time of the daemon and its children, in percent of a core."""

    def used_s() -> float:
        family = [process, *process.children(recursive=True)]
        return float(sum(sum(one.cpu_times()[:2]) for one in family))

    before, begun_s = used_s(), time.monotonic()
    await asyncio.sleep(seconds)
    return 100 * (used_s() - before) / (time.monotonic() - begun_s)


async def first_paints(page: Page, url: str) -> None:
    """From the start of the navigation, without anything in the browser's memory."""
    await page.call("Page.enable")
    script = await page.call("Page.addScriptToEvaluateOnNewDocument", source=PAINT)
    for view in dict.fromkeys(VIEWS):
        paints, rows = [], []
        for _ in range(5):
            await page.call("Page.navigate", url="about:blank")
            await page.call("Page.navigate", url=url + view)
            await page.until("window.firstRows > 0")
            name = "first-contentful-paint"
            await page.until(f"performance.getEntriesByName('{name}').length > 0")
            paints.append(await page.js(f"performance.getEntriesByName('{name}')[0].startTime"))
            rows.append(await page.js("window.firstRows"))
        print(f"{view}: first paint {_said(paints)}; first rows {_said(rows)}")
    await page.call("Page.removeScriptToEvaluateOnNewDocument", identifier=script["identifier"])


async def changes(page: Page, url: str, feed: Feed, count: int) -> None:
    """From publishing a value over the limit to the alarm's row on the screen."""
    await page.call("Page.navigate", url=url + "/#/alarms")
    await page.until("document.querySelectorAll('.virtual [role=row]').length > 3")
    search = "document.getElementById('alarm-filter')"  # so that no other alarm pushes it away
    took = []
    for asset in feed.ids[-150 : -150 + count]:
        await page.js(f"{search}.value = '{asset}.temp'; {search}.oninput()")
        wait = asyncio.ensure_future(page.js(SEEN.replace("ID", f"{asset}.temp.high")))
        await asyncio.sleep(0.2 + 0.3 * random.random())  # noqa: S311 (a time)
        published_ms = time.time() * 1000
        feed.publish(asset, 95.0)
        seen_ms = await wait
        took.append(seen_ms - published_ms if seen_ms else inf)
    print(f"change on screen: {_said(took)}; seen {sum(map(isfinite, took))} of {count}")


def _said(found: Sequence[float]) -> str:
    return f"median {statistics.median(found):.0f} ms, worst {max(found):.0f}"


if __name__ == "__main__":
    sys.exit(main())
