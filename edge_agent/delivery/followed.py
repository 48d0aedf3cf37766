"""What the active gateway of a pair has announced, and what this one found beside it.

The standby reads the alerts and events of the active gateway: each carries the whole alarm
(`data.record`). Its own transitions are not sent; those of a condition are kept until the active
gateway announces the same, so that none is missing if it fails in between.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson

from edge_agent.clock import US_PER_S
from edge_agent.messages import Alarm, AlarmState, Transition, TransitionKind
from edge_agent.store import alarm_from_dict

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

NUMBERS_PER_EPOCH: Final = 1_000_000
SAME_S: Final = 10.0  # event times of one change, as two gateways see it
MAX_KEPT: Final = 10_000
_OF_CONDITIONS: Final = frozenset(
    {
        TransitionKind.RAISE,
        TransitionKind.CLEAR,
        TransitionKind.SUPPRESS,
        TransitionKind.UNSUPPRESS,
    }
)


class _Seen(NamedTuple):
    """A change of a condition, and when it was seen here, in seconds of the monotonic clock."""

    seen_s: float
    transition: Transition


class Followed:
    """The alarms of the active gateway, as far as it has announced them.

    source: of its CloudEvents, which is ours too. announced: the last state by alarm id.
    """

    def __init__(self, source: str) -> None:
        self._source = source
        self.announced: dict[str, Alarm] = {}
        self.changed_us: dict[str, int] = {}  # by alarm id: of its condition, in event time
        self._emptied: dict[str, int] = {}  # alarm id -> number of its last state before
        self._standing: set[str] = set()  # retained at the broker, since the connection
        self._numbered: set[str] = set()  # whose last number is known, since the connection
        self._ours: deque[_Seen] = deque(maxlen=MAX_KEPT)
        self._theirs: deque[_Seen] = deque(maxlen=MAX_KEPT)

    def start_again(self, announced: Iterable[Alarm] = ()) -> None:
        """Begin with what is known: of a connection, or of another active gateway."""
        self.announced = {alarm.alarm_id: alarm for alarm in announced}
        for kept in (self._emptied, self._standing, self._numbered):
            kept.clear()

    def accept_alert(self, topic: str, body: bytes, now_s: float) -> Transition | None:
        """Accept an alert or event; returns what is new, None if there is nothing."""
        alarm_id = topic.rpartition("/")[2]
        if not body:
            self._standing.discard(alarm_id)
            if (known := self.announced.get(alarm_id)) is not None:
                self._emptied[alarm_id] = known.seq
            return None
        found = transition_of(body, self._source)
        if found is None:
            return None
        alarm_id, seq = found.alarm.alarm_id, found.alarm.seq
        if found.alarm.state is not AlarmState.NORMAL:
            self._standing.add(alarm_id)
        self._numbered.add(alarm_id)
        known = self.announced.get(alarm_id)
        if known is not None and seq <= known.seq:
            return None
        self.announced[alarm_id] = found.alarm
        changed_us = found.at_us if found.kind in _OF_CONDITIONS else found.alarm.first_seen_us
        self.changed_us[alarm_id] = max(changed_us, self.changed_us.get(alarm_id, 0))
        self._match(found, now_s, self._ours, self._theirs)
        return found

    def accept_complete(self, stored: Iterable[Alarm], now_us: int) -> list[Transition]:
        """All retained alerts have arrived: alarms that stood, and do not any more, are normal."""
        return [
            self._end(alarm, alarm.seq, now_us)
            for alarm in stored
            if alarm.state is not AlarmState.NORMAL and alarm.alarm_id not in self._standing
        ]

    def add_own(self, transitions: Sequence[Transition], now_s: float) -> None:
        """Keep changes of conditions that were found here, unless they are announced already."""
        for one in transitions:
            if one.kind in _OF_CONDITIONS:
                self._match(one, now_s, self._theirs, self._ours)

    def forget_before(self, seen_s: float) -> None:
        """The active gateway was there after this time: what it did not announce, it did not find.

        Older changes of either one are not compared any more.
        """
        for kept in (self._ours, self._theirs):
            while kept and kept[0].seen_s < seen_s:
                kept.popleft()

    def take_missed(self, since_us: int = 0) -> dict[str, list[Transition]]:
        """Return what was found here and not announced, by alarm id, and forget it.

        since_us: event time up to which the active gateway has decided, whenever we found it: our
        values may have waited while we were away.
        """
        missed: dict[str, list[Transition]] = {}
        for _, one in self._ours:
            if one.at_us < max(since_us, self.changed_us.get(one.alarm.alarm_id, 0)):
                continue  # the active one knows of something later
            missed.setdefault(one.alarm.alarm_id, []).append(one)
        self._ours.clear()
        self._theirs.clear()
        return missed

    def take_emptied(self, now_us: int) -> list[Transition]:
        """Return the end of alarms whose alert was emptied, but whose event did not arrive."""
        found = [
            self._end(alarm, alarm.seq + 1, now_us)
            for alarm_id, seq in self._emptied.items()
            if (alarm := self.announced.get(alarm_id)) is not None
            and alarm.seq == seq
            and alarm.state is not AlarmState.NORMAL
        ]
        self._emptied.clear()
        return found

    def number_of(self, alarm_id: str, stored: int, epoch: int) -> int:
        """Return the number of the last transition of an alarm, whoever made it.

        If it cannot be known (the alarm was normal when we connected), the numbers of our epoch
        begin above all of those before, so that no id is used twice.
        """
        known = self.announced.get(alarm_id)
        number = stored if known is None else max(stored, known.seq)
        if alarm_id in self._numbered:
            return number
        return max(number, (epoch - 1) * NUMBERS_PER_EPOCH)

    def _end(self, alarm: Alarm, seq: int, now_us: int) -> Transition:
        kind = TransitionKind.CLEAR if alarm.active else TransitionKind.ACK
        ended = replace(alarm, state=AlarmState.NORMAL, active=False, seq=seq, changed_us=now_us)
        self.announced[alarm.alarm_id] = ended
        return Transition(kind, now_us, ended)

    @staticmethod
    def _match(one: Transition, now_s: float, others: deque[_Seen], same: deque[_Seen]) -> None:
        """Remove the same change from those of the other gateway; keep it if it is not there."""
        if one.kind not in _OF_CONDITIONS:
            return
        for other in others:
            if _is_same(one, other.transition):
                others.remove(other)
                return
        same.append(_Seen(now_s, one))


def _is_same(one: Transition, other: Transition) -> bool:
    return (
        one.alarm.alarm_id == other.alarm.alarm_id
        and one.kind is other.kind
        and abs(one.at_us - other.at_us) <= SAME_S * US_PER_S
    )


def transition_of(body: bytes, source: str) -> Transition | None:
    """Return the transition of a CloudEvent of a pair; None if it is not of this source."""
    try:
        event = orjson.loads(body)
        if event["source"] != source:
            return None
        data = event["data"]
        alarm = alarm_from_dict(_with_nan(data["record"]))
        kind = TransitionKind(data["transition"])
        return Transition(kind, alarm.changed_us, alarm, str(data["actor"]))
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError):
        return None


def _with_nan(record: dict[str, Any]) -> dict[str, Any]:
    """A record whose contributors have NaN again, which JSON does not have."""
    detail = record["detail"]
    for one in detail["contributors"] if detail else ():
        for name in ("weight", "value"):
            one[name] = math.nan if one[name] is None else one[name]
    return record
