"""What happens to the file: kill -9, full disk, corruption, a second daemon, other versions."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from store_helpers import MIB, message, open_store, transition

from edge_agent.clock import FakeClock, SystemClock
from edge_agent.errors import StoreError
from edge_agent.store.files import move_aside
from scripts.rigs import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_agent.store.store import Store

WRITER = """
import sys
from pathlib import Path
from store_helpers import message, open_store, transition
from edge_agent.clock import SystemClock
store = open_store(Path(sys.argv[1]), SystemClock())
seq = max((alarm.seq for alarm in store.alarms()), default=0)
while True:
    seq += 1
    store.commit([transition(seq=seq)], [message(seq=seq), message(seq=seq, kind="alert")])
    print(seq, flush=True)
"""


def write_until_killed(path: Path, run_s: float) -> int:
    """The last sequence number that a writer, killed after `run_s`, had been told is safe."""
    packages = {"PYTHONPATH": f"{ROOT}{os.pathsep}{Path(__file__).parent}"}
    command = [sys.executable, "-c", WRITER, str(path)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, env={**os.environ, **packages}
    ) as writer:
        assert writer.stdout is not None
        first = writer.stdout.readline()
        time.sleep(run_s)
        writer.send_signal(signal.SIGKILL)
        numbers = [first, *writer.stdout]
    return max(int(line) for line in numbers if line.endswith(b"\n"))


@pytest.mark.slow
def test_kill_9_at_20_moments_loses_no_committed_row(tmp_path: Path) -> None:
    """What commit returned from is there: alarm, history and outbox, all or none of the rest."""
    path = tmp_path / "a.db"
    rng = random.Random(20)  # noqa: S311
    for _ in range(20):
        safe = write_until_killed(path, rng.uniform(0, 0.1))
        store = open_store(path, SystemClock())
        (alarm,) = store.alarms()
        rows = store.pending("plant", 100_000)
        history = store.history(limit=10_000)
        store.close()
        assert alarm.seq >= safe
        for kind in ("event", "alert"):
            assert [m.seq for m in rows if m.kind == kind] == list(range(1, alarm.seq + 1))
        assert [row["alarm"]["seq"] for row in history] == list(range(alarm.seq, 0, -1))
    assert not list(tmp_path.glob("*corrupt*"))


def weight(path: Path) -> int:
    return sum(one.stat().st_size for one in path.parent.glob(f"{path.name}*"))


def test_the_files_stay_within_max_bytes(tmp_path: Path, clock: FakeClock) -> None:
    """Database, WAL and ballast together, whatever is put in."""
    path = tmp_path / "a.db"
    store = open_store(path, clock, max_bytes=2 * MIB)
    for seq in range(600):
        rows = [message(f"k{seq}", seq, kind, body=b"x" * 3000) for kind in ("event", "alert")]
        store.commit([transition(seq=seq, text="y" * 3000)], rows)
        clock.advance(1)
    assert weight(path) <= 2 * MIB
    store.close()


def save_values(store: Store, count: int) -> None:
    for number in range(count):
        store.save_value(f"v{number}", b"x" * 50_000)


def test_values_that_fill_the_file_are_refused_and_alarms_still_fit(
    tmp_path: Path, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """max_page_count: a StoreError that says what to do; the outbox works in what is left."""
    store = open_store(tmp_path / "a.db", clock, max_bytes=MIB)
    store.commit([transition(f"P-{n}/a", text="h" * 1000) for n in range(50)], [message()])
    with pytest.raises(StoreError, match=r"full.*raise store\.max_bytes"):
        save_values(store, 100)
    assert [one.message for one in caplog.records] == ["store full"]
    for seq in range(200):
        store.commit([transition(seq=seq)], [message(seq=seq, body=b"x" * 500)])
    rows = store.pending("plant", 1000)
    assert rows[-1].seq == 199
    store.confirm([one.row for one in rows])
    assert store.outbox_stats() == {}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("mounting a small file system needs root")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def fill_disk(place: Path) -> Path:
    hog = place / "hog"
    with hog.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            pass
    assert shutil.disk_usage(place).free == 0
    return hog


def test_on_a_full_disk_rows_still_leave_and_new_alarms_still_enter(
    small_disk: Path, clock: FakeClock
) -> None:
    """The ballast makes it possible: without it not even a DELETE succeeds."""
    store = open_store(small_disk / "a.db", clock, max_bytes=4 * MIB)
    for seq in range(100):
        store.commit([transition(seq=seq, text="x" * 2000)], [message(seq=seq, body=b"x" * 500)])
    hog = fill_disk(small_disk)
    for seq in range(100, 1000):
        store.commit([transition(seq=seq)], [message(seq=seq, body=b"x" * 500)])
        rows = store.pending("plant", 10)
        store.confirm([one.row for one in rows])
    assert not (small_disk / "a.db.ballast").exists()
    assert [alarm.seq for alarm in store.alarms()] == [999]
    assert store.outbox_stats() == {}

    hog.unlink()
    clock.advance(61)
    store.commit([transition(seq=1000)], [])
    assert (small_disk / "a.db.ballast").stat().st_size == 4 * MIB // 16
    store.close()


def test_on_a_full_disk_an_outage_ends_in_counted_drops_or_an_error_never_in_damage(
    small_disk: Path, clock: FakeClock
) -> None:
    store = open_store(small_disk / "a.db", clock, max_bytes=4 * MIB)
    fill_disk(small_disk)
    put = dropped = 0
    for seq in range(1500):
        try:
            drops = store.commit([transition(seq=seq)], [message(seq=seq, body=b"x" * 500)])
        except StoreError:
            continue
        put += 1
        dropped += sum(drop.messages for drop in drops)
    kept = store.outbox_stats()["plant"].rows
    assert kept >= 20
    assert put == kept + dropped
    store.close()
    store = open_store(small_disk / "a.db", clock, max_bytes=4 * MIB)
    assert store.outbox_stats()["plant"].rows == kept
    store.close()
    assert not list(small_disk.glob("*corrupt*"))


def damage(path: Path, offset: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(b"\xa5" * 12_000)


@pytest.mark.parametrize("offset", [0, 5 * 4096], ids=["header", "inner pages"])
def test_a_corrupt_file_is_moved_aside_and_a_fresh_one_begun(
    tmp_path: Path, clock: FakeClock, caplog: pytest.LogCaptureFixture, offset: int
) -> None:
    path = tmp_path / "a.db"
    store = open_store(path, clock)
    for seq in range(200):
        store.commit([transition(seq=seq)], [message(seq=seq)])
    store.close()
    damage(path, offset)
    store = open_store(path, clock)
    assert store.alarms() == []
    store.commit([transition()], [message()])
    store.close()
    assert (tmp_path / "a.db.corrupt-20260101T000000Z").stat().st_size > 100_000
    assert [(one.levelname, one.message) for one in caplog.records] == [("ERROR", "store corrupt")]


def test_a_wal_goes_aside_with_its_file(tmp_path: Path, clock: FakeClock) -> None:
    """Left behind it would be replayed into the fresh file."""
    path = tmp_path / "a.db"
    path.write_bytes(b"file")
    path.with_name("a.db-wal").write_bytes(b"wal")
    move_aside(path, clock.now_us(), "test")
    assert {one.name: one.read_bytes() for one in tmp_path.iterdir()} == {
        "a.db.corrupt-20260101T000000Z": b"file",
        "a.db.corrupt-20260101T000000Z-wal": b"wal",
    }


def test_only_the_newest_corrupt_files_are_kept(tmp_path: Path, clock: FakeClock) -> None:
    path = tmp_path / "a.db"
    for _ in range(4):
        clock.advance(1)
        path.write_bytes(b"not a database" * 500)
        open_store(path, clock).close()
    assert sorted(one.name for one in tmp_path.glob("*corrupt*")) == [
        "a.db.corrupt-20260101T000003Z",
        "a.db.corrupt-20260101T000004Z",
    ]


def test_a_second_daemon_on_the_file_is_refused(tmp_path: Path, clock: FakeClock) -> None:
    store = open_store(tmp_path / "a.db", clock)
    script = f"import sqlite3; sqlite3.connect({str(tmp_path / 'a.db')!r}, timeout=0.1)"
    script += ".execute('SELECT * FROM alarms')"
    other = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert b"database is locked" in other.stderr
    store.commit([transition()], [])
    store.close()


def test_a_file_of_a_newer_version_is_left_alone(tmp_path: Path, clock: FakeClock) -> None:
    path = tmp_path / "a.db"
    open_store(path, clock).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(StoreError, match=r"version 99.*newer edge-agent wrote it"):
        open_store(path, clock)
    assert not list(tmp_path.glob("*corrupt*"))


def test_a_file_of_an_older_version_sends_in_the_order_of_its_history(
    tmp_path: Path, clock: FakeClock
) -> None:
    """What had been sent again when the new version was installed goes before what came later."""
    path = tmp_path / "a.db"
    store = open_store(path, clock)
    store.commit([transition(seq=seq) for seq in (1, 2)], [message(seq=2)])
    store.commit([], [message(seq=1), message(seq=9)])
    store.close()
    with sqlite3.connect(path) as db:
        db.execute("DROP INDEX outbox_turn")
        db.execute("ALTER TABLE outbox DROP COLUMN turn")
        db.execute("PRAGMA user_version = 3")
    db.close()
    store = open_store(path, clock)
    assert [one.seq for one in store.pending("plant", 10)] == [9, 1, 2]
    store.close()


def test_a_place_that_cannot_be_written_is_a_store_error(tmp_path: Path, clock: FakeClock) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match=r"file/a\.db: cannot open the store"):
        open_store(tmp_path / "file" / "a.db", clock)


def test_a_size_too_small_to_work_with_is_a_store_error(tmp_path: Path, clock: FakeClock) -> None:
    with pytest.raises(StoreError, match="at least 1MiB"):
        open_store(tmp_path / "a.db", clock, max_bytes=MIB - 1)


def test_power_cuts_are_provided_for(tmp_path: Path, clock: FakeClock) -> None:
    """WAL + FULL is the pair that lost nothing when the power was cut."""
    store = open_store(tmp_path / "deep" / "a.db", clock)
    assert store.db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert store.db.execute("PRAGMA synchronous").fetchone() == (2,)
    store.close()
