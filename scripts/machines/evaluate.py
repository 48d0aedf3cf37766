"""Simulated machines by the daemon's windows, learning and alarms: `scripts/other-machines`."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_agent.config.schema import DEFAULT_LENGTH, Resample
from edge_agent.config.settings import Runtime
from edge_agent.learning import Recipe, learn
from edge_agent.models import InputSpec, SessionRegistry
from edge_agent.ops.metrics import Metrics
from edge_agent.signals import GOOD, Layout, Windows
from scripts.alarm_state import alarm_state
from scripts.machines.faults import FAULT_ROWS, KINDS, inject
from scripts.machines.machines import MACHINES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from scripts.machines.machines import Machine
    from scripts.machines.parts import Floats

    Alarmed = tuple[NDArray[np.intp], NDArray[np.bool_]]  # last row of each window; alarm after it

TRIES = 2  # of each kind of fault, for each machine and seed
BEFORE, AFTER = 200, 400  # healthy rows around a fault
MIN_COVERAGE = 0.8
US_PER_S = 1_000_000
DAY_S = 86_400.0
LEARNED, MEAN_Z = "learned baseline, alarm", "windowed mean of abs(z)"


def evaluate(seeds: Sequence[int]) -> dict[str, Any]:
    """Figures of every machine.

    machines: by detector and machine: far (healthy windows with an alarm, %), raises_per_day,
    found (faults that raise the alarm, %), covered (of the fault's windows with an alarm, %), after
    (windows with an alarm once the fault is over, %), delay (rows, median of those found); kinds:
    `found` by detector and kind of fault; mean: of `far` and `found` by detector.
    """
    runs: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for machine in MACHINES:
        for seed in seeds:
            for detector, run in _runs(machine, seed).items():
                runs[detector, machine.name].append(run)
    machines: dict[str, dict[str, dict[str, float]]] = defaultdict(dict)
    for (detector, name), each in runs.items():
        machines[detector][name] = _figures(each)
    return {
        "machines": dict(machines),
        "kinds": {detector: _by_kind(runs, detector) for detector in machines},
        "mean": {
            detector: {
                of: float(np.mean([row[of] for row in rows.values()])) for of in ("far", "found")
            }
            for detector, rows in machines.items()
        },
    }


def _runs(machine: Machine, seed: int) -> dict[str, dict[str, Any]]:
    """The results of each detector for a healthy time and for faults in it."""
    random = np.random.default_rng([seed, MACHINES.index(machine)])
    rows = machine.make(random, machine.learn_rows + machine.healthy_rows)
    healthy, rest = rows[: machine.learn_rows], rows[machine.learn_rows :]
    cases = _cases(machine, random, rest, np.nanstd(healthy, axis=0))
    found = {}
    for name, detect in _detectors(machine, healthy).items():
        _, quiet = detect(rest)
        faults = [(kind, _judged(*detect(values))) for kind, values in cases]
        days = len(rest) * machine.step_s / DAY_S
        raises = int((np.diff(quiet.astype(int), prepend=0) == 1).sum())
        found[name] = {"far": quiet.mean(), "raises": raises, "days": days, "faults": faults}
    return found


def _cases(
    machine: Machine, random: np.random.Generator, rest: Floats, spread: Floats
) -> list[tuple[str, Floats]]:
    """Kind and readings of every fault, with BEFORE healthy rows and AFTER of them."""
    free = [channel for channel in range(rest.shape[1]) if channel not in machine.fixed]
    found = []
    for kind in KINDS * TRIES:
        channel = int(random.choice(free))
        begin = int(random.integers(2 * FAULT_ROWS + 100, len(rest) - FAULT_ROWS - AFTER))
        values = inject(random, kind, rest, channel, begin, float(spread[channel]))
        found.append((kind, values[begin - BEFORE : begin + FAULT_ROWS + AFTER]))
    return found


def _judged(rows: NDArray[np.intp], alarm: NDArray[np.bool_]) -> dict[str, float]:
    during = (rows >= BEFORE) & (rows < BEFORE + FAULT_ROWS)
    before = alarm[rows < BEFORE]
    hits = rows[during & alarm]
    standing = bool(len(before)) and bool(before[-1])
    return {
        "found": float(len(hits) > 0 and not standing),
        "covered": float(alarm[during].mean()),
        "after": float(alarm[rows >= BEFORE + FAULT_ROWS + DEFAULT_LENGTH].mean()),
        "delay": float(hits[0] - BEFORE) if len(hits) and not standing else float("nan"),
    }


def _figures(runs: list[dict[str, Any]]) -> dict[str, float]:
    faults = [fault for run in runs for _, fault in run["faults"]]
    delays = [fault["delay"] for fault in faults if fault["found"]]
    return {
        "far": 100 * float(np.mean([run["far"] for run in runs])),
        "raises_per_day": sum(run["raises"] for run in runs) / sum(run["days"] for run in runs),
        "days": sum(run["days"] for run in runs),
        **{
            of: 100 * float(np.mean([f[of] for f in faults]))
            for of in ("found", "covered", "after")
        },
        "delay": float(np.median(delays)) if delays else float("nan"),
    }


def _by_kind(runs: dict[tuple[str, str], list[dict[str, Any]]], detector: str) -> dict[str, float]:
    found: dict[str, list[float]] = defaultdict(list)
    for (name, _), each in runs.items():
        if name == detector:
            for run in each:
                for kind, fault in run["faults"]:
                    found[kind].append(fault["found"])
    return {kind: 100 * float(np.mean(found[kind])) for kind in KINDS}


# -- detectors ------------------------------------------------------------------------------------


def _detectors(machine: Machine, healthy: Floats) -> dict[str, Callable[[Floats], Alarmed]]:
    return {LEARNED: _learned(machine, healthy), MEAN_Z: _mean_z(healthy)}


def _learned(machine: Machine, healthy: Floats) -> Callable[[Floats], Alarmed]:
    """By a bundle that is learned, written, verified and loaded as the daemon does it."""
    length = DEFAULT_LENGTH
    inputs = tuple(InputSpec(f"input{n}") for n in range(healthy.shape[1]))
    recipe = Recipe("machine", inputs, step_s=machine.step_s, length=length)
    with tempfile.TemporaryDirectory() as scratch:
        learn({"M": healthy.astype(np.float32)}, recipe, now_us=0).write(Path(scratch) / "machine")
        model = SessionRegistry(Path(scratch), Runtime(), Metrics()).load("machine")

    def detect(values: Floats) -> Alarmed:
        end_us, x = _windows(values, length, machine.step_s)
        x = model.manifest.as_read(x)
        score = model.infer({"x": x, "unit": np.zeros(len(x), np.int64)}).score
        rows = np.round(end_us / US_PER_S / machine.step_s).astype(np.intp)
        return rows, alarm_state(end_us, score)

    return detect


def _mean_z(healthy: Floats) -> Callable[[Floats], Alarmed]:
    """Mean of |z| over 64 rows and all inputs, relative to its 99.9 % quantile in learning."""
    center, spread = np.nanmean(healthy, axis=0), np.maximum(np.nanstd(healthy, axis=0), 1e-9)
    width = DEFAULT_LENGTH

    def smooth(values: Floats) -> Floats:
        z = np.nan_to_num(np.abs((values - center) / spread)).mean(axis=1)
        return np.convolve(z, np.full(width, 1 / width), "valid")

    limit = np.quantile(smooth(healthy), 0.999)

    def detect(values: Floats) -> Alarmed:
        found = smooth(values)
        return np.arange(width - 1, len(values)), found >= limit

    return detect


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
