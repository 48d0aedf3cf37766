"""One use of a model: the model, its assets, and the windows of their signals."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.alarms import model_alarm_id, use_name_of
from edge_agent.clock import ENDLESS, NEVER, US_PER_S
from edge_agent.config.schema import Follow, LearnedAlarm
from edge_agent.serving.following import following_of
from edge_agent.serving.input_signals import fixed_inputs, misfit
from edge_agent.serving.window_layout import (
    always_new,
    block_inputs_of,
    judged_rows,
    layout_of,
    reads_of,
    write_fixed,
)
from edge_agent.signals import BlockWindow, Gate, Router, Span, Windows
from edge_agent.tables import Table, column

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edge_agent.config.schema import AlarmRule, ModelUse, Template
    from edge_agent.models import Model
    from edge_agent.plant import PlantAsset, PlantSignal
    from edge_agent.signals import Bindings, Outage, WindowSet
    from edge_agent.values import Columns, TensorBlock


_LATE_US: Final = 2 * US_PER_S  # beyond what a window may be late anyway


@dataclass(slots=True)
class WindowBatch:
    """Windows for one model: windows of scalars, windows of blocks, or both aligned row by row.

    size: number of its windows N; coverage: of these windows [N], known once they were checked;
    late: windows of values that came late, after an outage [N]; None if there is none.
    """

    deployment: Deployment
    windows: WindowSet | None
    blocks: list[BlockWindow] = field(default_factory=list)
    skipped: int = 0  # windows without a block
    coverage: NDArray[np.float64] | None = None
    late: NDArray[np.bool_] | None = None
    size: int = field(init=False)

    def __post_init__(self) -> None:
        self.size = len(self.blocks) if self.windows is None else len(self.windows.asset)

    @property
    def rows(self) -> NDArray[np.intp]:
        """The asset of each window [N], by its row in the deployment."""
        if self.windows is not None:
            return self.windows.asset
        return np.array([block.asset for block in self.blocks], np.intp)

    def where(self, which: NDArray[np.bool_]) -> WindowBatch:
        """Only the windows for which `which` [N] is true."""
        windows = None if self.windows is None else self.windows.where(which)
        blocks = [block for block, ok in zip(self.blocks, which, strict=False) if ok]
        coverage = None if self.coverage is None else self.coverage[which]
        late = None if self.late is None else self.late[which]
        return WindowBatch(self.deployment, windows, blocks, coverage=coverage, late=late)

    def mark_late(self, back_us: NDArray[np.int64]) -> None:
        """Mark windows of values that came late; back_us: the end of the last outage [A]."""
        end_us, lateness_us = self._ends_us, _LATE_US
        if self.deployment.windows is not None:
            lateness_us += self.deployment.windows.layout.lateness_us
        late = end_us + lateness_us < back_us[self.deployment.plant_rows[self.rows]]
        if self.windows is not None and self.windows.again is not None:
            late |= self.windows.again
        self.late = late if late.any() else None

    @property
    def _ends_us(self) -> NDArray[np.int64]:
        if self.windows is not None:
            return self.windows.end_us
        return np.array([block.end_us for block in self.blocks], np.int64)


class Deployment(Table):
    """A model in use for the assets of one template."""

    plant_rows = column(np.intp)  # the number of each asset in the plant
    unit = column(np.int64)
    alarm_open = column(np.bool_)  # assets whose alarm is not normal
    disabled = column(np.bool_)  # assets that it no longer scores
    score = column(np.float32, np.nan)
    health = column(np.float32, np.nan)
    scored_us = column(np.int64, NEVER)
    scored_s = column(np.float64, -np.inf)  # the same by the monotonic clock
    published_us = column(np.int64, NEVER)
    judged_us = column(np.int64)  # time that was scored, until the track record takes it
    peak = column(np.float32)  # the largest score of the present alarm, of the model's own limit
    margin = column(np.float32, 1.0)  # of feedback: a factor on the limit
    constants = column(np.float32, 0, "constants")  # of the config, in the order of the manifest
    fixed = column(np.float32, np.nan, "channels")  # of an input without a signal; NaN: a signal

    def __init__(self, use_name: str, use: ModelUse, model: Model) -> None:
        manifest = model.manifest
        sizes = {"constants": sum(manifest.constants.values()), "channels": len(manifest.scalars)}
        super().__init__(sizes)
        self.use_name = use_name  # within its template, for every bundle
        self.use = use
        self.title: str = use.name or model.manifest.name  # in scores and metrics
        self.model = model
        self.assets: list[PlantAsset] = []
        self.alarm_ids: list[str] = []  # of these assets
        # Of each: by scalar, then by own tensor; None of an input whose value is fixed.
        self.signals: list[tuple[PlantSignal | None, ...]] = []
        self.router = Router()
        self.task = manifest.task_row
        self.scalars = manifest.scalars
        self.own_tensors = manifest.own_tensors
        self.blocks = block_inputs_of(manifest, use)
        self.block_rows = self.blocks.rows if self.blocks else None
        on_grid = self.scalars and self.block_rows is None
        self.windows = Windows(layout_of(manifest, use)) if on_grid else None
        self.always_new = always_new(manifest)
        self.gate: Gate[WindowBatch] = Gate(_span, WindowBatch.where)
        self.following = following_of(use, manifest)

    @property
    def source(self) -> str:
        """The source of its values; `several` if there is more than one."""
        found = {s.source for a in self.assets[:1] for s in a.signals.values()}
        return found.pop() if len(found) == 1 else "several"

    @property
    def limit(self) -> float:
        """The score at which the alarm is raised."""
        return self.use.alarm.limit or self.model.manifest.threshold

    def signal_of(self, asset: PlantAsset, name: str) -> PlantSignal | None:
        """The asset's signal behind a model input."""
        return asset.signals.get(self.use.inputs.get(name, name))

    def add_asset(
        self, asset: PlantAsset, bindings: Bindings, recent: Columns | None = None
    ) -> str:
        """Let the model score another asset; returns what is missing, or an empty text.

        recent: its newest values, which fill its windows.
        """
        units = self.model.manifest.units
        if units and asset.id not in units:
            return f"model {self.model.manifest.name} was not learned for this asset"
        inputs = self.model.manifest.inputs
        signals = {spec.name: self.signal_of(asset, spec.name) for spec in inputs}
        fixed = {} if self.blocks is None else fixed_inputs(self.scalars, signals, asset.constants)
        problem = misfit(inputs, signals, fixed)
        if problem:
            return problem
        row = self.grow()
        if self.following is not None:
            self.following.grow()
        self.plant_rows[row] = asset.index
        self.assets.append(asset)
        self.alarm_ids.append(model_alarm_id(asset.id, self.use_name))
        self.signals.append(tuple(signals[one.name] for one in (*self.scalars, *self.own_tensors)))
        self.unit[row] = units.index(asset.id) if units else 0
        self.constants[row] = self.model.manifest.constants_of(asset.constants)
        self.fixed[row] = [fixed.get(spec.name, np.nan) for spec in self.scalars]
        self._bind(asset, row, bindings, recent)
        return ""

    def set_model(self, model: Model) -> None:
        """Continue with another version that needs the same windows of the same assets."""
        units = model.manifest.units
        self.model, self.task = model, model.manifest.task_row
        self.margin[:] = 1.0  # what was called false was the other version's alarm
        self.disabled[:] = False
        self.always_new = always_new(model.manifest)
        self.following = following_of(self.use, model.manifest)
        if self.following is not None:
            self.following.grow(len(self.assets))
        for row, asset in enumerate(self.assets):
            self.unit[row] = units.index(asset.id) if units else 0
            self.constants[row] = model.manifest.constants_of(asset.constants)

    def row_of(self, asset: str) -> int | None:
        """The row of an asset that it scores; None if it does not."""
        rows = (r for r, one in enumerate(self.assets) if one.id == asset and not self.disabled[r])
        return next(rows, None)

    def disable(self, asset: str) -> None:
        """Stop scoring an asset, until another version becomes active."""
        row = self.row_of(asset)
        if row is not None:
            self.disabled[row] = True
            self.alarm_open[row] = False
            self.score[row] = self.health[row] = np.nan

    def adopt_scores(self, old: Deployment) -> None:
        """Copy the last scores of each asset from the replaced version."""
        rows = {asset.id: row for row, asset in enumerate(old.assets)}
        both = [(row, rows[a.id]) for row, a in enumerate(self.assets) if a.id in rows]
        ours, theirs = np.array(both, np.intp).reshape(-1, 2).T
        for name in ("score", "health", "scored_us", "scored_s", "published_us"):
            getattr(self, name)[ours] = getattr(old, name)[theirs]

    def adopt_following(self, old: Deployment) -> None:
        """Continue to follow where a deployment of the same version was."""
        if self.following is None or old.following is None:
            return
        for row, asset in enumerate(self.assets if self.model.sha256 == old.model.sha256 else ()):
            if (before := old.row_of(asset.id)) is not None:
                self.following.restore(row, old.following.state(before))

    def adopt_rules(self, template: Template) -> None:
        """Use the rules of this use from a new config: of its alarm, and how it follows."""
        if any(self.use_name in asset.cameras for asset in self.assets):
            return  # with another camera the deployments are made anew
        rules: dict[str, AlarmRule] = {use_name_of(use): use.alarm for use in template.models}
        if template.learn is not None:
            rules.setdefault(self.use_name, template.learn.alarm)
        rules.setdefault(self.use_name, LearnedAlarm())  # learned by hand
        self.use = replace(self.use, alarm=rules[self.use_name])
        if self.following is not None:
            self.following.rule = self._follow_rule(template)

    def _follow_rule(self, template: Template) -> Follow:
        listed = [use.follow for use in template.models if use_name_of(use) == self.use_name]
        return (*listed, template.learn.follow if template.learn else Follow())[0]

    def accept_values(self, values: Columns, blocks: Sequence[TensorBlock]) -> list[WindowBatch]:
        """Write values into the windows; returns those that close."""
        complete = [] if self.blocks is None else self.blocks.accept_blocks(values, blocks)
        if self.disabled.any():
            complete = [block for block in complete if not self.disabled[block.asset]]
        if self.block_rows is not None:
            self.router.write_values(self.block_rows, values)
            return self.gate.admit(self._with_rows(complete))
        if self.windows is None:
            return self.gate.admit([WindowBatch(self, None, [block]) for block in complete])
        closed = self.router.write_values(self.windows, values)
        if complete:
            closed += write_fixed(self.windows, self.fixed, complete)
        found = [self._joined(windows) for windows in closed] if closed else []
        return self.gate.admit(found) if self.gate.is_used else found

    def _with_rows(self, complete: list[BlockWindow], *, ended: bool = False) -> list[WindowBatch]:
        """Windows of blocks whose scalar inputs are known and in their ranges."""
        if self.block_rows is None:
            return []
        due, rows = self.block_rows.accept_windows(complete, ended=ended)
        kept, windows = judged_rows(self.model.manifest, due, rows)
        return [WindowBatch(self, windows, kept, len(due) - len(kept))] if due else []

    def drain_refused(self) -> tuple[int, int]:
        """Number of late values, and of blocks that did not fit, since the last call."""
        late = rejected = 0
        if self.windows is not None:
            late, self.windows.late = self.windows.late, 0
        if self.blocks is not None:
            rejected = self.blocks.drain_rejected()
        return late, rejected

    def reset_clock(self, assets: NDArray[np.intp]) -> None:
        """Restart the windows of these plant assets; their clock was set back."""
        rows = np.flatnonzero(np.isin(self.plant_rows, assets))
        if self.windows is not None:
            self.windows.reset_clock(rows)
        self.gate.reset_clock()
        self.published_us[rows] = NEVER
        if self.blocks is not None:
            self.blocks.forget(rows)

    def shift_clock(self, step_us: int, moves: NDArray[np.bool_]) -> None:
        """Shift the stored times of these plant assets [A]; the gateway's clock was moved."""
        rows = np.flatnonzero(moves[self.plant_rows])
        self.gate.reset_clock()
        if self.windows is not None:
            self.windows.shift_clock(rows, step_us)
        for times in (self.scored_us, self.published_us):
            times[rows] += np.where(times[rows] > NEVER, step_us, 0)
        if self.blocks is not None:
            self.blocks.shift_clock(rows, step_us)

    def set_silence(self, signal: int, stale_us: int, usual_us: int) -> None:
        """The last value of a signal is used for that long; usual_us: its longest usual pause."""
        row, channel = self.router.place(signal)
        if row >= 0 and self.windows is not None:
            self.windows.set_hold(row, channel, stale_us, usual_us)
        if row >= 0 and self.block_rows is not None:
            self.block_rows.set_hold(row, channel, stale_us)
        if self.blocks is not None:
            self.blocks.set_hold(signal, stale_us)

    def follow_outage(self, outage: Outage) -> None:
        """The link of signals is lost, or back: what was known of them counts no longer."""
        if self.windows is None:
            return
        for signal, at_us in zip(outage.signals.tolist(), outage.at_us.tolist(), strict=True):
            row, channel = self.router.place(signal)
            if row < 0:
                continue
            if outage.is_down or outage.is_kept:
                self.windows.cut(row, channel, at_us if outage.is_down else NEVER)
            self.windows.wait_for(row, channel, ENDLESS if outage.is_down else at_us)

    def _follow_cuts(self, bindings: Bindings, row: int) -> None:
        """A new row learns of the outages before it: values of before them do not hold."""
        for channel, signal in enumerate(self.signals[row][: len(self.scalars)]):
            if self.windows is not None and signal is not None:
                cut_us, until_us = bindings.cuts.of(signal.index)
                self.windows.cut(row, channel, cut_us)
                self.windows.wait_for(row, channel, until_us)

    def close_by_clock(self, asset_now_us: NDArray[np.int64]) -> list[WindowBatch]:
        """Close rows by the clock; asset_now_us: event time by plant asset [A]."""
        rows = np.arange(len(self.assets))
        now_us = asset_now_us[self.plant_rows]
        if self.block_rows is not None:
            self.block_rows.set_clock(rows, now_us)
            return self.gate.admit(self._with_rows([]))
        if self.windows is None or not self.assets:
            return self.gate.admit([])
        now_us = now_us - self.windows.layout.lateness_us
        known = now_us > 0
        closed = self.windows.close_by_clock(rows[known], now_us[known])
        return self.gate.admit([self._joined(windows) for windows in closed])

    def close_windows(self) -> list[WindowBatch]:
        """Close open windows; the recording has ended."""
        closed = [] if self.windows is None else self.windows.close_all()
        found = [self._joined(windows) for windows in closed]
        return self.gate.admit(found + self._with_rows([], ended=True), ended=True)

    def _joined(self, windows: WindowSet) -> WindowBatch:
        """Scalar windows with the newest blocks of their assets, if those are not stale."""
        if self.disabled.any():
            windows = windows.where(~self.disabled[windows.asset])
        if self.blocks is None:
            return WindowBatch(self, windows)
        rows_and_times = zip(windows.asset.tolist(), windows.end_us.tolist(), strict=True)
        newest = [self.blocks.newest(row, end_us) for row, end_us in rows_and_times]
        kept = windows.where(np.array([each is not None for each in newest], bool))
        found = [each for each in newest if each is not None]
        return WindowBatch(self, kept, found, skipped=len(newest) - len(found))

    def _bind(
        self, asset: PlantAsset, row: int, bindings: Bindings, recent: Columns | None
    ) -> None:
        number = bindings.condition(asset, self.use.when)
        self.gate.bind(bindings.conditions, asset.index, number)
        signals = self.signals[row][: len(self.scalars)]
        for channel, signal in enumerate(signals):
            if signal is not None:
                self.router.add(signal.index, row, channel, bindings[signal.index].uncertain)
        known = [signal.index for signal in signals if signal is not None]
        holds = [None if one is None else bindings.stale_us(one.index) for one in signals]
        if self.block_rows is not None:
            self.block_rows.add_asset(holds)
            self.router.write_values(self.block_rows, bindings.standing(known))
        if self.windows is not None:
            bindings.watch.silence.expect(known, self.windows.layout.step_us)
            groups = [0 if one is None else bindings[one.index].group for one in signals]
            self.windows.add_asset(
                holds, groups, reads_of(self.model.manifest, int(self.unit[row]))
            )
            self._follow_cuts(bindings, row)
            if recent is not None:
                self.router.write_values(self.windows, recent)
            self.router.write_values(self.windows, bindings.standing(known))
        if self.blocks is not None:
            numbers = [one.index for one in self.signals[row][len(self.scalars) :] if one]
            valid_us = [*map(bindings.stale_us, numbers)]
            self.blocks.add_asset(row, [(one, bindings[one]) for one in numbers], valid_us)


def _span(due: WindowBatch) -> Span:
    """The rows and times of windows; the first row of a grid contains the values of its step."""
    windows, rings = due.windows, due.deployment.windows
    if windows is not None and rings is not None:
        return Span(windows.asset, windows.start_us - rings.layout.step_us, windows.end_us)
    columns = [(block.asset, block.start_us, block.end_us) for block in due.blocks]
    row, start_us, end_us = np.array(columns, np.int64).reshape(-1, 3).T
    return Span(row, start_us, end_us)
