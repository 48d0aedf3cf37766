"""Assets without a full baseline: their healthy rows are kept until there are enough to learn from.

Rows are never deleted because learning failed, and learning never stops silently: an input without
values is reported, and left out after a grace period.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.clock import US_PER_S
from edge_agent.learning.healthy_rows import HealthyRows, Row
from edge_agent.learning.input_choice import InputChoice
from edge_agent.learning.input_watch import InputWatch
from edge_agent.learning.progress import (
    Training,
    TrainingSet,
    alike,
    learn_inputs,
    missing_inputs,
)
from edge_agent.learning.time_scale import TimeScale, length_for
from edge_agent.signals import Gate, Layout, Router, Span, Windows, WindowSet

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from numpy.typing import NDArray

    from edge_agent.config.schema import Learn
    from edge_agent.plant import PlantAsset
    from edge_agent.signals import Bindings
    from edge_agent.values import Columns

ALARM_STANDS: Final = "the alarm of its provisional baseline is active"
_LATENESS_US: Final = 5 * US_PER_S
_ALMOST: Final = 0.9
_CONFIRMED_WINDOWS: Final = 4


class Learning:
    """The assets of one template that are learning with the same step."""

    def __init__(
        self, template: str, config: Learn, first: PlantAsset, found_s: float | None = None
    ) -> None:
        """found_s: the step in the data of the first asset, if the config tells none."""
        self.template = template
        self.config = config
        self.scale = scale = TimeScale.of(config, found_s)
        self.inputs = learn_inputs(config, first)
        self.trainings: list[Training] = []
        self._router = Router()
        self._step_us = step_us = scale.step_us
        self._gate: Gate[WindowSet] = Gate(
            lambda rows: Span(rows.asset, rows.start_us - step_us, rows.end_us), WindowSet.where
        )
        known = [first.signals[name].config for name in self.inputs if name in first.signals]
        resample = tuple(signal.resample for signal in known)
        self._windows = Windows(
            Layout(len(self.inputs), 1, 1, step_us, _LATENESS_US, resample, precise=True)
        )
        self._gap_us = round((1 - config.min_coverage) * scale.length + 1) * step_us
        self.stages = scale.stages
        self.wanted_rows, self.last_stage = scale.stages[-1], len(scale.stages) - 1
        self.input_watch = InputWatch(
            self.inputs, self.trainings, scale, config.rows_needed, self._gate.is_open
        )

    # -- assets -------------------------------------------------------------------------------

    @property
    def assets(self) -> list[PlantAsset]:
        """All assets that learn or have learned."""
        return [training.asset for training in self.trainings]

    def add(
        self,
        asset: PlantAsset,
        bindings: Bindings,
        provisional_s: float = 0.0,
        standing: Columns | None = None,
    ) -> str:
        """Let an asset learn, anew if it has learned; returns what is missing, or an empty text.

        provisional_s: seconds of data in its active provisional baseline. standing: the values of
        signals that report only changes; default: those of now.
        """
        missing = missing_inputs(self.inputs, asset)
        if missing:
            return missing
        signals = [asset.signals[name] for name in self.inputs]
        known = self.assets
        row = known.index(asset) if asset in known else len(known)
        for channel, signal in enumerate(signals):
            binding = bindings[signal.index]
            self._router.add(signal.index, row, channel, binding.uncertain)
        if row < len(known):
            # The time without learning does not count as stopped.
            self._windows.reset_clock(np.array([row]))
            self.trainings[row] = self._new(asset, provisional_s)
        else:
            bound = [bindings[signal.index] for signal in signals]
            bindings.watch.silence.expect([s.index for s in signals], self._step_us)
            holds = [bindings.stale_us(signal.index) for signal in signals]
            self._windows.add_asset(holds, [b.group for b in bound])
            self.trainings.append(self._new(asset, provisional_s))
            number = bindings.condition(asset, self.config.when)
            self._gate.bind(bindings.conditions, asset.index, number)
        if standing is None:
            standing = bindings.standing([s.index for s in signals])
        self._router.write_values(self._windows, standing)
        return ""

    def _new(self, asset: PlantAsset, provisional_s: float = 0.0) -> Training:
        made = Training(asset, HealthyRows(self.scale.length), InputChoice(len(self.inputs)))
        made.stage = self._stage_after(round(provisional_s / self.scale.step_s))
        return made

    def _stage_after(self, rows: int) -> int:
        return next((n for n, wanted in enumerate(self.stages) if wanted > rows), self.last_stage)

    def take_over(self, old: Learning) -> None:
        """Continue with the rows of the replaced config, of assets whose learning is unchanged."""
        same = (self.inputs, self.scale.step_s, self.scale.length)
        if (old.inputs, old.scale.step_s, old.scale.length) != same:
            return
        before = {one.asset.id: one for one in old.trainings if one.is_waiting}
        for number, mine in enumerate(self.trainings):
            found = before.get(mine.asset.id)
            if found is not None:
                found.asset = mine.asset
                found.stage = max(mine.stage, min(found.stage, self.last_stage))
                self.trainings[number] = found

    # -- rows ---------------------------------------------------------------------------------

    def accept_values(self, values: Columns, max_blocks: int) -> None:
        """Keep the rows that close, with a gap where an input is not usable.

        A machine that is stopped on purpose produces no rows.
        """
        for windows in self._gate.admit(self._router.write_values(self._windows, values)):
            usable, last = windows.usable_inputs(), windows.last
            for i in np.flatnonzero(usable.any(axis=1)):
                training, end_us = self.trainings[windows.asset[i]], int(windows.end_us[i])
                training.choice.hear(usable[i], end_us)
                if not (training.is_done or training.closed):
                    x = np.where(usable[i], last[i], np.nan)
                    self._keep(training, x, usable[i], end_us, max_blocks)

    def _keep(
        self,
        training: Training,
        x: NDArray[np.float64],
        usable: NDArray[np.bool_],
        end_us: int,
        max_blocks: int,
    ) -> None:
        last_us = training.last_us
        breaks = last_us is not None and abs(end_us - last_us) > self._gap_us
        training.rows.add(Row(end_us, x, breaks), max_blocks)
        training.choice.count(usable, end_us)
        training.last_us = end_us
        training.confirmed_rows = max(0, training.confirmed_rows - 1)

    def set_stale_after(self, signal: int, stale_us: int) -> None:
        """A signal is stale after another time: its last value is used for that long."""
        row, channel = self._router.place(signal)
        if row >= 0:
            self._windows.set_hold(row, channel, stale_us)

    def shift_clock(self, step_us: int, moves: NDArray[np.bool_]) -> None:
        """Shift the rows of these plant assets [A]; the gateway's clock was moved."""
        found = [row for row, asset in enumerate(self.assets) if moves[asset.index]]
        self._gate.reset_clock()
        self._windows.shift_clock(np.array(found, np.intp), step_us)
        for row in found:
            one = self.trainings[row]
            one.last_us = None if one.last_us is None else one.last_us + step_us
            one.rows.shift_clock(step_us)
            one.choice.shift_clock(step_us)

    def reset_clock(self, assets: NDArray[np.intp]) -> None:
        """Follow the clock of these plant assets, which was set back."""
        rows = np.array([r for r, a in enumerate(self.assets) if a.index in assets], np.intp)
        self._windows.reset_clock(rows)
        self._gate.reset_clock()
        for row in rows.tolist():
            self.trainings[row].choice.forget_time()

    def recent(self, asset: PlantAsset) -> Columns | None:
        """The newest rows of an asset as values: they fill the windows of its new model."""
        found = next((one for one in self.trainings if one.asset is asset), None)
        if found is None or not found.rows.newest:
            return None
        return found.rows.newest_values([asset.signals[name].index for name in self.inputs])

    def alarm(self, asset: str, *, active: bool, at_us: int | None = None) -> None:
        """The alarm of an asset's provisional baseline opens or clears: no fault is learned.

        at_us: time of the alarm; a window before it may belong to the fault already.
        """
        for one in self._of([asset]):
            if not active:
                one.confirmed_rows = 0
            if one.is_done or one.confirmed_rows or active == bool(one.closed):
                continue
            one.closed = ALARM_STANDS if active else ""
            if active and one.last_us is not None:
                since_us = one.last_us if at_us is None else at_us
                one.take_back(since_us - self.scale.length * self._step_us)

    def confirm_healthy(self, asset: str) -> None:
        """Learn a few windows of an asset whose alarm stands: an operator calls it healthy."""
        for one in self._of([asset]):
            if one.closed:
                one.closed, one.confirmed_rows = "", _CONFIRMED_WINDOWS * self.scale.length

    # -- progress -----------------------------------------------------------------------------

    def progress(self) -> dict[str, float]:
        """Share of the rows required for the full baseline by asset, 0..1."""
        return {
            one.asset.id: min(1.0, one.choice.complete() / self.wanted_rows)
            for one in self.trainings
            if not one.is_done
        }

    def ready(self, monotonic_s: float = 0.0) -> list[TrainingSet]:
        """Training sets with enough rows; assets that almost have enough are included."""
        able = [one for one in self.trainings if one.can_learn and monotonic_s >= one.retry_s]
        chosen = [one for group in alike(able) for one in self._enough(group)]
        for one in chosen:
            one.is_busy = True
        return list(self._sets(chosen))

    def _enough(self, group: list[Training]) -> list[Training]:
        wanted = self.stages[group[0].stage]
        share = [one.choice.complete() / wanted for one in group]
        if max(share) < 1.0:
            return []
        return [one for one, there in zip(group, share, strict=True) if there >= _ALMOST]

    def collected(self) -> list[TrainingSet]:
        """All rows collected so far, for full baselines; no more will follow.

        If they are too few for the usual windows and the config tells no length, windows are
        shorter.
        """
        by_length: dict[int, list[Training]] = {}
        for one in self.trainings:
            one.stage = self.last_stage
            length = length_for(one.choice.complete(), self.config)
            by_length.setdefault(length, []).append(one)
        return [
            replace(found, length=length)
            for length, trainings in by_length.items()
            for found in self._sets(trainings)
        ]

    def _sets(self, chosen: list[Training]) -> Iterator[TrainingSet]:
        for group in alike(chosen):
            picked = group[0].choice.chosen
            rows = {one.asset.id: one.rows.all(len(self.inputs))[:, picked] for one in group}
            times = {one.asset.id: one.rows.times_us() for one in group}
            least = min(one.choice.complete() for one in group) * self.scale.step_s
            names = tuple(np.array(self.inputs)[picked].tolist())
            is_full = group[0].stage == self.last_stage
            left_out = {one.asset.id: self.left_out(one) for one in group if one.left_out}
            provisional_s = 0.0 if is_full else least
            yield TrainingSet(names, rows, provisional_s, left_out, self.scale.length, times)

    def left_out(self, one: Training) -> dict[str, str]:
        """The inputs that are left out of an asset's learning, with the reason."""
        return {self.inputs[index]: reason for index, reason in one.left_out.items()}

    def rows(self) -> dict[str, NDArray[np.float64]]:
        """All rows collected so far, [T, C] by asset."""
        return {one.asset.id: one.rows.all(len(self.inputs)) for one in self.trainings}

    # -- results ------------------------------------------------------------------------------

    def failed(self, assets: Collection[str], reason: str, monotonic_s: float = 0.0) -> None:
        """No bundle was made of these: their rows stay, and it is retried, ever more rarely."""
        for one in self._of(assets):
            one.fail(reason, monotonic_s)

    def learned(self, assets: Collection[str]) -> None:
        """These have a baseline: a full one ends learning, after a provisional one it continues."""
        for one in self._of(assets):
            if one.is_done:
                continue
            one.succeed()
            if one.stage < self.last_stage:
                one.stage = max(one.stage + 1, self._stage_after(one.choice.complete()))
            else:
                self._end(one)

    def _end(self, one: Training) -> None:
        one.is_done = True
        one.rows = HealthyRows(self.scale.length)
        for name in self.inputs:
            self._router.remove(one.asset.signals[name].index)

    def done(self, assets: Collection[str]) -> None:
        """These have a full baseline from another training."""
        for one in self._of(assets):
            if not one.is_done:
                self._end(one)

    def _of(self, assets: Collection[str]) -> Iterator[Training]:
        return (one for one in self.trainings if one.asset.id in assets)
