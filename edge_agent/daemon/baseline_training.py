"""Learning on demand: a baseline from a recording or from hours of live data."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from edge_agent.clock import FakeClock, SystemClock
from edge_agent.config import discovering
from edge_agent.config.schema import Learn
from edge_agent.config.structs import kind_of
from edge_agent.daemon.runtime import make_intake, make_sources, monitor_plant
from edge_agent.errors import ModelError, UsageError
from edge_agent.learning import train_baseline
from edge_agent.ops.metrics import Metrics
from edge_agent.sources import SOURCES
from edge_agent.values import parted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from edge_agent.config.schema import Config
    from edge_agent.config.types import Name
    from edge_agent.learning import TrainedBaseline
    from edge_agent.plant import PlantAsset
    from edge_agent.values import Columns, TensorBlock

_POLL_S = 0.1


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
        self.refused: dict[str, str] = {}  # assets that could not be learned, and why
        self._chosen: dict[str, str] = {}  # asset -> why it cannot learn, or nothing
        monitored.add_assets(self._choose)
        if not any(discovering(config)):
            self._check()

    def _choose(self, asset: PlantAsset) -> None:
        if fnmatchcase(asset.id, self._pattern):
            learn = asset.template.learn or Learn()
            self._chosen[asset.id] = self._pipeline.learning.learn_asset(asset, learn)

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
        rows = min((one.choice.complete() for one in trainings), default=0)
        rows = 0 if learning.searches else rows
        text = f"{self.values} values, {rows} rows"
        missing = learning.obstacles()
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

    async def learn(self) -> list[TrainedBaseline]:
        """Learn from the collected rows: one bundle for assets of a template with the same inputs.

        ModelError if no asset could be learned.
        """
        self._check()
        now_us, trained = self._clock.now_us(), []
        failures: list[ModelError] = []
        self._pipeline.learning.find_steps(ended=True)
        for learning in self._pipeline.learning.values():
            learning.input_watch.leave_out_slow(self._pipeline.watch, self.causes)
            for training in learning.collected():
                try:
                    trained.append(await train_baseline(self._config, learning, training, now_us))
                except ModelError as error:
                    failures.append(error)
                    self.refused |= dict.fromkeys(training.rows, str(error))
        if failures and not trained:
            raise failures[0]
        return trained

    def _accept_values(self, values: Columns, blocks: Sequence[TensorBlock]) -> None:
        self.values += len(values) + len(blocks)
        self._pipeline.close_windows(values, blocks)


def _beside_daemon(sources: Mapping[Name, object]) -> dict[Name, Any]:
    """Sources that do not disturb a running daemon with the same config."""
    return {
        name: SOURCES[kind_of(SOURCES, struct)].beside(struct, "learn")
        for name, struct in sources.items()
    }
