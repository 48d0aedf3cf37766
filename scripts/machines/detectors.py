"""What judges the simulated machines: learned baselines of one or two versions, simple charts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from edge_agent.config.schema import DEFAULT_LENGTH, AlarmRule, LearnedAlarm, ModelUse, Resample
from edge_agent.config.settings import Runtime
from edge_agent.config.types import Duration
from edge_agent.models import DEVIATION, FOLLOWED, HOUR, SessionRegistry, hours_of_week
from edge_agent.ops.metrics import Metrics
from edge_agent.serving.following import FollowedWindows, following_of
from edge_agent.signals import GOOD, Layout, Windows
from scripts.alarm_state import alarm_state

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from edge_agent.models import Manifest, Model, Outputs
    from scripts.machines.machines import Machine
    from scripts.machines.parts import Floats

    # Last row of each window; alarm after it; the input that contributes most, -1: not told.
    Alarmed = tuple[NDArray[np.intp], NDArray[np.bool_], NDArray[np.intp]]
    Detect = Callable[[Floats, int], Alarmed]
    Level = Callable[[Floats], Floats]  # multiples of the limit, of the last of the rows

MIN_COVERAGE = 0.8
US_PER_S = 1_000_000
TURN = 16  # windows of a recording that the daemon scores before it follows them
QUANTILE = 0.999
KEPT_VARIANCE = 0.9  # by the principal components
LEARNED, OTHER = "learned baseline, alarm", "other version, alarm"
# What `edge-agent train history` makes, by its candidates.
STUDENTS = {
    "mixer, alarm": ("mixer",),
    "forecaster, alarm": ("forecaster",),
    "best of all three, alarm": ("chart", "mixer", "forecaster"),
}
MEAN_Z, PCA = "windowed mean of abs(z)", "PCA T² and Q of rows"


@dataclass(frozen=True, slots=True)
class Detector:
    """detect: alarm after each window of the readings [T, C] from a row of the healthy time.

    The healthy time itself, from row 0, comes first: a baseline follows the machine through it, and
    continues from there with a fault. facts: figures of its learning.
    """

    detect: Detect
    facts: dict[str, Any] = field(default_factory=dict)


class Learners:
    """Learns in processes that this one owns: this checkout, and another's Python if given.

    students: also what `edge-agent train history` makes, which needs torch.
    """

    def __init__(self, other_python: str | None = None, *, students: bool = False) -> None:
        self._stack = ExitStack()
        self._students = STUDENTS if students else {}
        self._pythons = {LEARNED: sys.executable}
        if other_python:
            self._pythons[OTHER] = other_python
        self._workers: dict[str, subprocess.Popen[str]] = {}

    def __enter__(self) -> Self:
        for name, python in self._pythons.items():
            self._workers[name] = self._stack.enter_context(_worker(python, name == LEARNED))
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers.values():
            worker.communicate()  # closes its input: it ends
        self._stack.close()

    def detectors(self, machine: Machine, healthy: Floats) -> dict[str, Detector]:
        """Every detector, of what was learned from `healthy`."""
        found = {name: _learned(worker, machine, healthy) for name, worker in self._workers.items()}
        for name, candidates in self._students.items():
            found[name] = _learned(self._workers[LEARNED], machine, healthy, candidates)
        simple = {MEAN_Z: _mean_z(healthy), PCA: _pca(healthy)}
        return found | {name: _alarmed(level, machine) for name, level in simple.items()}


def _worker(python: str, own: bool) -> subprocess.Popen[str]:  # noqa: FBT001
    """The process that learns; another version must not find this checkout on its path."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    if not own:
        environment.pop("PYTHONPATH", None)
    file = Path(__file__).with_name("learner.py")
    return subprocess.Popen(
        [python, str(file)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )


def _ask(worker: subprocess.Popen[str], folder: Path) -> dict[str, Any]:
    """The answer of a worker that learns the rows in `folder`."""
    if worker.stdin is None or worker.stdout is None:
        raise RuntimeError("a worker without pipes")
    worker.stdin.write(f"{folder}\n")
    worker.stdin.flush()
    found: dict[str, Any] = json.loads(worker.stdout.readline())
    return found


def _learned(
    worker: subprocess.Popen[str],
    machine: Machine,
    healthy: Floats,
    candidates: tuple[str, ...] = (),
) -> Detector:
    """By a bundle that is learned, written, verified and loaded as the daemon does it."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        rows = {"rows": healthy.astype(np.float32), "step_s": machine.step_s}
        rows["candidates"] = np.array(candidates, str)
        np.savez(folder / "rows.npz", **rows, length=DEFAULT_LENGTH)  # type: ignore[arg-type]
        answer = _ask(worker, folder)
        facts = {"seconds": answer["seconds"], "mb": answer["mb"]}
        if answer["status"]:
            refused = folder / "refused.txt"
            why = refused.read_text() if refused.is_file() else f"status {answer['status']}"
            return Detector(_never, {**facts, "refused": why})
        model = SessionRegistry(folder, Runtime(), Metrics()).load("machine")
        facts["kb"] = (folder / "machine" / "model.onnx").stat().st_size / 1024
    delays = Duration(answer["on_s"]), Duration(answer["off_s"])
    rule = AlarmRule(on_delay=delays[0], off_delay=delays[1])
    end_us, x = _windows(healthy, DEFAULT_LENGTH, machine.step_s)
    manifest = model.manifest
    feeds: dict[str, NDArray[Any]] = {"x": manifest.as_read(x), "unit": np.zeros(len(x), np.int64)}
    begin_s = time.process_time()
    own = model.infer(feeds | _hours(manifest, end_us)).score
    facts["us"] = 1e6 * (time.process_time() - begin_s) / len(x)
    calibration = manifest.calibration
    facts["own"] = float(1 - (own < 1.0).mean())  # a score of NaN is no quiet window
    facts["promise"] = float(calibration["at_most_per_asset_day"])
    facts["form"] = calibration.get("form", "plain")
    return Detector(Followed(model, machine, rule).detect, facts)


class Followed:
    """A learned baseline with its following of slow change, as the daemon runs it."""

    def __init__(self, model: Model, machine: Machine, rule: AlarmRule) -> None:
        self._model, self._machine, self._rule = model, machine, rule
        self._states: dict[int, dict[str, Any]] = {}  # by row of the healthy time

    def detect(self, values: Floats, first: int) -> Alarmed:
        """See `Detector`."""
        end_us, x = _windows(values, DEFAULT_LENGTH, self._machine.step_s)
        rows = np.round(end_us / US_PER_S / self._machine.step_s).astype(np.intp)
        score, blamed = self._scores(end_us, self._model.manifest.as_read(x), rows, first)
        return rows, alarm_state(end_us, score, self._rule), blamed

    def _scores(
        self, end_us: NDArray[np.int64], x: NDArray[np.float32], rows: NDArray[np.intp], first: int
    ) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
        """The score of each window, and the input that contributes most to it."""
        manifest = self._model.manifest
        following = following_of(ModelUse(manifest.name), manifest)
        feeds: dict[str, NDArray[Any]] = {"x": x, "unit": np.zeros(len(x), np.int64)}
        learned_us = round((self._machine.learn_rows + first) * self._machine.step_s * US_PER_S)
        feeds |= _hours(manifest, end_us + learned_us)
        if following is None:
            return _score_and_blame(self._model.infer(feeds))
        following.grow()
        if before := [row for row in self._states if row <= first]:
            following.restore(0, self._states[max(before)])
        found = []
        for begin in range(0, len(x), TURN):
            part = {name: values[begin : begin + TURN] for name, values in feeds.items()}
            size = len(part["x"])
            moved = np.repeat(following.moved[:1], size, axis=0).astype(np.float32)
            outputs = self._model.infer({**part, FOLLOWED: moved})
            found.append(_score_and_blame(outputs))
            deviation = np.asarray(outputs.of(DEVIATION))
            windows = (np.zeros(size, np.intp), end_us[begin : begin + size], outputs.score)
            following.follow(FollowedWindows(*windows, deviation), lambda _row: None)
            if not first:
                self._states[int(rows[begin])] = following.state(0)
        scores, blamed = zip(*found, strict=True)
        return np.concatenate(scores), np.concatenate(blamed)


def _score_and_blame(outputs: Outputs) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    return outputs.score, np.asarray(outputs.contributions).argmax(axis=1)


def _hours(manifest: Manifest, end_us: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    """The input of a baseline with a season, as the daemon feeds it."""
    if not manifest.season_zone:
        return {}
    return {HOUR: hours_of_week(end_us, manifest.season_zone)}


def _never(values: Floats, _first: int) -> Alarmed:
    rows = np.arange(DEFAULT_LENGTH - 1, len(values))
    return rows, np.zeros(len(rows), bool), np.full(len(rows), -1)


def _alarmed(level: Level, machine: Machine) -> Detector:
    """An alarm with the delays of a learned baseline; level: of the last rows of values."""
    rule = LearnedAlarm().at_step(machine.step_s)
    step_us = round(machine.step_s * US_PER_S)

    def detect(values: Floats, _first: int) -> Alarmed:
        found = level(values)
        rows = np.arange(len(values) - len(found), len(values))
        alarm = alarm_state(rows * step_us, found.astype(np.float32), rule)
        return rows, alarm, np.full(len(rows), -1)

    return Detector(detect)


def _mean_z(healthy: Floats) -> Level:
    """Mean of |z| over 64 rows and all inputs, relative to its 99.9 % quantile in learning."""
    center, spread = np.nanmean(healthy, axis=0), np.maximum(np.nanstd(healthy, axis=0), 1e-9)
    width = DEFAULT_LENGTH

    def smooth(values: Floats) -> Floats:
        z = np.nan_to_num(np.abs((values - center) / spread)).mean(axis=1)
        return np.convolve(z, np.full(width, 1 / width), "valid")

    limit = np.quantile(smooth(healthy), QUANTILE)
    return lambda values: np.asarray(smooth(values) / limit)


def _pca(healthy: Floats) -> Level:
    """T² and Q of single rows, each relative to its 99.9 % quantile in learning; gaps are 0."""
    center, spread = np.nanmean(healthy, axis=0), np.maximum(np.nanstd(healthy, axis=0), 1e-9)
    z = np.nan_to_num((healthy - center) / spread)
    variances, directions = np.linalg.eigh(np.atleast_2d(np.cov(z.T)))
    variances, directions = variances[::-1], directions[:, ::-1]
    kept = int(np.searchsorted(np.cumsum(variances) / variances.sum(), KEPT_VARIANCE)) + 1
    variances, directions = np.maximum(variances[:kept], 1e-9), directions[:, :kept]

    def both(values: Floats) -> Floats:
        z = np.nan_to_num((values - center) / spread)
        part = z @ directions
        rest = z - part @ directions.T
        return np.column_stack([(part**2 / variances).sum(axis=1), (rest**2).sum(axis=1)])

    limit = np.maximum(np.quantile(both(healthy), QUANTILE, axis=0), 1e-9)
    return lambda values: np.asarray((both(values) / limit).max(axis=1))


def _windows(
    values: Floats, length: int, step_s: float
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The daemon's windows that may be scored: ends [N] in microseconds, values [N, length, C]."""
    rows, channels = values.shape
    step_us = round(step_s * US_PER_S)
    layout = Layout(channels, length, 1, step_us, 5 * step_us, (Resample.LAST,) * channels)
    rings = Windows(layout)
    rings.add_asset([3 * step_us] * channels, [0] * channels)
    time_us = np.repeat(np.arange(rows, dtype=np.int64) * step_us, channels)
    channel = np.tile(np.arange(channels), rows)
    there = ~np.isnan(values.ravel())
    count = int(there.sum())
    closed = rings.write_values(
        np.zeros(count, np.intp),
        channel[there],
        time_us[there],
        values.ravel()[there].astype(np.float32),
        np.full(count, GOOD, np.uint8),
    )
    all_of = [*closed, *rings.close_all()]
    usable = [c.where(c.ends_usable() & (c.coverage() >= MIN_COVERAGE)) for c in all_of]
    return np.concatenate([u.end_us for u in usable]), np.concatenate([u.x for u in usable])
