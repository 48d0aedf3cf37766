"""The machine that limits a line, what improving it would gain, and how sure that is.

The line is learned from a window (`line_model`, `buffers`) and simulated with each machine
improved. The machine is named whose improvement gains most over many histories that the data
allows. The share of active time (work and stops) and the turning point of blocked and starved
machines (Li, Chang and Ni, IJPR 47, 2009) stand beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.insight.buffers import Buffer, find_buffers
from edge_agent.insight.hidden_waits import hides_waits
from edge_agent.insight.line_answer import Bottleneck, Gain, Station
from edge_agent.insight.line_histories import draw_histories
from edge_agent.insight.line_model import (
    BLOCKED,
    DOWN,
    IDLE,
    RUNNING,
    SETUP,
    STARVED,
    UNKNOWN,
    block_sums,
    learn_line,
    shares,
)
from edge_agent.insight.line_simulation import MOST_BUFFER, Scenarios, same_line, simulate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_agent.insight.line_model import BlockSums, LearnedLine, LineData

    Floats = NDArray[np.float64]

FASTER: Final = 0.9
HALVED: Final = 0.5
MORE_BUFFER: Final = 5  # parts
LEAST_PARTS: Final = 30
LEAST_KNOWN: Final = 0.5  # of the time of a machine; below, it is not seen
FULL_KNOWN: Final = 0.8
_MOST_UNSEEN: Final = 0.5  # of the machines
_LANES: Final = 48
_PARTS: Final = 800
_WARM: Final = 120
_SURE: Final = 0.65
_SURE_IF_IDLE: Final = 0.85
_MOST_IDLE: Final = 0.1  # of the time of a machine; above, its flags blocked or starved may lack
_TIE: Final = 0.05  # of the best gain: machines that are so close are equally good
_SET: Final = 0.8
_MOST_NAMED: Final = 3
_FITS: Final = 0.12  # root mean square of shares of time
_RATE_FITS: Final = 0.12
_WAITS_OUTSIDE: Final = 0.15
_NEVER_WAITS: Final = 0.002  # share of time
_FLAGS_OFF: Final = 0.03  # shares of time that differ by so little are equal
_UNSEEN_OFF: Final = 0.1  # the same around a machine that is not seen
_INTERVAL: Final = (0.05, 0.95)
_RESAMPLED: Final = 200


@dataclass(frozen=True, slots=True)
class Gains:
    """By machine and lane, as a share of the rate [N, R]; buffered [N - 1, R]."""

    faster: Floats
    repaired: Floats
    buffered: Floats

    def chances(self) -> Floats:
        """How often each machine is the best one to improve, or as good as the best [N]."""
        best = self.faster.max(axis=0)
        return np.asarray((self.faster >= best * (1 - _TIE)).mean(axis=1))


@dataclass(frozen=True, slots=True)
class Learned:
    """What was found in a window; known: share of the time of each machine [N]."""

    data: LineData
    sums: BlockSums
    known: Floats
    line: LearnedLine
    buffers: list[Buffer]
    gains: Gains
    seed: int

    @property
    def sizes(self) -> NDArray[np.intp]:
        """The capacities of the buffers [N - 1]."""
        return np.array([one.capacity for one in self.buffers], np.intp)


def find_bottleneck(data: LineData, seed: int = 0) -> Bottleneck:
    """Name the bottleneck of a line in a window; the same seed gives the same answer."""
    sums = block_sums(data)
    known = known_shares(data, sums)
    parts = float(sums.parts.sum())
    refused = _refusal(known, parts)
    if refused:
        return Bottleneck("too_little", (), 0.0, (refused,), parts, None, float(known.mean()))
    line = learn_line(data, sums)
    buffers = find_buffers(data, line, sums.share(BLOCKED), sums.share(STARVED), seed)
    sizes = np.array([one.capacity for one in buffers], np.intp)
    gains = find_gains(line, sizes, seed)
    return _answer(Learned(data, sums, known, line, buffers, gains, seed))


def known_shares(data: LineData, sums: BlockSums) -> Floats:
    """Share of the window in which the state of each machine is known [N]."""
    whole_s = sums.seconds.sum(axis=(0, 2)).max(initial=0.0)
    told = sums.seconds.sum(axis=(0, 2)) - sums.seconds[..., UNKNOWN].sum(axis=0)
    # Breaks are in no machine's log: what no machine has is not missing.
    return np.asarray(told / max(whole_s, 1e-9)) if len(data.machines) else np.zeros(0)


def _refusal(known: Floats, parts: float) -> str:
    """Why nothing can be said; empty if something can."""
    if np.mean(known < LEAST_KNOWN) >= _MOST_UNSEEN:
        return "few_states"
    return "few_parts" if parts < LEAST_PARTS else ""


def find_gains(line: LearnedLine, sizes: NDArray[np.intp], seed: int) -> Gains:
    """Simulate each improvement of each machine."""
    n = line.stations
    work, down = draw_histories(line, _PARTS, _LANES, np.random.default_rng([seed, 7]))
    run = simulate(work, down, improvements(line, sizes), _WARM)
    gains = run.rate[1:] / run.rate[0] - 1
    return Gains(gains[:n], gains[n : 2 * n], gains[2 * n :])


def improvements(line: LearnedLine, sizes: NDArray[np.intp]) -> Scenarios:
    """The line as it is, each machine faster, each repaired sooner, each buffer larger."""
    n = line.stations
    made = same_line(n, 1 + 2 * n + n - 1, sizes)
    each = np.arange(n)
    made.work[1 + each, each] = FASTER
    made.down[1 + each, each] = np.where(line.with_work, FASTER, 1.0)
    made.down[1 + n + each, each] = HALVED
    made.buffers[1 + 2 * n + each[:-1], each[:-1]] += MORE_BUFFER
    np.minimum(made.buffers, MOST_BUFFER + MORE_BUFFER, out=made.buffers)
    return made


def _answer(found: Learned) -> Bottleneck:
    sums, names = found.sums, found.data.machines
    order = np.argsort(-found.gains.faster.mean(axis=1), kind="stable")
    confidence = float(found.gains.chances()[order[0]])
    doubts = doubts_about(found, int(order[0]))
    doubts += ["tie"] if confidence < _least_confidence(sums) else []
    turning = turning_point(sums.share(BLOCKED), sums.share(STARVED))
    parts = float(sums.parts.sum())
    seconds = float(sums.seconds.sum(axis=(0, 2)).max())
    return Bottleneck(
        "not_sure" if doubts else "named",
        tuple(names[one] for one in _chosen(found, order, sure=not doubts)),
        confidence,
        tuple(doubts),
        parts,
        parts / seconds * 3600 if sums.is_counted else None,
        float(found.known.mean()),
        names[int(sums.share(RUNNING, DOWN, SETUP).argmax())],
        None if turning is None else names[turning],
        _stations(found),
        tuple(found.buffers),
    )


def _least_confidence(sums: BlockSums) -> float:
    """To name a machine; more if a machine is idle for long: nothing says what it waits for."""
    return _SURE_IF_IDLE if sums.share(IDLE).max() > _MOST_IDLE else _SURE


def _chosen(found: Learned, order: NDArray[np.intp], *, sure: bool) -> list[int]:
    """The named machine; if it is not sure, as many as together are likely, and the unseen."""
    if sure:
        return [int(order[0])]
    together = np.cumsum(found.gains.chances()[order])
    count = int(np.searchsorted(together, _SET) + 1)
    chosen = [int(one) for one in order[: min(max(count, 2), _MOST_NAMED)]]
    unseen = np.flatnonzero(found.known < LEAST_KNOWN).tolist()
    return chosen + [one for one in unseen if one not in chosen]


def turning_point(blocked: Floats, starved: Floats) -> int | None:
    """The machine before which machines are blocked, and behind which they starve; None: none is.

    Of several such machines, the one that waits least.
    """
    last = len(blocked) - 1
    found = [at for at in range(last + 1) if _may_limit(at, blocked, starved)]
    if not found or not (blocked + starved).any():
        return None
    return min(found, key=lambda at: float(blocked[at] + starved[at]))


def _may_limit(at: int, blocked: Floats, starved: Floats, off: float = 0.0) -> bool:
    """True if its neighbours wait as they do around a bottleneck; off: or differ by less."""
    before = at == 0 or blocked[at - 1] >= starved[at - 1] - off
    behind = at == len(blocked) - 1 or starved[at + 1] >= blocked[at + 1] - off
    return bool(before and behind)


def doubts_about(found: Learned, best: int) -> list[str]:
    """Why the data itself may not be trusted if it names machine `best`; see `DOUBTS`."""
    blocked, starved = found.sums.share(BLOCKED), found.sums.share(STARVED)
    doubts = []
    unseen = np.flatnonzero(found.known < FULL_KNOWN).tolist()
    if any(_may_limit(at, blocked, starved, _UNSEEN_OFF) for at in unseen):
        doubts.append("unseen")
    if not (blocked.any() or starved.any()):
        return [*doubts, "no_waits"]
    doubts += ["supply"] if starved[0] > _WAITS_OUTSIDE else []
    doubts += ["demand"] if blocked[-1] > _WAITS_OUTSIDE else []
    if not doubts and (waits_as_work(found, best) or not fits(found)):
        doubts.append("contradiction")
    return doubts


def waits_as_work(found: Learned, at: int) -> bool:
    """True if a machine seems to report that it runs while it waits: it would look like a limit."""
    blocked, starved = found.sums.share(BLOCKED), found.sums.share(STARVED)
    never = blocked[at] + starved[at] < _NEVER_WAITS
    elsewhere = not _may_limit(at, blocked, starved, _FLAGS_OFF)
    return bool(never and elsewhere) or hides_waits(found.data, at)


def fits(found: Learned) -> bool:
    """True if the learned line waits and delivers as the real one did."""
    sums, line = found.sums, found.line
    rng = np.random.default_rng([found.seed, 9])
    work, down = draw_histories(line, _PARTS, 16, rng, certain=True)
    run = simulate(work, down, same_line(line.stations, 1, found.sizes), _WARM)
    seen = found.known >= FULL_KNOWN
    blocked, starved = run.blocked[0] - sums.share(BLOCKED), run.starved[0] - sums.share(STARVED)
    off = np.sqrt(np.mean(np.square(np.concatenate([blocked[seen], starved[seen]]))))
    known_s = sums.seconds.sum(axis=2).max(axis=1)
    rate = sums.parts.sum() / max(known_s[sums.parts > 0].sum(), 1e-9)
    return bool(off <= _FITS and abs(run.rate.mean() / rate - 1) <= _RATE_FITS)


def _stations(found: Learned) -> tuple[Station, ...]:
    low, high = _active_interval(found)
    return tuple(_station(found, at, low, high) for at in range(found.line.stations))


def _station(found: Learned, at: int, low: Floats, high: Floats) -> Station:
    sums, line, gains = found.sums, found.line, found.gains
    stops = line.stops[at]
    return Station(
        found.data.machines[at],
        float(sums.share(RUNNING, DOWN, SETUP)[at]),
        float(low[at]),
        float(high[at]),
        float(sums.share(DOWN, SETUP)[at]),
        float(sums.share(BLOCKED)[at]),
        float(sums.share(STARVED)[at]),
        float(found.known[at]),
        float(line.cycle_s[:, at] @ line.parts / line.parts.sum()),
        float(line.run_s[at] / stops) if stops else None,
        float(line.down_s[at] / stops) if stops else None,
        float(gains.chances()[at]),
        _gain(gains.faster[at]),
        _gain(gains.repaired[at]),
        _gain(gains.buffered[at]) if at < len(gains.buffered) else None,
    )


def _gain(lanes: Floats) -> Gain:
    low, high = np.quantile(lanes, _INTERVAL)
    return Gain(float(lanes.mean()), float(low), float(high))


def _active_interval(found: Learned) -> tuple[Floats, Floats]:
    """The 90 % interval of the share of active time, by a bootstrap over the blocks [N]."""
    rng = np.random.default_rng([found.seed, 11])
    seconds = found.sums.seconds
    chosen = rng.integers(0, len(seconds), (_RESAMPLED, len(seconds)))
    shown = shares(seconds[chosen].sum(axis=1), RUNNING, DOWN, SETUP)
    low, high = np.quantile(shown, _INTERVAL, axis=0)
    return low, high
