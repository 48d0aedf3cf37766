"""Lines of machines: how the state of each follows from signals, its counts, its ideal cycle."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

from edge_agent.config.conditions import Condition  # noqa: TC001 (the loader reads the hints)
from edge_agent.config.types import Between, Duration, Name

if TYPE_CHECKING:
    from collections.abc import Iterator


class RuleState(StrEnum):
    """The states that a rule can name; the names of `insight.MachineState` but `unknown`."""

    RUNNING = "running"
    IDLE = "idle"
    BLOCKED = "blocked"
    STARVED = "starved"
    DOWN = "down"
    SETUP = "setup"
    PLANNED = "planned"


@dataclass(frozen=True, slots=True)
class StateRule:
    """A state, and the condition under which a machine is in it."""

    state: RuleState  # of the machine while the condition holds
    when: Condition  # over signals of the machine, and of others: `Oven.Full`


class CountKind(StrEnum):
    """How a signal counts."""

    COUNTER = "counter"  # a number that grows
    PULSE = "pulse"  # each change from 0 to another number


@dataclass(frozen=True, slots=True)
class Count:
    """A signal that counts parts; the name of a counter alone is short for it."""

    signal: str = ""  # of the machine, or of another one: ASSET.SIGNAL
    kind: CountKind = CountKind.COUNTER  # pulse: each change from 0 to another number counts
    # Parts for each step of the signal: the cavities of a mould.
    parts: Annotated[float, Between(1e-6, 1e6)] = 1.0
    # A counter restarts at 0 instead of reaching this number.
    rolls_over_at: Annotated[float, Between(2, 1e18)] | None = None

    @classmethod
    def from_text(cls, text: str) -> Count:
        """A counter from the name of its signal alone."""
        return cls(text)

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield contradictions as (key, message)."""
        if not self.signal:
            yield "signal", "name the signal that counts"
        if self.kind is CountKind.PULSE and self.rolls_over_at is not None:
            yield "rolls_over_at", "has no effect on pulses"


class PartsAre(StrEnum):
    """Which parts the counter of parts counts."""

    ALL = "all"
    GOOD = "good"  # rejects and rework come on top


@dataclass(frozen=True, slots=True)
class Product:
    """A product, by the number of it in the signal `product`."""

    ideal_cycle: Annotated[Duration, Between(1e-3, 86_400)]  # of one part at the rated speed
    name: str = ""  # for people; default: the number


@dataclass(frozen=True, slots=True)
class LineMachine:
    """A machine of a line. Its key is the id of its asset; the order is that of the line."""

    states: tuple[StateRule, ...] = ()  # the first rule that holds wins
    packml: str = ""  # a signal with the state number of PackML, if no rule holds
    otherwise: RuleState = RuleState.IDLE  # if no rule holds, and there is no PackML number
    min_time: Annotated[Duration, Between(0, 3600)] = Duration(0)  # a shorter state is left out
    parts: Count | None = None  # how the parts are counted
    parts_are: PartsAre = PartsAre.ALL  # good: rejects and rework are not among them
    rejects: Count | None = None  # scrap
    rework: Count | None = None  # parts that are not good, and can be made good
    product: str = ""  # a signal with the number of the product
    # Of one part at the rated speed; of products that are not in `products`.
    ideal_cycle: Annotated[Duration, Between(1e-3, 86_400)] | None = None
    products: dict[str, Product] = field(default_factory=dict)  # by number of the product

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield contradictions as (key, message)."""
        if not self.states and not self.packml:
            yield "states", "how is its state known? write rules, or packml: SIGNAL"
        if self.products and not self.product:
            yield "product", "name the signal with the number of the product"
        for key in ("rejects", "rework"):
            if getattr(self, key) is not None and self.parts is None:
                yield key, "needs `parts`: the signal that counts all parts"
        for number in self.products:
            if not _is_number(number):
                yield f"products.{number}", "is no number: the signal of the product is one"

    @property
    def counts(self) -> dict[str, Count]:
        """The signals that count, by what they count."""
        found = {"parts": self.parts, "rejects": self.rejects, "rework": self.rework}
        return {key: count for key, count in found.items() if count is not None}

    @property
    def signals(self) -> frozenset[str]:
        """The names of all signals that it uses, its own and those of other assets."""
        named = {name for rule in self.states for name in rule.when.signals}
        named |= {one.signal for one in self.counts.values()}
        return frozenset(named | {self.packml, self.product}) - {""}


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class LineBottleneck:
    """The machine that limits a line, from the states and counts of its machines."""

    every: Annotated[Duration, Between(30, 86_400)] = Duration(300)  # it is looked for so often
    window: Annotated[Duration, Between(600, 86_400)] = Duration(3600)  # "now": the last hour
    # Parts that fit behind a machine; those of the others are estimated.
    buffers: dict[str, Annotated[int, Between(0, 100_000)]] = field(default_factory=dict)
    # A cycle drifts if it becomes so much longer within a shift, as a share.
    drift: Annotated[float, Between(0.005, 10)] = 0.05
    drift_alarm: bool = False  # raise an alarm of the machine for that


@dataclass(frozen=True, slots=True)
class Line:
    """Machines that work one after the other."""

    machines: dict[str, LineMachine] = field(default_factory=dict)  # by asset, in their order
    shifts: Name = Name("")  # of the section `shifts`; default: one shift a day, from 00:00
    oee_of: str = ""  # the machine whose OEE is that of the line; default: the last one
    # A stop that is shorter is a minor stop, whatever its state.
    minor_stop: Annotated[Duration, Between(0, 3600)] = Duration(120)
    # Values that come later than this change nothing; the states until then may still change.
    late: Annotated[Duration, Between(1, 86_400)] = Duration(600)
    bottleneck: LineBottleneck | None = None  # default: it is not looked for

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield contradictions as (key, message)."""
        if not self.machines:
            yield "machines", "a line needs a machine"
        if self.oee_of and self.oee_of not in self.machines:
            yield "oee_of", "is no machine of the line"
        for name in self.bottleneck.buffers if self.bottleneck else ():
            if name not in [*self.machines][:-1]:
                yield f"bottleneck.buffers.{name}", "is no machine of the line before its last one"

    @property
    def last(self) -> str:
        """The machine whose OEE is that of the line."""
        return self.oee_of or list(self.machines)[-1]
