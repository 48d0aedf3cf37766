"""Simulated lines of random shape, whose true bottleneck is known by long runs of each improvement.

Written apart from `edge_agent.insight.line_simulation`, with other assumptions: stops may come by
the calendar also while a station waits, repairs have long tails, products change the cycles.
"""

# ruff: noqa: PLR2004 (the numbers are those of the plants that are drawn)
from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.insight import CODES, LineData, MachineState, PartCounts, StateLog

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Stops = list[tuple[float, float]]

RUNNING: Final = CODES[MachineState.RUNNING]
BLOCKED: Final = CODES[MachineState.BLOCKED]
STARVED: Final = CODES[MachineState.STARVED]
DOWN: Final = CODES[MachineState.DOWN]
LANES: Final = 16
TRUE_PARTS: Final = 2000
_FILLED: Final = 100  # parts until the line is as it stays


@dataclass(frozen=True, slots=True)
class TrueLine:
    """cycle_s: by product and station [P, N]; mtbf_s: inf: no stops; buffers [N - 1].

    is_calendar: stops come by the calendar, also while a station waits. run_parts: parts until the
    next product.
    """

    cycle_s: Floats
    cv: Floats
    mtbf_s: Floats
    mttr_s: Floats
    repair_cv: Floats
    buffers: NDArray[np.intp]
    is_calendar: bool
    run_parts: int

    @property
    def stations(self) -> int:
        """How many stations the line has."""
        return int(self.cycle_s.shape[1])


@dataclass(slots=True)
class Recorded:
    """The states of one run and the times at which parts were finished, by station."""

    rows: list[tuple[int, int, float, float]] = field(default_factory=list)
    parts: list[tuple[int, float]] = field(default_factory=list)


def draw_line(seed: int, shape: str = "six") -> TrueLine:
    """A line; shape: six (as the tuner saw them), or mixed, tied, products."""
    rng = np.random.default_rng([seed, 12])
    n = 6 if shape == "six" else int(rng.integers(4, 13))
    cycle = rng.uniform(0.7, 1.0, n) * rng.uniform(20, 90)
    down_share = rng.uniform(0.0, 0.25, n) * (rng.random(n) < 0.8)
    mttr = rng.uniform(2, 15, n) * cycle.mean()
    if shape == "mixed":
        mttr *= np.where(rng.random(n) < 0.3, 5.0, 1.0)
    mtbf = np.where(
        down_share > 0.01, mttr * (1 - down_share) / np.maximum(down_share, 0.01), np.inf
    )
    if shape == "tied":
        first, second = rng.choice(n, 2, replace=False)
        for array in (cycle, mttr, mtbf):
            array[second] = array[first]
        cycle[[first, second]] = cycle.max() * 1.05
    cycles = cycle[None, :]
    if shape == "products":
        cycles = cycle * rng.uniform(0.75, 1.35, (2, n))
    highest = 12 if shape == "six" else 25
    buffers = rng.integers(0, highest, n - 1)
    if shape != "six":
        buffers = np.where(rng.random(n - 1) < 0.3, 0, buffers)
    return TrueLine(
        cycles,
        rng.choice([0.05, 0.15, 0.3, 0.6], n),
        mtbf,
        mttr,
        rng.choice([0.5, 1.0, 1.5], n),
        buffers,
        bool(rng.random() < 0.5),
        int(rng.integers(80, 200)) if shape == "products" else 1 << 30,
    )


class Plant:
    """One line in motion: scenarios [S] times lanes [R], with common random numbers."""

    def __init__(self, line: TrueLine, factors: Floats, lanes: int, parts: int, seed: int) -> None:
        self.line, self.factors = line, factors
        rng = np.random.default_rng([seed, 34])
        n, count = line.stations, len(factors)
        shape = 1 / np.square(line.cv)
        product = np.arange(parts) // line.run_parts % len(line.cycle_s)
        noise = np.stack([rng.gamma(a, 1 / a, (parts, lanes)) for a in shape], axis=1)
        self.work = noise * line.cycle_s[product][:, :, None]
        most = 64 + int(np.max(parts * 4 * line.cycle_s.mean() / line.mtbf_s))
        a = 1 / np.square(line.repair_cv)
        self.repairs = np.stack(
            [rng.gamma(a[i], line.mttr_s[i] / a[i], (most, lanes)) for i in range(n)]
        )
        ups = [rng.exponential(m if np.isfinite(m) else 1e18, (most, lanes)) for m in line.mtbf_s]
        self.ups = np.stack(ups)
        self.next = np.repeat(self.ups[:, None, 0, :], count, axis=1)
        self.number = np.zeros((n, count, lanes), np.intp)
        self.clock = np.zeros((n, count, lanes))  # operating time
        self.last = np.zeros((n, count, lanes))
        self.recorded: Recorded | None = None

    def _repair(self, i: int, where: NDArray[np.bool_]) -> tuple[Floats, Floats]:
        """The repair of the present stop and the time until the next one, at `where` [S, R]."""
        lanes = np.broadcast_to(np.arange(where.shape[1]), where.shape)[where]
        number = self.number[i][where] % self.repairs.shape[1]
        self.number[i][where] += 1
        after = self.number[i][where] % self.ups.shape[1]
        return self.repairs[i][number, lanes], self.ups[i][after, lanes]

    def work_on(self, i: int, start: Floats, work: Floats) -> tuple[Floats, Floats, Stops]:
        """Start and end of the work on a part; with the stops (begin, end) in the first lane."""
        if self.line.is_calendar:
            return self._by_calendar(i, start, start + work)
        stops: Stops = []
        end, until = start + work, self.clock[i] + work
        while (hit := self.next[i] < until).any():
            repair, up = self._repair(i, hit)
            if hit[0, 0]:
                begin = end[0, 0] - (until[0, 0] - self.next[i][0, 0])
                stops.append((begin, begin + repair[0]))
            end[hit] += repair
            self.next[i][hit] += up
        self.clock[i] = until
        return start, end, stops

    def _by_calendar(self, i: int, start: Floats, end: Floats) -> tuple[Floats, Floats, Stops]:
        stops: Stops = []
        while (hit := self.next[i] < end).any():
            repair, up = self._repair(i, hit)
            begin = self.next[i][hit]
            over = begin + repair
            waits = begin < start[hit]
            late = np.where(waits, np.maximum(over - start[hit], 0.0), repair)
            start[hit] += np.where(waits, late, 0.0)
            end[hit] += late
            self.next[i][hit] = over + up
            if hit[0, 0]:
                stops.append((begin[0], over[0]))
        return start, end, stops

    def run(self, warm: int = 0) -> Floats:
        """Parts per second by scenario and lane [S, R]."""
        n, count, lanes = self.last.shape
        ring = int(self.line.buffers.max()) + 2
        gone = np.zeros((n, ring, count, lanes))
        begun = np.zeros((count, lanes))
        for k in range(len(self.work)):
            if k == warm:
                begun = self.last[-1].copy()
            self._move_part(k, ring, gone)
        return np.asarray((len(self.work) - warm) / (self.last[-1] - begun))

    def _move_part(self, k: int, ring: int, gone: Floats) -> None:
        arrive = np.zeros_like(self.last[0])
        for i in range(len(self.last)):
            work = self.work[k, i][None, :] * self.factors[:, i, None]
            start, end, stops = self.work_on(i, np.maximum(arrive, self.last[i]), work)
            leave = end
            if i < len(self.last) - 1:
                leave = np.maximum(end, gone[i + 1, (k - self.line.buffers[i] - 1) % ring])
            if self.recorded is not None:
                self._record(i, start[0, 0], end[0, 0], leave[0, 0], stops)
            self.last[i] = gone[i, k % ring] = arrive = leave

    def _record(self, i: int, start: float, end: float, leave: float, stops: Stops) -> None:
        assert self.recorded is not None  # noqa: S101 (a rig)
        rows, now = self.recorded.rows, float(self.last[i][0, 0])
        spans = ((0.0, start, STARVED), (start, end, RUNNING), (end, leave, BLOCKED))
        for begin, over in [*sorted(stops), (leave, leave)]:
            if over < now:  # it was repaired while the station was blocked
                continue
            for low, high, state in spans:
                if min(high, begin) > max(low, now):
                    rows.append((i, state, max(low, now), min(high, begin)))
            if over > max(begin, now):
                rows.append((i, DOWN, max(begin, now), over))
            now = max(over, now)
        self.recorded.parts.append((i, end))


def true_gains(line: TrueLine, seed: int, factor: float = 0.9) -> Floats:
    """What each station gains the line, in parts per second, if its work takes `factor` of it."""
    factors = np.ones((line.stations + 1, line.stations))
    factors[1:][np.diag_indices(line.stations)] = factor
    rate = Plant(line, factors, LANES, TRUE_PARTS, seed).run(TRUE_PARTS // 5).mean(axis=1)
    return np.asarray(rate[1:] - rate[0])


def record(line: TrueLine, seed: int, hours: float) -> Recorded:
    """The states of one run of some hours, after the line has filled."""
    parts = _FILLED + int(hours * 3600 / line.cycle_s.max())
    plant = Plant(line, np.ones((1, line.stations)), 1, parts, seed + 7919)
    plant.recorded = Recorded()
    plant.run()
    to_s = float(plant.last.min())
    from_s = max(0.0, to_s - hours * 3600)
    rows = [(i, s, max(a, from_s), min(b, to_s)) for i, s, a, b in plant.recorded.rows]
    parts_in = [one for one in plant.recorded.parts if from_s <= one[1] < to_s]
    return Recorded([one for one in rows if one[3] > one[2]], sorted(parts_in, key=_when))


def _when(part: tuple[int, float]) -> float:
    return part[1]


def data_of(line: TrueLine, recorded: Recorded, step_s: float = 0.0) -> LineData:
    """What a gateway knows of a run; step_s: times are rounded to it."""
    rows = np.array(recorded.rows, np.float64).reshape(-1, 4)
    times = np.round(rows[:, 2:] / step_s) * step_s if step_s else rows[:, 2:]
    start_ns, end_ns = (times * 1e9).astype(np.int64).T
    log = StateLog(rows[:, 0].astype(np.int32), rows[:, 1].astype(np.int8), start_ns, end_ns)
    parts = np.array(recorded.parts, np.float64).reshape(-1, 2)
    at_ns = (parts[:, 1] * 1e9).astype(np.int64)
    counts = PartCounts(parts[:, 0].astype(np.int32), at_ns, np.ones(len(parts)))
    names = tuple(f"S{at + 1}" for at in range(line.stations))
    return LineData(names, log, counts, int(start_ns.min()), int(end_ns.max()))
