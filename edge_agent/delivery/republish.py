"""What the store's thread does for delivery: commits transitions, and sends messages again.

A receiver may have lost messages; every repetition keeps its id.

A broker's confirmation is not valid after a crash of the broker: its file on disk, if any, may be
minutes old. docs/reliability.md has the consequences.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from edge_agent.clock import US_PER_S
from edge_agent.messages import AlarmState
from edge_agent.sinks import ALERT, EVENT, Position
from edge_agent.store import FileError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from edge_agent.alarms import AlarmMessages
    from edge_agent.messages import Transition
    from edge_agent.store import DroppedMessages, Store, Waiting

log = logging.getLogger("edge_agent.delivery")

_SETTLED_US: Final = 86_400 * US_PER_S
_MARGIN_US: Final = 60 * US_PER_S
_MOST_EVENTS: Final = 1000
_MOST_WAITING: Final = 16  # more than a send window; a mark is a small message


def commit(
    store: Store,
    transitions: Sequence[Transition],
    messages: AlarmMessages,
    sinks: Sequence[tuple[str, Collection[str]]],
    now_us: int,
) -> list[DroppedMessages]:
    """Commit transitions with their messages; those in memory are marked as not stored.

    sinks: (name, kinds) each. Returns what the store had to drop. A transition that cannot be
    written for a reason of its own is lost, and logged: it must not hold up all others.
    """
    if not store.is_durable:
        transitions = [replace(one, stored=False) for one in transitions]
    try:
        return store.commit(transitions, messages.make(transitions, sinks, now_us, store.said_of))
    except FileError:
        raise
    except Exception:
        if len(transitions) > 1:
            alone = [commit(store, [one], messages, sinks, now_us) for one in transitions]
            return [dropped for each in alone for dropped in each]
        alarm = transitions[0].alarm
        log.exception("transition lost", extra={"alarm_id": alarm.alarm_id, "seq": alarm.seq})
        return []


def standing_states(store: Store, sink: str, now_us: int) -> list[Transition]:
    """Return the newest transition of each alarm that is or was not normal within the last day.

    A broker that restarts with an old file shows alarms that have ended. Transitions that wait in
    the outbox are left out.
    """
    waiting = {(one.key, one.seq) for one in store.waiting(sink) if one.kind == ALERT}
    return [
        stored.transition
        for stored in store.latest()
        if stored.transition.alarm.state is not AlarmState.NORMAL
        or stored.stored_us > now_us - _SETTLED_US
        if _key(stored.transition) not in waiting
    ]


def position_of(store: Store, sink: str) -> Position | None:
    """Return how far a sink has confirmed the events of this store; None if that has no name."""
    if not store.identity:
        return None
    return Position(store.identity, *store.progress(sink, EVENT, _MOST_WAITING))


class Lost(NamedTuple):
    """Messages of a kind that a sink's receiver may have lost; mark, sent: see `Sink`."""

    sink: str
    kind: str
    mark: Position | None = None
    sent: Collection[tuple[str, int]] = ()


def recent_events(store: Store, lost: Lost) -> list[Transition]:
    """Return the transitions that the receiver may have lost, the oldest first.

    Without a mark these are the transitions of the minute before the oldest that waits, or before
    the newest of all.
    """
    position = lost.mark
    waiting = [one for one in store.waiting(lost.sink) if one.kind == EVENT]
    keys = {(one.key, one.seq) for one in waiting} | set(lost.sent)
    if position is None or position.store != store.identity:
        again = _last_minute(store, waiting)
    else:
        again = store.since(position.row, position.waiting, _MOST_EVENTS)
    return [transition for transition in again if _key(transition) not in keys]


def _last_minute(store: Store, waiting: Sequence[Waiting]) -> list[Transition]:
    newest = store.newest(_MOST_EVENTS)
    if not newest:
        return []
    since_us = min([newest[0].stored_us, *(one.created_us for one in waiting)]) - _MARGIN_US
    return [one.transition for one in reversed(newest) if one.stored_us >= since_us]


def _key(transition: Transition) -> tuple[str, int]:
    return transition.alarm.alarm_id, transition.alarm.seq


def enqueue(
    store: Store, lost: Lost, messages: AlarmMessages, now_us: int
) -> tuple[int, list[DroppedMessages]]:
    """Put repeated messages of a sink into the outbox; returns their number, and dropped ones.

    It runs on the store's thread, so that no newer state is committed before an older one.
    """
    if lost.kind == ALERT:
        again = standing_states(store, lost.sink, now_us)
    else:
        again = recent_events(store, lost)
    found = messages.make(again, [(lost.sink, {lost.kind})], now_us, store.said_of)
    return len(found), store.commit([], found) if found else []
