"""Runs a behaviour: a config and readings, through the real pipeline, to alarm transitions.

A behaviour runs several ways that must all give the same transitions: as a recording at once, as a
recording value by value, and live by a clock that ticks.
"""

from __future__ import annotations

import asyncio
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import yaml
from onnx import helper

from edge_agent.clock import FakeClock
from edge_agent.config.schema import Kind
from edge_agent.config.types import Name
from edge_agent.daemon.replay import Replay
from edge_agent.daemon.runtime import RuntimeBuilder
from edge_agent.daemon.tables import load_config
from edge_agent.models import Golden
from edge_agent.models.bundle.bundle import write_bundle
from edge_agent.models.bundle.manifest import InputSpec, Manifest, WindowSpec
from edge_agent.models.bundle.reference_distribution import Histogram
from edge_agent.models.bundle.tasks import OutputNames, Task
from edge_agent.ops.metrics import Metrics
from edge_agent.testing import tiny_graph
from edge_agent.values import BAD, GOOD, UNCERTAIN, Columns, columns

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from edge_agent.config.schema import Config
    from edge_agent.messages import Transition
    from edge_agent.plant import Plant

NOON_US: Final = 1_767_268_800_000_000
TICK_S: Final = 0.25
QUALITY: Final = {"good": GOOD, "uncertain": UNCERTAIN, "bad": BAD}
Row = tuple[float, str, str]  # seconds, transition, alarm


@dataclass(frozen=True)
class Behavior:
    """A file of this folder: see README.md beside it."""

    what: str
    config: dict[str, Any]
    readings: list[dict[str, Any]]
    expect: list[Any]
    commands: list[dict[str, Any]]
    ways: list[str]
    until: float


def read(path: Path) -> Behavior:
    """Read a behaviour file."""
    data = yaml.safe_load(path.read_text())
    commands = data.pop("commands", [])
    data.setdefault("ways", ["live"] if commands else ["at once", "one by one", "live"])
    data.setdefault("until", 0.0)
    return Behavior(commands=commands, **data)


def write_level_bundle(folder: Path) -> None:
    """A real model of one input: its score is the reading, its contribution too.

    It was made with readings between 0.2 and 0.8.
    """
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["score"], axes=[1, 2], keepdims=0),
        helper.make_node("ReduceMean", ["x"], ["contributions"], axes=[1], keepdims=0),
    ]
    outputs = {"score": ("N",), "contributions": ("N", 1)}
    model = tiny_graph(nodes, {"x": ("N", 1, 1)}, outputs)
    manifest = Manifest(
        name=Name("level"),
        version=Name("1"),
        task=Task.ANOMALY,
        inputs=(InputSpec("load", "%", kind=Kind.SCALAR),),
        outputs=OutputNames(score="score", contributions="contributions"),
        window=WindowSpec(1.0, 1, 1),
        threshold=1.0,
        healthy={"load": Histogram((0.2, 0.4, 0.6, 0.8), (0.005, 0.33, 0.33, 0.33, 0.005))},
    )
    x = np.array([[[0.5]], [[2.0]]], np.float32)
    golden = Golden({"x": x}, {"score": x[:, 0, 0], "contributions": x[:, 0]})
    write_bundle(folder, manifest, model.SerializeToString(), golden)


def transitions(behavior: Behavior, folder: Path, way: str) -> list[Transition]:
    """What the pipeline says to the readings."""
    write_level_bundle(folder / "models" / "level")
    path = folder / "edge-agent.yaml"
    path.write_text(yaml.safe_dump({"models_dir": "models", **behavior.config}))
    config = load_config(path)
    if way == "live":
        return _Live(config, behavior).run()
    replay = asyncio.run(Replay.load(config))
    values = _values(behavior.readings, replay.runtime.plant)
    blocks = [values] if way == "at once" else list(_one_by_one(values))
    found = [found for step in replay.walk(blocks) for found in step.transitions]
    replay.close()
    return found


class _Live:
    """The pipeline as the daemon drives it, under a clock that is told to tick."""

    def __init__(self, config: Config, behavior: Behavior) -> None:
        self.clock = FakeClock(NOON_US)
        self.behavior = behavior
        loading = ThreadPoolExecutor(1)
        self.builder = RuntimeBuilder(Metrics(), self.clock, loading, {}, lambda: None)
        models = asyncio.run(self.builder.load_models(config))
        self.runtime = self.builder.build(config, models)

    def run(self) -> list[Transition]:
        values = _values(self.behavior.readings, self.runtime.plant)
        commands = sorted(self.behavior.commands, key=lambda each: each["at"])
        found: list[Transition] = []
        end_us = max(int(values.time_us[-1]), NOON_US + round(self.behavior.until * 1e6))
        done = 0
        while self.clock.now_us() <= end_us:
            now_us = self.clock.now_us()
            upto = int(np.searchsorted(values.time_us, now_us, "right"))
            found += self._turn(values.slice(done, upto))
            done = upto
            while commands and NOON_US + commands[0]["at"] * 1e6 <= now_us:
                found.append(self._command(**commands.pop(0)))
            found += self.runtime.alarms.tick(now_us)
            self.clock.advance(TICK_S)
        self.runtime.models.close()
        self.builder.close()
        return found

    def _turn(self, values: Columns) -> list[Transition]:
        pipeline = self.runtime.pipeline
        now_us, monotonic_s = self.clock.now_us(), self.clock.monotonic_s()
        due = pipeline.close_windows(values, now_us=now_us, monotonic_s=monotonic_s)
        return pipeline.update_alarms(pipeline.score_windows(due)).transitions

    def _command(self, at: float, do: str, alarm: str, seconds: float = 0.0) -> Transition:
        del at
        if do == "shelve":
            return self.runtime.alarms.shelve(alarm, seconds, "ann")
        return self.runtime.alarms.apply_command(do, alarm, "ann")


def _values(readings: Iterable[dict[str, Any]], plant: Plant) -> Columns:
    """Readings as columns in the order of time."""
    index = {f"{signal.asset.id}.{signal.name}": signal.index for signal in plant.signals}
    rows = [(at, index[name], value, code) for at, name, value, code in _rows(readings)]
    rows.sort(key=lambda row: row[0])
    seconds, signals, values, codes = zip(*rows, strict=True)
    time_us = [NOON_US + round(second * 1e6) for second in seconds]
    return columns(signals, time_us, values, np.array(codes, np.uint32))


def _rows(readings: Iterable[dict[str, Any]]) -> Iterable[tuple[float, str, float, int]]:
    for each in readings:
        begin, every = float(each.get("from", each.get("at", 0))), float(each.get("every", 1))
        end = float(each.get("to", begin))
        given = each["value"] if isinstance(each["value"], list) else [each["value"]]
        status = each.get("status", QUALITY[each.get("quality", "good")])
        names = each["signal"] if isinstance(each["signal"], list) else [each["signal"]]
        for n in range(max(math.floor((end - begin) / every + 1e-9) + 1, len(given))):
            for name in names:
                yield begin + n * every, name, float(given[n % len(given)]), status


def _one_by_one(values: Columns) -> Iterable[Columns]:
    return values.chunks(1)
