"""A serial line in numpy: stations, finite buffers, random cycles and stops; many what-ifs at once.

Departure times by recursion, with blocking after service: part k leaves station i when its work and
its stops are over and part k - b - 1 has left station i + 1, where b is the capacity of the buffer
between them (Buzacott and Shanthikumar, Stochastic Models of Manufacturing Systems, chapter 5).
All scenarios see the same random numbers, so that their difference has little noise. A lane is one
random history of the line. The first station always has material, the last one always has room.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

MOST_BUFFER: Final = 400  # parts; a larger buffer never fills in the runs of this module


@dataclass(frozen=True, slots=True)
class Scenarios:
    """What is different in each scenario [S]; the first one is the line as it is.

    work, down: factors of the time that a part is worked on and that stops take [S, N].
    buffers: capacity in parts behind each station but the last [S, N - 1].
    """

    work: Floats
    down: Floats
    buffers: NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Run:
    """rate: good parts per second [S, R]; blocked, starved: share of time [S, N]."""

    rate: Floats
    blocked: Floats
    starved: Floats


def same_line(stations: int, count: int, buffers: NDArray[np.intp]) -> Scenarios:
    """`count` scenarios that are all the line as it is."""
    ones = np.ones((count, stations))
    return Scenarios(ones, ones.copy(), np.tile(np.minimum(buffers, MOST_BUFFER), (count, 1)))


def simulate(work: Floats, down: Floats, scenarios: Scenarios, warm: int) -> Run:
    """Run the parts through the line.

    work, down: seconds of work and of stops of each part at each station [K, N, R] (R lanes).
    warm: parts at the start that are not counted.
    """
    line = _Line(work.shape, scenarios)
    begin = np.zeros((len(scenarios.work), work.shape[2]))
    for part in range(len(work)):
        if part == warm:
            begin = line.last[-1].copy()
            line.blocked[:] = line.starved[:] = 0.0
        line.move_part(part, work[part], down[part])
    lasted = line.last[-1] - begin
    share = lasted.sum(axis=1)[:, None]
    rate = (len(work) - warm) / np.maximum(lasted, 1e-9)
    return Run(rate, line.blocked.T / share, line.starved.T / share)


class _Line:
    """The departure times of the newest parts, by station.

    last: of the newest part [N, S, R]; blocked, starved: seconds over all lanes [N, S].
    """

    def __init__(self, shape: tuple[int, ...], scenarios: Scenarios) -> None:
        _, stations, lanes = shape
        count = len(scenarios.work)
        self.last = np.zeros((stations, count, lanes))
        self.blocked = np.zeros((stations, count))
        self.starved = np.zeros((stations, count))
        self._work = scenarios.work.T[:, :, None].copy()
        self._down = scenarios.down.T[:, :, None].copy()
        self._back = scenarios.buffers.T + 1  # parts ahead whose departure makes room [N - 1, S]
        self._ring = int(self._back.max(initial=1)) + 1
        self._gone = np.zeros((stations, self._ring, count, lanes))
        self._rows = np.arange(count)

    def move_part(self, part: int, work: Floats, down: Floats) -> None:
        """Move one part through all stations; work, down: its seconds [N, R]."""
        arrive = None
        final = len(self.last) - 1
        for station, last in enumerate(self.last):
            start = last if arrive is None else np.maximum(arrive, last)
            if arrive is not None:
                self.starved[station] += (start - last).sum(axis=1)
            end = start + self._work[station] * work[station]
            if down[station].any():
                end += self._down[station] * down[station]
            leave = end
            if station < final:
                slot = (part - self._back[station]) % self._ring
                leave = np.maximum(end, self._gone[station + 1, slot, self._rows])
                self.blocked[station] += (leave - end).sum(axis=1)
            last[:] = leave
            self._gone[station, part % self._ring] = leave
            arrive = last
