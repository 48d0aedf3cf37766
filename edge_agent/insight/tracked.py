"""What a machine is at a time, and what was found out about it, for `tracker`."""

from __future__ import annotations

import math
from copy import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from edge_agent.clock import ENDLESS, NEVER
from edge_agent.insight.states import MachineState

if TYPE_CHECKING:
    from edge_agent.insight.counters import Counter
    from edge_agent.insight.rules import Rules

UNKNOWN: Final = MachineState.UNKNOWN


class Event(NamedTuple):
    """A value of a signal of the machine; NaN: not known from then on. signal: its place."""

    at_us: int
    signal: int
    value: float


class Span(NamedTuple):
    """A stay of this machine in a state, in microseconds."""

    state: MachineState
    start_us: int
    end_us: int


class Made(NamedTuple):
    """Parts that were counted. kind: parts, rejects or rework; product: its number, as text.

    over_gap: it is not known when, between this time and the last known value of the counter.
    """

    at_us: int
    kind: str
    parts: float
    over_gap: bool
    product: str


@dataclass(slots=True)
class Input:
    """A signal of the machine now; until_us: after that it is stale."""

    value: float = math.nan
    until_us: int = ENDLESS


@dataclass(slots=True)
class Head:
    """The machine at a time: everything that what comes next depends on."""

    rules: Rules
    counters: dict[str, Counter]
    inputs: list[Input]
    at_us: int  # up to which it is evaluated
    state: MachineState = UNKNOWN
    since_us: int = 0
    candidate: MachineState | None = None  # a state that has not yet held for `min_time`
    candidate_us: int = 0
    fed_us: int = NEVER
    stale_us: int = ENDLESS  # not before it any input becomes stale
    n_spans: int = 0  # of the log, and
    n_made: int = 0  # of what was counted, when this was a snapshot

    def copied(self) -> Head:
        """The same at this time, independent of what comes."""
        made = copy(self)
        made.rules = self.rules.copied()
        made.counters = {kind: one.copied() for kind, one in self.counters.items()}
        made.inputs = [copy(one) for one in self.inputs]
        return made


@dataclass(slots=True)
class Log:
    """What became final or not yet: closed spans and counts; first_*: how many were taken away."""

    spans: list[Span] = field(default_factory=list)
    made: list[Made] = field(default_factory=list)
    first_span: int = 0
    first_made: int = 0

    def cut(self, n_spans: int, n_made: int) -> None:
        """Forget what was added after that many."""
        del self.spans[n_spans - self.first_span :]
        del self.made[n_made - self.first_made :]
