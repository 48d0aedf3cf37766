"""Signals of the plant that ask a camera for a picture."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edge_agent.config.cameras import Edge
from edge_agent.values import BAD, SEVERITY_SHIFT, BoundedIntake

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.values import Columns

_HIGH: Final = 0.5  # a signal is on above it


@dataclass(slots=True)
class TriggerState:
    """What is known of a trigger. signal, part: indexes of signals; part -1: none is told."""

    signal: int
    part: int
    edge: Edge
    ask: Callable[[str | None], None]
    value: float = math.nan
    part_value: float = math.nan

    def accept_value(self, signal: int, value: float) -> None:
        """Take a good value of one of the two signals."""
        if signal == self.part:
            self.part_value = value
        if signal == self.signal:
            before, self.value = self.value, value
            if not math.isnan(before) and _is_edge(self.edge, before, value):
                self.ask(_text_of(self.part_value))


def _is_edge(edge: Edge, before: float, value: float) -> bool:
    if edge is Edge.CHANGE:
        return value != before
    was_on, is_on = before > _HIGH, value > _HIGH
    return is_on and not was_on if edge is Edge.RISING else was_on and not is_on


def _text_of(value: float) -> str | None:
    if math.isnan(value):
        return None
    return str(int(value)) if value.is_integer() else f"{value:g}"


class TriggeredIntake(BoundedIntake):
    """The intake of a config in which signals trigger cameras; no other pays for looking."""

    def __init__(self, capacity: int, max_block_bytes: int, on_values: Callable[[], None]) -> None:
        super().__init__(capacity, max_block_bytes, on_values)
        self._triggers: list[TriggerState] = []

    def add(self, trigger: TriggerState) -> None:
        """Look for the changes of a signal."""
        self._triggers.append(trigger)

    def append(self, values: Columns) -> None:
        """Append the values; those of triggers are looked at one by one, in their order."""
        super().append(values)
        for trigger in self._triggers:
            mine = (values.signal == trigger.signal) | (values.signal == trigger.part)
            if mine.any():
                mine &= values.status >> SEVERITY_SHIFT < BAD >> SEVERITY_SHIFT
                rows = zip(values.signal[mine].tolist(), values.value[mine].tolist(), strict=True)
                for signal, value in rows:
                    trigger.accept_value(signal, value)
