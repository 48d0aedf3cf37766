"""A headless Chromium, told what to do over its DevTools protocol."""

from __future__ import annotations

import asyncio
import itertools
import json
import shutil
import subprocess
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-sync",
    "--no-first-run",
    "--remote-debugging-port=0",
)
START_S = 60.0
SHOWN_S = 20.0


class Page:
    """One tab. `console` holds what the page logged, policy violations and exceptions included."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._ids = itertools.count(1)
        self.console: list[str] = []

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self._ids)
        await self._socket.send_json({"id": number, "method": method, "params": params})
        while True:
            message = await self._socket.receive_json(timeout=SHOWN_S)
            if message.get("id") == number:
                return dict(message.get("result", {}))
            if message["method"] in {"Log.entryAdded", "Runtime.exceptionThrown"}:
                self.console.append(json.dumps(message["params"]))

    async def js(self, expression: str) -> Any:
        found = await self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    async def until(self, expression: str) -> None:
        """Wait until it is true; the browser runs in its own time."""
        async with asyncio.timeout(SHOWN_S):
            while not await self.js(expression):
                await asyncio.sleep(0.05)

    async def press(self, key: str, text: str = "") -> None:
        """Press and release a key; text: what it types."""
        code = {
            "Enter": 13,
            "Escape": 27,
            "Tab": 9,
            " ": 32,
            "End": 35,
            "Home": 36,
            "ArrowLeft": 37,
            "ArrowUp": 38,
            "ArrowRight": 39,
            "ArrowDown": 40,
        }[key]
        names: dict[str, Any] = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        typed = {"text": text} if text else {}
        await self.call("Input.dispatchKeyEvent", type="keyDown", **names, **typed)
        await self.call("Input.dispatchKeyEvent", type="keyUp", **names)

    async def text(self, selector: str) -> str:
        return str(await self.js(f"document.querySelector({json.dumps(selector)}).innerText"))


@asynccontextmanager
async def browsing(profile: Path, url: str, *flags: str, width: int = 1400) -> AsyncIterator[Page]:
    """Open `url` in a Chromium of its own; skips where there is none."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("chromium is not installed")
    process = await asyncio.create_subprocess_exec(
        program,
        *FLAGS,
        *flags,
        f"--user-data-dir={profile}",
        "about:blank",
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        async with aiohttp.ClientSession() as session:
            address = await _page_address(session, profile / "DevToolsActivePort")
            async with session.ws_connect(address, max_msg_size=64 << 20) as socket:
                page = Page(socket)
                await page.call("Runtime.enable")
                await page.call("Log.enable")
                # As the window in front: else elements get no focus events.
                await page.call("Emulation.setFocusEmulationEnabled", enabled=True)
                await page.call(
                    "Emulation.setDeviceMetricsOverride",
                    width=width,
                    height=900,
                    deviceScaleFactor=1,
                    mobile=width < 600,
                )
                await page.call("Page.navigate", url=url)
                yield page
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _page_address(session: aiohttp.ClientSession, file: Path) -> str:
    async with asyncio.timeout(START_S):
        while not file.exists() or not file.read_text().strip():  # noqa: ASYNC240
            await asyncio.sleep(0.1)
        port = file.read_text().splitlines()[0]  # noqa: ASYNC240
        while True:
            async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
                for target in await answer.json():
                    if target["type"] == "page":
                        return str(target["webSocketDebuggerUrl"])
            await asyncio.sleep(0.1)
