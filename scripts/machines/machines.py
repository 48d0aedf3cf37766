"""Simulated machines for `scripts/other-machines`: effects that break a baseline on a real plant.

Every machine is a function of a random generator and a number of rows; it returns readings [T, C]
of its instruments. Nothing here is tuned to any detector.
"""

# ruff: noqa: PLR2004 (the numbers are the parameters of a machine's formulas)

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from scripts.machines.parts import lagged, read, switching, wander

if TYPE_CHECKING:
    from collections.abc import Callable

    from scripts.machines.parts import Floats, Random


@dataclass(frozen=True, slots=True)
class Machine:
    """make(random, rows) -> [rows, C]; learn_rows are learned from, healthy_rows judged after.

    fixed: channels without faults, because they never change or only count. extra: kinds of fault
    of this machine beside those of all.
    """

    name: str
    step_s: float
    learn_rows: int
    healthy_rows: int
    make: Callable[[Random, int], Floats]
    fixed: tuple[int, ...] = ()
    extra: tuple[str, ...] = ()


# -- the machines ---------------------------------------------------------------------------------


def steady_pump(random: Random, rows: int) -> Floats:
    """A pump at one speed with a varying load."""
    load = wander(random, rows, 60)
    flow, amps = 100 + 2 * load, 20 + 0.6 * load
    warm = 60 + lagged(2 * load, 600) + 0.3 * wander(random, rows, 900)
    vibration = 1.5 + 0.02 * load**2
    pressure = 4 - 0.05 * load
    return read(
        random,
        [flow, pressure, amps, warm, vibration],
        [0.5, 0.02, 0.1, 0.1, 0.08],
        [0.1, 0.01, 0.1, 0.1, 0.01],
    )


def cycling_compressor(random: Random, rows: int) -> Floats:
    """Loads and unloads by its tank's pressure; at night the air is used half as fast."""
    used = 0.8 + 0.4 * (lagged(switching(random, rows, (0.4, 0.7, 1.0), 900), 60))
    used *= 1 + 0.1 * wander(random, rows, 30)
    bar, on, pressure, running = 7.0, True, np.empty(rows), np.empty(rows)
    for row, use in enumerate(used.tolist()):
        bar += (0.02 if on else 0.0) - 0.009 * use
        on = bar < 7.5 if on else bar < 6.5
        pressure[row], running[row] = bar, on
    motor = lagged(18 + 32 * running, 3)
    oil = 55 + lagged(30 * running, 240)
    publisher = 70 + lagged(35 * running + 3 * wander(random, rows, 200), 40)
    return read(
        random,
        [pressure, motor, oil, publisher, running],
        [0.02, 0.4, 0.2, 0.4, 0],
        [0.01, 0.1, 0.1, 0.1, 1],
    )


def three_speed_fan(random: Random, rows: int) -> Floats:
    """A fan that is switched between three speeds."""
    speed = lagged(switching(random, rows, (600.0, 900.0, 1450.0), 600), 8)
    share = speed / 1450
    dirt = 1 + 0.02 * wander(random, rows, 3000)
    flow, head = 40 * share * dirt, 800 * share**2 * dirt
    power = 11 * share**3 / dirt + 0.4
    vibration = 0.6 + 2.2 * share**2
    bearing = 30 + lagged(25 * share**2, 700)
    return read(
        random,
        [speed, flow, head, power, vibration, bearing],
        [2, 0.2, 5, 0.08, 0.12, 0.15],
        [1, 0.1, 1, 0.01, 0.01, 0.1],
    )


def batch_reactor(random: Random, rows: int) -> Floats:
    """Heat, hold, cool, idle: about 100 minutes at 10 s; batches differ in length."""
    wanted: list[Floats] = []
    total = 0
    while total < rows:
        spans = [int(n * random.uniform(0.85, 1.15)) for n in (120, 240, 120, 90)]
        top = 90 + random.normal(0, 0.7)
        steps = [np.full(spans[0], top), np.full(spans[1], top)]
        steps += [np.full(spans[2], 25.0), np.full(spans[3], 25.0)]
        wanted.append(np.concatenate(steps))
        total += sum(spans)
    setpoint = np.concatenate(wanted)[:rows]
    kettle = lagged(setpoint, 35)
    jacket = kettle + 12 * (setpoint - kettle) / 65
    steam = np.clip(2.5 * (setpoint - kettle), 0, 100) + np.where(setpoint > 50, 8, 0)
    pressure = 1 + 0.0004 * np.maximum(kettle - 40, 0) ** 2
    stirrer = np.where(setpoint > 50, 5 + 0.02 * (kettle - 60), 2.0)
    return read(
        random,
        [setpoint, kettle, jacket, steam, pressure, stirrer],
        [0, 0.2, 0.3, 1, 0.01, 0.1],
        [0.5, 0.1, 0.1, 0.5, 0.01, 0.05],
    )


def transformer_outdoors(random: Random, rows: int) -> Floats:
    """One row a minute: weather and load have a daily cycle, and days differ."""
    day = 2 * np.pi * np.arange(rows) / 1440
    weather = 12 + 6 * np.sin(day - 2) + 2.5 * wander(random, rows, 1440)
    load = 0.6 + 0.2 * np.sin(day - 1.2) + 0.1 * np.sin(2 * day) + 0.06 * wander(random, rows, 60)
    oil = weather + lagged(45 * np.clip(load, 0, None) ** 1.6, 180)
    winding = oil + lagged(20 * np.clip(load, 0, None) ** 1.6, 6)
    gas = 40 + 0.5 * wander(random, rows, 3000)
    return read(
        random,
        [weather, load, oil, winding, gas],
        [0.3, 0.005, 0.2, 0.3, 0.4],
        [0.1, 0.001, 0.1, 0.1, 1],
    )


def wearing_mill(random: Random, rows: int) -> Floats:
    """Tool wear is normal: power and vibration rise for 25 minutes, then the tool is changed."""
    wear, cutting = np.empty(rows), np.empty(rows)
    row = 0
    while row < rows:
        life = int(random.uniform(1200, 1800))
        span = min(life, rows - row)
        wear[row : row + span] = np.linspace(0, 1, life)[:span]
        cutting[row : row + span] = 1.0
        cutting[row : row + 60] = 0.0
        row += life
    cutting *= np.repeat(np.arange(rows // 30 + 1) % 4 != 0, 30)[:rows]
    spindle = lagged(1.5 + cutting * (5 + 1.5 * wear), 2)
    vibration = 0.4 + lagged(cutting * (1.2 + 0.8 * wear**2), 2)
    feed = lagged(cutting * 300.0, 2)
    coolant = 24 + lagged(4 * cutting, 300)
    return read(
        random, [spindle, vibration, feed, coolant], [0.1, 0.1, 2, 0.1], [0.01, 0.01, 1, 0.1]
    )


def warming_gearbox(random: Random, rows: int) -> Floats:
    """Started cold: it settles for hours, and its first hour is learned."""
    settle = 1 - np.exp(-np.arange(rows) / 2400)
    load = wander(random, rows, 90)
    oil = 20 + 45 * settle + lagged(1.5 * load, 400)
    thick = np.exp(-(oil - 65) / 40)
    amps = 30 + 2 * load + 1.5 * thick
    pressure = 2 + 0.6 * thick
    vibration = 1.8 + 0.05 * load + 0.1 * settle
    return read(
        random, [oil, amps, pressure, vibration], [0.1, 0.3, 0.02, 0.08], [0.1, 0.1, 0.01, 0.01]
    )


def metered_line(random: Random, rows: int) -> Floats:
    """Power with its meters: energy and hours only rise; one status never changes."""
    power = np.clip(40 + 8 * wander(random, rows, 300) + 4 * wander(random, rows, 20), 2, None)
    energy = 81_234 + np.cumsum(power) * 10 / 3600
    hours = 5120 + np.arange(rows) * 10 / 3600
    voltage = 400 + 2 * wander(random, rows, 500) - 0.05 * (power - 40)
    current = power * 1000 / (np.sqrt(3) * voltage * 0.9)
    temperature = 35 + lagged(0.3 * (power - 40), 60)
    return read(
        random,
        [power, energy, hours, voltage, current, temperature, np.ones(rows)],
        [0.3, 0, 0, 0.3, 0.4, 0.2, 0],
        [0.1, 1, 1, 0.1, 0.1, 0.1, 1],
    )


def coarse_tank(random: Random, rows: int) -> Floats:
    """Whole degrees and per cent; a valve that is open or closed."""
    opened = switching(random, rows, (0.0, 1.0), 200)
    level = 50 + 8 * lagged(2 * opened - 1, 150) + 2 * wander(random, rows, 400)
    inflow = lagged(opened * 12.0, 4)
    temperature = 18 + 1.2 * wander(random, rows, 2000)
    return read(random, [level, inflow, temperature, opened], [0.3, 0.15, 0.2, 0], [1, 0.5, 1, 1])


def spiky_press(random: Random, rows: int) -> Floats:
    """A stroke every two seconds at 0.1 s; occasionally a hard one."""
    period = 20
    phase = np.arange(rows) % period
    stroke = np.exp(-0.5 * ((phase - 8) / 1.2) ** 2)
    hard = np.repeat(random.lognormal(0, 0.12, rows // period + 1), period)[:rows]
    force = 5 + 220 * stroke * hard
    current = 12 + lagged(60 * stroke * hard, 4)
    oil = 45 + wander(random, rows, 3000)
    vibration = np.abs(random.standard_normal(rows)) * (0.3 + 2.5 * stroke)
    vibration += (random.random(rows) < 0.002) * random.exponential(6, rows)
    return read(random, [force, current, oil, vibration], [1, 0.5, 0.1, 0], [0.1, 0.1, 0.1, 0.01])


def coupled_pairs(random: Random, rows: int) -> Floats:
    """Pairs of sensors: both sensors of a pair show the same."""
    first, second = wander(random, rows, 300), wander(random, rows, 50)
    columns = [10 + first, 20 + 2 * first, 5 + second, 50 - 4 * second, 0.5 * first + second]
    return read(random, columns, [0.08, 0.16, 0.08, 0.3, 0.1], [0, 0.01, 0, 0.1, 0])


def gappy_pump(random: Random, rows: int) -> Floats:
    """The steady pump over a poor line: one value in thirty is missing, sometimes a minute."""
    found = steady_pump(random, rows)
    found[random.random(found.shape) < 1 / 30] = np.nan
    for begin in random.integers(0, rows, rows // 3000).tolist():
        found[begin : begin + 60, int(random.integers(found.shape[1]))] = np.nan
    return found


def pump_started_meanwhile(random: Random, rows: int) -> Floats:
    """The steady pump, started cold some minutes after learning began."""
    found = steady_pump(random, rows)
    stopped = np.array([0.0, 0.5, 0.0, 25.0, 0.05])
    running = lagged((np.arange(rows) >= 300).astype(float), 5)
    warm = lagged((np.arange(rows) >= 300).astype(float), 600)
    share = np.column_stack([running, running, running, warm, running])
    return np.asarray(stopped + (found - stopped) * share)


def wind_turbine(random: Random, rows: int) -> Floats:
    """One row a minute; power is proportional to the cube of the wind up to its rating."""
    day = 2 * np.pi * np.arange(rows) / 1440
    wind = np.abs(7.5 + 2.5 * wander(random, rows, 600) + 1.0 * wander(random, rows, 10))
    share = np.clip((wind / 11.5) ** 3, 0, 1) * (wind > 3)
    rotor = lagged(np.clip(wind / 11.5, 0.4, 1) * 16 * (wind > 3), 2)
    outside = 9 + 5 * np.sin(day - 2) + 3 * wander(random, rows, 2880)
    gear = outside + 15 + lagged(38 * share**0.7, 40)
    winding = outside + 20 + lagged(60 * share, 25)
    return read(
        random,
        [wind, 2000 * lagged(share, 2), rotor, outside, gear, winding],
        [0.3, 12, 0.1, 0.2, 0.3, 0.5],
        [0.1, 1, 0.1, 0.1, 0.1, 0.1],
    )


MACHINES: Final = (
    Machine("steady pump, 20 min", 1.0, 1200, 7200, steady_pump),
    Machine("steady pump, 8 h", 2.0, 14_400, 14_400, steady_pump),
    Machine("cycling compressor", 1.0, 10_800, 10_800, cycling_compressor, (4,)),
    Machine("three-speed fan", 1.0, 14_400, 14_400, three_speed_fan, (0,)),
    Machine("batch reactor", 10.0, 12_960, 8640, batch_reactor, (0,)),
    Machine("transformer outdoors", 60.0, 4320, 7200, transformer_outdoors),
    Machine("wearing mill", 1.0, 10_800, 10_800, wearing_mill),
    Machine("warming gearbox", 1.0, 3600, 7200, warming_gearbox),
    Machine("metered line", 10.0, 8640, 8640, metered_line, (1, 2, 6)),
    Machine("coarse tank", 5.0, 8640, 8640, coarse_tank, (3,)),
    Machine("spiky press", 0.1, 6000, 12_000, spiky_press),
    Machine("coupled pairs", 1.0, 7200, 14_400, coupled_pairs),
    Machine("pump over a poor line", 1.0, 7200, 7200, gappy_pump),
    Machine("pump started meanwhile", 1.0, 10_800, 10_800, pump_started_meanwhile),
    Machine("wind turbine", 60.0, 7200, 7200, wind_turbine),
)
