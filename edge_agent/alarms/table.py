"""The alarm table: observations and commands in, ISA-18.2 transitions out."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from edge_agent.alarms.catalogue import flood_alarm_id
from edge_agent.alarms.flood import Flood, flood_bounds, flood_detail, new_flood
from edge_agent.alarms.texts import printable
from edge_agent.alarms.track import Track, new_track
from edge_agent.alarms.transitions import ALIVE, ANNOUNCED, WAITING, Event, commands
from edge_agent.clock import US_PER_S
from edge_agent.errors import EdgeAgentError, NotFoundError, UsageError
from edge_agent.messages import AlarmState, Observation

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from edge_agent.alarms.catalogue import AlarmPolicy
    from edge_agent.alarms.selection import Selection
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
    with the asset of each raise that the flood limit holds back.

    Delays, cool-down and flood limit run in event time and elapse only at observations, so that a
    replay produces the transitions of the live run, and an alarm without observations stays as it
    is. Only shelving ends by the gateway's clock (`tick`). After a restart states are as before
    and pending delays start again.

    watched: ids of alarms that need every observation; the others need only a level >= 1.
    flooded: assets in a flood; call `advance` with their event time also without observations.
    """

    def __init__(
        self,
        rules: Callable[[str], AlarmPolicy | None],
        limits: schema.Alarms,
        clock: Clock,
        restored: Iterable[Alarm] = (),
        *,
        on_held: Callable[[str], None] = lambda _asset: None,
    ) -> None:
        self.watched: set[str] = set()
        self.flooded: set[str] = set()
        self.rules = rules
        self._limits = limits
        self._clock = clock
        self._on_held = on_held
        self._floods: dict[str, Flood] = {}
        self._tracks: dict[str, Track] = {}
        for alarm in restored:
            self._restore(replace(alarm))

    def accept_observation(self, observation: Observation) -> Sequence[Transition]:
        """Accept an observation; NaN is ignored. Raises NotFoundError for an unknown id."""
        if math.isnan(observation.level):
            return _NOTHING
        alarm_id = observation.alarm_id
        track = self._tracks.get(alarm_id)
        if track is None and observation.level < 1.0:
            return _NOTHING
        policy = self._policy(alarm_id)
        if track is None:
            track = self._tracks[alarm_id] = new_track(alarm_id, policy)
        if policy.asset not in self.flooded:
            return self._evaluate(track, policy, observation)
        before = self.advance(policy.asset, observation.at_us)
        return (*before, *self._evaluate(track, policy, observation))

    def advance(self, asset: str, at_us: int) -> Sequence[Transition]:
        """Event time of `asset` is now `at_us`: raise what the flood limit held, end the flood.

        Each step gets the time at which it was due, so the result does not depend on the number of
        calls.
        """
        flood = self._flood(asset)
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
        for asset, flood in self._floods.items():
            if asset not in but:
                flood.raised = [at_us + step_us for at_us in flood.raised]

    def tick(self, now_us: int) -> Sequence[Transition]:
        """End the shelvings whose time is over by the gateway's clock."""
        shelved = (t for t in self._tracks.values() if t.alarm.state is AlarmState.SHELVED)
        over = [t for t in shelved if t.alarm.shelved_until_us <= now_us]
        # A discovered asset may not be known yet after a restart: its alarms wait for their rules.
        known = [t for t in over if self.rules(t.alarm.alarm_id) is not None]
        return [self._command(track, Event.UNSHELVE, TIMER, now_us) for track in known]

    def ack(self, alarm_id: str, actor: str, comment: str = "") -> Transition:
        """Acknowledge; EdgeAgentError for a wrong state, NotFoundError for an unknown id."""
        return self._by_hand(alarm_id, Event.ACK, actor, comment)

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
        return self._by_hand(alarm_id, Event.SHELVE, actor, comment, until_us)

    def unshelve(self, alarm_id: str, actor: str, comment: str = "") -> Transition:
        """End a shelving early."""
        return self._by_hand(alarm_id, Event.UNSHELVE, actor, comment)

    def suppress(self, alarm_id: str, actor: str, comment: str = "") -> Transition:
        """Suppress by design: until `unsuppress`."""
        return self._by_hand(alarm_id, Event.SUPPRESS, actor, comment)

    def unsuppress(self, alarm_id: str, actor: str, comment: str = "") -> Transition:
        """End a suppression by design."""
        return self._by_hand(alarm_id, Event.UNSUPPRESS, actor, comment)

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

    def remove_from_service(self, alarm_id: str, actor: str, comment: str = "") -> Transition:
        """Take an alarm out of service, for as long as its machine is maintained."""
        return self._by_hand(alarm_id, Event.REMOVE_FROM_SERVICE, actor, comment)

    def return_to_service(self, alarm_id: str, actor: str, comment: str = "") -> Transition:
        """Put an alarm back in service."""
        return self._by_hand(alarm_id, Event.RETURN_TO_SERVICE, actor, comment)

    def select(self, wanted: Selection, kind: str) -> list[str]:
        """Ids of the alarms that left normal, are selected, and in which `kind` is possible now."""
        return [
            alarm.alarm_id
            for alarm in (track.alarm for track in self._tracks.values())
            if wanted.matches(alarm) and kind in commands(alarm.state)
            if alarm.state is not AlarmState.NORMAL
        ]

    def adopt(self, limits: schema.Alarms) -> None:
        """Use other limits from now on; alarms that a flood holds back keep waiting."""
        self._limits = limits
        for flood in self._floods.values():
            flood.limit, flood.window_us = flood_bounds(limits)

    def retire(self) -> list[Alarm]:
        """Forget the alarms that `rules` no longer knows; returns them. Call it after a reload."""
        gone = [alarm_id for alarm_id in self._tracks if self.rules(alarm_id) is None]
        retired = [self._tracks.pop(alarm_id).alarm for alarm_id in gone]
        self.watched.difference_update(gone)
        for alarm in retired:
            self._release(alarm)
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
        self._release(track.alarm)
        return track.alarm

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

    def is_active(self, alarm_id: str) -> bool:
        """True if the condition of an alarm is active, independent of its state."""
        track = self._tracks.get(alarm_id)
        return track is not None and track.alarm.active

    def counts(self) -> dict[tuple[AlarmState, str], int]:
        """Count alarms by (state, priority)."""
        return Counter((alarm.state, alarm.priority) for alarm in self.all())

    def _evaluate(
        self, track: Track, policy: AlarmPolicy, observation: Observation
    ) -> Sequence[Transition]:
        event = track.accept_observation(observation, policy)
        return self._apply_event(track, policy, event, observation.at_us)

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
            self._release(track.alarm)
        return self._condition(track, policy, event, at_us)

    def _raise(self, track: Track, policy: AlarmPolicy, at_us: int) -> Sequence[Transition]:
        if policy.kind in _UNLIMITED:
            return self._condition(track, policy, Event.ON, at_us)
        flood = self._flood(policy.asset)
        flooded = policy.asset in self.flooded
        if not flooded and flood.has_room(at_us):
            flood.raised.append(at_us)
            return self._condition(track, policy, Event.ON, at_us)
        if track.alarm.alarm_id not in flood.held:
            flood.held[track.alarm.alarm_id] = track
            self._on_held(policy.asset)
        return _NOTHING if flooded else self._set_flooded(policy.asset, at_us, flooded=True)

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

    def _by_hand(
        self, alarm_id: str, event: Event, actor: str, comment: str, until_us: int = 0
    ) -> Transition:
        track, at_us = self._track(alarm_id), self._clock.now_us()
        words = printable(actor, _MAX_ACTOR), printable(comment, MAX_COMMENT)
        return self._command(track, event, words[0], at_us, until_us, words[1])

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
        row = ANNOUNCED.get((alarm.state, event, alarm.active))
        if row is None:
            raise EdgeAgentError(
                f"cannot {event.replace('_', ' ')}: the alarm is {alarm.state}",
                where=alarm.alarm_id,
                hint=f"possible now: {', '.join(commands(alarm.state))}",
            )
        alarm.shelved_until_us = until_us
        transition = track.enter(row, self._policy(alarm.alarm_id), at_us, actor, comment)
        if alarm.state not in WAITING:
            self._release(alarm)
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
            track = self._tracks[alarm_id] = new_track(alarm_id, self._policy(alarm_id))
        return track

    def _policy(self, alarm_id: str) -> AlarmPolicy:
        policy = self.rules(alarm_id)
        if policy is None:
            raise NotFoundError(
                "no such alarm", where=repr(alarm_id[:200]), hint="`alarms list` shows the ids"
            )
        return policy

    def _flood(self, asset: str) -> Flood:
        flood = self._floods.get(asset)
        if flood is None:
            flood = self._floods[asset] = new_flood(self._limits)
        return flood

    def _release(self, alarm: Alarm) -> None:
        flood = self._floods.get(alarm.asset)
        if flood is not None:
            flood.held.pop(alarm.alarm_id, None)

    def _watch(self, track: Track) -> None:
        (self.watched.discard if track.idle else self.watched.add)(track.alarm.alarm_id)
