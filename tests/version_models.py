"""A plant whose every window is noted, for tests of versions that give way to each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import plants
from live_plants import BEGIN_S, Live
from plants import S
from tiny_versions import INPUTS, LENGTH, NAME, fails_over, mean, nan_over

from edge_agent.config.schema import AlarmRule, Asset, ModelUse, Signal, Template
from edge_agent.config.settings import Runtime
from edge_agent.config.types import Duration, Name
from edge_agent.serving import runs
from edge_agent.values import columns

if TYPE_CHECKING:
    import pytest

    from edge_agent.config.schema import Config
    from edge_agent.messages import Transition
    from edge_agent.models.runtime.model import Model
    from edge_agent.pipeline import Step

__all__ = [
    "NAME",
    "Stopwatch",
    "Watched",
    "config",
    "fails_over",
    "mean",
    "nan_over",
    "slow",
]


class Stopwatch:
    """The time that runs take, as the test has it: a busy machine must not judge a version."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.now_s = 0.0
        patch.setattr(runs, "perf_counter", lambda: self.now_s)


def slow(watch: Stopwatch, seconds: float, version: str = "2") -> Model:
    """score = mean, after so long by that watch."""
    model = mean(version)
    score = model.infer

    def infer(*args: Any, **more: Any) -> Any:
        watch.now_s += seconds
        return score(*args, **more)

    model.infer = infer  # type: ignore[method-assign]
    return model


def config(assets: str = "P-{1..2}", *, budget_s: float = 5.0, **rule: Any) -> Config:
    """Pumps with two signals and one use of the model `watch`."""
    signals = {Name(name): Signal(source="bus") for name in INPUTS}
    use = ModelUse(Name(NAME), alarm=AlarmRule(**{"off_delay": 0.0, **rule}))
    return plants.config(
        templates={"pump": Template(signals, (use,))},
        assets={assets: Asset(Name("pump"))},
        runtime=Runtime(latency_budget=Duration(budget_s)),
    )


class Watched(Live):
    """A plant that gets a row a second; notes the score of every window by asset and time."""

    def __init__(self, made: Config) -> None:
        super().__init__(made)
        self.scores: dict[str, dict[int, float]] = {id_: {} for id_ in self.plant.assets}
        self.shadow_told: list[Transition] = []
        self.t = 0

    def row(self, *levels: float, busy: bool = False) -> Step:
        """One more second: all signals of the n-th asset have the n-th level, or the last."""
        self.t += 1
        signal, value = [], []
        for number, asset in enumerate(self.plant.assets.values()):
            for one in asset.signals.values():
                signal.append(one.index)
                value.append(levels[min(number, len(levels) - 1)])
        time_us = np.full(len(signal), (BEGIN_S + self.t) * S)
        step = self.turn(float(self.t), columns(signal, time_us, value))
        self.shadow_told += self.pipeline.run_shadows(busy=busy)
        self.note(step)
        return step

    def note(self, step: Step) -> None:
        """Keep the scores of a turn."""
        for _, payload in step.scores:
            said = orjson.loads(payload)
            seen = self.scores[said["asset"]]
            assert said["ts"] not in seen, "a window is told once"
            seen[said["ts"]] = said["score"]

    def rows(self, n: int, *levels: float) -> None:
        """`n` more seconds."""
        for _ in range(n):
            self.row(*levels)

    def missing(self, length: int = LENGTH) -> list[tuple[str, int]]:
        """Windows without a score that is a number: (asset, second)."""
        wanted = range(length, self.t + 1)
        return [
            (asset, t)
            for asset, seen in self.scores.items()
            for t in wanted
            if not np.isfinite(seen.get((BEGIN_S + t) * 1000) or np.nan)
        ]

    def deployments(self) -> set[str]:
        """The versions at work."""
        return {group.model.manifest.version for group in self.pipeline.deployments}
