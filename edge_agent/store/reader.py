"""Pages of the history and of the audit, read beside the store: no reader holds up an alarm."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from edge_agent.errors import StoreError
from edge_agent.store import journal
from edge_agent.store.schema import connect, store_error

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edge_agent.store.journal import AuditFilter, HistoryFilter
    from edge_agent.store.worker import StoreWorker

    Row = dict[str, Any]
    Query = Callable[[sqlite3.Connection], list[Row]]
    Shape = Callable[[Row], Row]  # what the reader makes of a row, on its thread

PAGE_ROWS: Final = 200
PAGE_BYTES: Final = 512 << 10  # of the bodies of a page; it has one row at least
READ_S: Final = 2.0  # a query that takes longer is given up
_CHECK_STEPS: Final = 20_000  # of SQLite's machine, between two looks at the time
# After each page the thread rests, so that readers who never stop get a quarter of a core at most.
REST_FACTOR: Final = 3.0
_MAX_REST_S: Final = 1.0
WAIT_S: Final = 10.0  # for the readers before


class JournalReader:
    """Reads on a connection and a thread of its own, one page at a time.

    While the store is in memory its own thread reads. StoreError if the file cannot be read, or a
    page takes longer than READ_S.
    """

    def __init__(self, path: Path, store: StoreWorker) -> None:
        self._path = path
        self._store = store
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal")
        self._turn = asyncio.Lock()

    async def history(self, wanted: HistoryFilter, limit: int, shape: Shape) -> list[Row]:
        """Transitions, the newest first, each as `shape` returns it; see `Store.history`."""
        query = partial(
            journal.select_history,
            wanted=wanted,
            limit=min(limit, PAGE_ROWS),
            max_bytes=PAGE_BYTES,
        )
        return await self._read("read the history", query, shape)

    async def audit(self, wanted: AuditFilter, limit: int, shape: Shape) -> list[Row]:
        """Entries of the audit, the newest first, each as `shape` returns it."""
        query = partial(journal.select_audit, wanted=wanted, limit=min(limit, PAGE_ROWS))
        return await self._read("read the audit log", query, shape)

    def close(self) -> None:
        """End the thread; safe when repeated."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _read(
        self,
        action: str,
        query: Query,
        shape: Shape,
    ) -> list[Row]:
        loop = asyncio.get_running_loop()
        try:
            await asyncio.wait_for(self._turn.acquire(), WAIT_S)
        except TimeoutError:
            raise StoreError(f"cannot {action}", hint="too many readers, or a slow disk") from None
        begun_s = loop.time()
        try:
            if self._store.trouble:
                return [shape(row) for row in await self._store.run(lambda one: query(one.db))]
            work = partial(self._read_file, action, query, shape)
            return await loop.run_in_executor(self._thread, work)
        finally:
            rest_s = min(_MAX_REST_S, REST_FACTOR * (loop.time() - begun_s))
            loop.call_later(rest_s, self._turn.release)

    def _read_file(
        self,
        action: str,
        query: Query,
        shape: Shape,
    ) -> list[Row]:
        """A new connection for each page: the file may have been replaced."""
        try:
            with closing(connect(self._path, read_only=True)) as db:
                deadline_s = time.monotonic() + READ_S
                db.set_progress_handler(lambda: time.monotonic() > deadline_s, _CHECK_STEPS)
                return [shape(row) for row in query(db)]
        except (sqlite3.Error, OSError) as error:
            raise store_error(action, self._path, error) from error
