"""The bottleneck of a line as the gateway answers it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edge_agent.client.reading import struct

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_agent.client.reading import Row


@dataclass(frozen=True, slots=True)
class LineBottleneck:
    """The bottleneck of a line.

    shift, now: verdict (named, not_sure, too_little), named, confidence, doubts, stations with
    their gains, buffers; of the running shift and of the last window. drifts: of machines' cycles.
    """

    line: str
    shift: Mapping[str, Any]
    now: Mapping[str, Any]
    drifts: list[Mapping[str, Any]] = field(default_factory=list)
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def machine(self) -> str | None:
        """The bottleneck over the shift; None if it is not sure."""
        named = self.shift.get("named") or []
        return str(named[0]) if self.shift.get("verdict") == "named" and named else None


def line_bottleneck(row: Row) -> LineBottleneck:
    """A line's answer from its JSON."""
    return struct(LineBottleneck, row)
