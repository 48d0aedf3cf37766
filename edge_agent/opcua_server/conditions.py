"""Alarms as conditions of OPC 10000-9: which state of ISA-18.2 reads as which states of OPC UA.

An EventId is the alarm's id and the number of its transition. So it is the same for every client
and after a restart, and it says which occurrence somebody acknowledges.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edge_agent.messages import DOUBTFUL, AlarmState

if TYPE_CHECKING:
    from edge_agent.messages import Alarm

_SILENCED: Final = (AlarmState.SHELVED, AlarmState.SUPPRESSED, AlarmState.OUT_OF_SERVICE)
_UNACKNOWLEDGED: Final = (AlarmState.UNACK, AlarmState.RTN_UNACK)
_MARK: Final = ":"


@dataclass(frozen=True, slots=True)
class Condition:
    """An alarm as OPC UA clients see it; times in microseconds since the epoch.

    last_severity: before the last change of the severity. from_seq: the transition with which the
    present occurrence began; older EventIds cannot be acknowledged. comment, comment_by: the last
    one, with its time.
    """

    alarm: Alarm
    last_severity: int
    from_seq: int
    comment: str = ""
    comment_by: str = ""
    comment_us: int = 0

    @property
    def is_active(self) -> bool:
        """True if the condition is shown as active: one that waits for its delay is not."""
        state = self.alarm.state
        if state in _SILENCED:
            return self.alarm.active
        return state in {AlarmState.UNACK, AlarmState.ACKED}

    @property
    def is_acked(self) -> bool:
        """False if somebody must acknowledge it; a silenced alarm asks for nothing."""
        return self.alarm.state not in _UNACKNOWLEDGED

    @property
    def is_confirmed(self) -> bool:
        """False from the acknowledgement until somebody confirms it, or the condition ends."""
        return self.alarm.state is not AlarmState.ACKED or bool(self.alarm.confirmed_by)

    @property
    def is_shelved(self) -> bool:
        """True while an operator silences it for some time."""
        return self.alarm.state is AlarmState.SHELVED

    @property
    def is_suppressed(self) -> bool:
        """True while it is silenced by design."""
        return self.alarm.state is AlarmState.SUPPRESSED

    @property
    def is_out_of_service(self) -> bool:
        """True while maintenance has switched it off."""
        return self.alarm.state is AlarmState.OUT_OF_SERVICE

    @property
    def retain(self) -> bool:
        """True if a refresh includes it: everything that is not normal."""
        return self.alarm.state is not AlarmState.NORMAL

    @property
    def is_certain(self) -> bool:
        """False if the model that raised it is young, or used outside of its training data."""
        detail = self.alarm.detail
        return detail is None or detail.model is None or detail.model.mode not in DOUBTFUL

    @property
    def event_id(self) -> bytes:
        """The EventId of the last transition."""
        return event_id(self.alarm.alarm_id, self.alarm.seq)

    def knows(self, seq: int) -> bool:
        """True if a transition belongs to the present occurrence."""
        return self.from_seq <= seq <= self.alarm.seq


def event_id(alarm_id: str, seq: int) -> bytes:
    """The EventId of a transition."""
    return f"{alarm_id}{_MARK}{seq}".encode()


def parse_event_id(value: object) -> tuple[str, int] | None:
    """Invert `event_id`; None if it is none of ours."""
    if not isinstance(value, bytes):
        return None
    alarm_id, mark, seq = value.decode("utf-8", "replace").rpartition(_MARK)
    return (alarm_id, int(seq)) if mark and seq.isascii() and seq.isdigit() else None


def next_condition(before: Condition | None, alarm: Alarm) -> Condition:
    """The condition after a transition of its alarm; before: None if it was never seen."""
    if before is None:
        return Condition(alarm, alarm.severity, alarm.seq, *_comment_of(alarm))
    old = before.alarm
    severity = old.severity if alarm.severity != old.severity else before.last_severity
    begins = alarm.state is AlarmState.UNACK and old.state is not AlarmState.UNACK
    kept = before.comment, before.comment_by, before.comment_us
    comment = _comment_of(alarm) if alarm.comment != old.comment and alarm.comment else kept
    return Condition(alarm, severity, alarm.seq if begins else before.from_seq, *comment)


def _comment_of(alarm: Alarm) -> tuple[str, str, int]:
    return (alarm.comment, alarm.acked_by or alarm.shelved_by, alarm.changed_us)
