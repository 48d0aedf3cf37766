"""Waits that a machine records as work: its parts take longer just when it should wait."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.insight.buffers import counts_singly
from edge_agent.insight.line_model import work_samples

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_agent.insight.line_model import LineData

    Floats = NDArray[np.float64]

_LEAST_PARTS: Final = 48
_QUARTERS: Final = (0.25, 0.75)
_LONGER: Final = 1.1
_CHANCE: Final = 2.5  # standard errors


def hides_waits(data: LineData, machine: int) -> bool:
    """True if its parts take longer when the buffer before it is empty, or that behind it is full.

    Work does not depend on the buffers; a wait does. False if parts are not counted one by one.
    """
    near = [one for one in (machine - 1, machine + 1) if 0 <= one < len(data.machines)]
    return any(_follows(data, machine, neighbour) for neighbour in near)


def _follows(data: LineData, machine: int, neighbour: int) -> bool:
    if not (counts_singly(data, machine) and counts_singly(data, neighbour)):
        return False
    work = work_samples(data, machine)
    if len(work) < _LEAST_PARTS:
        return False
    ahead = _parts_ahead(data, machine, neighbour)
    low, high = np.quantile(ahead, _QUARTERS)
    return _is_longer(work[ahead <= low], work[ahead >= high])


def _parts_ahead(data: LineData, machine: int, neighbour: int) -> Floats:
    """What the neighbour has counted more when work on each part begins; less its trend.

    Few: the buffer before is empty, or the buffer behind is full. Scrap makes the trend.
    """
    counts = data.counts
    begun_ns = counts.at_ns[(counts.machine == machine) & (counts.parts == 1)][:-1]
    number = np.arange(len(begun_ns), dtype=np.float64)
    passed = np.searchsorted(counts.at_ns[counts.machine == neighbour], begun_ns, side="right")
    ahead = passed - number
    return np.asarray(ahead - np.polyval(np.polyfit(number, ahead, 1), number))


def _is_longer(waiting: Floats, other: Floats) -> bool:
    """True if the first mean is larger, and that is more than chance (Welch)."""
    error = np.sqrt(waiting.var() / len(waiting) + other.var() / len(other))
    more = waiting.mean() - other.mean()
    return bool(more > (_LONGER - 1) * other.mean() and more > _CHANCE * error)
