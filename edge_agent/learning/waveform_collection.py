"""Assets whose waveforms learn: the features of their healthy windows are kept, not the samples.

A day of samples would not fit in memory. What is measured (the length of a window) is decided from
the first blocks: as long as a third of a second, and no longer than blocks that do not join.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.clock import US_PER_S
from edge_agent.learning.healthy_rows import HealthyRows
from edge_agent.learning.progress import time_of_day
from edge_agent.learning.waveform_fit import LEAST_WAVES
from edge_agent.learning.waveform_inputs import conditions_of, wave_inputs
from edge_agent.learning.waveform_progress import (
    KEEP_ROWS,
    FoundWaves,
    WaveTraining,
    WaveTrainingSet,
)
from edge_agent.signals import BlockRows, Gate, Router

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from edge_agent.config.schema import Learn
    from edge_agent.learning.waveform_bundle import WaveRecipe
    from edge_agent.plant import PlantAsset
    from edge_agent.signals import Acceptance, Bindings, QualityWatch
    from edge_agent.values import Columns, TensorBlock

_STAGES: Final = 4  # times the time of a provisional baseline is that of the next one
_DAY_S: Final = 86_400.0
_PATIENCE_S: Final = 60.0
_CONFIRMED: Final = 64  # windows; twice those that «this is healthy» is a mean of
_KNOWN: Final = 0.9  # of the windows, at least, have a condition that is used
_NO_BLOCK: Final = "no value"


class WaveLearning:
    """The assets of one template whose waveforms are learning."""

    def __init__(self, template: str, config: Learn, first: PlantAsset) -> None:
        self.template = template
        self.config = config
        self.inputs = tuple(wave_inputs(config, first))
        self.trainings: list[WaveTraining] = []
        self._router = Router()
        self._conditions = Router()
        self._gate: Gate[FoundWaves] = Gate(FoundWaves.span, FoundWaves.where)
        self.stages_s = _stages_of(config)

    @property
    def assets(self) -> list[PlantAsset]:
        """All assets that learn or have learned."""
        return [training.asset for training in self.trainings]

    @property
    def _last(self) -> int:
        return len(self.stages_s) - 1

    def add(self, asset: PlantAsset, bindings: Bindings, provisional_s: float = 0.0) -> str:
        """Let an asset learn, anew if it has learned; returns what is missing, or an empty text.

        provisional_s: seconds of data in its active provisional baseline.
        """
        missing = [name for name in self.inputs if name not in asset.signals]
        if missing or not self.inputs:
            return f"cannot learn: no signal {', '.join(missing) or 'that is a waveform'}"
        known = self.assets
        row = known.index(asset) if asset in known else len(known)
        for channel, name in enumerate(self.inputs):
            signal = asset.signals[name].index
            self._router.add(signal, row, channel, bindings[signal].uncertain)
        made = self._new_training(asset, row, bindings)
        made.stage = self._stage_after(provisional_s)
        if row < len(known):
            self.trainings[row] = made
        else:
            self.trainings.append(made)
            number = bindings.condition(asset, self.config.when)
            self._gate.bind(bindings.conditions, asset.index, number)
        return ""

    def _new_training(self, asset: PlantAsset, row: int, bindings: Bindings) -> WaveTraining:
        specs = conditions_of(self.config, asset)
        wait_us = round(self.config.lateness * US_PER_S)
        rows = BlockRows([spec.resample for spec in specs], wait_us)
        signals = [asset.signals[spec.name].index for spec in specs]
        rows.add_asset([bindings.stale_us(signal) for signal in signals])
        for channel, signal in enumerate(signals):
            self._conditions.add(signal, row, channel, bindings[signal].uncertain)
        made = WaveTraining(asset, self.inputs, specs, rows)
        self._write_conditions(bindings.standing(signals), {row: made})
        return made

    def _write_conditions(self, values: Columns, trainings: Mapping[int, WaveTraining]) -> None:
        """Write the conditions of assets, by their rows."""
        row, channel, mark = self._conditions.placed(values)
        for each in np.unique(row[row >= 0]).tolist():
            mine = row == each
            at, value = values.time_us[mine], values.value[mine]
            rows = np.zeros(len(at), np.intp)
            trainings[each].condition_rows.write_values(rows, channel[mine], at, value, mark[mine])

    def _stage_after(self, seconds: float) -> int:
        later = (n for n, wanted_s in enumerate(self.stages_s) if wanted_s > seconds)
        return next(later, self._last)

    def adopt_rows(self, old: WaveLearning) -> None:
        """Continue with the windows of the replaced config, of assets that learn the same."""
        before = {one.asset.id: one for one in old.trainings if one.is_waiting}
        for number, mine in enumerate(self.trainings):
            found = before.get(mine.asset.id)
            if found is not None and old.inputs == self.inputs and found.measures_as(mine):
                found.asset = mine.asset
                found.stage = max(mine.stage, min(found.stage, self._last))
                self.trainings[number] = found

    # -- windows ------------------------------------------------------------------------------

    def accept_values(self, values: Columns, blocks: Sequence[TensorBlock]) -> None:
        """Keep the features of the windows that blocks complete, with their conditions.

        A machine that is stopped on purpose produces none.
        """
        self._write_conditions(values, dict(enumerate(self.trainings)))
        by_row: dict[int, list[tuple[int, TensorBlock]]] = {}
        for block in blocks:
            row, channel = self._router.place(block.signal)
            if row < 0 or not len(block.samples) or not self._router.is_usable(block):
                continue
            if not self.trainings[row].is_done and np.isfinite(block.samples).all():
                by_row.setdefault(row, []).append((channel, block))
        found = []
        for row, one in enumerate(self.trainings):
            if row in by_row or one.condition_rows.is_waiting:
                windows = one.windows_of(by_row.get(row, ()))
                found += [FoundWaves(np.array([row], np.intp), [window]) for window in windows]
        for each in self._gate.admit(found):
            for row, window in zip(each.row.tolist(), each.windows, strict=True):
                one = self.trainings[row]
                if not (one.is_done or one.closed):
                    one.keep(*window)

    def shift_clock(self, step_us: int, moves: NDArray[np.bool_]) -> None:
        """Shift the times of these plant assets [A]; the gateway's clock was moved."""
        self._gate.reset_clock()
        for one in self.trainings:
            if moves[one.asset.index]:
                one.shift_clock(step_us)

    def reset_clock(self, assets: NDArray[np.intp]) -> None:
        """Follow the clock of these plant assets, which was set back."""
        self._gate.reset_clock()
        for one in self.trainings:
            if one.asset.index in assets:
                one.reset_clock()

    def alarm(self, asset: str, why: str, at_us: int | None = None) -> None:
        """The alarm of an asset's provisional baseline opens (why), or clears (empty).

        at_us: time of the alarm: the window before it may belong to the fault already.
        """
        for one in self.trainings:
            if one.asset.id != asset:
                continue
            if not why:
                one.confirmed = 0
            if one.is_done or one.confirmed or bool(why) == bool(one.closed):
                continue
            one.closed = why
            if why and one.last_us:
                since_us = one.last_us if at_us is None else at_us
                one.take_back(since_us - round(one.length_s * US_PER_S))

    def confirm_healthy(self, asset: str) -> None:
        """Learn some windows of an asset whose alarm stands: an operator calls it healthy."""
        for one in self.trainings:
            if one.asset.id == asset and one.closed:
                one.closed, one.confirmed = "", _CONFIRMED

    # -- progress -----------------------------------------------------------------------------

    def obstacle(self, one: WaveTraining, signals: Acceptance) -> str:
        """Why an asset's learning is stopped, and since when; empty if it continues."""
        if one.lacks and not (one.is_done or one.last_us):
            return one.lacks
        now_us = signals.event_us(one.asset)
        patience_us = max(_PATIENCE_S, 3 * one.spacing_s) * US_PER_S
        if one.is_done or not one.last_us or now_us - one.last_us < patience_us:
            return ""
        why = one.closed or one.lacks or f"no window of {', '.join(self.inputs)}"
        return f"since {time_of_day(one.last_us)}: {why}"

    def left_out(self, one: WaveTraining) -> dict[str, str]:
        """The inputs that are left out of an asset's learning, with the reason."""
        heard = self.inputs if one.recipe is None else [spec.name for spec in one.recipe.inputs]
        return {name: _NO_BLOCK for name in self.inputs if name not in heard}

    def wanted(self, one: WaveTraining) -> int:
        """The windows of an asset for the full baseline, at the rate at which they come."""
        return max(LEAST_WAVES, round(self.stages_s[-1] / (one.spacing_s or 1.0)))

    def ready(self, monotonic_s: float = 0.0) -> list[WaveTrainingSet]:
        """Training sets of assets that have enough windows."""
        chosen = [
            one
            for one in self.trainings
            if one.is_waiting
            and not one.closed
            and monotonic_s >= one.retry_s
            and self._enough(one)
        ]
        for one in chosen:
            one.is_busy = True
        return self._sets(chosen)

    def _enough(self, one: WaveTraining) -> bool:
        return one.n >= LEAST_WAVES and one.seconds >= self.stages_s[one.stage]

    def collected(self) -> list[WaveTrainingSet]:
        """All windows collected so far, for full baselines."""
        for one in self.trainings:
            one.stage = self._last
            one.decide_now()
        return self._sets([one for one in self.trainings if not one.is_done])

    def _sets(self, chosen: Sequence[WaveTraining]) -> list[WaveTrainingSet]:
        """One set for assets with the same inputs, windows, bearing and stage."""
        alike: dict[tuple[WaveRecipe, int], list[WaveTraining]] = {}
        for one in chosen:
            if one.recipe is not None:
                alike.setdefault((one.recipe, one.stage), []).append(one)
        return [self._set(recipe, group) for (recipe, _), group in alike.items()]

    def _set(self, recipe: WaveRecipe, group: Sequence[WaveTraining]) -> WaveTrainingSet:
        width = recipe.places[-1] + len(recipe.conditions)
        seconds = min(one.seconds for one in group)
        rows = {one.asset.id: one.rows.all(width) for one in group}
        recipe, rows = _with_known_conditions(recipe, rows)
        return WaveTrainingSet(
            rows,
            0.0 if group[0].stage == self._last else seconds,
            {one.asset.id: out for one in group if (out := self.left_out(one))},
            float(np.median([max(one.spacing_s, one.length_s) for one in group])),
            float(np.median([one.spacing_s for one in group])),
            recipe,
        )

    def leave_out_slow(self, watch: QualityWatch) -> None:
        """Inputs without a block are left out as soon as the others have some."""

    # -- results ------------------------------------------------------------------------------

    def failed(self, assets: Collection[str], reason: str, monotonic_s: float = 0.0) -> None:
        """No bundle was made of these: it is retried, ever more rarely."""
        for one in self._of(assets):
            one.fail(reason, monotonic_s)

    def learned(self, assets: Collection[str]) -> None:
        """These have a baseline: a full one ends learning, after a provisional one it continues."""
        for one in self._of(assets):
            if one.is_done:
                continue
            one.succeed()
            if one.stage < self._last:
                one.stage = max(one.stage + 1, self._stage_after(one.seconds))
            else:
                self._end(one)

    def done(self, assets: Collection[str]) -> None:
        """These have a full baseline from another training."""
        for one in self._of(assets):
            if not one.is_done:
                self._end(one)

    def _end(self, one: WaveTraining) -> None:
        one.is_done = True
        one.rows = HealthyRows(KEEP_ROWS)
        for name in self.inputs:
            self._router.remove(one.asset.signals[name].index)
        for spec in one.conditions:
            self._conditions.remove(one.asset.signals[spec.name].index)

    def _of(self, assets: Collection[str]) -> Iterator[WaveTraining]:
        return (one for one in self.trainings if one.asset.id in assets)


def _with_known_conditions(
    recipe: WaveRecipe, rows: dict[str, NDArray[np.float64]]
) -> tuple[WaveRecipe, dict[str, NDArray[np.float64]]]:
    """Without conditions that are too rarely known; the speed is needed, and stays."""
    first, count = recipe.places[-1], len(recipe.conditions)
    known = [~np.isnan(each[:, first:]) for each in rows.values() if len(each)]
    share = np.min([each.mean(axis=0) for each in known], axis=0) if known else np.zeros(count)
    kept = [k for k in range(count) if share[k] >= _KNOWN or (k == 0 and recipe.speed_hz)]
    columns = [*range(first), *(first + k for k in kept)]
    conditions = tuple(recipe.conditions[k] for k in kept)
    found = {asset: each[:, columns] for asset, each in rows.items()}
    return replace(recipe, conditions=conditions), found


def _stages_of(config: Learn) -> tuple[float, ...]:
    """The seconds of data of each baseline: provisional ones, each 4 times, then the full one."""
    duration_s = float(_DAY_S if config.duration is None else config.duration)
    found, seconds = [], float(config.first_after or 0)
    while seconds and 2 * seconds <= duration_s:
        found.append(seconds)
        seconds *= _STAGES
    return (*found, duration_s)
