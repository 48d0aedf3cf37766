"""What a receiver that may have forgotten is told again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edge_agent.delivery import republish
from edge_agent.delivery.republish import Lost
from edge_agent.messages import Alarm, AlarmState, Message, Transition, TransitionKind
from edge_agent.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge_agent.clock import FakeClock

SINK = "bus"
HOUR_S = 3600.0


@pytest.fixture
def store(tmp_path: Path, clock: FakeClock) -> Iterator[Store]:
    opened = Store.open(tmp_path / "a.db", max_bytes=16 << 20, history_days=90, clock=clock)
    yield opened
    opened.close()


def transition(
    alarm_id: str, seq: int = 1, state: AlarmState = AlarmState.UNACK, actor: str = ""
) -> Transition:
    alarm = Alarm(alarm_id, "P-1", state=state, seq=seq, active=state is AlarmState.UNACK)
    return Transition(TransitionKind.ACK if actor else TransitionKind.RAISE, seq, alarm, actor)


def message(clock: FakeClock, kind: str, key: str, seq: int) -> Message:
    return Message(0, SINK, kind, key, seq, f"edge/{kind}/{key}", b"{}", clock.now_us())


def told(found: list[Transition]) -> list[str]:
    return [f"{one.alarm.alarm_id}:{one.alarm.seq}" for one in found]


def test_standing_alarms_are_told_with_what_made_them_so(store: Store, clock: FakeClock) -> None:
    acked = transition("b", 2, AlarmState.ACKED, actor="anna")
    store.commit([transition("a"), transition("b", 1), acked], [])
    clock.advance(100 * 24 * HOUR_S)
    found = republish.standing_states(store, SINK, clock.now_us())
    assert sorted(told(found)) == ["a:1", "b:2"]
    assert acked in found


def test_alarms_at_rest_are_told_for_a_day(store: Store, clock: FakeClock) -> None:
    """A broker's old file may still show them."""
    store.commit([transition("a", 3, AlarmState.NORMAL)], [])
    clock.advance(23 * HOUR_S)
    assert told(republish.standing_states(store, SINK, clock.now_us())) == ["a:3"]
    clock.advance(2 * HOUR_S)
    assert republish.standing_states(store, SINK, clock.now_us()) == []


def test_what_waits_is_not_told_twice(store: Store, clock: FakeClock) -> None:
    """But an older state that waits does not stand for the newest."""
    waiting = [message(clock, "alert", "a", 1), message(clock, "alert", "b", 1)]
    store.commit([transition("a"), transition("b", 1), transition("b", 2)], waiting)
    assert told(republish.standing_states(store, SINK, clock.now_us())) == ["b:2"]
    assert told(republish.standing_states(store, "other", clock.now_us())) == ["a:1", "b:2"]


def test_events_of_the_minute_before_the_newest_are_told_in_their_order(
    store: Store, clock: FakeClock
) -> None:
    """However long ago that was: what came since waits in the outbox."""
    for seq in range(1, 6):
        store.commit([transition("a", seq)], [])
        clock.advance(25)
    clock.advance(10 * HOUR_S)
    assert told(republish.recent_events(store, Lost(SINK, "event"))) == ["a:3", "a:4", "a:5"]


def test_events_before_the_oldest_that_waits_are_told(store: Store, clock: FakeClock) -> None:
    """They were the last to be confirmed before the outage."""
    for seq in range(1, 4):
        store.commit([transition("a", seq)], [])
        clock.advance(40)
    for seq in range(4, 8):
        store.commit([transition("a", seq)], [message(clock, "event", "a", seq)])
        clock.advance(HOUR_S)
    assert told(republish.recent_events(store, Lost(SINK, "event"))) == ["a:3"]


def test_nothing_is_told_of_an_empty_store(store: Store, clock: FakeClock) -> None:
    assert republish.standing_states(store, SINK, clock.now_us()) == []
    assert republish.recent_events(store, Lost(SINK, "event")) == []


def test_a_mark_tells_what_is_in_doubt(store: Store, clock: FakeClock) -> None:
    """Only what was sent after it, however long ago it was made; and not what waits anyway."""
    store.commit([transition("a", seq) for seq in (1, 2, 3)], [message(clock, "event", "a", 2)])
    mark = republish.position_of(store, SINK)
    assert mark is not None
    assert mark.waiting == [("a", 2)]
    store.commit([transition("a", 4)], [message(clock, "event", "a", 4)])
    clock.advance(10 * HOUR_S)
    lost = Lost(SINK, "event", mark)
    assert told(republish.recent_events(store, lost)) == []
    store.confirm([one.row for one in store.pending(SINK, 10)])
    assert told(republish.recent_events(store, lost)) == ["a:2", "a:4"]
    assert told(republish.recent_events(store, lost._replace(sent={("a", 2)}))) == ["a:4"]


def test_a_mark_of_another_store_tells_nothing(
    store: Store, tmp_path: Path, clock: FakeClock
) -> None:
    """Its rows are others; then the last minute is sent again."""
    other = Store.open(tmp_path / "b.db", max_bytes=16 << 20, history_days=90, clock=clock)
    other.commit([transition("a", seq) for seq in (1, 2, 3)], [])
    mark = republish.position_of(other, SINK)
    other.close()
    store.commit([transition("a", 1)], [])
    assert told(republish.recent_events(store, Lost(SINK, "event", mark))) == ["a:1"]


def test_a_mark_is_short_also_with_a_long_outbox(store: Store, clock: FakeClock) -> None:
    """It reaches as far as the first few that wait; the others are in doubt later."""
    for seq in range(1, 301):
        store.commit([transition("a", seq)], [message(clock, "event", "a", seq)] * (seq > 50))
    mark = republish.position_of(store, SINK)
    assert mark is not None
    assert mark.waiting == [("a", seq) for seq in range(51, 67)]
    store.confirm([one.row for one in store.pending(SINK, 1000)])
    again = told(republish.recent_events(store, Lost(SINK, "event", mark)))
    assert again == [f"a:{seq}" for seq in range(51, 301)]


def test_a_repeated_event_that_waits_is_not_behind_a_mark(store: Store, clock: FakeClock) -> None:
    """It has a late row in the outbox but an early one in the history: a broker may lose it."""
    store.commit([transition("a", seq) for seq in range(1, 101)], [])
    waits = [message(clock, "event", "a", seq) for seq in (*range(51, 101), 7)]
    store.commit([], waits)
    mark = republish.position_of(store, SINK)
    assert mark is not None
    store.confirm([one.row for one in store.pending(SINK, 1000)])
    again = told(republish.recent_events(store, Lost(SINK, "event", mark)))
    assert again == ["a:7", *(f"a:{seq}" for seq in range(51, 101))]


def test_what_is_sent_again_goes_first_and_the_mark_follows_at_once(
    store: Store, clock: FakeClock
) -> None:
    """A receiver lost twice while a long queue is sent is told again what it had since, not all."""
    store.commit([transition("a", seq) for seq in range(1, 101)], [])
    queue = [message(clock, "event", "a", seq) for seq in range(101, 1101)]
    store.commit([transition("a", seq) for seq in range(101, 1101)], queue)
    store.commit([], [message(clock, "event", "a", seq) for seq in range(51, 101)])
    first = store.pending(SINK, 60)
    assert [one.seq for one in first] == list(range(51, 111))
    store.confirm([one.row for one in first])
    mark = republish.position_of(store, SINK)
    assert mark is not None
    next_ten = store.pending(SINK, 10)
    store.confirm([one.row for one in next_ten])
    again = told(republish.recent_events(store, Lost(SINK, "event", mark)))
    assert again == [f"a:{seq}" for seq in range(111, 121)]
