"""The store's own thread: one call after the other, and a clear error when it is closed."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest

from edge_agent.errors import StoreError
from edge_agent.store import Store, StoreWorker

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.clock import FakeClock


async def opened(path: Path, clock: FakeClock) -> StoreWorker:
    worker = StoreWorker()
    await worker.open(path, max_bytes=16 << 20, history_days=1, clock=clock)
    return worker


def thread_of(_: Store) -> str:
    return threading.current_thread().name


async def test_calls_run_one_by_one_on_one_thread_in_their_order(
    tmp_path: Path, clock: FakeClock
) -> None:
    worker = await opened(tmp_path / "a.db", clock)
    values = [worker.run(Store.save_value, "key", b"%d" % number) for number in range(20)]
    threads = [worker.run(thread_of) for _ in range(5)]
    assert await worker.run(Store.load_value, "key") == b"19"
    assert all(one.done() for one in values)
    names = set(await asyncio.gather(*threads))
    assert len(names) == 1
    assert names != {threading.current_thread().name}
    await worker.close()


async def test_what_was_called_before_the_close_is_done(tmp_path: Path, clock: FakeClock) -> None:
    worker = await opened(tmp_path / "a.db", clock)
    waiting = worker.run(Store.save_value, "key", b"kept")
    await worker.close()
    await waiting
    again = await opened(tmp_path / "a.db", clock)
    assert await again.run(Store.load_value, "key") == b"kept"
    await again.close()


async def test_closed_it_says_so(tmp_path: Path, clock: FakeClock) -> None:
    """Before it is opened, too; closing is safe at any time."""
    with pytest.raises(StoreError, match="closed"):
        StoreWorker().run(Store.alarms)
    worker = await opened(tmp_path / "a.db", clock)
    await worker.close()
    await worker.close()
    with pytest.raises(StoreError, match="closed"):
        worker.run(Store.alarms)
    await StoreWorker().close()
