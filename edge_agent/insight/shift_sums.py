"""What a machine did in one shift, summed up: times by state, stops, and counts by product.

Sums are exact: whole nanoseconds, and every nanosecond of a shift is in one of them or in a break.
"""

from __future__ import annotations

from collections import Counter as Tally
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from edge_agent.insight.states import MachineState

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from edge_agent.insight.calendar import ShiftTime

STOPS: Final = (
    MachineState.DOWN,
    MachineState.BLOCKED,
    MachineState.STARVED,
    MachineState.IDLE,
)
# Where parts were counted: in the planned busy time; when nothing was known; in breaks and in
# planned stops. Only the first can be compared with the time.
BUSY: Final = "busy"
GAP: Final = "gap"
OUTSIDE: Final = "outside"
KINDS: Final = ("parts", "rejects", "rework")


@dataclass(slots=True)
class ShiftSum:
    """The sums of one machine in one shift.

    time_ns: by state, outside of breaks, without minor stops; minor_ns: minor stops, by state.
    stops: how many began in the shift, by state, minor ones under `minor`. counts: by (product,
    kind, where).
    """

    shift: ShiftTime
    time_ns: Tally[str] = field(default_factory=Tally)
    minor_ns: Tally[str] = field(default_factory=Tally)
    stops: Tally[str] = field(default_factory=Tally)
    counts: dict[tuple[str, str, str], float] = field(default_factory=dict)

    def add_stay(self, state: MachineState, start_ns: int, end_ns: int, minor_stop_ns: int) -> None:
        """Add the part of a stay that is in the shift; its whole length tells if it is minor."""
        busy_ns = self.shift.busy_ns(start_ns, end_ns)
        if not busy_ns:
            return
        is_minor = state in STOPS and end_ns - start_ns < minor_stop_ns
        (self.minor_ns if is_minor else self.time_ns)[state] += busy_ns
        if state in STOPS and start_ns >= self.shift.start_ns:
            self.stops["minor" if is_minor else state] += 1

    def add_parts(self, product: str, kind: str, where: str, parts: float) -> None:
        """Add parts that were counted in the shift."""
        key = (product, kind, where)
        self.counts[key] = self.counts.get(key, 0.0) + parts

    def copied(self) -> ShiftSum:
        """The same, independent of what comes."""
        return ShiftSum(
            self.shift,
            self.time_ns.copy(),
            self.minor_ns.copy(),
            self.stops.copy(),
            dict(self.counts),
        )

    # -- totals -------------------------------------------------------------------------------

    def of(self, kind: str, *wheres: str) -> dict[str, float]:
        """By product, what was counted of a kind; wheres: only there, by default everywhere."""
        found: dict[str, float] = {}
        for (product, one, where), parts in self.counts.items():
            if one == kind and (not wheres or where in wheres):
                found[product] = found.get(product, 0.0) + parts
        return found

    def known_ns(self) -> int:
        """The time outside of breaks of which the state is known."""
        total = self.time_ns.total() + self.minor_ns.total()
        return total - self.time_ns[MachineState.UNKNOWN]

    # -- over restarts ------------------------------------------------------------------------

    def dump(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "start_ns": self.shift.start_ns,
            "time_ns": {str(key): value for key, value in self.time_ns.items()},
            "minor_ns": {str(key): value for key, value in self.minor_ns.items()},
            "stops": {str(key): value for key, value in self.stops.items()},
            "counts": [[*key, parts] for key, parts in self.counts.items()],
        }

    @classmethod
    def load(cls, data: Mapping[str, Any], shift: ShiftTime) -> ShiftSum:
        """From JSON; KeyError, TypeError or ValueError if it is none."""
        counts: Iterable[tuple[str, str, str, float]] = data["counts"]
        return cls(
            shift,
            Tally({str(key): int(value) for key, value in data["time_ns"].items()}),
            Tally({str(key): int(value) for key, value in data["minor_ns"].items()}),
            Tally({str(key): int(value) for key, value in data["stops"].items()}),
            {(str(a), str(b), str(c)): float(parts) for a, b, c, parts in counts},
        )
