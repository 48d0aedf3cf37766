"""Rules without models: conditions, limits, sensors, silence.

In each turn: `watch_quality` (which machines stop or run; a machine that is stopped on purpose has
no stuck sensor), `compare_limits`, `apply_observations` (the alarm table).
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from edge_agent.alarms import quality_alarm_id, silent_alarm_id
from edge_agent.detection.limit_alarms import LimitAlarms
from edge_agent.detection.sensors import SensorAlarms
from edge_agent.detection.stops import Pause, Stops
from edge_agent.signals import BAD, MISSING, TRUE, Points, Problem, joined, marks
from edge_agent.tables import Table, column

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from edge_agent.alarms import AlarmTable
    from edge_agent.detection.silence import Silence
    from edge_agent.messages import Observation, Transition
    from edge_agent.plant import Plant, PlantAsset
    from edge_agent.serving import Deployment
    from edge_agent.signals import Acceptance, ConditionChange, Episode, Observed
    from edge_agent.values import Columns


class Detection(Table):
    """Conditions, limits and sensors of one plant.

    live: the quality watch reports stale signals; a recording has the information itself.
    episodes: changes of quality that are not yet applied to the alarm table.
    """

    _uncertain = column(np.uint8)  # the mark of an uncertain value, by signal

    def __init__(
        self,
        plant: Plant,
        signals: Acceptance,
        deployments: Iterable[Deployment],
        alarms: AlarmTable,
        *,
        live: bool,
    ) -> None:
        super().__init__()
        self._plant = plant
        self._signals = signals
        self._live = live
        self._bindings = signals.bindings
        self._conditions = self._bindings.conditions
        self._alarms = alarms
        self.limits = LimitAlarms(self._bindings, alarms)
        self.stops = Stops(self._bindings, deployments)
        self._sensors = SensorAlarms(plant, signals.watch, live=live)
        self._pauses: list[Pause] = []
        self._runs: dict[int, int] = {}  # condition -> the asset that runs while it is true
        self._points: Points | None = None
        self._condition_changes: list[ConditionChange] = []
        self._fresh: list[Episode] = []  # in this turn
        self.episodes: list[Episode] = []
        self._doubted: dict[
            int, int
        ] = {}  # signal: since when it is silent, unless values come late
        self._away: frozenset[str] = frozenset()
        self._held = self._away  # as the sensors were last told

    @property
    def silence(self) -> Silence:
        """The tracker of silent signals and their common causes."""
        return self._sensors.silence

    # -- assets, alarms -----------------------------------------------------------------------

    def add_asset(self, asset: PlantAsset) -> None:
        """Add an asset whose signals are already accepted."""
        for signal in asset.signals.values():
            row = self.grow()
            self._uncertain[row] = self._bindings[signal.index].uncertain
            self.limits.add(signal)
        if asset.when is not None:
            self._runs[self._bindings.condition(asset)] = asset.index
            self._bindings.watch.stop_stuck_check(asset.index)  # until it is known to run

    def adopt_state(self, old: Detection) -> None:
        """Copy the state of an earlier plant."""
        before, now = old._plant.assets, self._plant.assets
        was = {one.index: before[name].index for name, one in now.items() if name in before}
        self._conditions.adopt_state(old._conditions, was)

    def follow_alarms(self, watched: Collection[str], now_us: int) -> None:
        """Follow alarms from the store; watched: those not normal, which clear unless reported."""
        for signal in self._plant.signals:
            if (alarm_id := quality_alarm_id(signal)) in watched:
                alarm = self._alarms.get(alarm_id)
                key = alarm.detail.message_key if alarm and alarm.detail else ""
                self._sensors.follow_alarm(signal.index, now_us, key)
        for asset in self._plant.assets.values():
            if silent_alarm_id(asset.id) in watched:
                self._sensors.follow_asset_alarm(asset, now_us)

    def hold_sources(self, sources: Collection[str]) -> None:
        """These sources are disconnected: until they are back, their signals raise no alarms."""
        self._away = frozenset(sources)

    # -- a turn -------------------------------------------------------------------------------

    def follow_clocks(self, observed: Observed) -> None:
        """Follow a step of the gateway's clock, and clocks of assets that were set back."""
        if observed.step_us:
            step_us, moves = observed.step_us, self._signals.moves
            self._sensors.shift_clock(step_us, moves)
            self._conditions.shift_clock(step_us, moves)
            self.limits.shift_clock(step_us, moves)
            self._doubted = {
                signal: at_us + step_us * int(moves[self._signals.asset_of[signal]])
                for signal, at_us in self._doubted.items()
            }
            self.episodes = [
                replace(one, at_us=one.at_us + step_us * int(moves[self._asset_of(one)]))
                for one in self.episodes
            ]
        for asset, to_us in observed.clock_reset.items():
            self._sensors.reset_clock(asset, to_us)
            self._conditions.reset_clock(asset, to_us)
            self.limits.reset_clock(asset, to_us)
            mine = np.flatnonzero(self._signals.asset_of == asset).tolist()
            self._doubted = {s: at_us for s, at_us in self._doubted.items() if s not in mine}

    def _asset_of(self, episode: Episode) -> int:
        return self._plant.signals[episode.signal].asset.index

    def watch_quality(self, observed: Observed) -> None:
        """Find machines that stop or run, and signals whose quality changes, by these values."""
        conditions, values = self._conditions, observed.values
        self._points, self._condition_changes, self._fresh = None, [], []
        conditions.now_us = observed.known_us
        if conditions.instances or self.limits.rows:
            self._points = self._trusted(values)
        if conditions.instances and self._points is not None:
            conditions.update(self._points, observed.known_us)
            self._condition_changes, conditions.changes = conditions.changes, []
            self._pauses += self.stops.pauses_of(self._condition_changes)
        arrival_s = observed.monotonic_s if self._live else math.inf
        if self._condition_changes:
            self._fresh = self._quality_changes(observed.seen, arrival_s)
        elif observed.seen.signal.size:
            self._fresh = self._bindings.watch.update(observed.seen, arrival_s)

    def _trusted(self, values: Columns) -> Points:
        """NaN for untrusted values; retained and held values are left out."""
        if not values.status.any():
            return Points(values.signal, values.time_us, values.value)
        mark = marks(values, self._uncertain)
        value = np.where(mark == BAD, np.nan, values.value)
        return Points(values.signal, values.time_us, value).where(mark != MISSING)

    def _quality_changes(self, seen: Columns, arrival_s: float) -> list[Episode]:
        """Changes of quality where machines stop or run; seen: all values, those of blocks too."""
        watch = self._bindings.watch
        episodes: list[Episode] = []
        begin = 0
        for change in [change for change in self._condition_changes if change.number in self._runs]:
            end = int(np.searchsorted(seen.time_us, change.at_us))
            if end > begin:
                episodes += watch.update(seen.slice(begin, end), arrival_s)
                begin = end
            if change.truth == TRUE:
                watch.start_stuck_check(self._runs[change.number], change.at_us)
            else:
                episodes += watch.stop_stuck_check(self._runs[change.number], change.at_us)
        if begin < seen.signal.size:
            rest = seen.slice(begin) if begin else seen
            episodes += watch.update(rest, arrival_s)
        return episodes

    def compare_limits(self, observed: Observed) -> None:
        """Compare limits with the values of this turn, stale signals, and the time."""
        known_us, points = observed.known_us, self._points
        if observed.is_clock_due:
            self._fresh += self._overdue(observed)
        stale = self._unknown(observed)
        if stale is not None:
            if self._live:  # a recording has the information itself
                self._conditions.update(stale, known_us)
            points = stale if points is None else joined((stale, points))
        if self.limits.rows:
            if points is not None:
                self.limits.update(points, self._condition_changes, known_us)
            self.limits.advance(known_us)
        self.episodes += self._fresh

    def _unknown(self, observed: Observed) -> Points | None:
        """Signals whose value is no longer known, and since when.

        While a link is down, a silence decides nothing: the values may come late. Those that come
        show whether there was one.
        """
        lost = [one for one in self._fresh if one.begins and one.problem is Problem.STALE]
        for one in lost:
            self._doubted[one.signal] = one.at_us
        if not self._doubted:
            return None
        signals = np.fromiter(self._doubted, np.intp)
        at_us = np.array([*self._doubted.values()], np.int64)
        seen, first = np.unique(observed.values.signal, return_index=True)
        came = np.isin(signals, seen)
        late = came.copy()
        late[came] = (
            observed.values.time_us[first[np.searchsorted(seen, signals[came])]] <= at_us[came]
        )
        decided = came | (observed.known_us[self._signals.asset_of[signals]] >= at_us)
        for signal in signals[decided].tolist():
            del self._doubted[signal]
        unknown = decided & ~late
        if not unknown.any():
            return None
        order = np.argsort(at_us[unknown], kind="stable")
        number = signals[unknown][order]
        return Points(number, at_us[unknown][order], np.full(len(number), np.nan))

    def _overdue(self, observed: Observed) -> list[Episode]:
        """Signals that became stale or stuck without a new value."""
        monotonic_s = observed.monotonic_s if self._live else math.inf
        since_us = self._signals.time.since_us
        return self._bindings.watch.overdue(observed.asset_now_us, since_us, monotonic_s)

    def observations(self, scored: Iterable[Observation]) -> list[Observation | Pause]:
        """The observations for the alarm table, ordered by time; scored: those of models."""
        asset_now_us = self._signals.asset_now_us
        if self._held != self._away:
            self._held = self._away
            self._sensors.hold_sources(self._away, self._signals.event_us)
        found: list[Observation | Pause] = [*scored]
        if self.episodes or self._sensors.is_waiting:
            episodes, self.episodes = self.episodes, []
            found += self._sensors.observations(episodes, asset_now_us)
        pauses, self._pauses = self._pauses, []
        found += pauses
        if self.limits.rows:
            found += self.limits.observations(self._signals.known_us)
        if len(found) > 1:  # so that the flood limit counts the same in every batching
            found.sort(key=lambda one: (one.at_us, one.alarm_id))
        return found

    def apply_observations(
        self, alarms: AlarmTable, observations: Iterable[Observation | Pause]
    ) -> list[Transition]:
        """Apply observations; returns transitions, with held alarms of a flood that ended."""
        found: list[Transition] = []
        for one in observations:
            if isinstance(one, Pause) or self.stops.waiting:
                found += self.stops.apply_observation(alarms, one)
            else:
                found += alarms.accept_observation(one)
        for asset in tuple(alarms.flooded):
            now_us = self._signals.event_us(self._plant.assets[asset])
            found += alarms.advance(asset, now_us)
        return found
