"""A file that fails in every way: alarms go on in memory, and return to the file later.

Each promise is tested with its negative control: without the protection the same steps fail.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
from store_helpers import MIB, message, open_store, transition

from edge_agent.errors import StoreError
from edge_agent.store import FileError, InUseError, Store, StoreWorker, fallback, worker
from edge_agent.store.fallback import FallbackStore, Place
from edge_agent.store.schema import new_generation

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.clock import FakeClock
    from edge_agent.messages import Message, Transition

CODES = {
    "CORRUPT": sqlite3.SQLITE_CORRUPT,
    "NOTADB": sqlite3.SQLITE_NOTADB,
    "IOERR": sqlite3.SQLITE_IOERR,
    "FULL": sqlite3.SQLITE_FULL,
    "READONLY": sqlite3.SQLITE_READONLY,
    "BUSY": sqlite3.SQLITE_BUSY,
    "CANTOPEN": sqlite3.SQLITE_CANTOPEN,
}
DAMAGE = {"CORRUPT", "NOTADB"}


class FailingConnection:
    """A connection on which every writing statement fails; reading ones too, if `reads`."""

    def __init__(self, db: sqlite3.Connection, code: int, *, reads: bool) -> None:
        self._db = db
        self._code = code
        self._reads = reads

    def execute(self, statement: str, values: Any = ()) -> sqlite3.Cursor:
        if self._reads or not statement.startswith(("SELECT", "PRAGMA")):
            error = sqlite3.OperationalError("injected")
            error.sqlite_errorcode = self._code
            raise error
        return self._db.execute(statement, values)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._db, name)


def break_file(store: FallbackStore, code: int, *, reads: bool = False) -> None:
    store.store.db = FailingConnection(store.store.db, code, reads=reads)  # type: ignore[assignment]


@pytest.fixture
def place(tmp_path: Path, clock: FakeClock) -> Place:
    return Place(tmp_path / "a.db", 16 * MIB, 90, clock)


def commit(store: FallbackStore, *seqs: int, alarm_id: str = "P-1/a") -> None:
    for seq in seqs:
        made = [message(alarm_id, seq, kind) for kind in ("event", "alert")]
        store.call(Store.commit, [transition(alarm_id, seq)], made)


def waiting(store: FallbackStore) -> list[Message]:
    return store.call(Store.pending, "plant", 1000)


def numbers(found: list[Message]) -> list[int]:
    return [one.seq for one in found if one.kind == "event"]


def come_back(store: FallbackStore) -> None:
    store.return_to(store.open_file())


def history(path: Path) -> list[tuple[int, int]]:
    """(number, stored) of all transitions in a file, the oldest first."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        return db.execute("SELECT seq, stored FROM history ORDER BY row").fetchall()


@pytest.mark.parametrize("protected", [True, False], ids=["", "control"])
@pytest.mark.parametrize("reads", [True, False], ids=["nothing readable", "readable"])
@pytest.mark.parametrize("code", CODES)
def test_alarms_go_on_in_memory_and_return_to_the_file(
    place: Place, monkeypatch: pytest.MonkeyPatch, code: str, *, reads: bool, protected: bool
) -> None:
    """Every kind of failure: what is committed goes out at once, and nothing is missing after."""
    store = FallbackStore.open(place)
    commit(store, 1)
    break_file(store, CODES[code], reads=reads)
    if not protected:
        monkeypatch.setattr(FallbackStore, "call", lambda self, method, *a: method(self.store, *a))
        with pytest.raises(FileError):
            commit(store, 2)
        return
    commit(store, 2, 3)
    assert "injected" in store.trouble
    lost = reads or code in DAMAGE  # these bodies are none of ours: damage may have made them
    assert numbers(waiting(store)) == ([2, 3] if lost else [1, 2, 3])
    store.call(Store.confirm, [one.row for one in waiting(store)])
    commit(store, 4)
    come_back(store)
    assert store.trouble == ""
    commit(store, 5)
    left = numbers(waiting(store))
    assert left == ([1, 4, 5] if reads and code not in DAMAGE else [4, 5])
    store.store.close()
    kept = [seq for seq, _ in history(place.path)]
    assert kept == ([2, 3, 4, 5] if code in DAMAGE else [1, 2, 3, 4, 5])
    assert bool(list(place.path.parent.glob("*.corrupt-*"))) == (code in DAMAGE)


def test_a_state_that_was_superseded_in_memory_is_not_sent_later(place: Place) -> None:
    """An old state would overwrite the newer one, which the broker retains."""
    store = FallbackStore.open(place)
    commit(store, 1)
    break_file(store, sqlite3.SQLITE_IOERR, reads=True)
    commit(store, 2)
    store.call(Store.confirm, [one.row for one in waiting(store)])
    come_back(store)
    assert [(one.kind, one.seq) for one in waiting(store)] == [("event", 1)]


def test_a_message_in_flight_keeps_its_row(place: Place) -> None:
    """It was read from the file, confirmed while in memory, and must not be sent again."""
    store = FallbackStore.open(place)
    commit(store, 1)
    flying = waiting(store)
    break_file(store, sqlite3.SQLITE_IOERR, reads=True)
    commit(store, 2)
    store.call(Store.confirm, [one.row for one in flying])
    assert numbers(waiting(store)) == [2]
    come_back(store)
    assert numbers(waiting(store)) == [2]


def test_a_transaction_that_only_seemed_to_fail_is_there_once(place: Place) -> None:
    store = FallbackStore.open(place)
    begin = store.store.write

    def done_but_said_otherwise(*args: Any) -> None:
        begin(*args)
        raise FileError("cannot commit: disk I/O error")

    store.store.write = done_but_said_otherwise  # type: ignore[assignment, method-assign]
    commit(store, 1)
    commit(store, 2)
    come_back(store)
    assert numbers(waiting(store)) == [1, 2]
    store.store.close()
    assert [seq for seq, _ in history(place.path)] == [1, 2]


def test_what_else_is_written_in_memory_is_kept(place: Place) -> None:
    """Values, the audit, and ids of commands."""
    store = FallbackStore.open(place)
    store.call(Store.save_value, "old", b"1")
    break_file(store, sqlite3.SQLITE_READONLY)
    store.call(Store.save_value, "new", b"2")
    store.call(Store.audit, "anna", "ack", "P-1")
    assert store.call(Store.claim_command, "c-1", place.clock.now_us() + 1_000_000)
    come_back(store)
    assert [store.call(Store.load_value, key) for key in ("old", "new")] == [b"1", b"2"]
    assert [one["actor"] for one in store.call(Store.audit_log)] == ["anna"]
    assert not store.call(Store.claim_command, "c-1", place.clock.now_us() + 1_000_000)


def test_a_value_that_does_not_fit_is_no_failure_of_the_disk(place: Place) -> None:
    small = place._replace(max_bytes=MIB)
    store = FallbackStore.open(small)
    with pytest.raises(StoreError, match="full"):
        store.call(Store.save_value, "large", b"x" * MIB)
    assert store.trouble == ""


def overwrite(path: Path) -> None:
    """Damage all pages but the first."""
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(path.stat().st_size - 4096))


def check_now(store: FallbackStore) -> None:
    store._next_check_s = 0.0
    store.check_file()


@pytest.mark.parametrize("protected", [True, False], ids=["", "control"])
def test_damage_is_found_where_nothing_reads(
    place: Place, monkeypatch: pytest.MonkeyPatch, *, protected: bool
) -> None:
    """SQLite's cache hides it: a small store would go on until its restart, and lose everything."""
    store = FallbackStore.open(place)
    commit(store, *range(1, 60))
    store.store.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    overwrite(place.path)
    if not protected:
        monkeypatch.setattr(FallbackStore, "_check_pages", lambda _: None)
    check_now(store)
    assert (store.damage != "") == protected
    if protected:
        come_back(store)
        assert store.store.set_aside.startswith("a.db.corrupt-")
        commit(store, 60)
    store.store.close()
    seqs = [one.seq for one in open_store(place.path, place.clock).alarms()]
    assert (seqs == [60]) == protected


@pytest.mark.parametrize("protected", [True, False], ids=["", "control"])
@pytest.mark.parametrize("victims", [["a.db"], ["a.db-wal"], ["a.db", "a.db-wal"]], ids=str)
def test_a_deleted_file_is_written_again(
    place: Place, victims: list[str], *, protected: bool
) -> None:
    """SQLite goes on writing into the deleted file, without an error, until the restart."""
    store = FallbackStore.open(place)
    commit(store, 1, 2)
    store.call(Store.save_value, "key", b"value")
    check_now(store)
    for name in victims:
        (place.path.parent / name).unlink()
    if protected:
        check_now(store)
        assert "deleted" in store.trouble
        come_back(store)
    commit(store, 3)
    store.store.close()
    again = open_store(place.path, place.clock)
    found = [row["alarm"]["seq"] for row in again.history()], again.load_value("key")
    assert (found == ([3, 2, 1], b"value")) == (protected or victims == ["a.db-wal"])


def test_a_file_that_was_replaced_gets_the_present_states(place: Place) -> None:
    """Somebody restored a backup under the running service."""
    store = FallbackStore.open(place)
    commit(store, 1)
    other = place.path.with_name("b.db")
    open_store(other, place.clock).close()
    commit(store, 2)
    other.replace(place.path)
    check_now(store)
    come_back(store)
    assert [one.seq for one in store.call(Store.alarms)] == [2]


def test_a_file_system_that_is_gone_is_not_written_beside(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new file in the empty mount point would be hidden by the disk when it comes back."""
    store = FallbackStore.open(place)
    break_file(store, sqlite3.SQLITE_IOERR, reads=True)
    commit(store, 1)
    place.path.unlink()
    monkeypatch.setattr(fallback, "_device_of", lambda _: -1)
    with pytest.raises(StoreError, match="not mounted"):
        store.open_file()


def test_a_start_without_the_file_adopts_what_it_holds_later(place: Place) -> None:
    """Its values are kept, its alarms are told of, those of the meantime are newer."""
    before = FallbackStore.open(place)
    commit(before, 7, alarm_id="P-1/a")
    commit(before, 3, alarm_id="P-2/a")
    before.call(Store.save_value, "lives", b"long")
    before.store.close()
    hidden = place.path.rename(place.path.with_name("hidden"))
    place.path.mkdir()  # nothing can be opened there
    store = FallbackStore.open(place)
    assert store.trouble
    number = store.store.first_number + 1
    commit(store, number, alarm_id="P-2/a")
    store.call(Store.save_value, "lives", b"short")
    with pytest.raises(StoreError):
        store.open_file()
    place.path.rmdir()
    hidden.rename(place.path)
    unknown = store.return_to(store.open_file())
    assert [(one.alarm_id, one.seq) for one in unknown or ()] == [("P-1/a", 7)]
    assert store.call(Store.load_value, "lives") == b"long"
    states = {one.alarm_id: one.seq for one in store.call(Store.alarms)}
    assert states == {"P-1/a": 7, "P-2/a": number}
    assert number > 1 << 22


def test_a_newer_version_is_left_alone_and_alarms_go_on(place: Place) -> None:
    FallbackStore.open(place).store.close()
    with contextlib.closing(sqlite3.connect(place.path)) as db:
        db.execute("PRAGMA user_version = 99")
    store = FallbackStore.open(place)
    assert "newer edge-agent" in store.trouble
    commit(store, 1)
    assert numbers(waiting(store)) == [1]
    with pytest.raises(StoreError, match="newer"):
        store.open_file()


@pytest.mark.parametrize("trace", ["a.db.used", "a.db.corrupt-20260101T000000Z", ""])
def test_only_the_first_store_of_a_folder_numbers_from_one(place: Place, trace: str) -> None:
    """A new episode never bears an id that subscribers know."""
    FallbackStore.open(place).store.close()
    for file in place.path.parent.glob("a.db*"):
        if file.name != trace:
            file.unlink()
    if "corrupt" in trace:
        (place.path.parent / trace).touch()
    store = open_store(place.path, place.clock)
    number = store.first_number
    assert (number > 0) == bool(trace)
    store.close()
    assert open_store(place.path, place.clock).first_number == number


def test_numbers_grow_with_time_and_are_exact_in_json(clock: FakeClock) -> None:
    first = new_generation(clock.now_us())
    clock.advance(1)
    assert first + 1 < new_generation(clock.now_us()) + (1 << 22)
    assert new_generation(clock.now_us() + 60 * 365 * 86_400 * 1_000_000) < 1 << 53
    assert len({new_generation(0) for _ in range(100)}) > 90


async def opened(place: Place) -> StoreWorker:
    made = StoreWorker()
    days = place.history_days
    await made.open(place.path, max_bytes=place.max_bytes, history_days=days, clock=place.clock)
    return made


@pytest.mark.parametrize("protected", [True, False], ids=["", "control"])
async def test_a_disk_that_hangs_holds_up_nothing(
    place: Place, monkeypatch: pytest.MonkeyPatch, *, protected: bool
) -> None:
    """The call is repeated in memory; what it wrote after all is there once."""
    monkeypatch.setattr(worker, "HANG_S", 0.1 if protected else 60.0)
    made, released = await opened(place), threading.Event()
    write, begun = Store.commit, threading.Event()

    def stuck(store: Store, *args: Any) -> Any:
        if store.is_durable and not begun.is_set():
            begun.set()
            assert released.wait(30)
        return write(store, *args)

    change: tuple[list[Transition], list[Message]] = ([transition()], [message()])
    call = asyncio.ensure_future(made.run(stuck, *change))
    done, _ = await asyncio.wait([call], timeout=2.0)
    assert bool(done) == protected
    if protected:
        assert "does not answer" in made.trouble
        assert len(await made.run(Store.pending, "plant", 10)) == 1
        assert await made.check() is None
        assert made.trouble, "no second connection while the first is stuck"
    released.set()
    await call
    while made.trouble:
        made._next_return_s = 0.0
        await made.check()
    assert len(await made.run(Store.history)) == 1
    assert len(await made.run(Store.pending, "plant", 10)) == 1
    await made.close()


@pytest.mark.parametrize("stuck_in", ["return_to", "check_file"])
async def test_no_second_thread_enters_a_connection_that_hangs(
    place: Place, monkeypatch: pytest.MonkeyPatch, stuck_in: str
) -> None:
    """SQLite crashes the process then: what was not about a caller's data is not repeated."""
    monkeypatch.setattr(worker, "HANG_S", 0.1)
    made, released, inside = await opened(place), threading.Event(), threading.Event()
    entered: list[str] = []
    owner, name = (Store, "absorb") if stuck_in == "return_to" else (FallbackStore, "_check_files")
    original = getattr(owner, name)

    def stuck(one: Any, *args: Any, **options: Any) -> Any:
        entered.append(threading.current_thread().name)
        inside.set()
        assert released.wait(30)
        return original(one, *args, **options)

    if stuck_in == "return_to":
        made._fallback.leave_file(FileError("gone", where="x"))  # type: ignore[union-attr]
        await made.run(Store.commit, [transition()], [message()])
    monkeypatch.setattr(owner, name, stuck)
    check = asyncio.ensure_future(made.check())
    await asyncio.to_thread(inside.wait, 30)
    assert await asyncio.wait_for(check, 30) is None
    await made.run(Store.commit, [transition(seq=2)], [])
    assert len(entered) == 1
    released.set()
    while made.trouble:
        made._next_return_s = 0.0
        await made.check()
    seen = sorted(one["alarm"]["seq"] for one in await made.run(Store.history))
    assert seen == ([1, 2] if stuck_in == "return_to" else [2])
    await made.close()


async def test_a_slow_call_in_memory_is_waited_for(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No disk holds it up; repeated by another thread, it would be in the same memory twice."""
    monkeypatch.setattr(worker, "HANG_S", 0.05)
    made, released, threads = await opened(place), threading.Event(), []
    made._fallback.leave_file(FileError("gone", where="x"))  # type: ignore[union-attr]

    def slow(_: Store) -> None:
        threads.append(threading.current_thread().name)
        assert released.wait(30)

    call = asyncio.ensure_future(made.run(slow))
    done, _ = await asyncio.wait([call], timeout=0.5)
    released.set()
    await call
    assert (bool(done), len(threads)) == (False, 1)
    await made.close()


async def test_another_edge_agent_on_the_store_ends_the_start(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both would deliver; but a foreign program that locks the file is only a trouble."""
    monkeypatch.setattr("edge_agent.store.files._LOCK_WAIT_S", 0.0)
    monkeypatch.setattr("edge_agent.store.schema.BUSY_TIMEOUT_S", 0.0)
    first = await opened(place)
    with pytest.raises(InUseError, match="another edge-agent"):
        await opened(place)
    await first.close()
    script = (
        f"import sqlite3; db = sqlite3.connect({str(place.path)!r}, isolation_level=None);"
        "db.execute('BEGIN IMMEDIATE'); print('locked', flush=True); input()"
    )
    command = [sys.executable, "-c", script]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe) as foreign:  # noqa: ASYNC220
        assert foreign.stdin
        assert foreign.stdout
        foreign.stdout.readline()
        second = await opened(place)
        assert "locked" in second.trouble
        foreign.stdin.close()
    assert await second.check() == []
    assert second.trouble == ""
    await second.close()


def test_an_alarm_that_left_the_table_goes_on_with_its_numbers(place: Place) -> None:
    """It was withdrawn, and is raised again: under another id than before."""
    store = FallbackStore.open(place)
    commit(store, 1, 2)
    made = StoreWorker()
    made._fallback = store
    assert made.last_number("P-1/a") == 2
    assert made.last_number("P-9/a") == 0


@pytest.mark.parametrize("mask", [0o022, 0o000])
def test_only_the_owner_may_read_the_files(place: Place, mask: int) -> None:
    """Also those that an older version left readable."""
    place.path.touch()
    place.path.chmod(0o644)
    before = os.umask(mask)
    try:
        store = FallbackStore.open(place)
        commit(store, 1)
    finally:
        os.umask(before)
    modes = {one.name: one.stat().st_mode & 0o7 for one in place.path.parent.iterdir()}
    assert set(modes.values()) == {0}, modes
