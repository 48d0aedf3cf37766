"""Simulated machines that repeat themselves without a fixed period: cycles, batches, programs."""

# ruff: noqa: PLR2004 (the numbers are the parameters of a machine's formulas)

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from scripts.machines.faults import PART
from scripts.machines.machines import Machine
from scripts.machines.parts import lagged, read, wander

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scripts.machines.parts import Floats, Random


def moulding_machine(random: Random, rows: int) -> Floats:
    """Injection moulding at 0.5 s: close, inject, pack, cool, open; no two cycles of one length."""
    moulds = rows // 60 + 8
    spans = np.array([6, 8, 14, 34, 8]) * random.uniform(0.96, 1.04, (moulds, 5))
    spans[:, 3] += random.uniform(0, 8, moulds)
    step = np.concatenate([np.repeat(np.arange(5), each.astype(int)) for each in spans])[:rows]
    speed = lagged(np.array([60.0, 90.0, 8.0, 0.0, -70.0])[step], 1.5)
    pressure = lagged(np.array([20.0, 900.0, 450.0, 5.0, 10.0])[step], 2)
    clamp = lagged(np.array([400.0, 800.0, 800.0, 800.0, 0.0])[step], 1.5)
    screw = lagged(np.array([40.0, 5.0, 3.0, 45.0, 45.0])[step], 6)
    mould = 60 + lagged(pressure / 120, 20) + 0.5 * wander(random, rows, 3000)
    oil = 45 + lagged(np.abs(speed) / 10, 2000) + wander(random, rows, 4000)
    power = 3 + 0.1 * np.abs(speed) + pressure / 100 + lagged(0.2 * (step == 3), 2)
    columns = [speed, pressure, clamp, screw, mould, oil, power]
    return read(random, columns, [0.5, 5, 4, 0.2, 0.1, 0.1, 0.1], [0.1, 1, 1, 0.1, 0.1, 0.1, 0.1])


def recipe_batches(random: Random, rows: int) -> Floats:
    """A stirred kettle at 10 s with its step number: three recipes, batches of 40 to 90 minutes."""
    levels, wanted, steps = [], [], []
    total = 0
    while total < rows:
        top, full = ((70.0, 80.0), (85.0, 60.0), (60.0, 95.0))[int(random.integers(3))]
        spans = (np.array([40, 60, 150, 60, 30, 40]) * random.uniform(0.7, 1.3, 6)).astype(int)
        total += int(spans.sum())
        steps.append(np.repeat(np.arange(6), spans))
        wanted.append(np.repeat([20.0, top, top, 25.0, 25.0, 20.0], spans))
        levels.append(np.repeat([full, full, full, full, 0.0, 0.0], spans))
    step, goal = np.concatenate(steps)[:rows], np.concatenate(wanted)[:rows]
    level = lagged(np.concatenate(levels)[:rows], 12)
    kettle = lagged(goal, 25)
    exotherm = lagged(4.0 * (step == 2), 15)
    jacket = kettle + 0.6 * (goal - kettle) - exotherm
    stirrer = np.where((step > 0) & (step < 4), 6 + 0.04 * level, 0.5)
    valve = np.clip(50 + 3 * (goal - kettle) - 4 * exotherm, 0, 100)
    off_gas = lagged((step == 2) * (2 + 0.03 * level), 10)
    columns = [step.astype(float), level, kettle + exotherm, jacket, stirrer, valve, off_gas]
    return read(
        random, columns, [0, 0.4, 0.2, 0.3, 0.1, 1, 0.05], [1, 0.1, 0.1, 0.1, 0.01, 1, 0.01]
    )


def autoclave(random: Random, rows: int) -> Floats:
    """A sterilizer at 5 s: three programs with pulses of vacuum, a hold, drying; pauses between."""
    steps: list[tuple[float, ...]] = []  # temperature, pressure, state, rows
    while sum(step[-1] for step in steps) < rows:
        top, bar, hold = ((121, 1.1, 180), (134, 2.1, 60), (121, 1.1, 300))[random.integers(3)]
        for _ in range(3):
            steps.append((40, -0.8, 1, int(random.uniform(18, 24))))
            steps.append((90, 0.8, 2, int(random.uniform(14, 20))))
        steps.append((top, bar, 2, 60 + hold))
        steps.append((top - 20, 0, 3, int(random.uniform(20, 30))))
        steps.append((80, -0.85, 1, int(random.uniform(100, 140))))
        steps.append((45, 0, 0, int(random.uniform(20, 300))))
    goal, bar, state = held(steps, rows)
    chamber, heating = lagged(goal, 10), state == 2
    jacket = 100 + lagged(30 * heating + 5, 60)
    steam = 4 + 5 * heating - lagged(1.0 * heating, 20)
    columns = [state, chamber, lagged(bar, 4), jacket, steam, np.where(state == 1, 8.5, 0.3)]
    columns.append(lagged(chamber, 30) - 8)
    noise = [0, 0.2, 0.01, 0.2, 0.05, 0.1, 0.3]
    return read(random, columns, noise, [1, 0.1, 0.01, 0.1, 0.01, 0.1, 0.1])


def machining_centre(random: Random, rows: int) -> Floats:
    """A machining centre at 0.2 s: four programs of cuts; a person loads the next part."""
    low, high = [1000, 100, 0.1, 0, 0], [9000, 2000, 1, 500, 300]
    programs = [
        [
            (*random.uniform(low, high), int(random.integers(8, 60)))
            for _ in range(int(random.integers(5, 12)))
        ]
        for _ in range(4)
    ]
    steps: list[tuple[float, ...]] = []  # spindle, feed, load, two axes, rows
    while sum(step[-1] for step in steps) < rows:
        for *cut, span in programs[int(random.integers(4))]:
            steps.append((*cut, max(4, int(span * random.uniform(0.97, 1.03)))))
        steps.append((0, 0, 0, 0, 0, int(random.uniform(30, 120))))
    speed, feed, load, *goals = held(steps, rows)
    spindle, (x, y) = lagged(speed, 3), (lagged(goal, 4) for goal in goals)
    load = lagged(load, 2) * (1 + 0.05 * wander(random, rows, 2000))
    amps = 2 + spindle / 3000 + 8 * load
    force = 0.5 + 0.05 * np.abs(np.gradient(x)) + 0.8 * load
    coolant = 22 + lagged(5 * load, 1500) + 0.3 * wander(random, rows, 3000)
    vibration = 0.2 + spindle / 9000 + lagged(load, 2)
    columns = [spindle, lagged(feed, 2), x, y, amps, force, coolant, vibration]
    noise = [10, 2, 0.1, 0.1, 0.15, 0.05, 0.05, 0.03]
    return read(random, columns, noise, [1, 1, 0.01, 0.01, 0.1, 0.01, 0.1, 0.01])


def crate_washer(random: Random, rows: int) -> Floats:
    """A crate washer at 1 s: fill, wash, drain, rinse, wait; how much and how long by its load."""
    usual = ((1, 0, 0, 0), (0, 1, 1, 0), (0, 0, 0, 1), (1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 0, 1))
    steps: list[tuple[float, ...]] = []  # filling, pump, heating, draining, load, rows
    while sum(step[-1] for step in steps) < rows:
        load = random.uniform(0.5, 1)
        shares = (load, random.uniform(0.8, 1.2), load, load, random.uniform(0.8, 1.2), load)
        for step, share, span in zip(usual, shares, (40, 180, 30, 30, 60, 30), strict=True):
            steps.append((*step, load, 3 + int(span * share)))
        steps.append((0, 0, 0, 0, load, 3 + int(60 * random.uniform(0.3, 3))))
    filling, pump, heating, draining, load = held(steps, rows)
    level, at = np.empty(rows), 0.0
    for row in range(rows):
        at = min(max(at + 2.5 * filling[row] - 3.3 * draining[row], 0), 100 * load[row])
        level[row] = at
    flow = lagged(pump * (60 - 10 * load), 3)
    amps = 0.4 + lagged(pump * (6 + 2 * load), 2) + 12 * heating
    pressure = lagged(pump * 2.2, 3) - 0.004 * flow
    columns = [level, 20 + lagged(45 * heating, 80), flow, amps, pressure]
    columns += [lagged(pump * 20 * load, 40), filling, draining]
    noise = [0.4, 0.2, 0.4, 0.15, 0.02, 0.3, 0, 0]
    return read(random, columns, noise, [0.1, 0.1, 0.1, 0.1, 0.01, 0.1, 1, 1])


def held(steps: Sequence[tuple[float, ...]], rows: int) -> Floats:
    """The values of steps, each held for as many rows as its last number says: [values, rows]."""
    table = np.array(steps, float)
    return np.repeat(table[:, :-1], table[:, -1].astype(int), axis=0)[:rows].T


BATCHES: Final = (
    Machine("moulding, cycles vary", 0.5, 7200, 10_800, moulding_machine, (), (PART,)),
    Machine("recipe batches", 10.0, 12_960, 8640, recipe_batches, (0,), (PART,)),
    Machine("autoclave", 5.0, 14_400, 10_800, autoclave, (0,), (PART,)),
    Machine("machining centre", 0.2, 18_000, 12_000, machining_centre, (), (PART,)),
    Machine("crate washer", 1.0, 14_400, 10_800, crate_washer, (6, 7), (PART,)),
)
