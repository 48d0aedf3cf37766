"""An event loop on a thread of its own, so that other programs do not hold up the pipeline.

It runs the HTTP server with all that reads requests and writes answers. Handlers that use the
daemon's own objects run on the daemon's loop, its home.
"""

from __future__ import annotations

import asyncio
import selectors
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from edge_agent.clock import APART

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")


class ServiceLoop:
    """Runs coroutines on its thread; before `start` and after `stop`, on the loop of who asks."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._home: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin; the running loop is the home. Safe when repeated."""
        if self._loop is None:
            self._home, self._loop = asyncio.get_running_loop(), _metered_loop()
            self._thread = threading.Thread(target=self._work, name="service", daemon=True)
            self._thread.start()

    def _work(self) -> None:
        assert self._loop is not None  # noqa: S101 (start() made it)
        name_thread()
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of `work`, which runs on this loop."""
        return await _on(self._loop, work)

    async def at_home(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of `work`, which runs on the daemon's loop."""
        return await _on(self._home, work)

    async def stop(self) -> None:
        """Cancel what runs and end the thread; safe before `start` and when repeated."""
        loop, thread = self._loop, self._thread
        if loop is None or thread is None:
            return
        await self.run(_cancel_others())
        await self.run(loop.shutdown_asyncgens())
        await self.run(loop.shutdown_default_executor())
        self._loop = self._home = self._thread = None
        loop.call_soon_threadsafe(loop.stop)
        await asyncio.to_thread(thread.join)
        loop.close()


async def _cancel_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


class _MeteredSelector(selectors.DefaultSelector):
    """Counts, before each wait of a loop, what it has computed since the last one."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        APART.count_thread()
        return super().select(timeout)


def _metered_loop() -> asyncio.AbstractEventLoop:
    return asyncio.SelectorEventLoop(_MeteredSelector())


def name_thread() -> None:
    """Let `top -H` show this thread by its name."""
    with suppress(OSError):
        path = Path(f"/proc/self/task/{threading.get_native_id()}/comm")
        path.write_text(threading.current_thread().name, "utf-8")


async def _on(loop: asyncio.AbstractEventLoop | None, work: Coroutine[Any, Any, T]) -> T:
    if loop is None or loop is asyncio.get_running_loop():
        return await work
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, loop))
