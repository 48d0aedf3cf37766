"""The cost of monitoring, explaining and comparing models, relative to the bare path."""

from __future__ import annotations

import asyncio
import statistics
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.config.types import Name
from edge_agent.daemon import Replay, load_config
from edge_agent.models import OutputNames, histogram_of, load_manifest, parse_golden, write_bundle
from edge_agent.values import Columns
from scripts.pipeline_bench.load import SIGNALS
from scripts.pipeline_bench.site import Clocked, fleet_config

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge_agent.models import Manifest

_ASSETS: Final = 50
_ROUNDS: Final = 5
_TOLD: Final = 1e-4  # a limit that every window exceeds
_QUIET: Final = 1e6
_CANDIDATE: Final = "candidate"
_TURN_ROWS: Final = 4  # rows of every asset in one turn of the pipeline
_STEP_US: Final = 10_000
_BEGIN_US: Final = 1_700_000_000_000_000
_HEALTHY: Final = histogram_of(np.random.default_rng(0).uniform(20, 29, 10_000))


@dataclass(frozen=True, slots=True)
class Case:
    """The options of a case: histograms in the bundle, permanent alarms, a candidate."""

    name: str
    watched: bool = True
    alarming: bool = False
    explains_itself: bool = True
    shadow: bool = False


CASES: Final = (
    Case("nothing of it", watched=False),
    Case("drift"),
    Case("drift, all in alarm, T² explains itself", alarming=True),
    Case("drift, all in alarm, explained by occlusion", alarming=True, explains_itself=False),
    Case("drift, a candidate as shadow", shadow=True),
)


def model_costs(folder: Path, values: int = 400_000) -> Iterator[tuple[str, float, float]]:
    """(case, CPU seconds per million values, ratio to the first), all cases alternately."""
    spent: dict[str, list[float]] = {case.name: [] for case in CASES}
    paths = {case.name: _prepared(folder / str(n), case) for n, case in enumerate(CASES)}
    rows = values // (_ASSETS * SIGNALS)
    for _ in range(_ROUNDS):
        for case in CASES:
            seconds = asyncio.run(_walk(paths[case.name], case, rows))
            spent[case.name].append(seconds / values * 1e6)
    first = spent[CASES[0].name]
    for name, costs in spent.items():
        ratios = [cost / base for cost, base in zip(costs, first, strict=True)]
        yield name, statistics.median(costs), statistics.median(ratios)


def _prepared(folder: Path, case: Case) -> Path:
    folder.mkdir()
    limit = _TOLD if case.alarming else _QUIET
    path = fleet_config(folder, 1, "asset", _ASSETS, hop=16, length=64, step_s=0.0, limit=limit)
    bundle = folder / "models" / "bench"
    manifest = load_manifest(bundle)
    golden = parse_golden((bundle / "golden.npz").read_bytes())
    onnx_bytes = (bundle / "model.onnx").read_bytes()
    write_bundle(bundle, _stated(manifest, case), onnx_bytes, golden)
    other = replace(manifest, version=Name("candidate"))
    write_bundle(folder / _CANDIDATE, other, onnx_bytes, golden)
    return path


def _stated(manifest: Manifest, case: Case) -> Manifest:
    outputs = manifest.outputs if case.explains_itself else OutputNames(score="score")
    healthy = {spec.name: _HEALTHY for spec in manifest.inputs} if case.watched else {}
    return replace(manifest, outputs=outputs, healthy=healthy)


async def _walk(path: Path, case: Case, rows: int) -> float:
    replay = await Replay.load(load_config(path))
    runtime = replay.runtime
    for number in range(_ASSETS):
        runtime.plant.discover(f"a{number:03d}", "machine")
    if case.shadow:
        candidate = await runtime.models.load_model("bench", path.parent / _CANDIDATE)
        runtime.pipeline.deployments.set_shadow("bench", candidate)
    pipeline, timed = runtime.pipeline, Clocked()
    for values in _turns(rows):
        scored = timed(
            "path", pipeline.score_windows, timed("path", pipeline.close_windows, values)
        )
        timed("path", pipeline.update_alarms, scored)
        timed("path", pipeline.run_shadows)
    alarms = len(runtime.alarms.watched)
    replay.close()
    if alarms != _ASSETS * case.alarming:
        raise AssertionError(f"{case.name}: {alarms} assets are in alarm")
    return sum(timed.spent.values())


def _turns(rows: int) -> Iterator[Columns]:
    """All assets' values, a few rows per turn, as a source delivers them."""
    random = np.random.default_rng(1)
    signals = _ASSETS * SIGNALS
    for begin in range(0, rows, _TURN_ROWS):
        time_us = _BEGIN_US + (begin + np.arange(_TURN_ROWS)) * _STEP_US
        count = _TURN_ROWS * signals
        yield Columns(
            np.tile(np.arange(signals, dtype=np.int32), _TURN_ROWS),
            np.repeat(time_us, signals),
            np.tile(20.5 + np.arange(SIGNALS), _TURN_ROWS * _ASSETS)
            + random.uniform(-0.5, 0.5, count),
            np.zeros(count, np.uint32),
        )
