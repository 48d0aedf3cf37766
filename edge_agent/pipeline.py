"""The path of a value, top-down.

`take` (intake to windows), `infer` (windows to scores), `conclude` (scores to alarms and
messages). The daemon and `replay` both walk it.

`take` and `conclude` belong to one thread; `infer` touches nothing but the models and may run on
another one meanwhile.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.alarms import (
    BASELINE,
    AlarmCatalogue,
    AlarmTable,
    model_alarm_id,
    quality_alarm_id,
    silent_alarm_id,
)
from edge_agent.clock import US_PER_S, FakeClock, StepWatch
from edge_agent.config.schema import TimeOf, Uncertain
from edge_agent.config.types import Name
from edge_agent.detection import Rules, SensorAlarms
from edge_agent.diagnostics import Diagnostics
from edge_agent.learning import Learning
from edge_agent.serving import Deployments, observations, score_messages
from edge_agent.signals import (
    BAD,
    MISSING,
    UNCERTAIN,
    Binding,
    Bindings,
    Conditions,
    EventTime,
    QualityWatch,
    Scaling,
    rms_of,
)
from edge_agent.values import Columns

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from numpy.typing import NDArray

    from edge_agent.config.schema import Config, Learn, ModelUse
    from edge_agent.detection import Silence
    from edge_agent.messages import Transition
    from edge_agent.ops.metrics import Metrics
    from edge_agent.plant import Plant, PlantAsset, PlantSignal
    from edge_agent.serving import Scored, WindowBatch
    from edge_agent.signals import Episode
    from edge_agent.values import WaveBlock

log = logging.getLogger("edge_agent.pipeline")

_UNCERTAIN_MARK: Final = {Uncertain.USE: UNCERTAIN, Uncertain.HOLD: MISSING, Uncertain.BAD: BAD}
# Rows of all learning assets together stay under this.
_LEARNING_BYTES: Final = 96 << 20
_OVERDUE_EVERY_S: Final = 0.25
_DRIFT_US: Final = 10 * US_PER_S
_RECENT_US: Final = 5 * US_PER_S


@dataclass(slots=True)
class Step:
    """What one round brought: transitions for the store, scores for the bus."""

    transitions: list[Transition] = field(default_factory=list)
    scores: list[tuple[str, bytes]] = field(default_factory=list)
    windows: int = 0
    shadow: list[Transition] = field(default_factory=list)  # what a candidate would have told


class Pipeline:
    """Windows, models and alarms of one plant.

    live: values come as they happen, so that time goes on by the clock although no value comes and
    a source clock that runs ahead is refused; a recording has only its own time.
    """

    def __init__(
        self, config: Config, plant: Plant, metrics: Metrics, alarms: AlarmTable, *, live: bool
    ) -> None:
        self._config = config
        self._plant = plant
        self._metrics = metrics
        self._live = live
        self.alarms = alarms
        self.watch = QualityWatch()
        self.learning: dict[str, Learning] = {}
        self._bindings = Bindings(self.watch, Conditions(live=live))
        self.deployments = Deployments(config, self._bindings, metrics, alarms, live=live)
        self.diagnostics = Diagnostics(config, live=live)
        self.rules = Rules(self._bindings, self.deployments, alarms, live=live)
        self._groups_by_source: dict[str, int] = {}
        self._scaling = Scaling()
        self._sensors = SensorAlarms(plant, self.watch, live=live)
        self._asset_of = np.zeros(0, np.intp)
        self.time = EventTime(live=live)
        self._moves = np.zeros(0, np.bool_)  # assets whose time is the gateway's
        self._steps = StepWatch()
        self._now_us = self.time.now_us(0.0)
        self._overdue_s = 0.0
        self._monotonic_s = 0.0
        self._episodes: list[Episode] = []
        self._away: frozenset[str] = frozenset()

    @classmethod
    def for_learning(cls, config: Config, plant: Plant, metrics: Metrics) -> Pipeline:
        """A pipeline that only collects rows: no models, no alarms."""
        nothing = AlarmTable(
            AlarmCatalogue(config.gateway, config.drift), config.alarms, FakeClock()
        )
        return cls(config, plant, metrics, nothing, live=False)

    # -- what there is ------------------------------------------------------------------------

    def add_asset(self, asset: PlantAsset, now_us: int = 0, monotonic_s: float = 0.0) -> None:
        """Watch an asset's signals; models come with `use_model`. Times: 0 in a recording."""
        self.time.add(now_us, monotonic_s)
        named = {signal.source for signal in asset.signals.values()}
        judged = [getattr(self._config.sources.get(Name(n)), "time", None) for n in named]
        moves = any(one in {TimeOf.AUTO, TimeOf.ARRIVAL} for one in judged)
        self._moves = np.append(self._moves, moves)
        for signal in asset.signals.values():
            self._add_signal(signal)
        self.rules.add_asset(asset)

    def _add_signal(self, signal: PlantSignal) -> None:
        config = signal.config
        source = self._config.sources.get(Name(signal.source))
        stale_s = config.stale_after or getattr(source, "silence_s", None)
        stale_us = None if stale_s is None else round(stale_s * US_PER_S)
        stuck_us = None if config.stuck_after is None else round(config.stuck_after * US_PER_S)
        group = 0
        if getattr(source, "reports_changes", False):
            group = self._groups_by_source.setdefault(
                signal.source, len(self._groups_by_source) + 1
            )
        self._bindings.append(Binding(stale_us, group, _UNCERTAIN_MARK[config.uncertain]))
        self._asset_of = np.append(self._asset_of, signal.asset.index)
        self._scaling.add(config)
        self.watch.add(
            signal.asset.index,
            stale_us=stale_us,
            stuck_us=stuck_us,
            valid=config.valid,
            uncertain=config.uncertain,
        )

    def use_model(self, asset: PlantAsset, use: ModelUse, alarm_name: str | None = None) -> str:
        """Let a model score an asset; returns what is missing, or nothing.

        alarm_name: of its alarms; the name of the use if left out.
        """
        learning = self.learning.get(asset.template_name)
        recent = None if learning is None else learning.recent(asset)
        return self.deployments.use_model(asset, use, alarm_name, recent)

    def adopt_rules(self, config: Config) -> None:
        """New alarm rules come into force; all else is as it was."""
        self._config = config
        self.deployments.adopt_rules(config)

    def learn(self, asset: PlantAsset, config: Learn, provisional_s: float = 0.0) -> str:
        """Keep the asset's rows until there are enough to learn from.

        provisional_s: of the provisional baseline at work. Gives what is missing, or nothing.
        """
        if asset.template_name not in self.learning:
            self.learning[asset.template_name] = Learning(asset.template_name, config, asset)
        learning = self.learning[asset.template_name]
        missing = learning.add(asset, self._bindings, provisional_s)
        self._follow_alarm(learning, asset.id)
        return missing

    def _follow_alarm(self, learning: Learning, asset: str) -> None:
        """While the alarm of an asset's baseline stands, its rows are not healthy."""
        active = self.alarms.is_active(model_alarm_id(asset, BASELINE))
        learning.alarm(asset, active=active)

    def look_at_learning(self) -> None:
        """Leave out inputs that hold learning up, and follow alarms that were withdrawn."""
        for learning in self.learning.values():
            for asset in learning.assets:
                self._follow_alarm(learning, asset.id)
            learning.look(self._event_times(), self.watch)

    def learned_elsewhere(self, asset: PlantAsset) -> None:
        """An asset has a full baseline that did not come of the rows collected here."""
        learning = self.learning.get(asset.template_name)
        if learning is not None:
            learning.done([asset.id])

    def warming(self) -> dict[str, tuple[int, int]]:
        """Of assets of which nothing was scored yet: rows in the first window, and of how many."""
        found: dict[str, tuple[int, int]] = {}
        scored: set[str] = set()
        for group in self.deployments:
            for row, asset in enumerate(group.assets):
                if not np.isnan(group.health[row]):
                    scored.add(asset.id)
                elif group.windows is not None and not group.disabled[row]:
                    found[asset.id] = group.windows.filled(row)
        return {asset: rows for asset, rows in found.items() if asset not in scored}

    def _event_times(self) -> NDArray[np.int64]:
        """Event time as of the last turn by plant asset [A]; 0 for one that is newer."""
        more = len(self._plant.assets) - len(self._now_us)
        return np.append(self._now_us, np.zeros(max(0, more), np.int64))

    def obstacles(self) -> dict[str, str]:
        """By asset, why its learning stands still, and since when."""
        now_us = self._event_times()
        found = {
            one.asset.id: learning.obstacle(one, int(now_us[one.asset.index]), self.watch)
            for learning in self.learning.values()
            for one in learning.trainings
        }
        return {asset: why for asset, why in found.items() if why}

    def take_over(self, old: Pipeline) -> None:
        """What took long to collect outlives an exchange: a day of healthy rows."""
        for template, learning in self.learning.items():
            if template in old.learning:
                learning.take_over(old.learning[template])
        self.deployments.take_over(old.deployments)
        self.rules.take_over(old.rules, self._plant.assets, old._plant.assets)
        self.diagnostics.take_over(old.diagnostics)

    def restored(self, now_us: int) -> None:
        """Alarms that came out of the store not at rest are told of what happens next."""
        for signal in self._plant.signals:
            if quality_alarm_id(signal) in self.alarms.watched:
                self._sensors.restored(signal.index, now_us)
        for asset in self._plant.assets.values():
            if silent_alarm_id(asset.id) in self.alarms.watched:
                self._sensors.restored_asset(asset, now_us)
        self.deployments.follow_alarms()

    @property
    def silence(self) -> Silence:
        """Which silent signals are consequences of something larger."""
        return self._sensors.silence

    def hold(self, sources: Collection[str]) -> None:
        """These sources are away: until they are back their signals are no alarms of their own."""
        self._away = frozenset(sources)

    # -- the path -----------------------------------------------------------------------------

    def take(
        self,
        values: Columns,
        blocks: Sequence[WaveBlock] = (),
        *,
        now_us: int = 0,
        monotonic_s: float = 0.0,
    ) -> list[WindowBatch]:
        """Order by time, judge quality, write the windows; gives the windows that closed."""
        self._monotonic_s = monotonic_s
        values = self._follow_gateway(values, now_us, monotonic_s)
        self.deployments.start_turn(monotonic_s)
        values = self._scaling.scale_values(self.watch.without_retained(values.sorted_by_time()))
        values, blocks = self._refuse_future(values, now_us), self._scaling.scale_blocks(blocks)
        due: list[WindowBatch] = []
        if len(values):
            values = self.watch.refuse_out_of_range(values)
        seen = values
        if blocks:
            seen = Columns.concat([values, rms_of(blocks)]).sorted_by_time()
            seen = self._refuse_future(seen, now_us)
        if len(seen):
            self._set_back(seen, monotonic_s)
            self.time.note(self._asset_of[seen.signal], seen.time_us, monotonic_s)
        self._now_us = self.time.now_us(monotonic_s)
        self.rules.turn_conditions(values, self._now_us)
        episodes = self.rules.watch_quality(seen, monotonic_s if self._live else math.inf)
        if len(values) or blocks:
            due += self.deployments.accept_values(values, blocks)
        for learning in self.learning.values() if len(values) else ():
            learning.push(values, self._learning_blocks())
        overdue, closed = self._advance(monotonic_s)
        due += closed
        episodes += overdue
        self.rules.compare(episodes, self._now_us)
        self._episodes += episodes
        self.deployments.count_refused()
        return due

    def infer(self, due: Sequence[WindowBatch]) -> list[Scored]:
        """One run per model over the windows of all assets; blocking.

        A version that fails gives way to the one before it here.
        """
        return self.diagnostics.annotate(self.deployments.run(due))

    def shadow(self, *, busy: bool = False) -> list[Transition]:
        """The candidates score the windows of this turn; gives what their alarms would tell.

        Blocking; call it when the step's own alarms are on their way. busy: no time for it.
        """
        return self.deployments.run_shadows(busy=busy)

    def conclude(self, scored: Sequence[Scored]) -> Step:
        """Tell the alarm table; gives what changed and the scores that are due for the bus."""
        seen = [s for one in scored for s in observations(one, replayed=not self._live)]
        seen += self.diagnostics.observations(self.alarms.watched)
        episodes, self._episodes = self._episodes, []
        episodes.sort(key=lambda episode: episode.at_us)
        self._sensors.hold(self._away, lambda asset: int(self._now_us[asset.index]))
        seen += self._sensors.observe(episodes, self._now_us)
        transitions = self.rules.tell(self.alarms, self.rules.heard(seen, self._now_us))
        for asset in tuple(self.alarms.flooded):
            now_us = int(self._now_us[self._plant.assets[asset].index])
            transitions += self.alarms.advance(asset, now_us)
        interval_us = round(self._config.tuning.score_interval * US_PER_S)
        scores = [
            m for one in scored for m in score_messages(one, self._config.topic_root, interval_us)
        ]
        for one in scored:
            self._remember(one)
        for each in transitions:
            self._close_learning(each)
        return Step(transitions, scores, sum(len(one.row) for one in scored))

    def flush(self) -> list[WindowBatch]:
        """The recording has ended: its open windows."""
        return self.deployments.close_windows()

    # -- parts of the path --------------------------------------------------------------------

    def _refuse_future(self, values: Columns, now_us: int) -> Columns:
        """A source clock too far ahead would close the windows of everything that follows."""
        if not self._live or not len(values):
            return values
        limit_us = now_us + round(self._config.tuning.max_future * US_PER_S)
        if values.time_us[-1] <= limit_us:
            return values
        # A clock that has drifted so far is brought back slowly by its source.
        future = values.time_us > limit_us + _DRIFT_US * self._moves[self._asset_of[values.signal]]
        for signal in values.signal[future]:
            source = self._plant.signals[signal].source
            self._metrics.values_rejected.labels(source, "future").inc()
        return values.where(~future)

    def _follow_gateway(self, values: Columns, now_us: int, monotonic_s: float) -> Columns:
        """If the gateway's clock was moved, all that has its time moves with it."""
        step_us = self._steps.step_us(now_us, monotonic_s) if self._live else 0
        if not step_us:
            return values
        moves = self._moves
        self.time.move(step_us, moves)
        self.watch.move(step_us, moves)
        self.deployments.shift_clock(step_us, moves)
        for learning in self.learning.values():
            learning.move(step_us, moves)
        self._sensors.move(step_us, moves)
        self.rules.move(step_us, moves)
        self._episodes = [
            replace(one, at_us=one.at_us + step_us) if moves[self._asset_of[one.signal]] else one
            for one in self._episodes
        ]
        own = {asset.id for asset in self._plant.assets.values() if not moves[asset.index]}
        self.alarms.move(step_us, own)
        log.warning("the gateway's clock was moved", extra={"seconds": step_us / US_PER_S})
        # What came just before it was stamped by the old time.
        old = moves[self._asset_of[values.signal]]
        old &= np.abs(values.time_us + step_us - now_us) < np.abs(values.time_us - now_us)
        old &= np.abs(values.time_us + step_us - now_us) < _RECENT_US
        time_us = np.where(old, values.time_us + step_us, values.time_us)
        return Columns(values.signal, time_us, values.value, values.status)

    def _set_back(self, values: Columns, monotonic_s: float) -> None:
        asset = self._asset_of[values.signal]
        found = self.time.set_back(asset, values.time_us, monotonic_s)
        if not len(found):
            return
        self.watch.set_back(found)
        self.deployments.reset_clock(found)
        for learning in self.learning.values():
            learning.set_back(found)
        for index in found.tolist():
            to_us = int(values.time_us[asset == index].max())
            self._sensors.set_back(index, to_us)
            self.rules.set_back(index, to_us)
        log.warning("source clock set back", extra={"assets": len(found)})

    def _advance(self, monotonic_s: float) -> tuple[list[Episode], Iterable[WindowBatch]]:
        """Time goes on although no value comes: staleness, and rows that hold their values."""
        if self._live and monotonic_s - self._overdue_s < _OVERDUE_EVERY_S:
            return [], ()
        self._overdue_s = monotonic_s
        heard_by_s = monotonic_s if self._live else math.inf
        episodes = self.watch.overdue(self._now_us, self.time.since_us, heard_by_s)
        return episodes, self.deployments.close_by_clock(self._now_us) if self._live else ()

    def _remember(self, scored: Scored) -> None:
        group = scored.group
        group.score[scored.row] = scored.outputs.score
        group.health[scored.row] = scored.health
        group.scored_us[scored.row] = scored.end_us
        group.scored_s[scored.row] = self._monotonic_s
        for row in np.flatnonzero(group.alarm_open).tolist():
            self.deployments.follow_alarm(group, row)

    def _close_learning(self, transition: Transition) -> None:
        alarm = transition.alarm
        if self.learning and alarm.alarm_id == model_alarm_id(alarm.asset, BASELINE):
            for learning in self.learning.values():
                learning.alarm(alarm.asset, active=alarm.active, at_us=transition.at_us)

    def _learning_blocks(self) -> int:
        assets = sum(len(one.assets) for one in self.learning.values())
        channels = max(len(one.inputs) for one in self.learning.values())
        return max(4, _LEARNING_BYTES // (max(assets, 1) * max(channels, 1) * 4 * 256))
