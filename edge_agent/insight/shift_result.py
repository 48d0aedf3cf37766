"""The result of a machine in a shift as JSON: for the bus, the API and the file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edge_agent.insight.losses import loss_tree
from edge_agent.insight.oee import (
    INDICATORS,
    coverage,
    elements_of,
    ideal_cycle_s,
    is_too_fast,
    produced,
)
from edge_agent.insight.shift_sums import BUSY, STOPS

if TYPE_CHECKING:
    from edge_agent.config.lines import LineMachine
    from edge_agent.insight.oee import Elements
    from edge_agent.insight.shift_sums import ShiftSum


def result_of(total: ShiftSum, machine: LineMachine, until_ns: int | None = None) -> dict[str, Any]:
    """Indicators, elements, counts and losses of a machine in a shift, as JSON.

    until_ns: now, while the shift is running.
    """
    e = elements_of(total, machine, until_ns)
    names = {number: one.name or number for number, one in machine.products.items()}
    return {
        "indicators": {one.__name__: _rounded(one(e)) for one in INDICATORS},
        "coverage": _rounded(coverage(e)),
        "is_ideal_cycle_wrong": is_too_fast(e),
        "elements": _elements(e),
        "stops": {str(state): total.stops[state] for state in (*STOPS, "minor")},
        "products": [
            {
                "product": names.get(one, one),
                "parts": parts,
                "ideal_cycle_s": ideal_cycle_s(machine, one),
            }
            for one, parts in sorted(produced(total, machine, BUSY).items())
        ],
        "losses": loss_tree(total, e),
    }


def _elements(e: Elements) -> dict[str, Any]:
    named = ("shift", "elapsed", "break", "planned", "gap", "pbt", "apt", "aust", "adet", "adot")
    found: dict[str, Any] = {f"{one}_s": round(getattr(e, f"{one}_s"), 6) for one in named}
    found |= {"aupt_s": round(e.aupt_s, 6), "aubt_s": round(e.aubt_s, 6)}
    found |= {one: getattr(e, one) for one in ("pq", "gq", "sq", "rq", "pq_gap", "pq_outside")}
    return found


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 9)
