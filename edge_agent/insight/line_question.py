"""The question about a line, from the stays and counts that its machines have in memory."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from edge_agent.insight.line_analysis import LineQuestion
from edge_agent.insight.line_model import LineData, PartCounts
from edge_agent.insight.states import CODES, StateLog

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edge_agent.config.lines import LineBottleneck
    from edge_agent.insight.line_analysis import Signals

MOST_ROWS: Final = 4000  # of stays, and of counts, of one machine: the newest
_NS_PER_US: Final = 1000


class MachineMemory(Protocol):
    """What is known of a machine of late: `MachineBook`."""

    @property
    def asset(self) -> str:
        """Its asset."""

    def recent(self) -> tuple[Sequence[Any], Sequence[Any]]:
        """Stays (state, start_us, end_us) and counts (at_us, kind, parts, product), in order."""


@dataclass(frozen=True, slots=True)
class MachineRows:
    """The stays and counts of one machine in a window; short lists, taken on the event loop."""

    asset: str
    stays: Sequence[Any]
    made: Sequence[Any]


def rows_since(machine: MachineMemory, since_us: int) -> MachineRows:
    """The newest stays that end, and counts that came, after a time; takes microseconds."""
    stays, made = machine.recent()
    first = bisect_right(stays, since_us, key=attrgetter("end_us"))
    from_ = bisect_right(made, since_us, key=attrgetter("at_us"))
    return MachineRows(
        machine.asset,
        stays[max(first, len(stays) - MOST_ROWS) :],
        made[max(from_, len(made) - MOST_ROWS) :],
    )


def question_of(  # noqa: PLR0913 (what a question is made of)
    line: str,
    config: LineBottleneck,
    machines: Sequence[MachineRows],
    signals: Mapping[str, Signals],
    *,
    from_us: int,
    to_us: int,
) -> LineQuestion:
    """The question about a line between two times; on a thread: it makes columns of all rows."""
    stays = [
        (place, CODES[one.state], one.start_us * _NS_PER_US, one.end_us * _NS_PER_US)
        for place, machine in enumerate(machines)
        for one in machine.stays
    ]
    columns = np.array(stays, np.int64).reshape(-1, 4).T
    log = StateLog(columns[0].astype(np.int32), columns[1].astype(np.int8), columns[2], columns[3])
    from_ns, to_ns = from_us * _NS_PER_US, to_us * _NS_PER_US
    counts, product = _counts(machines)
    names = tuple(one.asset for one in machines)
    buffers = tuple(config.buffers.get(name, -1) for name in names[:-1])
    data = LineData(names, log.within(from_ns, to_ns), counts, from_ns, to_ns, buffers)
    now_from_ns = max(from_ns, to_ns - round(config.window * 1e9))
    return LineQuestion(line, data, now_from_ns, config.drift, product, signals)


def _counts(machines: Sequence[MachineRows]) -> tuple[PartCounts, np.ndarray[Any, Any]]:
    """The counts of all machines in the order of time, and the number of each one's product."""
    numbers: dict[str, int] = {}
    rows = sorted(
        (one.at_us, place, one.parts, numbers.setdefault(one.product, len(numbers)))
        for place, machine in enumerate(machines)
        for one in machine.made
        if one.kind == "parts"
    )
    at_ns = np.array([one[0] * _NS_PER_US for one in rows], np.int64)
    machine = np.array([one[1] for one in rows], np.int32)
    parts = np.array([one[2] for one in rows], np.float64)
    product = np.array([one[3] for one in rows], np.int32)
    return PartCounts(machine, at_ns, parts), product
