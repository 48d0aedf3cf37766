"""OEE and its neighbours by ISO 22400-2, and the minutes behind them.

Times of the standard, in seconds, of one machine in one shift:

    planned busy time PBT   the shift without its breaks and planned stops
    actual production APT   running
    actual setup AUST       set-up
    actual delay ADET       down, and stops that are shorter than `minor_stop`
    actual down ADOT        ready, but without work: blocked, starved, idle
    actual processing AUPT  APT + AUST
    actual busy AUBT        AUPT + ADET

Gaps in the data are in none of them: PBT here is that of which the state is known, and the coverage
says which share that is. Quantities are those that were counted in this time, so that parts and
time belong together: produced PQ, good GQ, scrap SQ, rework RQ; PQ = GQ + SQ + RQ. Parts from a gap
or from a break are told beside them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edge_agent.insight.calendar import NS_PER_S
from edge_agent.insight.shift_sums import BUSY, GAP, OUTSIDE
from edge_agent.insight.states import MachineState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_agent.config.lines import LineMachine
    from edge_agent.insight.shift_sums import ShiftSum

_TOLERANCE: Final = 1.02  # for rounded cycles
_LEAST_PARTS: Final = 20
_EDGE_PARTS: Final = 2


@dataclass(frozen=True, slots=True)
class Elements:
    """Times in s and quantities in parts, as the head of this module names them.

    ideal_s: PRI x PQ, the time that PQ would take at the ideal cycle; ideal_good_s: PRI x GQ; None
    if a product has no ideal cycle. counts: False if nothing counts parts.
    """

    shift_s: float
    elapsed_s: float
    break_s: float
    planned_s: float
    gap_s: float
    pbt_s: float
    apt_s: float
    aust_s: float
    adet_s: float
    adot_s: float
    pq: float
    gq: float
    sq: float
    rq: float
    pq_gap: float
    pq_outside: float
    ideal_s: float | None
    ideal_good_s: float | None
    ideal_scrap_s: float | None
    counts: bool = True

    @property
    def aupt_s(self) -> float:
        """Actual unit processing time."""
        return self.apt_s + self.aust_s

    @property
    def aubt_s(self) -> float:
        """Actual unit busy time."""
        return self.aupt_s + self.adet_s


def elements_of(total: ShiftSum, machine: LineMachine, until_ns: int | None = None) -> Elements:
    """The elements of a shift; until_ns: now, while it is running."""
    shift = total.shift
    until_ns = shift.end_ns if until_ns is None else min(until_ns, shift.end_ns)
    time = {state: total.time_ns[state] for state in MachineState}
    elapsed_ns = max(0, until_ns - shift.start_ns)
    break_ns = shift.break_ns(shift.start_ns, until_ns)
    known_ns = total.known_ns()
    minor_ns = total.minor_ns.total()
    scrap, rework = total.of("rejects", BUSY), total.of("rework", BUSY)
    made = produced(total, machine, BUSY)
    good = {
        one: max(0.0, n - scrap.get(one, 0.0) - rework.get(one, 0.0)) for one, n in made.items()
    }
    waiting = (MachineState.BLOCKED, MachineState.STARVED, MachineState.IDLE)
    return Elements(
        shift_s=(shift.end_ns - shift.start_ns) / NS_PER_S,
        elapsed_s=elapsed_ns / NS_PER_S,
        break_s=break_ns / NS_PER_S,
        planned_s=time[MachineState.PLANNED] / NS_PER_S,
        gap_s=max(0, elapsed_ns - break_ns - known_ns) / NS_PER_S,
        pbt_s=(known_ns - time[MachineState.PLANNED]) / NS_PER_S,
        apt_s=time[MachineState.RUNNING] / NS_PER_S,
        aust_s=time[MachineState.SETUP] / NS_PER_S,
        adet_s=(time[MachineState.DOWN] + minor_ns) / NS_PER_S,
        adot_s=sum(time[one] for one in waiting) / NS_PER_S,
        pq=sum(made.values()),
        gq=sum(good.values()),
        sq=sum(scrap.values()),
        rq=sum(rework.values()),
        pq_gap=sum(produced(total, machine, GAP).values()),
        pq_outside=sum(produced(total, machine, OUTSIDE).values()),
        ideal_s=_ideal_s(made, machine),
        ideal_good_s=_ideal_s(good, machine),
        ideal_scrap_s=_ideal_s(scrap, machine),
        counts=machine.parts is not None,
    )


def produced(total: ShiftSum, machine: LineMachine, where: str) -> dict[str, float]:
    """PQ by product in the time of that kind; where good parts are counted, with all others."""
    found = total.of("parts", where)
    if machine.parts_are.value == "good":
        for kind in ("rejects", "rework"):
            for product, parts in total.of(kind, where).items():
                found[product] = found.get(product, 0.0) + parts
    return found


def ideal_cycle_s(machine: LineMachine, product: str) -> float | None:
    """PRI, the planned run time of one part of a product; None if the config does not say it."""
    for number, one in machine.products.items():
        if product and float(number) == float(product):
            return one.ideal_cycle
    return machine.ideal_cycle


def _ideal_s(parts: Mapping[str, float], machine: LineMachine) -> float | None:
    total = 0.0
    for product, n in parts.items():
        cycle_s = ideal_cycle_s(machine, product)
        if cycle_s is None and n:
            return None
        total += n * (cycle_s or 0.0)
    return total


# -- the indicators ---------------------------------------------------------------------------


def _ratio(part: float | None, whole: float) -> float | None:
    return None if part is None or whole <= 0 else part / whole


def availability(e: Elements) -> float | None:
    """ISO 22400-2, Availability: APT / PBT."""
    return _ratio(e.apt_s, e.pbt_s)


def effectiveness(e: Elements) -> float | None:
    """ISO 22400-2, Effectiveness: PRI x PQ / APT; also called performance."""
    return _ratio(e.ideal_s, e.apt_s) if e.counts else None


def quality_ratio(e: Elements) -> float | None:
    """ISO 22400-2, Quality ratio: GQ / PQ."""
    return _ratio(e.gq, e.pq)


def oee(e: Elements) -> float | None:
    """ISO 22400-2, Overall equipment effectiveness index: availability x effectiveness x quality.

    0 if nothing was produced although it was planned.
    """
    return _product(availability(e), e)


def nee(e: Elements) -> float | None:
    """ISO 22400-2, Net equipment effectiveness index: AUPT / PBT x effectiveness x quality."""
    return _product(_ratio(e.aupt_s, e.pbt_s), e)


def _product(share: float | None, e: Elements) -> float | None:
    if share is None or not e.counts or e.ideal_s is None:
        return None
    effective, quality = effectiveness(e), quality_ratio(e)
    if effective is None or quality is None:
        return 0.0 if not e.pq else None
    return share * effective * quality


def allocation_efficiency(e: Elements) -> float | None:
    """ISO 22400-2, Allocation efficiency: AUBT / PBT."""
    return _ratio(e.aubt_s, e.pbt_s)


def utilization_efficiency(e: Elements) -> float | None:
    """ISO 22400-2, Utilization efficiency: APT / AUBT."""
    return _ratio(e.apt_s, e.aubt_s)


def technical_efficiency(e: Elements) -> float | None:
    """ISO 22400-2, Technical efficiency: APT / (APT + ADET)."""
    return _ratio(e.apt_s, e.apt_s + e.adet_s)


def setup_ratio(e: Elements) -> float | None:
    """ISO 22400-2, Setup ratio: AUST / AUPT."""
    return _ratio(e.aust_s, e.aupt_s)


def scrap_ratio(e: Elements) -> float | None:
    """ISO 22400-2, Scrap ratio: SQ / PQ."""
    return _ratio(e.sq, e.pq)


def rework_ratio(e: Elements) -> float | None:
    """ISO 22400-2, Rework ratio: RQ / PQ."""
    return _ratio(e.rq, e.pq)


def throughput_per_h(e: Elements) -> float | None:
    """ISO 22400-2, Throughput rate: PQ over the time; here over the planned busy time, in 1/h."""
    return _ratio(3600.0 * e.pq, e.pbt_s) if e.counts else None


INDICATORS: Final = (
    oee,
    availability,
    effectiveness,
    quality_ratio,
    nee,
    allocation_efficiency,
    utilization_efficiency,
    technical_efficiency,
    setup_ratio,
    scrap_ratio,
    rework_ratio,
    throughput_per_h,
)


def coverage(e: Elements) -> float | None:
    """The share of the time outside of breaks of which the state is known."""
    return _ratio(e.pbt_s + e.planned_s, e.pbt_s + e.planned_s + e.gap_s)


def is_too_fast(e: Elements) -> bool:
    """True if the machine was clearly faster than its ideal cycle: then the cycle is wrong.

    Without the two parts that may have been begun before the shift, or are counted early.
    """
    found = effectiveness(e)
    if found is None or e.pq < _LEAST_PARTS:
        return False
    return found * (e.pq - _EDGE_PARTS) / e.pq > _TOLERANCE
