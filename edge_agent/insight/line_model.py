"""The model of a line, learned from the states of its machines and its part counts.

Work per part, its scatter, stops per hour of work, repairs, and buffers; by blocks of the window,
so that another product half-way is part of the model, and so that a bootstrap over blocks says how
certain all of it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.insight.states import CODES, MachineState

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_agent.insight.states import StateLog

    Floats = NDArray[np.float64]

BLOCKS: Final = 24
_PARTS_PER_BLOCK: Final = 8
_UNKNOWN_CV: Final = 0.2
_LEAST_SAMPLES: Final = 12  # of work, to know its scatter
_LEAST_STOPS: Final = 3  # to know the scatter of their length
_ALSO_WAITING: Final = 0.3
_TAIL: Final = 0.99
NS_PER_S: Final = 1_000_000_000
RUNNING: Final = CODES[MachineState.RUNNING]
IDLE: Final = CODES[MachineState.IDLE]
BLOCKED: Final = CODES[MachineState.BLOCKED]
STARVED: Final = CODES[MachineState.STARVED]
DOWN: Final = CODES[MachineState.DOWN]
SETUP: Final = CODES[MachineState.SETUP]
WAITS: Final = (BLOCKED, STARVED, IDLE)
PLANNED: Final = CODES[MachineState.PLANNED]
UNKNOWN: Final = CODES[MachineState.UNKNOWN]


@dataclass(frozen=True, slots=True)
class PartCounts:
    """Parts that machines finished: columns of one length, in the order of time.

    machine: its place in the line; at_ns: when they were counted; parts: how many, good or not.
    """

    machine: NDArray[np.int32]
    at_ns: NDArray[np.int64]
    parts: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class LineData:
    """What is known of a line in a window.

    buffers: capacities behind each machine but the last, if the config has them, else -1 [N - 1].
    """

    machines: tuple[str, ...]
    log: StateLog
    counts: PartCounts
    from_ns: int
    to_ns: int
    buffers: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class BlockSums:
    """seconds: by block, machine and state [B, N, 8]; stops: begun [B, N]; parts: [B], of the line.

    is_counted: parts come from counters; False: from the intervals in which machines ran.
    """

    seconds: Floats
    stops: Floats
    parts: Floats
    is_counted: bool

    def share(self, *states: int) -> Floats:
        """Share of the known, unplanned time that machines were in these states [N]."""
        return shares(self.seconds.sum(axis=0), *states)


def shares(seconds: Floats, *states: int) -> Floats:
    """Share of the known, unplanned time; seconds: [..., N, 8]. 0 for a machine without any."""
    known = seconds.sum(axis=-1) - seconds[..., UNKNOWN] - seconds[..., PLANNED]
    part = seconds[..., list(states)].sum(axis=-1)
    return np.asarray(part / np.maximum(known, 1e-9))


def block_sums(data: LineData) -> BlockSums:
    """Sum up a window in blocks of equal length; at most BLOCKS, with some parts in each."""
    parts, is_counted = _line_parts(data, np.array([data.from_ns, data.to_ns], np.int64))
    blocks = int(np.clip(parts.sum() // _PARTS_PER_BLOCK, 1, BLOCKS))
    edges = np.linspace(data.from_ns, data.to_ns, blocks + 1).astype(np.int64)
    parts, _ = _line_parts(data, edges)
    return BlockSums(_seconds(data, edges), _stops(data, edges), parts, is_counted)


def _seconds(data: LineData, edges: NDArray[np.int64]) -> Floats:
    log, n = data.log, len(data.machines)
    key = log.machine.astype(np.intp) * len(MachineState) + log.state
    found = []
    for edge in edges:
        before = np.clip(edge - log.start_ns, 0, log.end_ns - log.start_ns) / NS_PER_S
        found.append(np.bincount(key, before, n * len(MachineState)))
    total = np.array(found, np.float64)
    return (total[1:] - total[:-1]).reshape(-1, n, len(MachineState))


def _stops(data: LineData, edges: NDArray[np.int64]) -> Floats:
    """Stops that begin in each block, by machine [B, N]."""
    log = data.log
    begins = np.isin(log.state, (DOWN, SETUP))
    return _counted(log.machine[begins], log.start_ns[begins], None, edges, len(data.machines))


def _counted(
    machine: NDArray[np.int32],
    at_ns: NDArray[np.int64],
    weights: Floats | None,
    edges: NDArray[np.int64],
    n: int,
) -> Floats:
    block = np.searchsorted(edges, at_ns, side="right") - 1
    inside = (block >= 0) & (block < len(edges) - 1)
    key = block[inside] * n + machine[inside]
    weights = None if weights is None else weights[inside]
    return np.bincount(key, weights, (len(edges) - 1) * n).reshape(-1, n).astype(np.float64)


def _line_parts(data: LineData, edges: NDArray[np.int64]) -> tuple[Floats, bool]:
    """Parts that passed the line in each block [B]: the median of the machines that count."""
    counts, n = data.counts, len(data.machines)
    if len(counts.machine):
        found = _counted(counts.machine, counts.at_ns, counts.parts, edges, n)
        counting = found.sum(axis=0) > 0
        return np.median(found[:, counting], axis=1), True
    machine, start_ns = cycle_starts(data.log)
    found = _counted(machine, start_ns, None, edges, n)
    seen = np.quantile(found.sum(axis=0), 0.75)
    total = found.sum(axis=0)
    near = total >= 0.9 * seen
    return np.median(found[:, near], axis=1) if near.any() else found[:, 0] * 0, False


def cycle_starts(log: StateLog) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Where machines begin to run, other than after a stop: a part is begun; machine and time."""
    order = np.lexsort((log.start_ns, log.machine))
    machine, state = log.machine[order], log.state[order]
    after_stop = np.zeros(len(order), np.bool_)
    after_stop[1:] = (machine[1:] == machine[:-1]) & np.isin(state[:-1], (DOWN, SETUP))
    begins = (state == RUNNING) & ~after_stop
    return machine[begins], log.start_ns[order][begins]


@dataclass(frozen=True, slots=True)
class LearnedLine:
    """What simulations of the line need.

    cycle_s: work per part that leaves the line, by block [B, N]; parts: weight of each block [B];
    cv: scatter of the work [N]; stops, run_s, down_s: in the whole window [N]; repair_cv: [N].
    with_work: False for a machine that also stops while it waits: less work is no fewer stops [N].
    """

    cycle_s: Floats
    parts: Floats
    cv: Floats
    stops: Floats
    run_s: Floats
    down_s: Floats
    repair_cv: Floats
    with_work: NDArray[np.bool_]

    @property
    def stations(self) -> int:
        """How many stations the line has."""
        return int(self.cycle_s.shape[1])


def learn_line(data: LineData, sums: BlockSums) -> LearnedLine:
    """The model of a line whose window has parts; machines without known time get no work."""
    whole = sums.seconds.sum(axis=0)
    samples = [work_samples(data, machine) for machine in range(len(data.machines))]
    cv = np.array([_scatter(one) for one in samples])
    used = sums.parts > 0
    parts, seconds = sums.parts[used], sums.seconds[used]
    running = _filled(seconds)
    return LearnedLine(
        _steadied(running / parts[:, None], parts, cv),
        parts,
        cv,
        sums.stops.sum(axis=0),
        whole[:, RUNNING],
        whole[:, DOWN] + whole[:, SETUP],
        np.array([_repair_cv(data.log, machine) for machine in range(len(data.machines))]),
        stops_with_work(data.log, whole),
    )


def stops_with_work(log: StateLog, seconds: Floats) -> NDArray[np.bool_]:
    """False if stops also begin while machines wait, nearly as often as while they work [N].

    Told for the whole line: one machine stops too seldom. seconds: by machine and state [N, 8].
    """
    order = np.lexsort((log.start_ns, log.machine))
    machine, state = log.machine[order], log.state[order]
    before = state[:-1][(machine[1:] == machine[:-1]) & (state[1:] == DOWN)]
    in_wait, in_work = np.isin(before, WAITS).sum(), (before == RUNNING).sum()
    wait_s, run_s = seconds[:, WAITS].sum(), seconds[:, RUNNING].sum()
    also_waiting = in_wait * max(run_s, 1.0) >= _ALSO_WAITING * wait_s * max(in_work, 1)
    return np.full(len(seconds), not (also_waiting and in_wait))


def _filled(seconds: Floats) -> Floats:
    """Seconds of running by block [B, N], scaled up for the time in which nothing was known."""
    whole = seconds.sum(axis=-1)
    unknown = seconds[..., UNKNOWN]
    known = np.maximum(whole - unknown, 1e-9)
    scale = np.where(unknown < 0.8 * whole, whole / known, 1.0)
    return np.asarray(seconds[..., RUNNING] * scale)


def _steadied(cycle_s: Floats, parts: Floats, cv: Floats) -> Floats:
    """Means of blocks, drawn to the mean of all by as much as chance alone makes them differ."""
    weight = parts[:, None] / parts.sum()
    mean = (cycle_s * weight).sum(axis=0)
    chance = (np.square(np.maximum(cv, 0.02) * mean) + np.square(0.5 * mean) / parts.mean()) / (
        parts[:, None]
    )
    between = np.maximum((weight * np.square(cycle_s - mean)).sum(axis=0) - chance.mean(axis=0), 0)
    return np.asarray(mean + (cycle_s - mean) * between / (between + chance + 1e-12))


def work_samples(data: LineData, machine: int) -> Floats:
    """Seconds of running for each part of a machine, without its stops and waits.

    From counts of single parts; without a counter, from the intervals in which it ran.
    """
    log, counts = data.log, data.counts
    rows = np.flatnonzero((log.machine == machine) & (log.state == RUNNING))
    if not len(rows):
        return np.zeros(0)
    rows = rows[np.argsort(log.start_ns[rows], kind="stable")]
    start, end = log.start_ns[rows], log.end_ns[rows]
    mine = (counts.machine == machine) & (counts.parts == 1)
    if mine.sum() > 1:
        return running_between(start, end, counts.at_ns[mine])
    begun_at, begun = cycle_starts(log)
    return running_between(start, end, begun[begun_at == machine])


def running_between(
    start_ns: NDArray[np.int64], end_ns: NDArray[np.int64], at_ns: NDArray[np.int64]
) -> Floats:
    """Seconds of running between each moment and the next one; intervals in the order of time."""
    total = np.concatenate([[0], np.cumsum(end_ns - start_ns)])
    row = np.searchsorted(start_ns, at_ns, side="right") - 1
    inside = np.clip(at_ns - start_ns[row], 0, (end_ns - start_ns)[row])
    until = np.where(row >= 0, total[row] + inside, 0)
    return np.diff(until) / NS_PER_S


def _scatter(samples: Floats) -> float:
    """Coefficient of variation between neighbours: another product half-way is no scatter."""
    if len(samples) < _LEAST_SAMPLES:
        return _UNKNOWN_CV
    steps = np.abs(np.diff(samples))
    steps = np.minimum(steps, np.quantile(steps, _TAIL))
    mean = samples.mean()
    return float(np.clip(np.sqrt(np.mean(steps**2) / 2) / max(mean, 1e-9), 0.01, 1.5))


def _repair_cv(log: StateLog, machine: int) -> float:
    """Scatter of the stops of a machine, drawn to that of an exponential distribution."""
    mine = (log.machine == machine) & np.isin(log.state, (DOWN, SETUP))
    lasted = (log.end_ns - log.start_ns)[mine] / NS_PER_S
    if len(lasted) < _LEAST_STOPS:
        return 1.0
    own = float(lasted.std() / max(lasted.mean(), 1e-9))
    return float(np.clip((own * len(lasted) + 4) / (len(lasted) + 4), 0.2, 2.0))
