"""Simulated machines by the daemon's windows, learning and alarms: `scripts/other-machines`."""

from __future__ import annotations

from collections import Counter, defaultdict
from math import isnan
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_agent.config.schema import DEFAULT_LENGTH
from scripts.machines.batches import BATCHES
from scripts.machines.detectors import Learners
from scripts.machines.faults import (
    EVENT_ROWS,
    FAULT_ROWS,
    KINDS,
    LASTING,
    PART,
    inject,
    rows_of,
)
from scripts.machines.kinds import KINDS_OF_MACHINE
from scripts.machines.machines import MACHINES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from scripts.machines.detectors import Alarmed, Detector
    from scripts.machines.machines import Machine
    from scripts.machines.parts import Floats

    Case = tuple[str, int, Floats, int]  # kind, input, readings and first row of a fault
    Figures = dict[str, Any]

ALL = (*MACHINES, *KINDS_OF_MACHINE, *BATCHES)
TRIES = 2  # of each kind of fault, for each machine and seed
NAMED_BY, HALF = 8, 0.5  # more than half of the first windows with an alarm
BEFORE, AFTER = 200, 400  # healthy rows around a fault
DAY_S = 86_400.0


def evaluate(
    seeds: Sequence[int],
    machines: Sequence[Machine] = ALL,
    other_python: str | None = None,
    progress: Callable[[str], None] = lambda _: None,
    *,
    students: bool = False,
) -> dict[str, Any]:
    """Figures of machines, with each learned by this version, and by the one of `other_python`.

    students: and by the candidates of `edge-agent train history`.

    machines: by detector and machine: far (healthy windows with an alarm, %), raises_per_day, found
    (faults that raise the alarm, %), covered (of the windows of a lasting fault with an alarm, %),
    after (windows with an alarm once it is over, %), delay (rows, median of those found), named (of
    the found faults, the input is the one that contributes most, %); of what is learned: own (of
    the learned windows over the limit, %, the worst seed), promise (at most,
    a day), seconds, mb, form, us (processor time of a window), kb (of the graph), refused (why).
    kinds: `found` by detector and kind of fault; mean: of `far` and `found` by detector.
    """
    runs: dict[tuple[str, str], list[Figures]] = defaultdict(list)
    with Learners(other_python, students=students) as learners:
        for machine in machines:
            progress(machine.name)
            for seed in seeds:
                for detector, run in _runs(machine, seed, learners).items():
                    runs[detector, machine.name].append(run)
    found: dict[str, dict[str, Figures]] = defaultdict(dict)
    for (detector, name), each in runs.items():
        found[detector][name] = {**_figures(each), **_facts([run["facts"] for run in each])}
    return {
        "machines": dict(found),
        "kinds": {detector: _by_kind(runs, detector) for detector in found},
        "mean": {detector: _mean(list(rows.values())) for detector, rows in found.items()},
    }


def _mean(rows: list[Figures]) -> dict[str, float]:
    return {of: float(np.mean([row[of] for row in rows])) for of in ("far", "found")}


def _runs(machine: Machine, seed: int, learners: Learners) -> dict[str, Figures]:
    """The results of each detector for a healthy time and for faults in it."""
    random = np.random.default_rng([seed, ALL.index(machine)])
    rows = machine.make(random, machine.learn_rows + machine.healthy_rows)
    healthy, rest = rows[: machine.learn_rows], rows[machine.learn_rows :]
    cases = _cases(machine, random, rest, np.nanstd(healthy, axis=0))
    days = len(rest) * machine.step_s / DAY_S
    return {
        name: _run(detector, rest, cases, days)
        for name, detector in learners.detectors(machine, healthy).items()
    }


def _run(detector: Detector, rest: Floats, cases: list[Case], days: float) -> Figures:
    _, quiet, _ = detector.detect(rest, 0)
    faults = [
        (kind, _judged(kind, len(values) - BEFORE - AFTER, channel, detector.detect(values, first)))
        for kind, channel, values, first in cases
    ]
    raises = int((np.diff(quiet.astype(int), prepend=0) == 1).sum())
    far = 100 * float(quiet.mean())
    return {"far": far, "raises": raises, "days": days, "faults": faults, "facts": detector.facts}


def _cases(
    machine: Machine, random: np.random.Generator, rest: Floats, spread: Floats
) -> list[Case]:
    """Kind and readings of every fault, with BEFORE healthy rows and AFTER of them."""
    free = [channel for channel in range(rest.shape[1]) if channel not in machine.fixed]
    found = []
    for kind in (KINDS + machine.extra) * TRIES:
        rows = rows_of(kind, len(rest))
        channel = int(random.choice(free))
        begin = int(random.integers(2 * FAULT_ROWS + 100, len(rest) - rows - AFTER))
        values = inject(random, kind, rest, channel, begin, float(spread[channel]))
        first = begin - BEFORE
        found.append((kind, channel, values[first : begin + rows + AFTER], first))
    return found


def _judged(kind: str, length: int, channel: int, alarmed: Alarmed) -> dict[str, float]:
    """Results of one fault of `length` rows; an event may be found until as long after it."""
    rows, alarm, blamed = alarmed
    until = BEFORE + length + (EVENT_ROWS if kind == "event" else 0)
    during = (rows >= BEFORE) & (rows < until)
    before = alarm[rows < BEFORE]
    hits = rows[during & alarm]
    standing = bool(len(before)) and bool(before[-1])
    lasts = kind in LASTING
    after = alarm[rows >= BEFORE + length + DEFAULT_LENGTH]
    blamed = blamed[during & alarm][:NAMED_BY]
    is_told = len(hits) and not standing and blamed[0] >= 0
    return {
        "named": float((blamed == channel).mean() > HALF) if is_told else float("nan"),
        "found": float(len(hits) > 0 and not standing),
        "covered": float(alarm[during].mean()) if lasts and during.any() else float("nan"),
        "after": float(after.mean()) if lasts and len(after) else float("nan"),
        "delay": float(hits[0] - BEFORE) if len(hits) and not standing else float("nan"),
    }


def _figures(runs: list[Figures]) -> Figures:
    faults = [fault for run in runs for _, fault in run["faults"]]
    delays = [fault["delay"] for fault in faults if fault["found"]]
    return {
        "far": float(np.mean([run["far"] for run in runs])),
        "raises_per_day": sum(run["raises"] for run in runs) / sum(run["days"] for run in runs),
        "days": sum(run["days"] for run in runs),
        **{
            of: 100 * _mean_known([f[of] for f in faults])
            for of in ("found", "covered", "after", "named")
        },
        "delay": float(np.median(delays)) if delays else float("nan"),
    }


def _mean_known(values: list[float]) -> float:
    known = [value for value in values if not isnan(value)]
    return float(np.mean(known)) if known else float("nan")


def _facts(facts: list[Figures]) -> Figures:
    """What was learned, over the seeds; nothing for what is simple."""
    learned = [each for each in facts if "own" in each]
    found: Figures = {}
    if any("seconds" in each for each in facts):
        found["seconds"] = float(np.mean([each["seconds"] for each in facts]))
        found["mb"] = float(max(each["mb"] for each in facts))
        found["refused"] = [each["refused"] for each in facts if "refused" in each]
    if learned:
        found["own"] = 100 * max(each["own"] for each in learned)
        found["us"] = float(np.median([each["us"] for each in learned]))
        found["kb"] = float(np.mean([each["kb"] for each in learned]))
        found["promise"] = float(np.mean([each["promise"] for each in learned]))
        found["form"] = Counter(each["form"] for each in learned).most_common(1)[0][0]
    return found


def _by_kind(runs: dict[tuple[str, str], list[Figures]], detector: str) -> dict[str, float]:
    found: dict[str, list[float]] = defaultdict(list)
    for (name, _), each in runs.items():
        if name == detector:
            for run in each:
                for kind, fault in run["faults"]:
                    found[kind].append(fault["found"])
    return {kind: 100 * float(np.mean(found[kind])) for kind in (*KINDS, PART) if found[kind]}
