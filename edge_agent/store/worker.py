"""The store's own thread, for all calls of the store."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

from edge_agent.errors import StoreError
from edge_agent.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edge_agent.clock import Clock

P = ParamSpec("P")
T = TypeVar("T")


class StoreWorker:
    """Opens a `Store` on a separate thread, calls its methods there one by one, and closes it."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store")
        self._store: Store | None = None

    async def open(self, path: Path, *, max_bytes: int, history_days: float, clock: Clock) -> None:
        """As `Store.open`."""
        call = partial(
            Store.open, path, max_bytes=max_bytes, history_days=history_days, clock=clock
        )
        self._store = await asyncio.get_running_loop().run_in_executor(self._thread, call)

    def run(
        self, method: Callable[Concatenate[Store, P], T], *args: P.args, **options: P.kwargs
    ) -> asyncio.Future[T]:
        """Call a method of the store, given unbound; StoreError if the store is not open."""
        if self._store is None:
            raise StoreError("the store is closed")
        call = partial(method, self._store, *args, **options)
        return asyncio.get_running_loop().run_in_executor(self._thread, call)

    async def close(self) -> None:
        """Close the file after pending calls; safe before `open` and when repeated."""
        store, self._store = self._store, None
        if store is not None:
            await asyncio.get_running_loop().run_in_executor(self._thread, store.close)
        self._thread.shutdown(wait=False)
