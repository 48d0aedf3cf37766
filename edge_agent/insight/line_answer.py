"""What is said of a line's bottleneck, and its form as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from edge_agent.insight.buffers import Buffer

Verdict = Literal["named", "not_sure", "too_little"]
_DIGITS: Final = 4

DOUBTS: Final = {
    "tie": "machines are too close to each other",
    "unseen": "a machine that may be the bottleneck sends too few states",
    "contradiction": "blocked and starved do not fit the work and stops of the machines",
    "no_waits": "no machine reports that it is blocked or starved",
    "supply": "the first machine waits for material: the limit may be before the line",
    "demand": "the last machine is blocked: the limit may be behind the line",
    "few_parts": "too few parts passed in this window",
    "few_states": "most machines send too few states in this window",
}


@dataclass(frozen=True, slots=True)
class Gain:
    """What an improvement gains: share of the present output, with its 90 % interval."""

    share: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Station:
    """A machine of the line in a window.

    Shares are of its known, unplanned time; active: working, stopped or in set-up. cycle_s: work
    for each part that leaves the line. mtbf_s: work between stops; None: it did not stop. chance:
    that it is the best one to improve. faster: its work takes 10 % less time; repaired: its stops
    take half the time; buffered: 5 more parts fit behind it.
    """

    machine: str
    active: float
    active_low: float
    active_high: float
    down: float
    blocked: float
    starved: float
    known: float
    cycle_s: float
    mtbf_s: float | None
    mttr_s: float | None
    chance: float
    faster: Gain
    repaired: Gain
    buffered: Gain | None


@dataclass(frozen=True, slots=True)
class Bottleneck:
    """The answer for one window.

    named: one machine; if the verdict is not sure, those between which the data does not decide,
    the likeliest first. doubts: why it is not sure, keys of `DOUBTS`. parts_per_h: of the line;
    None if nothing counts parts. coverage: share of the machines' time in which their state is
    known. by_active, by_waits: what the share of active time and the turning point name.
    """

    verdict: Verdict
    named: tuple[str, ...]
    confidence: float
    doubts: tuple[str, ...]
    parts: float
    parts_per_h: float | None
    coverage: float
    by_active: str | None = None
    by_waits: str | None = None
    stations: tuple[Station, ...] = ()
    buffers: tuple[Buffer, ...] = ()


def answer_row(answer: Bottleneck, line: str, from_ns: int, to_ns: int) -> dict[str, Any]:
    """The answer as JSON; gains also in parts per hour, if parts are counted."""
    row = rounded(asdict(answer))
    for station in row["stations"]:
        for kind in ("faster", "repaired", "buffered"):
            _add_parts(station[kind], answer.parts_per_h)
    span = {"from_ms": from_ns // 1_000_000, "to_ms": to_ns // 1_000_000}
    return {"line": line, **span, **row}


def _add_parts(gain: dict[str, Any] | None, parts_per_h: float | None) -> None:
    if gain is not None:
        known = parts_per_h is not None
        gain["parts_per_h"] = round(gain["share"] * (parts_per_h or 0.0), 2) if known else None


def rounded(value: Any) -> Any:  # noqa: ANN401 (any JSON)
    """JSON with as many digits as mean something."""
    if isinstance(value, float):
        return round(value, _DIGITS)
    if isinstance(value, dict):
        return {key: rounded(one) for key, one in value.items()}
    return [rounded(one) for one in value] if isinstance(value, (list, tuple)) else value
