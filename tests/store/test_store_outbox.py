"""The outbox: order, lines, confirmation, and what is dropped first when it is full."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_helpers import MIB, message, open_store, transition

from edge_agent.clock import FakeClock
from edge_agent.store.outbox import DroppedMessages, OutboxStats

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.messages import Message
    from edge_agent.store.store import Store

KIB = 1 << 10
LARGE = b"x" * 10 * KIB
BUDGET_AT_1_MIB = (MIB - 2 * MIB // 16) // 2


def test_messages_come_back_whole_and_in_order(tmp_path: Path, clock: FakeClock) -> None:
    store = open_store(tmp_path / "a.db", clock)
    sent = [message(seq=n, body=b"\x00\xff%d" % n, created_us=n) for n in range(5)]
    store.commit([], sent)
    found = store.pending("plant", 10)
    assert [one.row for one in found] == [1, 2, 3, 4, 5]
    assert [(m.sink, m.kind, m.key, m.seq, m.topic, m.body, m.created_us) for m in found] == [
        (m.sink, m.kind, m.key, m.seq, m.topic, m.body, m.created_us) for m in sent
    ]
    assert store.pending("plant", 2) == found[:2]
    assert store.pending("other", 10) == []


def test_excluded_lines_do_not_hide_what_stands_behind_them(
    tmp_path: Path, clock: FakeClock
) -> None:
    store = open_store(tmp_path / "a.db", clock)
    store.commit([], [message("stuck", n) for n in range(100)])
    store.commit([], [message("free"), message("stuck", kind="alert")])
    found = store.pending("plant", 10, {("event", "stuck")})
    assert [(one.kind, one.key) for one in found] == [("event", "free"), ("alert", "stuck")]


def test_a_confirmed_row_is_gone_and_confirming_again_is_harmless(
    tmp_path: Path, clock: FakeClock
) -> None:
    store = open_store(tmp_path / "a.db", clock)
    store.commit([], [message(seq=1), message(seq=2)])
    store.confirm([1])
    store.confirm([1, 99])
    assert [one.seq for one in store.pending("plant", 10)] == [2]


def test_row_numbers_never_come_back(tmp_path: Path, clock: FakeClock) -> None:
    """A late confirmation must not delete another message."""
    store = open_store(tmp_path / "a.db", clock)
    store.commit([], [message(seq=1)])
    store.confirm([1])
    store.commit([], [message(seq=2)])
    assert store.pending("plant", 1)[0].row == 2


def test_stats_by_sink(tmp_path: Path, clock: FakeClock) -> None:
    store = open_store(tmp_path / "a.db", clock)
    assert store.outbox_stats() == {}
    store.commit([], [message(created_us=7), message(created_us=5), message(sink="web")])
    stats = store.outbox_stats()
    assert stats["plant"] == OutboxStats(2, 2 * stats["web"].bytes, 5)
    assert set(stats) == {"plant", "web"}


def test_messages_of_a_removed_sink_are_forgotten(tmp_path: Path, clock: FakeClock) -> None:
    store = open_store(tmp_path / "a.db", clock)
    store.commit([], [message(sink="a"), message(sink="b"), message(sink="c")])
    assert store.forget_sinks(["b", "new"]) == 2
    assert set(store.outbox_stats()) == {"b"}


def fill(store: Store, messages: list[Message]) -> list[DroppedMessages]:
    dropped: list[DroppedMessages] = []
    for one in messages:
        dropped += store.commit([], [one])
    return dropped


def test_superseded_alerts_go_first_then_events_then_newest_alerts(
    tmp_path: Path, clock: FakeClock
) -> None:
    store = open_store(tmp_path / "a.db", clock, max_bytes=MIB)
    fits = BUDGET_AT_1_MIB // len(LARGE) - 1
    half = fits // 2
    store.commit([], [message("old", n, "alert", body=LARGE) for n in range(half)])
    store.commit([], [message(f"e{n}", 1, "event", body=LARGE) for n in range(fits - half)])

    first = fill(store, [message(f"a{n}", 1, "alert", body=LARGE) for n in range(half - 1)])
    assert {drop.rank for drop in first} == {"superseded"}
    left = [one for one in store.pending("plant", 1000) if one.key == "old"]
    assert left[-1].seq == half - 1, "the newest state of the alarm still waits"

    second = fill(store, [message(f"b{n}", 1, "alert", body=LARGE) for n in range(fits - half)])
    assert {drop.rank for drop in second} == {"superseded", "event"}
    assert "newest" not in {drop.rank for drop in second}

    third = fill(store, [message(f"c{n}", 1, "alert", body=LARGE) for n in range(half)])
    assert third[-1].rank == "newest"
    left = store.pending("plant", 1000)
    assert {one.kind for one in left} == {"alert"}
    assert left[-1].key == f"c{half - 1}"


def test_the_sink_with_most_bytes_pays_with_its_oldest(tmp_path: Path, clock: FakeClock) -> None:
    store = open_store(tmp_path / "a.db", clock, max_bytes=MIB)
    fill(store, [message(f"q{n}", sink="quiet", body=LARGE) for n in range(3)])
    dropped = fill(store, [message(f"d{n}", sink="dead", body=LARGE) for n in range(100)])
    assert {(drop.sink, drop.rank) for drop in dropped} == {("dead", "event")}
    assert len(store.pending("quiet", 100)) == 3
    assert [one.key for one in store.pending("dead", 100)][-1] == "d99"
    assert sum(drop.messages for drop in dropped) == 100 - len(store.pending("dead", 100))


lines = st.tuples(
    st.sampled_from(["a", "b"]), st.sampled_from(["alert", "event"]), st.integers(0, 5)
)


@settings(deadline=None, max_examples=25)
@given(st.lists(st.lists(lines, max_size=20), max_size=10))
def test_bounded_counted_and_the_newest_alert_stays(
    tmp_path_factory: pytest.TempPathFactory, commits: list[list[tuple[str, str, int]]]
) -> None:
    """Whatever comes: in budget, nothing vanishes uncounted, no newest alert before an event."""
    store = open_store(tmp_path_factory.mktemp("s") / "a.db", FakeClock(), max_bytes=MIB)
    put: Counter[str] = Counter()
    gone: Counter[str] = Counter()
    newest = set()
    for number, commit in enumerate(commits):
        new = [message(f"k{k}", number, kind, sink, LARGE) for sink, kind, k in commit]
        for drop in store.commit([transition(seq=number)], new):
            gone[drop.sink] += drop.messages
            assert drop.rank != "newest" or not any(
                one.kind == "event" for sink in "ab" for one in store.pending(sink, 1000)
            )
        put.update(one.sink for one in new)
        newest |= {(one.sink, one.key) for one in new if one.kind == "alert"}
    stats = store.outbox_stats()
    kept = {(s, m.key) for s in stats for m in store.pending(s, 1000) if m.kind == "alert"}
    store.close()
    assert sum(one.bytes for one in stats.values()) <= BUDGET_AT_1_MIB
    assert {s: put[s] - gone[s] for s in put} == {
        s: stats[s].rows if s in stats else 0 for s in put
    }
    assert kept == newest, "twelve newest alerts always fit"


def test_a_backlog_of_one_blocked_line_is_passed_quickly(tmp_path: Path, clock: FakeClock) -> None:
    """A thousand blocked lines are no more than SQLite takes in one statement."""
    store = open_store(tmp_path / "a.db", clock)
    store.commit([], [message(f"k{n}") for n in range(1100)])
    blocked = {("event", f"k{n}") for n in range(1000)}
    assert [one.key for one in store.pending("plant", 3, blocked)] == ["k1000", "k1001", "k1002"]


@pytest.mark.parametrize("limit", [0, 1])
def test_pending_gives_no_more_than_asked_for(tmp_path: Path, clock: FakeClock, limit: int) -> None:
    store = open_store(tmp_path / "a.db", clock)
    store.commit([], [message(), message()])
    assert len(store.pending("plant", limit)) == limit
