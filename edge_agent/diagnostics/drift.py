"""Drift of the inputs: their counts, and the alarm if they differ from the training data.

For each asset the newest row of its scored windows is counted into the bins of the manifest's
histograms, in blocks of event time that make up the memory. An asset is evaluated each time one
of its blocks is full, so that this adds hardly any time to the path of a value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary

import numpy as np

from edge_agent.alarms import drift_alarm_id
from edge_agent.clock import NEVER, US_PER_S
from edge_agent.messages import Contributor, Detail, ModelInfo, Observation, WindowInfo
from edge_agent.models import (
    BLOCKS,
    DRIFT_MEMORY_S,
    DRIFT_MEMORY_WINDOWS,
    bins_of,
    drift_of,
)
from edge_agent.tables import Table, column

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from numpy.typing import NDArray

    from edge_agent.config.schema import Drift as DriftConfig
    from edge_agent.models import Bins, Drift, InputSpec, Model
    from edge_agent.serving import Deployment, Scored

_SLOTS: Final = BLOCKS + 1  # whole blocks, and the one that is being filled
_PER_BLOCK: Final = 256  # neighbouring windows have hardly any more information than one


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result for one asset at the end of a block: its inputs that have a histogram [I].

    level: the lower bound of PSI, divided by its limit.
    """

    deployment: Deployment
    row: int
    since_us: int
    at_us: int
    specs: tuple[InputSpec, ...]
    last: NDArray[np.floating]  # the newest values
    psi: NDArray[np.float64]
    ks: NDArray[np.float64]
    level: NDArray[np.float64]


class Counts(Table):
    """The counts of the assets of a deployment.

    counts: [A, slots, I, B]; block: the block of event time in each slot [A, slots]; psi, ks: the
    last result, NaN before.
    """

    _counts = column(np.uint32, 0, _SLOTS, "inputs", "bins")
    _block = column(np.int64, NEVER, _SLOTS)
    _counted_us = column(np.int64, NEVER)
    psi = column(np.float64, np.nan, "inputs")
    ks = column(np.float64, np.nan, "inputs")
    drifting = column(np.bool_, 0, "scalars")  # by the last result

    def __init__(self, model: Model, bins: Bins, config: DriftConfig) -> None:
        inputs, n_bins = bins.shares.shape
        scalars = len(model.manifest.scalars)
        super().__init__({"inputs": inputs, "bins": n_bins, "scalars": scalars})
        self.model = model
        self.bins = bins
        self._limit = config.limit + bins.unrest
        self._specs = tuple(model.manifest.scalars[channel] for channel in bins.channel)
        window = model.manifest.window
        usual_s = max(DRIFT_MEMORY_S, DRIFT_MEMORY_WINDOWS * window.step_s * window.hop)
        memory_s = usual_s if config.memory is None else config.memory
        self._block_us = max(1, round(memory_s * US_PER_S / BLOCKS))
        self._every_us = self._block_us // _PER_BLOCK

    def add(self, scored: Scored) -> Iterator[Verdict]:
        """Count windows; returns the verdicts on assets of which a block is full."""
        left = self._fresh(scored, np.arange(len(scored.row)))
        while len(left):
            # One window of each asset at a time: a block may end between two of them.
            _, first = np.unique(scored.row[left], return_index=True)
            now = left[first]
            yield from self._start_blocks(scored, now)
            rows, end_us = scored.row[now], scored.end_us[now]
            bins = self.bins.of(scored.last[now], scored.deployment.unit[rows])
            slot = end_us // self._block_us % _SLOTS
            inputs = np.arange(bins.shape[1])
            self._counts[rows[:, None], slot[:, None], inputs, bins] += 1
            self._counted_us[rows] = end_us
            left = self._fresh(scored, np.delete(left, first))

    def _fresh(self, scored: Scored, left: NDArray[np.intp]) -> NDArray[np.intp]:
        """Those of the windows `left` that are far enough from the previously counted ones."""
        since_us = scored.end_us[left] - self._counted_us[scored.row[left]]
        return left[(since_us >= self._every_us) | (since_us < 0)]

    def _start_blocks(self, scored: Scored, now: NDArray[np.intp]) -> Iterator[Verdict]:
        """Windows `now` begin a block of some assets: evaluate full blocks, and make room."""
        rows, end_us = scored.row[now], scored.end_us[now]
        block = end_us // self._block_us
        slot = block % _SLOTS
        fresh = self._block[rows, slot] != block
        if not fresh.any():
            return
        rows, block, slot = rows[fresh], block[fresh], slot[fresh]
        self._counts[rows, slot] = 0
        self._block[rows, slot] = block
        # After a clock reset or a long pause, blocks outside this memory do not count.
        age = block[:, None] - self._block[rows]
        whole = (age > 0) & (age <= BLOCKS)
        counts = self._counts[rows] * whole[:, :, None, None]
        found = drift_of(counts, self.bins)
        self.psi[rows], self.ks[rows] = found.psi, found.ks
        known = np.isfinite(found.surely).all(axis=1)
        self.drifting[np.ix_(rows[known], self.bins.channel)] = (found.surely >= self._limit)[known]
        begun_us = block * self._block_us
        yield from self._verdicts(scored, now[fresh], begun_us, found)

    def _verdicts(
        self, scored: Scored, now: NDArray[np.intp], at_us: NDArray[np.int64], found: Drift
    ) -> Iterator[Verdict]:
        for number, window in enumerate(now.tolist()):
            level = found.surely[number] / self._limit
            if np.isfinite(level).all():
                yield Verdict(
                    scored.deployment,
                    int(scored.row[window]),
                    int(at_us[number]) - BLOCKS * self._block_us,
                    int(at_us[number]),
                    self._specs,
                    scored.last[window, self.bins.channel],
                    found.psi[number],
                    found.ks[number],
                    level,
                )


class DriftWatch:
    """The inputs of all active models. `count` may run on another thread than the rest.

    verdicts: the results since the last call of `observations`.
    """

    def __init__(self, config: DriftConfig) -> None:
        self._config = config
        self._counts: WeakKeyDictionary[Deployment, Counts | None] = WeakKeyDictionary()
        self._of: WeakKeyDictionary[Deployment, Model] = WeakKeyDictionary()
        self.verdicts: list[Verdict] = []
        self._worst: dict[tuple[str, str], tuple[float, float]] = {}  # never changed in place

    def count(self, scored: Scored) -> None:
        """Count windows that were scored."""
        counts = self._counts_of(scored.deployment)
        if counts is not None:
            counts.cover(len(scored.deployment.assets))
            found = list(counts.add(scored))
            if found:
                self.verdicts += found
                self._worst = self._furthest()

    def drifting(self, deployment: Deployment) -> NDArray[np.bool_] | None:
        """The inputs that drift, by asset [A, C]; None if none does."""
        counts = self._counts.get(deployment)
        if counts is None or counts.model is not deployment.model or not counts.drifting.any():
            return None
        counts.cover(len(deployment.assets))
        return counts.drifting

    def _counts_of(self, deployment: Deployment) -> Counts | None:
        """The counts of a deployment; another version of its model starts again."""
        if self._of.get(deployment) is not deployment.model:
            bins = bins_of(deployment.model.manifest) if self._config.enabled else None
            made = None if bins is None else Counts(deployment.model, bins, self._config)
            self._of[deployment], self._counts[deployment] = deployment.model, made
        return self._counts[deployment]

    def observations(self, watched: Collection[str], *, replayed: bool) -> list[Observation]:
        """Observations for the alarm table: of assets that drift, and of the alarms `watched`."""
        found, self.verdicts = self.verdicts, []
        alarm_open = set(watched)  # while an alarm is open, values below the limit count too
        told = []
        for verdict in found:
            alarm_id = drift_alarm_id(
                verdict.deployment.assets[verdict.row].id, verdict.deployment.use_name
            )
            level = max(0.0, float(verdict.level.max()))
            if level >= 1.0 or alarm_id in alarm_open:
                alarm_open.add(alarm_id)
                detail = _detail(verdict, replayed=replayed)
                told.append(Observation(alarm_id, level, verdict.at_us, detail))
        return told

    def worst(self) -> dict[tuple[str, str], tuple[float, float]]:
        """PSI and KS by model and input, each of the asset with the largest drift."""
        return self._worst

    def _furthest(self) -> dict[tuple[str, str], tuple[float, float]]:
        found: dict[tuple[str, str], tuple[float, float]] = {}
        for counts in (one for one in self._counts.values() if one is not None):
            judged = ~np.isnan(counts.psi[:, 0])
            if not judged.any():
                continue
            manifest = counts.model.manifest
            psi, ks = counts.psi[judged].max(axis=0), counts.ks[judged].max(axis=0)
            for number, channel in enumerate(counts.bins.channel.tolist()):
                key = (str(manifest.name), manifest.scalars[channel].name)
                before = found.get(key, (0.0, 0.0))
                found[key] = (max(before[0], float(psi[number])), max(before[1], float(ks[number])))
        return found


def _detail(verdict: Verdict, *, replayed: bool) -> Detail:
    """The alert's detail: the inputs that drift, or all of them while the alarm clears."""
    deployment = verdict.deployment
    model, asset = deployment.model, deployment.assets[verdict.row]
    drifting = np.flatnonzero(verdict.level >= 1.0)
    order = drifting if len(drifting) else np.arange(len(verdict.level))
    found = []
    for number in order[np.argsort(-verdict.level[order])].tolist():
        spec = verdict.specs[number]
        signal = deployment.signal_of(asset, spec.name)
        name, unit = (signal.name, signal.config.unit) if signal else (spec.name, "")
        value = float(verdict.last[number])
        found.append(Contributor(name, float(verdict.psi[number]), value, unit or spec.unit))
    worst = int(np.argmax(verdict.level))
    return Detail(
        "drift",
        {"psi": float(verdict.psi[worst]), "ks": float(verdict.ks[worst]), **_named(model)},
        score=float(verdict.psi[worst]),
        failure_mode="drift",
        contributors=tuple(found),
        window=WindowInfo(verdict.since_us, verdict.at_us, 1.0, "good", replayed),
        model=ModelInfo(model.manifest.name, model.manifest.version, model.sha256),
    )


def _named(model: Model) -> dict[str, str]:
    return {"model": model.manifest.name, "version": model.manifest.version}
