"""The alarm table: observations and commands in, ISA-18.2 transitions out."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from edge_agent.alarms.catalogue import flood_alarm_id
from edge_agent.alarms.flood import Floods, flood_detail
from edge_agent.alarms.handover import continue_alarm, show_announced
from edge_agent.alarms.texts import printable
from edge_agent.alarms.track import Track, new_track
from edge_agent.alarms.transitions import ALIVE, ANNOUNCED, WAITING, Event, row_of_command
from edge_agent.clock import NEVER, US_PER_S
from edge_agent.errors import NotFoundError, UsageError
from edge_agent.messages import AlarmState, Observation

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from edge_agent.alarms.catalogue import AlarmPolicy
    from edge_agent.clock import Clock
    from edge_agent.config import schema
    from edge_agent.messages import Alarm, Transition

TIMER: Final = "timer"  # the actor of a shelving that ends automatically

_NOTHING: Final[tuple[Transition, ...]] = ()
_UNLIMITED: Final = ("flood", "service")
MAX_COMMENT: Final = 500
_MAX_ACTOR: Final = 100


class AlarmTable:
    """All alarms of this gateway; used from one thread.

    rules: the policy of an alarm id, None if there is no such alarm; called every time, so a
    new config is used at once (call `retire` then), also for `flood_alarm_id`. on_held: called
    with the asset of each raise that the flood limit holds back. last_number: the number of an
    alarm's last transition, for one that is not known here: no id is used twice.

    Delays, cool-down and flood limit run in event time and elapse only at observations, so that a
    replay produces the transitions of the live run, and an alarm without observations stays as it
    is. Only shelving ends by the gateway's clock (`tick`). After a restart states are as before
    and pending delays start again.

    watched: ids of alarms that need every observation; the others need only a level >= 1.
    decided_us: event time before which the other gateway of a pair has decided; older observations
    are of values that waited while we were away.
    flooded: assets in a flood; call `advance` with their event time also without observations.
    """

    def __init__(  # noqa: PLR0913 (what it is told, and what it tells)
        self,
        rules: Callable[[str], AlarmPolicy | None],
        limits: schema.Alarms,
        clock: Clock,
        restored: Iterable[Alarm] = (),
        *,
        on_held: Callable[[str], None] = lambda _asset: None,
        last_number: Callable[[str], int] = lambda _alarm_id: 0,
    ) -> None:
        self.watched: set[str] = set()
        self.decided_us = NEVER
        self.rules = rules
        self._limits = limits
        self._floods = Floods(limits)
        self.flooded = self._floods.flooded
        self._clock = clock
        self._on_held = on_held
        self._last_number = last_number
        self._tracks: dict[str, Track] = {}
        self._stages: dict[str, str] = {}  # by alarm id, if it is not that of the policy
        for alarm in restored:
            self._restore(replace(alarm))

    def accept_observation(self, observation: Observation) -> Sequence[Transition]:
        """Accept an observation; NaN is ignored. Raises NotFoundError for an unknown id."""
        if math.isnan(observation.level) or observation.at_us < self.decided_us:
            return _NOTHING
        alarm_id = observation.alarm_id
        track = self._tracks.get(alarm_id)
        if track is None and observation.level < 1.0:
            return _NOTHING
        policy = self._policy(alarm_id)
        if track is None:
            track = self._track(alarm_id)
        elif track.decided_us is not None and observation.at_us < track.decided_us:
            return _NOTHING
        flooded = policy.asset in self.flooded
        before = self.advance(policy.asset, observation.at_us) if flooded else _NOTHING
        event = track.accept_observation(observation, policy)
        after = self._apply_event(track, policy, event, observation.at_us)
        return (*before, *after) if before else after

    def advance(self, asset: str, at_us: int) -> Sequence[Transition]:
        """Event time of `asset` is now `at_us`: raise what the flood limit held, end the flood.

        Each step gets the time at which it was due, so the result does not depend on the number of
        calls.
        """
        flood = self._floods.flood_of(asset)
        found: list[Transition] = []
        while asset in self.flooded and (due_us := flood.due_us(at_us)) <= at_us:
            if not flood.held:
                found += self._set_flooded(asset, due_us, flooded=False)
                break
            alarm_id, track = next(iter(flood.held.items()))
            del flood.held[alarm_id]
            flood.raised.append(due_us)
            found += self._condition(track, self._policy(alarm_id), Event.ON, due_us)
        return found

    def shift_clock(self, step_us: int, but: Collection[str] = ()) -> None:
        """Shift delays, cooldowns and shelvings; the gateway's clock was moved.

        but: assets with their own time.
        """
        for track in self._tracks.values():
            if track.alarm.asset not in but:
                track.shift_clock(step_us)
        self._floods.shift_clock(step_us, but)

    def add_restored(self, alarms: Iterable[Alarm]) -> None:
        """Add alarms as they were stored; one that is known here, or has no rules, is left out."""
        for alarm in alarms:
            if alarm.alarm_id not in self._tracks and self.rules(alarm.alarm_id) is not None:
                self._restore(replace(alarm))

    def show_announced(self, announced: Alarm, changed_us: int) -> None:
        """Show the state that the active gateway of a pair has announced; see `handover`.

        changed_us: event time of the last change of its condition.
        """
        track = self._tracks.get(announced.alarm_id)
        if track is None and self.rules(announced.alarm_id) is not None:
            self._restore(replace(announced))
            track = self._tracks[announced.alarm_id]
        if track is not None:
            show_announced(track, announced)
            track.decided_us = changed_us
            self._watch(track)

    def take_over(
        self, announced: Alarm, changed_us: int, missed: Sequence[Transition] = ()
    ) -> Sequence[Transition]:
        """Go on from what the other gateway has announced; returns what is to be announced now.

        changed_us: as of `show_announced`. missed: transitions that this table has
        made, and the other gateway has not announced.
        """
        policy = self.rules(announced.alarm_id)
        if policy is None:
            return _NOTHING
        track = self._track(announced.alarm_id)
        track.decided_us = changed_us
        found = list(continue_alarm(track, announced, missed, policy))
        self._watch(track)
        if policy.kind == "flood":
            (self.flooded.add if track.alarm.active else self.flooded.discard)(policy.asset)
        return found

    def tick(self, now_us: int) -> Sequence[Transition]:
        """End the shelvings whose time is over by the gateway's clock."""
        shelved = (t for t in self._tracks.values() if t.alarm.state is AlarmState.SHELVED)
        over = [t for t in shelved if t.alarm.shelved_until_us <= now_us]
        # A discovered asset may not be known yet after a restart: its alarms wait for their rules.
        known = [t for t in over if self.rules(t.alarm.alarm_id) is not None]
        return [self._command(track, Event.UNSHELVE, TIMER, now_us) for track in known]

    def apply_command(
        self, kind: str, alarm_id: str, actor: str, comment: str = "", until_us: int = 0
    ) -> Transition:
        """Acknowledge, suppress by design, ...: `kind` is a command of `transitions`.

        EdgeAgentError for a wrong state, NotFoundError for an unknown id.
        """
        track, at_us = self._track(alarm_id), self._clock.now_us()
        words = printable(actor, _MAX_ACTOR), printable(comment, MAX_COMMENT)
        return self._command(track, Event(kind), words[0], at_us, until_us, words[1])

    def shelve(self, alarm_id: str, duration_s: float, actor: str, comment: str = "") -> Transition:
        """Silence an alarm for at most `limits.shelve_max` seconds; else UsageError."""
        longest = self._limits.shelve_max
        if not 0 < duration_s <= longest:  # also refuses NaN
            raise UsageError(
                f"cannot shelve for {duration_s:g} s",
                where=alarm_id,
                hint=f"more than 0 s and at most {longest:g} s (alarms.shelve_max)",
            )
        until_us = self._clock.now_us() + round(duration_s * US_PER_S)
        return self.apply_command(Event.SHELVE, alarm_id, actor, comment, until_us)

    def pause_alarm(self, alarm_id: str, actor: str, at_us: int) -> Sequence[Transition]:
        """Suppress by design while the machine is stopped on purpose, until `resume_alarm`.

        An active alarm is suppressed; pending delays are cancelled. An alarm that an operator
        silenced does not change.
        """
        track = self._tracks.get(alarm_id)
        if track is None:
            return _NOTHING
        track.since_us = None
        track.over = track.alarm.active
        if track.alarm.active and track.alarm.state in (*ALIVE, *WAITING):
            return (self._command(track, Event.SUPPRESS, actor, at_us),)
        self._watch(track)
        return _NOTHING

    def resume_alarm(self, alarm_id: str, actor: str, at_us: int) -> Sequence[Transition]:
        """Evaluate again: an alarm that `pause_alarm` suppressed is back if it is still active."""
        track = self._tracks.get(alarm_id)
        alarm = None if track is None else track.alarm
        if track is None or alarm is None or alarm.suppressed_by != actor:
            return _NOTHING
        return (self._command(track, Event.UNSUPPRESS, actor, at_us),)

    def adopt(self, limits: schema.Alarms) -> None:
        """Use other limits from now on; alarms that a flood holds back keep waiting."""
        self._limits = limits
        self._floods.adopt_limits(limits)

    def retire(self) -> list[Alarm]:
        """Forget the alarms that `rules` no longer knows; returns them. Call it after a reload."""
        gone = [alarm_id for alarm_id in self._tracks if self.rules(alarm_id) is None]
        retired = [self._tracks.pop(alarm_id).alarm for alarm_id in gone]
        self._stages = {one: stage for one, stage in self._stages.items() if self.rules(one)}
        self.watched.difference_update(gone)
        for alarm in retired:
            self._floods.release(alarm)
            if alarm.alarm_id == flood_alarm_id(alarm.asset):
                self.flooded.discard(alarm.asset)
        return retired

    def withdraw(self, alarm_id: str) -> Alarm | None:
        """Remove an alarm whose basis is no longer valid; returns its old state.

        None, without a change, if there is none or an operator silenced it.
        """
        track = self._tracks.get(alarm_id)
        if track is None or track.alarm.state not in (*ALIVE, *WAITING):
            return None
        del self._tracks[alarm_id]
        self.watched.discard(alarm_id)
        self._floods.release(track.alarm)
        return track.alarm

    def set_stage(self, alarm_id: str, stage: str) -> None:
        """Set the ISO 13374 block of a model's alarm: it depends on the task of the model."""
        self._stages[alarm_id] = stage
        if alarm_id in self._tracks:
            self._tracks[alarm_id].alarm.stage = stage

    def get(self, alarm_id: str) -> Alarm | None:
        """Copy one alarm; None if it was always normal."""
        track = self._tracks.get(alarm_id)
        return None if track is None else replace(track.alarm)

    def all(self) -> list[Alarm]:
        """Copy all alarms that ever left normal."""
        return [replace(track.alarm) for track in self._tracks.values()]

    def ids(self) -> list[str]:
        """Ids of all alarms that ever left normal."""
        return list(self._tracks)

    def active(self) -> list[Alarm]:
        """Copy all alarms that are not normal."""
        return [alarm for alarm in self.all() if alarm.state is not AlarmState.NORMAL]

    def last_numbers(self) -> dict[str, int]:
        """By id, the number of the last transition of every alarm that ever left normal."""
        return {alarm_id: track.alarm.seq for alarm_id, track in self._tracks.items()}

    def is_active(self, alarm_id: str) -> bool:
        """True if the condition of an alarm is active, independent of its state."""
        track = self._tracks.get(alarm_id)
        return track is not None and track.alarm.active

    def numbers(self) -> dict[str, int]:
        """By id, the number of the last transition of each alarm that is not normal."""
        alarms = (track.alarm for track in self._tracks.values())
        return {one.alarm_id: one.seq for one in alarms if one.state is not AlarmState.NORMAL}

    def counts_by_asset(self, but: str) -> Counter[str]:
        """Count the alarms that are not normal by asset, but those that `but` suppressed."""
        alarms = (track.alarm for track in self._tracks.values())
        return Counter(
            one.asset
            for one in alarms
            if one.state is not AlarmState.NORMAL and one.suppressed_by != but
        )

    def counts(self) -> dict[tuple[AlarmState, str], int]:
        """Count alarms by (state, priority)."""
        return Counter((alarm.state, alarm.priority) for alarm in self.all())

    def _apply_event(
        self, track: Track, policy: AlarmPolicy, event: Event | None, at_us: int
    ) -> Sequence[Transition]:
        """Announce an event of the condition, if there is one."""
        self._watch(track)
        if event is None:
            return _NOTHING
        if event is Event.ON:
            return self._raise(track, policy, at_us)
        if event is Event.OFF:
            self._floods.release(track.alarm)
        return self._condition(track, policy, event, at_us)

    def _raise(self, track: Track, policy: AlarmPolicy, at_us: int) -> Sequence[Transition]:
        if policy.kind in _UNLIMITED:
            return self._condition(track, policy, Event.ON, at_us)
        if self._floods.admits_raise(policy.asset, at_us):
            return self._condition(track, policy, Event.ON, at_us)
        if self._floods.hold(track):
            self._on_held(policy.asset)
        return (
            _NOTHING
            if policy.asset in self.flooded
            else self._set_flooded(policy.asset, at_us, flooded=True)
        )

    def _set_flooded(self, asset: str, at_us: int, *, flooded: bool) -> Sequence[Transition]:
        (self.flooded.add if flooded else self.flooded.discard)(asset)
        alarm_id = flood_alarm_id(asset)
        track = self._track(alarm_id)
        track.over = flooded
        track.latest = Observation(alarm_id, float(flooded), at_us, flood_detail(self._limits))
        policy = self._policy(alarm_id)
        return self._apply_event(track, policy, track.follow_comparator(policy, at_us), at_us)

    def _condition(
        self, track: Track, policy: AlarmPolicy, event: Event, at_us: int
    ) -> Sequence[Transition]:
        row = ANNOUNCED.get((track.alarm.state, event, track.alarm.active))
        if row is None:
            return _NOTHING
        transition = track.enter(row, policy, at_us)
        self._watch(track)
        return (transition,)

    def _command(  # noqa: PLR0913, PLR0917 (who does what to which alarm, when, and why)
        self,
        track: Track,
        event: Event,
        actor: str,
        at_us: int,
        until_us: int = 0,
        comment: str | None = None,
    ) -> Transition:
        alarm = track.alarm
        row = row_of_command(alarm, event)
        if event is Event.CONFIRM:
            alarm.confirmed_by = actor
        elif event is not Event.COMMENT:
            alarm.shelved_until_us = until_us
        transition = track.enter(row, self._policy(alarm.alarm_id), at_us, actor, comment)
        if alarm.state not in WAITING:
            self._floods.release(alarm)
        self._watch(track)
        return transition

    def _restore(self, alarm: Alarm) -> None:
        track = Track(alarm, over=alarm.active, updated_us=alarm.changed_us)
        self._tracks[alarm.alarm_id] = track
        self._watch(track)
        if alarm.active and alarm.alarm_id == flood_alarm_id(alarm.asset):
            self.flooded.add(alarm.asset)

    def _track(self, alarm_id: str) -> Track:
        track = self._tracks.get(alarm_id)
        if track is None:
            policy = self._policy(alarm_id)
            track = self._tracks[alarm_id] = new_track(
                alarm_id, policy, self._last_number(alarm_id)
            )
            track.alarm.stage = self._stages.get(alarm_id, track.alarm.stage)
        return track

    def _policy(self, alarm_id: str) -> AlarmPolicy:
        policy = self.rules(alarm_id)
        if policy is None:
            raise NotFoundError(
                "no such alarm", where=repr(alarm_id[:200]), hint="`alarms list` shows the ids"
            )
        return policy

    def _watch(self, track: Track) -> None:
        (self.watched.discard if track.idle else self.watched.add)(track.alarm.alarm_id)
