"""Alarms, transitions and messages to put into a store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_agent.messages import Alarm, AlarmState, Detail, Message, Transition, TransitionKind
from edge_agent.store.store import Store

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.clock import Clock

MIB = 1 << 20


def open_store(path: Path, clock: Clock, max_bytes: int = 16 * MIB, days: float = 90) -> Store:
    return Store.open(path, max_bytes=max_bytes, history_days=days, clock=clock)


def message(  # noqa: PLR0917
    key: str = "P-1/bearing",
    seq: int = 1,
    kind: str = "event",
    sink: str = "plant",
    body: bytes = b"{}",
    created_us: int = 1,
) -> Message:
    return Message(0, sink, kind, key, seq, f"edge/{key}/{kind}", body, created_us)


def transition(
    alarm_id: str = "P-1/bearing", seq: int = 1, text: str = "", at_us: int = 1
) -> Transition:
    alarm = Alarm(
        alarm_id,
        asset=alarm_id.partition("/")[0],
        state=AlarmState.UNACK,
        seq=seq,
        active=True,
        detail=Detail("score_high", {"text": text}),
    )
    return Transition(TransitionKind.RAISE, at_us, alarm, actor="model")
