"""The time of a shift as a tree of losses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edge_agent.insight.calendar import NS_PER_S
from edge_agent.insight.shift_sums import STOPS
from edge_agent.insight.states import MachineState

if TYPE_CHECKING:
    from edge_agent.insight.oee import Elements
    from edge_agent.insight.shift_sums import ShiftSum

Node = dict[str, Any]


def loss_tree(total: ShiftSum, e: Elements) -> Node:
    """The time of the shift as a tree; the seconds of the parts of each node add up to its own.

    big_loss: which of the six big losses of TPM a node is: 1 breakdowns, 2 set-up, 3 minor stops,
    4 reduced speed, 5 scrap, 6 rework. Without counts or an ideal cycle the running time has no
    parts. Reduced speed is negative if the machine was faster than its ideal cycle.
    """
    time = {state: total.time_ns[state] / NS_PER_S for state in STOPS}
    stops = total.stops
    waiting = [
        _node(str(one), time[one], n=stops[one])
        for one in (MachineState.BLOCKED, MachineState.STARVED, MachineState.IDLE)
    ]
    stopped = [
        _node("breakdowns", time[MachineState.DOWN], n=stops[MachineState.DOWN], big_loss=1),
        _node("setup", e.aust_s, big_loss=2),
        _node("minor_stops", total.minor_ns.total() / NS_PER_S, n=stops["minor"], big_loss=3),
        _sum("waiting", waiting),
    ]
    busy = [_node("running", e.apt_s, _running(e)), _sum("stopped", stopped)]
    parts = [
        _sum("planned_busy", busy),
        _node("planned", e.planned_s),
        _node("breaks", e.break_s),
        _node("gap", e.gap_s),
    ]
    return _node("shift", e.elapsed_s, parts)


def _running(e: Elements) -> list[Node]:
    if not e.counts or e.ideal_s is None or e.ideal_good_s is None or e.ideal_scrap_s is None:
        return []
    return [
        _node("good_parts", e.ideal_good_s),
        _node("reduced_speed", e.apt_s - e.ideal_s, big_loss=4),
        _node("scrap", e.ideal_scrap_s, n=e.sq, big_loss=5),
        _node("rework", e.ideal_s - e.ideal_good_s - e.ideal_scrap_s, n=e.rq, big_loss=6),
    ]


def _node(name: str, seconds: float, parts: list[Node] | None = None, **more: Any) -> Node:  # noqa: ANN401 (numbers of a node)
    found: Node = {"name": name, "seconds": round(seconds, 6), **more}
    return found | {"parts": parts} if parts else found


def _sum(name: str, parts: list[Node]) -> Node:
    return _node(name, sum(one["seconds"] for one in parts), parts)
