"""A small plant with a model that was learned for it, for tests of the whole path."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_agent.config.schema import (
    Asset,
    Config,
    ModelUse,
    Signal,
    SourceTraits,
    Template,
)
from edge_agent.config.settings import Tuning
from edge_agent.config.types import Duration, Name
from edge_agent.daemon.replay import Replay
from edge_agent.learning.fit import Recipe, learn
from edge_agent.models.bundle.manifest import InputSpec
from edge_agent.values import Columns, columns

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge_agent.messages import Transition

S = 1_000_000
INPUTS = ("flow", "pressure", "current")
HEALTHY_ROWS = 2000


@dataclass(frozen=True, slots=True)
class Sampled:
    """A source that sends every sample, as MQTT does."""

    traits = SourceTraits(silence_s=5.0)


@dataclass(frozen=True, slots=True)
class Subscribed:
    """A source that reports only changes, as OPC UA does."""

    traits = SourceTraits(reports_changes=True)


@cache
def models() -> Path:
    """A folder with the bundle `base`, learned from healthy rows of this plant."""
    folder = Path(mkdtemp(prefix="edge-agent-test-"))
    specs = tuple(InputSpec(name) for name in INPUTS)
    recipe = Recipe("base", specs, step_s=1.0, length=32, false_alarms_per_day=1.0)
    rows = healthy(HEALTHY_ROWS, seed=1).astype(np.float32)
    learn({"any": rows}, recipe, now_us=0).write(folder / "base")
    return folder


def healthy(n: int, seed: int) -> np.ndarray:
    """Rows of the three inputs in health, [n, 3]."""
    random = np.random.default_rng(seed)
    load = np.cumsum(random.normal(0, 0.02, n)) * 0.2
    noise = random.normal(0, 0.1, (n, 3))
    return np.stack([10 + load, 4 + 0.5 * load, 20 + 2 * load], axis=1) + noise


def config(**changes: Any) -> Config:
    """Two assets with the model `base`."""
    template = Template(
        signals={Name(name): Signal(source="bus", unit="u") for name in INPUTS},
        models=(ModelUse(Name("base")),),
    )
    wanted: dict[str, Any] = {
        "sources": {"bus": Sampled()},
        "templates": {"pump": template},
        "assets": {"any": Asset(Name("pump"))},
        "models_dir": models(),
        "tuning": Tuning(score_interval=Duration(0.0)),
    }
    return Config(**(wanted | changes))


def values(rows: np.ndarray, *, start_s: int = 1000, first_signal: int = 0) -> Columns:
    """Rows [n, 3] as values, one row a second."""
    n, inputs = rows.shape
    time_us = np.repeat((start_s + np.arange(n)) * S, inputs)
    signal = np.tile(np.arange(first_signal, first_signal + inputs), n)
    return columns(signal, time_us, rows.ravel())


def fault(n: int = 300, onset: int = 150, *, by: float = -3.0) -> np.ndarray:
    """Healthy rows until `onset`, from where the flow is off by `by`."""
    rows = healthy(n, seed=7)
    rows[onset:, 0] += by
    return rows


def cut(whole: Columns, size: int) -> Iterable[Columns]:
    """The same values in batches of `size`."""
    return whole.chunks(size)


def prepared(made: Config) -> Replay:
    """A replay with its models loaded."""
    return asyncio.run(Replay.load(made))


def transitions(made: Config, blocks: Iterable[Columns]) -> list[Transition]:
    """All transitions that a recording brings."""
    replay = prepared(made)
    found = [t for step in replay.walk(blocks) for t in step.transitions]
    replay.close()
    return found
