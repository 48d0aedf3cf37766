"""The path of a value, top-down: six stages from the intake to the alarm table.

    accept      values, blocks -> Observed          scaled, refused if in the future
    windows     Observed -> [WindowBatch]           closed windows, of all assets that share a model
    run         [WindowBatch] -> [Scored]           one run per model; includes standby and rollback
    annotate    [Scored] -> [Scored]                contributions, remaining life, drift
    evaluate    [Scored], state -> Evaluation       observations, scores to publish, new state
    apply       observations -> [Transition]        changes of the alarm table

The daemon and `replay` run it in three steps: `close_windows`, `score_windows`, `update_alarms`.
The first and the last run in one thread; `score_windows` uses only the models and may run in
another thread at the same time.
"""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from edge_agent.alarms import BASELINE
from edge_agent.clock import US_PER_S
from edge_agent.detection import Detection
from edge_agent.diagnostics import Diagnostics
from edge_agent.learning import BaselineLearning, WaveBaselines
from edge_agent.serving import Deployments, EvaluationRules, ScoreState, evaluate
from edge_agent.signals import INPUT_KINDS, Acceptance

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from edge_agent.alarms import AlarmTable
    from edge_agent.config.schema import Config, ModelUse
    from edge_agent.detection import Pause
    from edge_agent.insight.quality.charts import ControlCharts
    from edge_agent.messages import Observation, Transition
    from edge_agent.ops.metrics import Metrics
    from edge_agent.plant import Plant, PlantAsset
    from edge_agent.serving import Evaluation, Scored, WindowBatch
    from edge_agent.signals import InputKind, Observed
    from edge_agent.values import Columns, TensorBlock

_RECENT: Final = 4096  # turns until a recorder takes them
_REPORTED: Final = 10_000
_ANNOUNCED: Final = 10_000  # transitions until the track record takes them
log = logging.getLogger("edge_agent.pipeline")


@dataclass(slots=True)
class Step:
    """The results of one turn: transitions for the store, scores for the bus.

    shadow: transitions that the alarms of shadow versions would have announced.
    """

    transitions: list[Transition] = field(default_factory=list)
    scores: list[tuple[str, bytes]] = field(default_factory=list)
    windows: int = 0
    shadow: list[Transition] = field(default_factory=list)


@dataclass(slots=True)
class Recent:
    """What passed lately, for the trends; without a recorder nothing is kept.

    scores: deployment, row, end_us, outputs, limit, outside and late of `Scored`; not the windows
    themselves, which may be large.
    """

    values: deque[Columns] = field(default_factory=lambda: deque(maxlen=_RECENT))
    scores: deque[tuple[Any, ...]] = field(default_factory=lambda: deque(maxlen=_RECENT))


class PictureWatch(Protocol):
    """What knows the pictures behind the scores of cameras."""

    def describe(self, found: list[Observation | Pause]) -> list[Observation | Pause]:
        """The same observations; those of cameras with what is seen on the picture."""

    def follow_transitions(self, transitions: Sequence[Transition]) -> None:
        """Keep the pictures of alarms that are announced."""

    def learning_rows(self) -> list[dict[str, Any]]:
        """The progress of cameras that learn."""


class Pipeline:
    """Signals, models and alarms of one plant.

    live: values come as they happen, so that time goes on by the clock although no value comes and
    a source clock that runs ahead is refused; a recording has only its own time.
    """

    def __init__(  # noqa: PLR0913 (what a plant is made of, and a table)
        self,
        config: Config,
        plant: Plant,
        metrics: Metrics,
        alarms: AlarmTable,
        *,
        live: bool,
        input_kinds: Mapping[str, InputKind] = INPUT_KINDS,
    ) -> None:
        self._plant = plant
        self._metrics = metrics
        self._live = live
        self._rules = _evaluation_rules(config, live=live)
        self.alarms = alarms
        self.signals = Acceptance(config, live=live, input_kinds=input_kinds)
        self.watch = self.signals.watch
        self.deployments = Deployments(config, self.signals.bindings, metrics, alarms, live=live)
        self.learning = BaselineLearning(self.signals, alarms)
        self.waves = WaveBaselines(self.signals, alarms)
        self.detection = Detection(plant, self.signals, self.deployments, alarms, live=live)
        self.diagnostics = Diagnostics(config, live=live)
        self.announced: deque[Transition] = deque(maxlen=_ANNOUNCED)
        self.pictures: PictureWatch | None = None  # set by the cameras
        self.recent: Recent | None = None  # set by a recorder of trends, which empties it
        self.followers: list[deque[Columns]] = []  # each gets the values; its owner empties it
        # What side parts find (charts, cameras, states): applied in the next turn.
        self.reported: deque[Observation] = deque(maxlen=_REPORTED)
        self.charts: ControlCharts | None = None
        if config.control_charts:
            from edge_agent.insight.quality.charts import ControlCharts  # noqa: PLC0415 (most have none)

            self.charts = ControlCharts(config, self.signals, alarms.watched)
        self._monotonic_s = 0.0

    # -- the path -----------------------------------------------------------------------------

    def close_windows(
        self,
        values: Columns,
        blocks: Sequence[TensorBlock] = (),
        *,
        now_us: int = 0,
        monotonic_s: float = 0.0,
    ) -> list[WindowBatch]:
        """Accept values and blocks; returns the windows that closed.

        values: in the order of time. now_us, monotonic_s: the gateway's clocks; 0 in a recording.
        """
        self._monotonic_s = monotonic_s
        observed = self.signals.accept(values, blocks, now_us, monotonic_s)
        if self.recent is not None:
            self.recent.values.append(observed.seen)
        for values_of in self.followers:
            values_of.append(observed.seen)
        if observed.from_future.size:
            self._count_refused(observed)
        if observed.step_us or observed.clock_reset:
            self._follow_clocks(observed)
        self.deployments.start_turn(monotonic_s)
        self.detection.watch_quality(observed)
        if self.watch.silence.changed:
            self._follow_silence_limits()
        batches = self._write_windows(observed)
        self.detection.compare_limits(observed)
        if self.charts is not None:
            self.charts.keep(observed)
        return batches

    def _follow_silence_limits(self) -> None:
        """Signals whose usual interval became known: their last values are used for as long."""
        for signal, stale_us, pause_us in self.watch.silence.drain_changes():
            self.signals.bindings.conditions.set_stale_after(signal, stale_us)
            self.deployments.set_silence(signal, stale_us, pause_us)
            self.learning.set_stale_after(signal, stale_us)

    def _write_windows(self, observed: Observed) -> list[WindowBatch]:
        """Write what was observed into all windows, and close those that are full or overdue."""
        batches: list[WindowBatch] = []
        if observed.values.signal.size or observed.blocks:
            batches += self.deployments.accept_values(observed.values, observed.blocks)
        if self.learning or self.learning.searches.by_asset:
            self.learning.accept_values(observed.values)
        if self.waves and (observed.values.signal.size or observed.blocks):
            self.waves.accept_values(observed.values, observed.blocks)
        if self._live and observed.is_clock_due:
            batches += self.deployments.close_by_clock(observed.known_us)
        for batch in batches if self._live else ():
            batch.mark_late(self.signals.time.back_us)
        self.deployments.count_refused()
        return batches

    def close_open_windows(self) -> list[WindowBatch]:
        """The recording has ended; returns its open windows."""
        if self.charts is not None:
            self.reported.extend(self.charts.evaluate(is_end=True))
        return self.deployments.close_windows()

    def score_windows(self, batches: Sequence[WindowBatch]) -> list[Scored]:
        """Score windows and add contributions, remaining life and drift; blocking."""
        return self.diagnostics.annotate(self.deployments.run(batches))

    def update_alarms(self, scored: Sequence[Scored]) -> Step:
        """Apply a turn to the alarm table; returns transitions, and scores for the bus."""
        if self.recent is not None:
            self.recent.scores.extend(
                (o.deployment, o.row, o.end_us, o.outputs, o.limit, o.outside, o.batch.late)
                for o in scored
            )
        state = {one.deployment: ScoreState.of(one.deployment) for one in scored}
        evaluation = evaluate(scored, state, self._rules, self._monotonic_s)
        transitions = self._apply(evaluation)
        return Step(transitions, evaluation.scores, sum(len(one.row) for one in scored))

    def _apply(self, evaluation: Evaluation) -> list[Transition]:
        observations = evaluation.observations
        if self.charts is not None and not self.charts.is_apart:
            self.reported.extend(self.charts.evaluate())
        if self.reported:
            reported, self.reported = self.reported, deque(maxlen=_REPORTED)
            observations = [*observations, *reported]
        if self.diagnostics.drift.verdicts:
            observations = [*observations, *self.diagnostics.observations(self.alarms.watched)]
        found = self.detection.observations(observations)
        if self.pictures is not None and found:
            found = self.pictures.describe(found)
        transitions = self.detection.apply_observations(self.alarms, found)
        for deployment, state in evaluation.state.items():
            state.store(deployment)
            rows = np.flatnonzero(state.alarm_open).tolist()
            self.deployments.follow_alarms_of(deployment, rows)
        self.announced.extend(transitions)
        if self.learning:
            self.learning.follow_transitions(transitions)
        if self.waves:
            self.waves.follow_transitions(transitions)
        if self.pictures is not None and transitions:
            self.pictures.follow_transitions(transitions)
        return transitions

    def run_shadows(self, *, busy: bool = False) -> list[Transition]:
        """Let the shadows score the windows of this turn; returns the transitions of their alarms.

        Blocking; call it after the turn's own alarms are sent. busy: skip the windows.
        """
        return self.deployments.run_shadows(busy=busy)

    # -- links, clocks ------------------------------------------------------------------------

    def follow_links(
        self,
        down: Collection[str],
        away: Collection[str],
        kept: Collection[str] = (),
        monotonic_s: float = 0.0,
    ) -> None:
        """Follow the links of the sources.

        down: they are disconnected, so that time stands still for their assets until their values
        come; away: their signals raise no alarms of their own; kept: they are connected, and the
        other side has kept what came while they were not.
        """
        self.detection.hold_sources(away)
        for outage in self.signals.follow_links(down, kept, monotonic_s):
            self.signals.bindings.cuts.follow_outage(outage)
            self.deployments.follow_outage(outage)

    def _count_refused(self, observed: Observed) -> None:
        for signal in observed.from_future.tolist():
            source = self._plant.signals[signal].source
            self._metrics.values_rejected.labels(source, "future").inc()

    def _follow_clocks(self, observed: Observed) -> None:
        """Follow a step of the gateway's clock, and clocks of assets that were set back."""
        self.learning.follow_clocks(observed)
        self.waves.follow_clocks(observed)
        self.detection.follow_clocks(observed)
        if observed.step_us:
            step_us, moves = observed.step_us, self.signals.moves
            self.deployments.shift_clock(step_us, moves)
            own = {asset.id for asset in self._plant.assets.values() if not moves[asset.index]}
            self.alarms.shift_clock(step_us, own)
            log.warning("the gateway's clock was moved", extra={"seconds": step_us / US_PER_S})
        if observed.clock_reset:
            self.deployments.reset_clock(observed.reset_assets)
            log.warning("source clock was set back", extra={"assets": len(observed.clock_reset)})

    # -- assets, models -----------------------------------------------------------------------

    def add_asset(self, asset: PlantAsset, now_us: int = 0, monotonic_s: float = 0.0) -> None:
        """Add an asset and its signals; add models with `use_model`. Times: 0 in a recording."""
        self.signals.add_asset(asset, now_us, monotonic_s)
        self.detection.add_asset(asset)
        if self.charts is not None:
            self.charts.add_asset(asset)

    def use_model(self, asset: PlantAsset, use: ModelUse, use_name: str | None = None) -> str:
        """Let a model score an asset; returns what is missing, or an empty text.

        use_name: in its alarms; left out, as `use` has it.
        """
        recent = self.learning.recent_values(asset)
        return self.deployments.use_model(asset, use, use_name, recent)

    def use_baseline(self, asset: PlantAsset, use_name: str = BASELINE) -> bool:
        """Let the newest bundle that was learned for an asset score it; False if there is none.

        use_name: BASELINE of its numbers, or WAVEFORMS.
        """
        recent = self.learning.recent_values(asset) if use_name == BASELINE else None
        return self.deployments.baselines.use_newest(asset, recent, use_name)

    def adopt_rules(self, config: Config) -> None:
        """Apply new alarm rules; everything else stays as it is."""
        self._rules = _evaluation_rules(config, live=self._live)
        self.deployments.adopt_rules(config)

    def adopt_state(self, old: Pipeline) -> None:
        """Copy the rows collected for learning from the pipeline that this one replaces."""
        self.watch.silence.adopt_state(old.watch.silence, self._rows_of(old))
        self.learning.take_over(old.learning)
        self.waves.take_over(old.waves)
        self.deployments.adopt_versions(old.deployments)
        self.detection.adopt_state(old.detection)
        self.diagnostics.adopt_state(old.diagnostics)
        if self.charts is not None and old.charts is not None:
            self.charts.adopt_state(old.charts)

    def _rows_of(self, old: Pipeline) -> dict[int, int]:
        """The number of each signal in an earlier plant, and its number here."""
        here = {(one.asset.id, one.name): one.index for one in self._plant.signals}
        there = ((one.index, (one.asset.id, one.name)) for one in old._plant.signals)
        return {row: here[key] for row, key in there if key in here}

    def follow_alarms(self, now_us: int, restored: Collection[str] | None = None) -> None:
        """Follow alarms from the store: those that are not normal get later changes.

        restored: their ids; None: of all.
        """
        watched = self.alarms.watched
        self.detection.follow_alarms(
            watched if restored is None else watched & set(restored), now_us
        )
        self.deployments.follow_alarms()


def _evaluation_rules(config: Config, *, live: bool) -> EvaluationRules:
    interval_us = round(config.tuning.score_interval * US_PER_S)
    return EvaluationRules(config.topic_root, interval_us, replayed=not live)
