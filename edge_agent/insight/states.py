"""The states of machines over time, as columns that every part of this room reads."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray


class MachineState(StrEnum):
    """What a machine does; `unknown` is a gap in the data and never a loss."""

    RUNNING = "running"
    IDLE = "idle"
    BLOCKED = "blocked"  # it cannot give its parts to the next machine
    STARVED = "starved"  # it gets no parts from the machine before
    DOWN = "down"
    SETUP = "setup"
    PLANNED = "planned"  # a planned stop: no order, maintenance
    UNKNOWN = "unknown"


STATES: Final = tuple(MachineState)  # by their number in the columns
CODES: Final = {state: code for code, state in enumerate(STATES)}


class Stay(NamedTuple):
    """One machine in one state, from start to end, ns since the epoch."""

    machine: int
    state: MachineState
    start_ns: int
    end_ns: int


@dataclass(frozen=True, slots=True)
class StateLog:
    """Stays as columns of equal length n; those of one machine are in the order of time.

    machine: int32, the place of the machine in the list that the log belongs to; state: int8, the
    place in `STATES`; start_ns, end_ns: int64, ns since the epoch. The stays of a machine do not
    overlap and leave nothing out between its first and its last one: where nothing is known it is
    `unknown`.
    """

    machine: NDArray[np.int32]
    state: NDArray[np.int8]
    start_ns: NDArray[np.int64]
    end_ns: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.machine)

    @classmethod
    def of(cls, stays: Iterable[tuple[int, MachineState, int, int]]) -> StateLog:
        """A log of rows (machine, state, start_ns, end_ns), in their order."""
        rows = list(stays)
        return cls(
            np.array([row[0] for row in rows], np.int32),
            np.array([CODES[row[1]] for row in rows], np.int8),
            np.array([row[2] for row in rows], np.int64),
            np.array([row[3] for row in rows], np.int64),
        )

    @classmethod
    def concat(cls, logs: Iterable[StateLog]) -> StateLog:
        """The rows of all logs, in their order."""
        parts = [*logs] or [cls.of(())]
        return cls(
            np.concatenate([one.machine for one in parts]),
            np.concatenate([one.state for one in parts]),
            np.concatenate([one.start_ns for one in parts]),
            np.concatenate([one.end_ns for one in parts]),
        )

    def where(self, which: NDArray[np.generic]) -> StateLog:
        """Some rows, by a mask or by row numbers."""
        return StateLog(
            self.machine[which], self.state[which], self.start_ns[which], self.end_ns[which]
        )

    def of_machine(self, machine: int) -> StateLog:
        """The rows of one machine."""
        return self.where(self.machine == machine)

    def within(self, start_ns: int, end_ns: int) -> StateLog:
        """What is between two times; stays that reach beyond them are cut there."""
        found = self.where((self.end_ns > start_ns) & (self.start_ns < end_ns))
        return StateLog(
            found.machine,
            found.state,
            np.maximum(found.start_ns, start_ns),
            np.minimum(found.end_ns, end_ns),
        )

    def without(self, spans: Iterable[tuple[int, int]]) -> StateLog:
        """The same without some spans of time (start_ns, end_ns), such as breaks."""
        found = self
        for start_ns, end_ns in spans:
            first, last = _FIRST_NS, _LAST_NS
            found = StateLog.concat([found.within(first, start_ns), found.within(end_ns, last)])
        order = np.lexsort((found.start_ns, found.machine))
        return found.where(order)

    def time_ns(self, machines: int) -> NDArray[np.int64]:
        """The time of each machine in each state, int64 [machines, states]."""
        total = np.zeros((machines, len(STATES)), np.int64)
        np.add.at(total, (self.machine, self.state), self.end_ns - self.start_ns)
        return total

    def rows(self) -> Iterator[Stay]:
        """The stays one by one."""
        columns = (self.machine, self.state, self.start_ns, self.end_ns)
        for machine, state, start_ns, end_ns in zip(*(c.tolist() for c in columns), strict=True):
            yield Stay(machine, STATES[state], start_ns, end_ns)


_FIRST_NS: Final = -(1 << 62)
_LAST_NS: Final = 1 << 62
