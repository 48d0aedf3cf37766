"""Capacities of the buffers between machines: from part counts, or from how often machines wait."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from edge_agent.insight.line_histories import draw_histories
from edge_agent.insight.line_model import BLOCKED, NS_PER_S, STARVED
from edge_agent.insight.line_simulation import MOST_BUFFER, same_line, simulate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edge_agent.insight.line_model import LearnedLine, LineData

    Floats = NDArray[np.float64]

Origin = Literal["config", "counts", "waits"]
_GRID: Final = np.array([0, 1, 2, 3, 5, 8, 12, 18, 30, 60])
_NEAR_NS: Final = 2 * NS_PER_S
_SINGLY: Final = 0.95  # of the counts are of one part
_LEAST: Final = 3  # times that a buffer was seen full
_LANES: Final = 12
_PARTS: Final = 500
_WARM: Final = 80


@dataclass(frozen=True, slots=True)
class Buffer:
    """The capacity behind a machine in parts, with the range that the data allows."""

    capacity: int
    low: int
    high: int
    origin: Origin


def find_buffers(
    data: LineData, line: LearnedLine, blocked: Floats, starved: Floats, seed: int
) -> list[Buffer]:
    """The buffer behind each machine but the last.

    blocked, starved: observed shares of time [N], which the simulated line must also show.
    """
    found = [_known(data, behind) for behind in range(line.stations - 1)]
    if all(found):
        return [one for one in found if one]
    return _fitted(line, found, blocked, starved, np.random.default_rng([seed, 5]))


def _known(data: LineData, behind: int) -> Buffer | None:
    """By the config, or else by counts; None if neither tells."""
    if behind < len(data.buffers) and data.buffers[behind] >= 0:
        capacity = data.buffers[behind]
        return Buffer(capacity, capacity, capacity, "config")
    return _counted(data, behind)


def _counted(data: LineData, behind: int) -> Buffer | None:
    """Parts between two machines when the first is blocked, less those when the second starves."""
    if not (counts_singly(data, behind) and counts_singly(data, behind + 1)):
        return None
    full_at = _middles(data, behind, BLOCKED)
    empty_at = _middles(data, behind + 1, STARVED)
    if len(full_at) < _LEAST or not len(empty_at):
        return None
    full, empty = _between(data, behind, full_at), _between(data, behind, empty_at)
    nearest = np.abs(full_at[:, None] - empty_at[None, :]).argmin(axis=1)
    samples = np.clip(full - empty[nearest] - 1, 0, MOST_BUFFER)
    low, middle, high = np.quantile(samples, (0.1, 0.5, 0.9)).round().astype(int).tolist()
    return Buffer(middle, low, high, "counts")


def counts_singly(data: LineData, machine: int) -> bool:
    """True if nearly all counts of a machine are of one part."""
    mine = data.counts.parts[data.counts.machine == machine]
    return len(mine) > 0 and bool(np.mean(mine == 1) > _SINGLY)


def _middles(data: LineData, machine: int, state: int) -> NDArray[np.int64]:
    log = data.log
    mine = (log.machine == machine) & (log.state == state)
    middle = log.start_ns[mine] + (log.end_ns[mine] - log.start_ns[mine]) // 2
    return np.sort(middle)[-2000:]


def _between(data: LineData, behind: int, at_ns: NDArray[np.int64]) -> Floats:
    """Parts that the first machine has let go and the second one has not, at some moments."""
    return _departed(data, behind, at_ns) - _departed(data, behind + 1, at_ns)


def _departed(data: LineData, machine: int, at_ns: NDArray[np.int64]) -> Floats:
    counted = data.counts.at_ns[data.counts.machine == machine]
    passed = np.searchsorted(counted, at_ns, side="right").astype(np.float64)
    if _counts_when_done(data, machine, counted):
        passed -= _is_in(data, machine, at_ns)
    return passed


def _counts_when_done(data: LineData, machine: int, counted: NDArray[np.int64]) -> bool:
    """True if parts are counted when their work is over, not when they leave a blocked machine."""
    log = data.log
    mine = (log.machine == machine) & (log.state == BLOCKED)
    begins, ends = log.start_ns[mine], log.end_ns[mine]
    return bool(_near(counted, begins).sum() >= _near(counted, ends).sum())


def _near(counted: NDArray[np.int64], at_ns: NDArray[np.int64]) -> NDArray[np.bool_]:
    place = np.clip(np.searchsorted(counted, at_ns), 1, len(counted) - 1)
    gap = np.minimum(np.abs(counted[place] - at_ns), np.abs(counted[place - 1] - at_ns))
    return np.asarray(gap <= _NEAR_NS)


def _is_in(data: LineData, machine: int, at_ns: NDArray[np.int64]) -> Floats:
    """1 where a machine is blocked at a moment."""
    log = data.log
    mine = (log.machine == machine) & (log.state == BLOCKED)
    start, end = log.start_ns[mine], log.end_ns[mine]
    order = np.argsort(start)
    start, end = start[order], end[order]
    if not len(start):
        return np.zeros(len(at_ns))
    row = np.searchsorted(start, at_ns, side="right") - 1
    inside: Floats = ((row >= 0) & (at_ns < end[row])).astype(np.float64)
    return inside


def _fitted(
    line: LearnedLine,
    known: Sequence[Buffer | None],
    blocked: Floats,
    starved: Floats,
    rng: np.random.Generator,
) -> list[Buffer]:
    """Those that make the simulated machines wait as the real ones do; one after the other."""
    work, down = draw_histories(line, _PARTS, _LANES, rng, certain=True)
    sizes = np.array([3 if one is None else one.capacity for one in known], np.intp)
    open_ = [at for at, one in enumerate(known) if one is None]
    errors = np.zeros((len(known), len(_GRID)))
    for at in open_ * 2:
        scenarios = same_line(line.stations, len(_GRID), sizes)
        scenarios.buffers[:, at] = _GRID
        run = simulate(work, down, scenarios, _WARM)
        errors[at] = np.square(run.blocked - blocked).sum(axis=1)
        errors[at] += np.square(run.starved - starved).sum(axis=1)
        sizes[at] = _GRID[errors[at].argmin()]
    return [one or _of_errors(errors[at]) for at, one in enumerate(known)]


def _of_errors(errors: Floats) -> Buffer:
    near = _GRID[errors <= errors.min() + 0.002]
    return Buffer(int(_GRID[errors.argmin()]), int(near.min()), int(near.max()), "waits")
