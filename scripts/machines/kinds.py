"""More simulated machines: cycles, operating points, seasons, slow change, breaks, 1 to 60 inputs.

Steps from 50 ms to an hour. The form of every machine is drawn anew with each seed where it has
one (positions, profiles, mixtures), so that nothing can be tuned to it.
"""

# ruff: noqa: PLR2004 (the numbers are the parameters of a machine's formulas)

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from scripts.machines.machines import Machine, steady_pump
from scripts.machines.parts import jittered_phase, lagged, read, switching, wander

if TYPE_CHECKING:
    from scripts.machines.parts import Floats, Random

DAY_ROWS: Final = 1440  # at a step of a minute


def pick_and_place(random: Random, rows: int) -> Floats:
    """Three axes and a gripper at 50 ms, a part every 5 s; six of 18 channels are on or off."""
    phase = jittered_phase(random, rows, 100, 0.01)
    goals = random.uniform(0, 300, (3, 5))
    begins = np.sort(random.uniform(0.05, 0.9, (3, 5)), axis=1)
    columns, noise, steps = [], [], []
    for axis in range(3):
        wanted = goals[axis][np.searchsorted(begins[axis], phase, side="right") - 1]
        position = lagged(wanted, 5)
        speed = np.diff(position, prepend=position[0])
        load = 1 + 0.03 * wander(random, rows, 4000)
        columns += [position, speed * 20, 0.4 + 0.05 * np.abs(speed) * load]
        columns.append(20.0 + lagged(3 * np.abs(speed), 2000))
        noise += [0.1, 1.0, 0.02, 0.05]
        steps += [0.01, 0.1, 0.01, 0.1]
    for _ in range(6):
        begin, span = random.uniform(0, 0.9), random.uniform(0.05, 0.5)
        columns.append(((phase - begin) % 1.0 < span).astype(float))
        noise.append(0.0)
        steps.append(1.0)
    return read(random, columns, noise, steps)


def hydraulic_cycle(random: Random, rows: int) -> Floats:
    """Ten channels of a rig that repeats the same load profile each minute at 1 s."""
    phase = jittered_phase(random, rows, 60, 0.0)
    profile = random.uniform(60, 190, 6)
    at = np.minimum((phase * 6).astype(int), 5)
    pressure = lagged(profile[at], 2)
    flow = 8 + 0.03 * (190 - pressure)
    cooler = 45 + 2 * wander(random, rows, 3000)
    power = 0.8 + pressure * flow / 600
    oil = cooler + lagged(4 * power, 500)
    columns = [pressure, 0.97 * pressure, lagged(pressure, 6), flow, 0.9 * flow, power, oil]
    columns += [oil - 6, 0.5 + 0.02 * power, 20 + 0.5 * oil]
    noise = [0.5, 0.5, 0.3, 0.05, 0.05, 0.02, 0.1, 0.1, 0.01, 0.2]
    return read(random, columns, noise, [0.1, 0.1, 0.1, 0.01, 0.01, 0.01, 0.1, 0.1, 0.001, 0.1])


def six_points(random: Random, rows: int) -> Floats:
    """Six operating points, a new one every one to six rows; 20 channels follow them at once."""
    points = random.uniform(-1, 1, (6, 3))
    which = np.repeat(random.integers(0, 6, rows), random.integers(1, 7, rows))[:rows]
    setting = points[which]
    square = np.column_stack([setting, setting**2, setting[:, :1] * setting[:, 1:2]])
    gain = random.normal(0, 10, (square.shape[1], 17))
    state = np.column_stack([wander(random, rows, 40), wander(random, rows, 200)])
    sensors = 100 + square @ gain + state @ random.normal(0, 0.3, (2, 17))
    columns = [*setting.T, *sensors.T]
    return read(random, columns, [0.002] * 3 + [0.2] * 17, [0.001] * 3 + [0.01] * 17)


def large_process(random: Random, rows: int) -> Floats:
    """60 channels of a process with nine causes of different speed, one row a minute."""
    causes = [wander(random, rows, memory) for memory in (3, 6, 10, 20, 30, 60, 90, 200, 400)]
    moved = np.column_stack(causes)
    gain = random.normal(0, 1, (9, 60)) * (random.random((9, 60)) < 0.4)
    lags = random.integers(0, 8, 60)
    columns = [np.roll(moved @ gain[:, c], lags[c]) + 50 for c in range(60)]
    return read(random, columns, [0.3] * 60, [0.01] * 60)


def server_load(random: Random, rows: int) -> Floats:
    """One signal every 5 min: day and week, weekends at half, bursts that belong to it."""
    hour = np.arange(rows) / 12
    day = 0.5 - 0.5 * np.cos(2 * np.pi * (hour - 3) / 24)
    weekend = ((hour // 24).astype(int) % 7 >= 5) * 0.5
    load = 10 + 50 * day * (1 - weekend) * (1 + 0.1 * wander(random, rows, 40))
    burst = lagged((random.random(rows) < 1 / 288) * random.exponential(60, rows), 2)
    return read(random, [load + burst], [1.5], [0.01])


def office_climate(random: Random, rows: int) -> Floats:
    """Four channels every 5 min: heating by day, less at weekends, and the weather of a season."""
    hour = np.arange(rows) / 12
    outside = 8 - 6 * np.sin(2 * np.pi * hour / 24 + 1) + hour / 168
    outside += 3 * wander(random, rows, 600)
    workday = (hour // 24).astype(int) % 7 < 5
    occupied = ((hour % 24 > 7) & (hour % 24 < 18) & workday).astype(float)
    wanted = lagged(17 + 4 * occupied, 12)
    heat = np.clip((wanted - outside) * 3 + 8 * wander(random, rows, 20), 0, None)
    co2 = 420 + lagged(500 * occupied * (1 + 0.2 * wander(random, rows, 100)), 15)
    return read(random, [outside, wanted, heat, co2], [0.1, 0.1, 1, 10], [0.1, 0.1, 0.1, 1])


def hourly_plant(random: Random, rows: int) -> Floats:
    """A power unit by the hour: on or off by the week's demand, at two loads; six channels."""
    hour = np.arange(rows)
    demand = np.sin(2 * np.pi * (hour - 9) / 24) + 0.6 * ((hour // 24) % 7 < 5)
    demand += 0.8 * wander(random, rows, 60)
    power = np.where(demand > 0.9, 240.0, np.where(demand > -0.1, 150.0, 0.0))
    power *= 1 + 0.02 * wander(random, rows, 5)
    fuel = power / (0.42 + 0.00008 * power)
    exhaust = 40 + lagged(np.where(power > 0, 380 + 0.3 * power, 0), 1)
    sea = 9 + 4 * np.sin(2 * np.pi * hour / 8760) + 0.5 * wander(random, rows, 100)
    vacuum = 30 + sea + power / 20
    vibration = np.where(power > 0, 2 + power / 200, 0.1)
    columns = [power, fuel, exhaust, sea, vacuum, vibration]
    return read(random, columns, [1, 2, 3, 0.1, 0.4, 0.1], [1, 1, 1, 0.1, 0.1, 0.01])


def running_in(random: Random, rows: int) -> Floats:
    """A new compressor: its friction falls for a week, of which two days are learned."""
    left = np.exp(-np.arange(rows) / (3 * DAY_ROWS))
    load = wander(random, rows, 40)
    amps = 50 + 4 * load + 8 * left
    bearing = 55 + lagged(3 * load + 14 * left, 30)
    vibration = 2 + 0.1 * load + 0.6 * left
    return read(random, [amps, bearing, vibration], [0.4, 0.3, 0.1], [0.1, 0.1, 0.01])


def new_habits(random: Random, rows: int) -> Floats:
    """The steady pump by the minute; two weeks later its load changes for good, then once more."""
    found = steady_pump(random, rows)
    for share, moved in ((0.5, random.uniform(2, 4)), (0.75, -random.uniform(2, 4))):
        by = np.array([2 * moved, -0.05 * moved, 0.6 * moved, 2 * moved, 0.02 * moved])
        found[int(share * rows) :] += by
    return found


def new_habits_of_one(random: Random, rows: int) -> Floats:
    """One signal every 5 min whose level changes for good now and then."""
    level = np.zeros(rows)
    for at in np.cumsum(random.integers(1200, 2600, 8)).tolist():
        level[at:] += random.choice([-1, 1]) * random.uniform(2, 5)
    return read(random, [40 + level + wander(random, rows, 12)], [0.5], [0.1])


def counting_packer(random: Random, rows: int) -> Floats:
    """A packer every 5 s: 16-bit pieces that roll over, rejects, hours; it stops now and then."""
    on = switching(random, rows, (1.0, 0.0), 500)
    on = np.maximum(on, switching(random, rows, (1.0, 1.0, 0.0), 300))
    speed = lagged(on * (60 + 3 * wander(random, rows, 200)), 3)
    pieces = np.cumsum(np.clip(speed, 0, None) * 5 / 60).round() % 65_536
    rejects = np.cumsum(random.random(rows) < 0.01 * on).astype(float)
    air, heat = 6 - 0.004 * speed, 150 + 2 * wander(random, rows, 60)
    amps = 4 + 0.1 * speed
    columns = [pieces, rejects, speed, air, heat, amps]
    return read(random, columns, [0, 0, 0.3, 0.02, 0.3, 0.1], [1, 1, 0.1, 0.01, 0.1, 0.1])


def radio_station(random: Random, rows: int) -> Floats:
    """A pumping station by the minute over radio: breaks of minutes and hours, single losses."""
    day = 2 * np.pi * np.arange(rows) / DAY_ROWS
    used = 50 + 20 * np.sin(day - 2) + 5 * np.sin(2 * day) + 3 * wander(random, rows, 30)
    level = 3 + lagged(0.02 * (50 - used), 120) + 0.1 * wander(random, rows, 300)
    columns = [used, level, 5 - 0.01 * used, 20 + 0.3 * used]
    found = read(random, columns, [0.5, 0.02, 0.02, 0.2], [0.1, 0.01, 0.01, 0.1])
    found[random.random(found.shape) < 1 / 50] = np.nan
    for begin in random.integers(0, rows, rows // 800).tolist():
        found[begin : begin + int(random.exponential(60))] = np.nan
    return found


def throttled_pump(random: Random, rows: int) -> Floats:
    """Speed and valve wander widely: head with the square of the speed, power with its cube."""
    speed = np.clip(0.8 + 0.13 * wander(random, rows, 400), 0.45, 1.1)
    valve = np.clip(0.55 + 0.22 * wander(random, rows, 250), 0.12, 1.0)
    static = 0.25 + 0.03 * wander(random, rows, 900)
    resistance = 0.35 + 0.09 / valve**2
    flow = np.sqrt(np.clip(1.2 * speed**2 - static, 0.02, None) / (0.2 + resistance))
    head = 1.2 * speed**2 - 0.2 * flow**2
    power = speed**3 * (0.25 + 0.9 * flow / speed - 0.35 * (flow / speed) ** 2)
    warm = 40 + lagged(18 * power, 250)
    vibration = 0.4 + 0.8 * speed**4 + 0.5 * (flow / speed - 0.9) ** 2
    columns = [2900 * speed, 100 * valve, 120 * flow, 40 * head, 55 * power, warm, vibration]
    noise = [8, 0.4, 0.8, 0.25, 0.3, 0.1, 0.02]
    return read(random, columns, noise, [1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.01])


def sticking_valve(random: Random, rows: int) -> Floats:
    """A control valve whose stem follows its command with a dead band, and whose flow is bent."""
    command = np.clip(50 + 18 * wander(random, rows, 120) + 6 * wander(random, rows, 15), 2, 98)
    stem = np.empty(rows)
    at = float(command[0])
    for row, wanted in enumerate(command.tolist()):
        at = min(max(at, wanted - 4.0), wanted + 4.0)
        stem[row] = at
    drop = np.clip(2.5 + 0.6 * wander(random, rows, 500), 0.6, None)
    flow = 30 ** (stem / 100 - 1) * np.sqrt(drop) * 80
    air = 0.2 + 0.8 * stem / 100 + 0.1 * np.clip(np.gradient(stem), -1, 1)
    level = 50 + lagged(0.8 * (flow - 20), 150)
    columns = [command, stem, drop, flow, air, level]
    return read(random, columns, [0.05, 0.3, 0.01, 0.15, 0.004, 0.2], [0.1, 0.1, 0, 0.1, 0, 0.1])


KINDS_OF_MACHINE: Final = (
    Machine(
        "pick and place, 5-s cycle", 0.05, 12_000, 12_000, pick_and_place, tuple(range(12, 18))
    ),
    Machine("hydraulic rig, 60-s cycle", 1.0, 5400, 7200, hydraulic_cycle),
    Machine("six operating points", 300.0, 2016, 4032, six_points, (0, 1, 2)),
    Machine("large process, 60 inputs", 60.0, 4320, 4320, large_process),
    Machine("server load, 1 input", 300.0, 4032, 6048, server_load),
    Machine("office climate", 300.0, 4032, 6048, office_climate),
    Machine("hourly plant", 3600.0, 1512, 4032, hourly_plant),
    Machine("compressor running in", 60.0, 2880, 7200, running_in),
    Machine("pump with new habits", 60.0, 4320, 12_960, new_habits),
    Machine("new habits, 1 input", 300.0, 2016, 6048, new_habits_of_one),
    Machine("counting packer", 5.0, 8640, 8640, counting_packer, (0, 1)),
    Machine("radio station", 60.0, 4320, 7200, radio_station),
    Machine("throttled pump", 1.0, 14_400, 7200, throttled_pump),
    Machine("sticking valve", 1.0, 14_400, 7200, sticking_valve),
)
