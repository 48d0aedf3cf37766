"""Problems of signals, and the episodes in which they last."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_agent.status_codes import Severity, is_lost, is_of_node, severity_of
from edge_agent.values import BAD_OUT_OF_RANGE

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Problem(IntEnum):
    """Why the values of a signal cannot be trusted."""

    NONE = 0
    BAD = 1
    OUT_OF_RANGE = 2
    LOST = 3
    STALE = 4
    STUCK = 5
    REFUSED = 6  # the node does not exist, may not be read or is not a number: the config's fault


@dataclass(frozen=True, slots=True)
class Episode:
    """A problem of a signal starts or ends at `at_us`; with its value and status at that time."""

    signal: int
    problem: Problem
    begins: bool
    at_us: int
    value: float
    status: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Values ordered by signal and time, with the problem of each, columns [n]."""

    signal: NDArray[np.int32]
    time_us: NDArray[np.int64]
    value: NDArray[np.float64]
    status: NDArray[np.uint32]
    problem: NDArray[np.uint8]


def problems_of(
    value: NDArray[np.float64], status: NDArray[np.uint32], uncertain_is_bad: NDArray[np.bool_]
) -> NDArray[np.uint8]:
    """The problem that each value shows by itself, [n]."""
    severity = severity_of(status)
    bad = (severity == Severity.BAD) | np.isnan(value)
    bad |= (severity == Severity.UNCERTAIN) & uncertain_is_bad
    problem = np.where(bad, Problem.BAD, Problem.NONE).astype(np.uint8)
    if bad.any():
        code = status & np.uint32(0xFFFF_0000)
        problem[bad & (code == BAD_OUT_OF_RANGE)] = Problem.OUT_OF_RANGE
        problem[is_lost(status)] = Problem.LOST
        problem[bad & is_of_node(status)] = Problem.REFUSED
    return problem


def before_each(new: Batch, latest: Batch) -> Batch:
    """The value of each signal before each of its new values [n].

    latest: of all signals, by their number.
    """
    signal = new.signal
    first = np.append(True, signal[1:] != signal[:-1])

    def shifted(held: NDArray[Any], column: NDArray[Any]) -> NDArray[Any]:
        return np.where(first, held[signal], np.roll(column, 1))

    return Batch(
        signal,
        shifted(latest.time_us, new.time_us),
        shifted(latest.value, new.value),
        shifted(latest.status, new.status),
        shifted(latest.problem, new.problem),
    )


def switch(
    batch: Batch, i: int, old: Problem, new: Problem, at_us: int | None = None
) -> list[Episode]:
    """Change from one problem to another, with row `i` of `batch`; by default at its time."""
    turns = [(old, False), (new, True)]
    return [
        Episode(
            int(batch.signal[i]),
            problem,
            begins,
            int(batch.time_us[i]) if at_us is None else at_us,
            float(batch.value[i]),
            int(batch.status[i]),
        )
        for problem, begins in turns
        if problem is not Problem.NONE
    ]
