"""What a gateway of a pair could not send before the other one took over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_agent.clock import FakeClock
from edge_agent.messages import Alarm, AlarmState, Message, Transition, TransitionKind
from edge_agent.store import Store

if TYPE_CHECKING:
    from pathlib import Path


def test_what_was_not_sent_is_void_also_in_the_history(tmp_path: Path) -> None:
    """It would be sent later as an event that may have been lost, under a number of the other."""
    store = Store.open(
        tmp_path / "store.db", max_bytes=16 << 20, history_days=1, clock=FakeClock(1)
    )
    for seq in (1, 2):
        alarm = Alarm("P-1.a", "P-1", AlarmState.UNACK, seq, active=True)
        message = Message(0, "bus", "event", "P-1.a", seq, "t", b"{}", 1)
        store.commit([Transition(TransitionKind.RAISE, seq, alarm)], [message])
    store.confirm([store.pending("bus", 1)[0].row])
    assert store.void_waiting() == 1
    assert store.pending("bus", 10) == []
    assert [one.transition.alarm.seq for one in store.newest(10)] == [1]
    store.close()
