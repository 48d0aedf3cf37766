"""A maintenance plan as the gateway answers it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from edge_agent.client.reading import struct

if TYPE_CHECKING:
    from edge_agent.client.reading import Row

Texts = Mapping[str, str]  # by language


@dataclass(frozen=True, slots=True)
class PlanLine:
    """One job. status: planned, late (after it is due) or impossible (then it has no stop).

    due_ms: until when it is to begin. loss: what a failure costs; expected_cost: the probability of
    a failure before the stop, times the loss; wait_cost: what it costs more until the next stop.
    bound: the rule that bound it; what, why: by language.
    """

    rank: int
    job: str
    asset: str
    mode: str
    status: str
    due_ms: int
    crew: str = ""
    start_ms: int | None = None
    end_ms: int | None = None
    stop_name: str = ""
    people: int = 1
    probability: float = 0.0
    loss: float = 0.0
    expected_cost: float = 0.0
    wait_cost: float = 0.0
    bound: str = ""
    what: Texts = field(default_factory=dict)
    why: Texts = field(default_factory=dict)
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def due(self) -> datetime:
        """Until when it is to begin."""
        return datetime.fromtimestamp(self.due_ms / 1000, UTC)


@dataclass(frozen=True, slots=True)
class PlanChange:
    """What changed since the last plan. kind: new, moved or gone; text: by language."""

    kind: str
    job: str
    text: Texts = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Plan:
    """The plan. by: greedy or solver; notes: what could not be read or planned."""

    at_ms: int
    until_ms: int
    by: str
    currency: str
    expected_cost: float
    lines: tuple[PlanLine, ...] = ()
    changes: tuple[PlanChange, ...] = ()
    notes: tuple[str, ...] = ()
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)


def plan(row: Row) -> Plan:
    """The answer to `GET /api/plan`."""
    return struct(
        Plan,
        row,
        lines=tuple(_line(one) for one in row["lines"]),
        changes=tuple(struct(PlanChange, one) for one in row["changes"]),
        notes=tuple(row["notes"]),
    )


def _line(row: Row) -> PlanLine:
    return struct(PlanLine, row, stop_name=(row["stop"] or {}).get("name", ""))
