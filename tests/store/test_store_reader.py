"""Pages of the history and the audit, read beside the writer."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from store_helpers import transition

from edge_agent.errors import StoreError
from edge_agent.store import AuditFilter, HistoryFilter, JournalReader, Store, StoreWorker, reader

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from edge_agent.clock import FakeClock

ALL = HistoryFilter()


def as_it_is(row: dict[str, Any]) -> dict[str, Any]:
    return row


@contextlib.asynccontextmanager
async def reading(path: Path, clock: FakeClock) -> AsyncIterator[tuple[StoreWorker, JournalReader]]:
    worker = StoreWorker()
    await worker.open(path, max_bytes=16 << 20, history_days=1, clock=clock)
    journal = JournalReader(path, worker)
    try:
        yield worker, journal
    finally:
        journal.close()
        await worker.close()


async def fill(worker: StoreWorker, count: int) -> None:
    rows = [transition(f"P-{n % 3}/a", seq=n) for n in range(count)]
    await worker.run(Store.commit, rows, [])


async def test_a_page_is_bounded_in_rows_and_goes_on_where_it_ended(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with reading(tmp_path / "a.db", clock) as (worker, journal):
        await fill(worker, 450)
        pages, before = [], None
        while page := await journal.history(ALL._replace(before=before), 10_000, as_it_is):
            pages.append(len(page))
            before = page[-1]["row"]
        assert pages == [200, 200, 50]
        audit = [("anna", "ack", f"P-{n}", "") for n in range(450)]
        await worker.run(Store.audit_all, audit)
        assert len(await journal.audit(AuditFilter(), 10_000, as_it_is)) == 200


async def test_a_page_is_bounded_in_bytes(
    tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But it has one row at least, or nobody could go on."""
    async with reading(tmp_path / "a.db", clock) as (worker, journal):
        await fill(worker, 9)
        size = len(str((await journal.history(ALL, 1, as_it_is))[0]["alarm"]))
        monkeypatch.setattr(reader, "PAGE_BYTES", 2 * size)
        assert 1 < len(await journal.history(ALL, 9, as_it_is)) < 9
        monkeypatch.setattr(reader, "PAGE_BYTES", 1)
        assert len(await journal.history(ALL, 9, as_it_is)) == 1


async def test_filters_are_those_of_the_store(tmp_path: Path, clock: FakeClock) -> None:
    async with reading(tmp_path / "a.db", clock) as (worker, journal):
        await fill(worker, 9)
        for wanted in (HistoryFilter("P-1"), HistoryFilter(None, "P-2/a"), HistoryFilter("P-9")):
            stored = await worker.run(Store.history, asset=wanted.asset, alarm_id=wanted.alarm_id)
            assert await journal.history(wanted, 100, as_it_is) == stored


async def test_the_store_commits_while_a_reader_is_busy(tmp_path: Path, clock: FakeClock) -> None:
    """On the store's own thread or connection the commit would wait for the reader."""
    reached, go_on = threading.Event(), threading.Event()

    def slowly(row: dict[str, Any]) -> dict[str, Any]:
        reached.set()
        assert go_on.wait(10)
        return row

    async with reading(tmp_path / "a.db", clock) as (worker, journal):
        await fill(worker, 3)
        page = asyncio.create_task(journal.history(ALL, 1, slowly))
        await asyncio.to_thread(reached.wait, 10)
        try:
            async with asyncio.timeout(5):
                await fill(worker, 3)
        finally:
            go_on.set()
        assert len(await page) == 1


async def test_one_page_is_read_at_a_time(tmp_path: Path, clock: FakeClock) -> None:
    inside = most = 0

    def count(row: dict[str, Any]) -> dict[str, Any]:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        time.sleep(0.001)  # another thread would come in
        inside -= 1
        return row

    async with reading(tmp_path / "a.db", clock) as (worker, journal):
        await fill(worker, 20)
        await asyncio.gather(*(journal.history(ALL, 20, count) for _ in range(20)))
    assert most == 1


async def test_a_reader_cannot_write(tmp_path: Path, clock: FakeClock) -> None:
    async with reading(tmp_path / "a.db", clock) as (worker, journal):
        await fill(worker, 1)

        def vandal(db: Any) -> list[dict[str, Any]]:
            db.execute("DELETE FROM history")
            return []

        with pytest.raises(StoreError, match="readonly"):
            await journal._read("delete", vandal, as_it_is)
        assert len(await journal.history(ALL, 9, as_it_is)) == 1


async def test_a_query_that_takes_too_long_is_given_up(
    tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "READ_S", -1.0)
    monkeypatch.setattr(reader, "_CHECK_STEPS", 1)
    async with reading(tmp_path / "a.db", clock) as (worker, journal):
        await fill(worker, 9)
        with pytest.raises(StoreError, match="interrupted"):
            await journal.history(ALL, 9, as_it_is)


async def test_readers_do_not_wait_for_ever(
    tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that does not answer holds up the one reader, and the others hear it."""
    monkeypatch.setattr(reader, "WAIT_S", 0.05)
    go_on = threading.Event()

    def slowly(row: dict[str, Any]) -> dict[str, Any]:
        go_on.wait(10)
        return row

    async with reading(tmp_path / "a.db", clock) as (worker, journal):
        await fill(worker, 1)
        first = asyncio.create_task(journal.history(ALL, 1, slowly))
        await asyncio.sleep(0)
        with pytest.raises(StoreError, match="too many readers"):
            await journal.history(ALL, 1, as_it_is)
        go_on.set()
        assert len(await first) == 1


async def test_a_store_in_memory_is_read_by_its_own_thread(
    tmp_path: Path, clock: FakeClock
) -> None:
    folder = tmp_path / "away"
    folder.write_text("")
    async with reading(folder / "a.db", clock) as (worker, journal):
        assert worker.trouble
        await fill(worker, 2)
        assert len(await journal.history(ALL, 9, as_it_is)) == 2
