"""What the store knows for telling a forgetful broker everything again."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

from store_helpers import message, open_store, transition

from edge_agent.messages import TransitionKind
from edge_agent.store.outbox import Waiting

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.clock import FakeClock


def test_the_latest_transition_of_every_alarm_is_its_state_with_kind_and_actor(
    tmp_path: Path, clock: FakeClock
) -> None:
    store = open_store(tmp_path / "a.db", clock)
    store.commit([transition("P-1/a", 1), transition("P-2/a", 1, at_us=5)], [])
    clock.advance(1)
    acked = replace(transition("P-1/a", 2, at_us=7), kind=TransitionKind.ACK, actor="anna")
    store.commit([acked], [])
    told = {one.transition.alarm.alarm_id: one for one in store.latest()}
    assert told["P-1/a"].transition == acked
    assert told["P-1/a"].stored_us == clock.now_us()
    assert told["P-2/a"].transition == transition("P-2/a", 1, at_us=5)


def test_a_state_whose_history_is_gone_is_told_as_an_update(
    tmp_path: Path, clock: FakeClock
) -> None:
    store = open_store(tmp_path / "a.db", clock)
    store.commit([transition("P-1/a", 3)], [])
    store.close()
    with closing(sqlite3.connect(tmp_path / "a.db")) as db, db:
        db.execute("DELETE FROM history")
    store = open_store(tmp_path / "a.db", clock)
    (told,) = store.latest()
    assert told.transition.kind is TransitionKind.UPDATE
    assert (told.transition.alarm.seq, told.stored_us) == (3, 0)


def test_the_newest_transitions_are_newest_first_and_so_many(
    tmp_path: Path, clock: FakeClock
) -> None:
    store = open_store(tmp_path / "a.db", clock)
    store.commit([transition("P-1/a", seq) for seq in range(1, 6)], [])
    assert [one.transition.alarm.seq for one in store.newest(3)] == [5, 4, 3]
    assert store.newest(1)[0].transition == transition("P-1/a", 5)


def test_what_waits_is_told_without_its_bodies(tmp_path: Path, clock: FakeClock) -> None:
    store = open_store(tmp_path / "a.db", clock)
    store.commit([], [message("k", 4, "alert", created_us=9), message("k", 4, sink="other")])
    assert store.waiting("plant") == [Waiting("alert", "k", 4, 9)]
