"""The ISA-18.2 alarm states and all transitions between them, as data.

Follows the alarm state diagram of ANSI/ISA-18.2-2016 clause 5 (IEC 62682 clause 6), without its
optional latched states. A pair that is not listed is a refused command.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final, TypeAlias

from edge_agent.errors import EdgeAgentError
from edge_agent.messages import AlarmState as S
from edge_agent.messages import TransitionKind as K

if TYPE_CHECKING:
    from edge_agent.messages import Alarm


class Event(StrEnum):
    """What can happen to an alarm: to its condition (on, off, change), or a command."""

    ON = "on"  # the condition started, its on-delay is over
    OFF = "off"  # the condition ended, its off-delay is over
    CHANGE = "change"  # the condition stays, but its priority, cause or mode is another
    ACK = "ack"
    SHELVE = "shelve"
    UNSHELVE = "unshelve"  # by a command or because its time is over
    SUPPRESS = "suppress"
    UNSUPPRESS = "unsuppress"
    REMOVE_FROM_SERVICE = "remove_from_service"
    RETURN_TO_SERVICE = "return_to_service"
    CONFIRM = "confirm"  # somebody has done what the acknowledged alarm asks for
    COMMENT = "comment"  # the state stays


Row: TypeAlias = tuple[S, K | None]
Announced: TypeAlias = tuple[S, K]

# (state, event) -> (state after it, transition). None: recorded, but not announced.
TRANSITIONS: Final[dict[tuple[S, Event], Row]] = {
    (S.NORMAL, Event.ON): (S.UNACK, K.RAISE),
    (S.NORMAL, Event.OFF): (S.NORMAL, None),  # a held raise whose condition ended
    (S.NORMAL, Event.CHANGE): (S.NORMAL, None),
    (S.NORMAL, Event.SHELVE): (S.SHELVED, K.SHELVE),
    (S.NORMAL, Event.SUPPRESS): (S.SUPPRESSED, K.SUPPRESS),
    (S.NORMAL, Event.REMOVE_FROM_SERVICE): (S.OUT_OF_SERVICE, K.OUT_OF_SERVICE),
    (S.UNACK, Event.ON): (S.UNACK, None),
    (S.UNACK, Event.OFF): (S.RTN_UNACK, K.CLEAR),
    (S.UNACK, Event.CHANGE): (S.UNACK, K.UPDATE),
    (S.UNACK, Event.ACK): (S.ACKED, K.ACK),
    (S.UNACK, Event.SHELVE): (S.SHELVED, K.SHELVE),
    (S.UNACK, Event.SUPPRESS): (S.SUPPRESSED, K.SUPPRESS),
    (S.UNACK, Event.REMOVE_FROM_SERVICE): (S.OUT_OF_SERVICE, K.OUT_OF_SERVICE),
    (S.ACKED, Event.ON): (S.ACKED, None),
    (S.ACKED, Event.OFF): (S.NORMAL, K.CLEAR),
    (S.ACKED, Event.CHANGE): (S.ACKED, K.UPDATE),
    (S.ACKED, Event.SHELVE): (S.SHELVED, K.SHELVE),
    (S.ACKED, Event.SUPPRESS): (S.SUPPRESSED, K.SUPPRESS),
    (S.ACKED, Event.REMOVE_FROM_SERVICE): (S.OUT_OF_SERVICE, K.OUT_OF_SERVICE),
    (S.RTN_UNACK, Event.ON): (S.UNACK, K.RAISE),
    (S.RTN_UNACK, Event.OFF): (S.RTN_UNACK, None),
    (S.RTN_UNACK, Event.CHANGE): (S.RTN_UNACK, None),
    (S.RTN_UNACK, Event.ACK): (S.NORMAL, K.ACK),
    (S.RTN_UNACK, Event.SHELVE): (S.SHELVED, K.SHELVE),
    (S.RTN_UNACK, Event.SUPPRESS): (S.SUPPRESSED, K.SUPPRESS),
    (S.RTN_UNACK, Event.REMOVE_FROM_SERVICE): (S.OUT_OF_SERVICE, K.OUT_OF_SERVICE),
    (S.SHELVED, Event.ON): (S.SHELVED, None),
    (S.SHELVED, Event.OFF): (S.SHELVED, None),
    (S.SHELVED, Event.CHANGE): (S.SHELVED, None),
    (S.SHELVED, Event.UNSHELVE): (S.NORMAL, K.UNSHELVE),
    (S.SHELVED, Event.REMOVE_FROM_SERVICE): (S.OUT_OF_SERVICE, K.OUT_OF_SERVICE),
    (S.SUPPRESSED, Event.ON): (S.SUPPRESSED, None),
    (S.SUPPRESSED, Event.OFF): (S.SUPPRESSED, None),
    (S.SUPPRESSED, Event.CHANGE): (S.SUPPRESSED, None),
    (S.SUPPRESSED, Event.UNSUPPRESS): (S.NORMAL, K.UNSUPPRESS),
    (S.SUPPRESSED, Event.REMOVE_FROM_SERVICE): (S.OUT_OF_SERVICE, K.OUT_OF_SERVICE),
    (S.OUT_OF_SERVICE, Event.ON): (S.OUT_OF_SERVICE, None),
    (S.OUT_OF_SERVICE, Event.OFF): (S.OUT_OF_SERVICE, None),
    (S.OUT_OF_SERVICE, Event.CHANGE): (S.OUT_OF_SERVICE, None),
    (S.OUT_OF_SERVICE, Event.RETURN_TO_SERVICE): (S.NORMAL, K.IN_SERVICE),
    (S.ACKED, Event.CONFIRM): (S.ACKED, K.UPDATE),
    **{(state, Event.COMMENT): (state, K.UPDATE) for state in S if state is not S.NORMAL},
}

# These rows replace those above while the condition is active: a returning alarm is unack.
WHILE_ACTIVE: Final[dict[tuple[S, Event], Row]] = {
    (S.SHELVED, Event.UNSHELVE): (S.UNACK, K.UNSHELVE),
    (S.SUPPRESSED, Event.UNSUPPRESS): (S.UNACK, K.UNSUPPRESS),
    (S.OUT_OF_SERVICE, Event.RETURN_TO_SERVICE): (S.UNACK, K.IN_SERVICE),
}


ALIVE: Final = (S.UNACK, S.ACKED)
WAITING: Final = (S.NORMAL, S.RTN_UNACK)  # an active condition is raised again

# What is announced, by state, event, and True while the condition is active; the other pairs are
# recorded silently, or refused.
ANNOUNCED: Final[dict[tuple[S, Event, bool], Announced]] = {
    (*key, active): (state, kind)
    for active in (False, True)
    for key, (state, kind) in (TRANSITIONS | (WHILE_ACTIVE if active else {})).items()
    if kind is not None
}


def row_of_command(alarm: Alarm, command: Event) -> Announced:
    """The state after a command, and its transition; EdgeAgentError if it is not possible now."""
    row = ANNOUNCED.get((alarm.state, command, alarm.active))
    if row is None:
        raise EdgeAgentError(
            f"cannot {command.replace('_', ' ')}: the alarm is {alarm.state}",
            where=alarm.alarm_id,
            hint=f"possible now: {', '.join(commands(alarm.state))}",
        )
    return row


def commands(state: S) -> list[str]:
    """List the commands that are possible in `state`."""
    condition = (Event.ON, Event.OFF, Event.CHANGE)
    return [event for at, event in TRANSITIONS if at is state and event not in condition]
