"""The bottleneck of the line of `shown_lines`, for the page and its pictures."""

from __future__ import annotations

from typing import Any, Final

from edge_agent.errors import NotFoundError

PER_H: Final = 760.0


def gain(share: float, low: float, high: float) -> dict[str, Any]:
    return {"share": share, "low": low, "high": high, "parts_per_h": share * PER_H}


def station(machine: str, active: float, waits: tuple[float, float], chance: float) -> Any:
    return {
        "machine": machine,
        "active": active,
        "active_low": active - 0.04,
        "active_high": active + 0.03,
        "down": 0.06,
        "blocked": waits[0],
        "starved": waits[1],
        "known": 0.97,
        "cycle_s": 3.62,
        "mtbf_s": 2400.0,
        "mttr_s": 190.0,
        "chance": chance,
        "faster": gain(0.00155, 0.0, 0.004),
        "repaired": gain(0.0021, 0.0, 0.005),
        "buffered": gain(0.0012, 0.0, 0.003),
    }


def span(verdict: str, named: list[str], confidence: float, doubts: list[str]) -> dict[str, Any]:
    stations = [
        station("press", 0.88, (0.11, 0.0), 0.08),
        station("oven", 0.97, (0.0, 0.02), 0.91),
        station("packer", 0.81, (0.0, 0.18), 0.01),
    ]
    best = {"faster": gain(18.4 / PER_H, 12.1 / PER_H, 24.6 / PER_H)}
    best |= {"repaired": gain(0.031, 0.018, 0.046)}
    stations[1] |= best
    stations[2] |= {"buffered": None}
    return {
        "line": "assembly",
        "from_ms": 1_772_431_200_000,
        "to_ms": 1_772_451_000_000,
        "verdict": verdict,
        "named": named,
        "confidence": confidence,
        "doubts": doubts,
        "parts": 4180.0,
        "parts_per_h": PER_H,
        "coverage": 0.97,
        "by_active": "oven",
        "by_waits": "oven",
        "stations": stations,
        "buffers": [],
    }


class ShownBottlenecks:
    """`service.BottleneckProvider` of that line."""

    def rows(self) -> list[dict[str, Any]]:
        """The line."""
        return [self.row("assembly")]

    def row(self, line: str) -> dict[str, Any]:
        """Sure over the shift, not sure in the last hour; one cycle drifts."""
        if line != "assembly":
            raise NotFoundError("no such line", where=repr(line))
        signal = {"signal": "clamp_pressure", "kind": "follows", "rank": -0.62}
        drift = {"machine": "press", "drifts": True, "change": 0.072, "limit": 0.05}
        drift |= {"before_s": 3.31, "now_s": 3.55, "parts": 4420}
        return {
            "line": line,
            "shift": span("named", ["oven"], 0.91, []),
            "now": span("not_sure", ["oven", "press"], 0.58, ["tie"]),
            "drifts": [{**drift, "explained": [{**signal, "before": 6.1, "after": 5.4}]}],
        }
