"""Lines, their machines and shifts as the gateway answers them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edge_agent.client.reading import struct

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from edge_agent.client.reading import Row


@dataclass(frozen=True, slots=True)
class Loss:
    """A node of the loss tree; the seconds of its parts add up to its own.

    n: stops or parts; big_loss: which of the six big losses it is, 0 for none.
    """

    name: str
    seconds: float
    n: float = 0
    big_loss: int = 0
    parts: tuple[Loss, ...] = ()

    def walk(self) -> Iterator[Loss]:
        """This node and all below it."""
        yield self
        for part in self.parts:
            yield from part.walk()


@dataclass(frozen=True, slots=True)
class ShiftResult:
    """A machine in a shift, by ISO 22400-2; ratios are 0 to 1, None if they are not known.

    indicators: all indicators by name; elements: times in s (`apt_s`) and quantities (`gq`).
    coverage: the share of the time of which the state is known. losses: the tree of the time.
    """

    line: str
    machine: str
    shift: str
    day: str
    start_ms: int
    end_ms: int
    is_closed: bool
    losses: Loss
    coverage: float | None = None
    is_ideal_cycle_wrong: bool = False
    indicators: Mapping[str, float | None] = field(default_factory=dict)
    elements: Mapping[str, float] = field(default_factory=dict)
    stops: Mapping[str, int] = field(default_factory=dict)
    products: tuple[Mapping[str, Any], ...] = ()
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def oee(self) -> float | None:
        """The OEE index."""
        return self.indicators.get("oee")


@dataclass(frozen=True, slots=True)
class LineMachine:
    """A machine now; current: its running shift, None if there is none."""

    machine: str
    state: str
    since_ms: int
    until_ms: int
    current: ShiftResult | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """A line now; current: the running shift of `oee_of`, whose OEE is that of the line."""

    line: str
    oee_of: str
    machines: tuple[LineMachine, ...]
    current: ShiftResult | None = None
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)


def line(row: Row) -> Line:
    """The line from its JSON."""
    machines = tuple(
        struct(LineMachine, one, current=_maybe(one["current"])) for one in row["machines"]
    )
    return struct(Line, row, machines=machines, current=_maybe(row["current"]))


def shift_result(row: Row) -> ShiftResult:
    """The result from its JSON."""
    products = tuple(row.get("products", ()))
    return struct(ShiftResult, row, losses=_loss(row["losses"]), products=products)


def _maybe(row: Row | None) -> ShiftResult | None:
    return None if row is None else shift_result(row)


def _loss(row: Row) -> Loss:
    return struct(Loss, row, parts=tuple(_loss(one) for one in row.get("parts", ())))
