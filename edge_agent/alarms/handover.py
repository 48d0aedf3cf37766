"""An alarm that another gateway of a pair has announced, in the table of this one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from edge_agent.alarms.transitions import ANNOUNCED, Event
from edge_agent.messages import AlarmState, Transition, TransitionKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from edge_agent.alarms.catalogue import AlarmPolicy
    from edge_agent.alarms.track import Track
    from edge_agent.messages import Alarm

_EVENTS: Final = {
    TransitionKind.RAISE: Event.ON,
    TransitionKind.CLEAR: Event.OFF,
    TransitionKind.SUPPRESS: Event.SUPPRESS,
    TransitionKind.UNSUPPRESS: Event.UNSUPPRESS,
}


def show_announced(track: Track, announced: Alarm) -> None:
    """Show the other gateway's state, unless our own observations do not agree with it yet."""
    if track.latest is None:
        track.over = announced.active
    elif announced.active != track.alarm.active:
        return
    track.alarm = replace(announced)


def continue_alarm(
    track: Track, announced: Alarm, missed: Sequence[Transition], policy: AlarmPolicy
) -> Iterator[Transition]:
    """Go on from the announced state; yields the transitions that were found here alone.

    The comparator stays where our observations have left it. If it disagrees with the announced
    condition, the delay starts now, and the next observations decide.
    """
    track.alarm = replace(announced)
    track.since_us = None
    if track.latest is None:
        track.over = announced.active
    for one in missed:
        yield from _repeat(track, one, policy)


def _repeat(track: Track, one: Transition, policy: AlarmPolicy) -> Iterator[Transition]:
    """Make a transition of our own again, with the number that follows the announced one."""
    alarm, event, at_us = track.alarm, _EVENTS[one.kind], one.at_us
    if event in {Event.ON, Event.OFF}:
        if event is Event.ON and alarm.state is AlarmState.NORMAL and not alarm.active:
            alarm.count, alarm.first_seen_us = 0, at_us
        alarm.active = event is Event.ON
    row = ANNOUNCED.get((alarm.state, event, alarm.active))
    if row is None:  # announced meanwhile, or silenced by an operator
        return
    transition = track.enter(row, policy, at_us, one.actor)
    if one.kind is TransitionKind.RAISE:
        found = one.alarm
        for name in ("detail", "ne107", "stage", "severity", "priority"):
            setattr(alarm, name, getattr(found, name))
        transition = replace(transition, alarm=replace(alarm))
    yield transition
