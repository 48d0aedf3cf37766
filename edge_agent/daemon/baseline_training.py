"""Learning on demand: a baseline from a recording or from hours of live data."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_agent.alarms import VERDICTS
from edge_agent.clock import FakeClock, SystemClock
from edge_agent.config import discovering
from edge_agent.config.schema import Learn
from edge_agent.config.structs import kind_of
from edge_agent.daemon.runtime import make_intake, make_sources, monitor_plant
from edge_agent.errors import ModelError, UsageError
from edge_agent.labelled import read_windows
from edge_agent.learning import train_baseline, train_waves, with_labels
from edge_agent.ops.metrics import Metrics
from edge_agent.sources import SOURCES
from edge_agent.values import parted

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from edge_agent.config.schema import Config
    from edge_agent.config.types import Name
    from edge_agent.learning import Learning, TrainedBaseline, TrainingSet
    from edge_agent.plant import PlantAsset
    from edge_agent.values import Columns, TensorBlock

    TrainRows = Callable[[Config, Learning, TrainingSet, int], Awaitable[TrainedBaseline]]

_POLL_S = 0.1
_NO_WAVE = "no waveform was read"


class BaselineTraining:
    """The assets that match `pattern`, and their rows as they are collected."""

    def __init__(self, config: Config, pattern: str) -> None:
        self._config = config
        self._clock = SystemClock()
        self._metrics = Metrics()
        monitored = monitor_plant(config, self._metrics, FakeClock(), live=False)
        self.plant, self._pipeline = monitored.plant, monitored.pipeline
        self._pattern = pattern
        self.values = 0  # received
        self.causes: dict[int, str] = {}  # by signal, why the recording has no value of it
        self.labelled: Path | None = None  # the labelled set to read
        self.refused: dict[str, str] = {}  # assets that could not be learned, and why
        self._chosen: dict[str, str] = {}  # asset -> why it cannot learn, or nothing
        monitored.add_assets(self._choose)
        if not any(discovering(config)):
            self._check()

    def _choose(self, asset: PlantAsset) -> None:
        if fnmatchcase(asset.id, self._pattern):
            learn = asset.template.learn or Learn()
            numbers = self._pipeline.learning.learn_asset(asset, learn)
            waves = self._pipeline.waves.learn_asset(asset, learn)
            self._chosen[asset.id] = numbers and waves and f"{numbers}, {waves.split(': ')[-1]}"

    def _check(self) -> None:
        if not self._chosen:
            known = ", ".join(sorted(self.plant.assets)[:5])
            message = f"no asset matches {self._pattern!r}"
            raise UsageError(message, hint=f"known are: {known} ..." if known else "")
        if all(self._chosen.values()):
            asset, reason = next(iter(self._chosen.items()))
            raise UsageError(reason, where=asset)

    def state(self) -> str:
        """The progress, and what is missing: values, rows of the slowest asset, silent inputs."""
        learning = self._pipeline.learning
        trainings = [one for each in learning.values() for one in each.trainings]
        waves = [one for each in self._pipeline.waves.values() for one in each.trainings]
        text = f"{self.values} values"
        if trainings or learning.searches:
            rows = min((one.choice.complete() for one in trainings), default=0)
            text += f", {0 if learning.searches else rows} rows"
        if waves:
            text += f", {min(one.n for one in waves)} waveforms"
        missing = learning.obstacles() | self._pipeline.waves.obstacles()
        if missing:
            asset, why = next(iter(missing.items()))
            text += f"; {asset} stands still {why}"
        return text

    def listen(self, readings: Iterable[Columns | TensorBlock], shown: Callable[[], None]) -> None:
        """Collect rows from a recording."""
        self._pipeline.learning.learns_at_end = True
        for one in readings:
            self._accept_values(*parted(one))
            shown()

    async def listen_live(self, seconds: float, shown: Callable[[float], None]) -> None:
        """Collect rows from the config's sources for this time."""
        intake = make_intake(self._config, lambda: None)
        config = replace(self._config, sources=_beside_daemon(self._config.sources))
        made = make_sources(config, self.plant, intake, self._metrics, self._clock)
        sources = list(made.values())
        for source in sources:
            await source.start()
        begin_s = self._clock.monotonic_s()
        try:
            while (passed_s := self._clock.monotonic_s() - begin_s) < seconds:
                await asyncio.sleep(_POLL_S)
                self._accept_values(*intake.drain())
                shown(passed_s / seconds)
        finally:
            for source in sources:
                await source.stop()

    async def learn(
        self, train: TrainRows = train_baseline, *, waves: bool = True
    ) -> list[TrainedBaseline]:
        """Learn from the collected rows: one bundle for assets of a template with the same inputs.

        train: as `train_baseline`; waves: waveforms are learned as well. ModelError if no asset
        could be learned.
        """
        self._check()
        now_us = self._clock.now_us()
        self._pipeline.learning.find_steps(ended=True)
        runs: list[tuple[Iterable[str], Awaitable[TrainedBaseline]]] = []
        heard: set[str] = set()
        for each in self._pipeline.waves.values() if waves else ():
            for windows in each.collected():
                heard |= windows.rows.keys()
                runs.append((windows.rows, train_waves(self._config, each, windows, now_us)))
            silent = [one for one in each.trainings if one.asset.id not in heard]
            self.refused |= {one.asset.id: one.failure or _NO_WAVE for one in silent}
        for learning in self._pipeline.learning.values():
            learning.input_watch.leave_out_slow(self._pipeline.watch, self.causes)
            for training in learning.collected():
                if heard.issuperset(training.rows) and not _has_values(training):
                    continue  # a recording of waveforms only
                labelled = self._with_labels(training, learning.scale.step_us)
                runs.append((labelled.rows, train(self._config, learning, labelled, now_us)))
        return await self._trained(runs)

    def _with_labels(self, training: TrainingSet, step_us: int) -> TrainingSet:
        """The training set as people's labels change it."""
        if self.labelled is None:
            return training
        found = read_windows(self.labelled, VERDICTS)
        mine = [(entry.verdict, window) for entry, window in found if window.asset in training.rows]
        return with_labels(training, mine, step_us)

    async def _trained(
        self, runs: Iterable[tuple[Iterable[str], Awaitable[TrainedBaseline]]]
    ) -> list[TrainedBaseline]:
        """The results of these runs by the assets of each; ModelError if all failed."""
        trained: list[TrainedBaseline] = []
        failures: list[ModelError] = []
        for assets, run in runs:
            try:
                trained.append(await run)
            except ModelError as error:
                failures.append(error)
                self.refused |= dict.fromkeys(assets, str(error))
        if failures and not trained:
            raise failures[0]
        for one in trained:  # by numbers or by waveforms: what the recording has
            for asset in one.manifest.units:
                if self.refused.get(asset) == _NO_WAVE:
                    del self.refused[asset]
        if not trained:
            asset, reason = next(iter(self.refused.items()), ("", "no values to learn from"))
            raise ModelError(reason, where=asset)
        return trained

    def _accept_values(self, values: Columns, blocks: Sequence[TensorBlock]) -> None:
        self.values += len(values) + len(blocks)
        self._pipeline.close_windows(values, blocks)


def _has_values(training: TrainingSet) -> bool:
    return any(np.isfinite(rows).any() for rows in training.rows.values())


def _beside_daemon(sources: Mapping[Name, object]) -> dict[Name, Any]:
    """Sources that do not disturb a running daemon with the same config."""
    return {
        name: SOURCES[kind_of(SOURCES, struct)].beside(struct, "learn")
        for name, struct in sources.items()
    }
