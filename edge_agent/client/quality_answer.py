"""Control charts and parts as the gateway answers them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edge_agent.client.reading import struct

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_agent.client.reading import Row


@dataclass(frozen=True, slots=True)
class QualityChart:
    """A control chart of an asset, for one product.

    state: learning, ready, in_control, out_of_control. baseline: centre and sigma, None while it
    learns. capability: cp, cpk, pp, ppk with their intervals; None without a specification.
    """

    asset: str
    chart: str
    product: str
    kind: str
    signal: str
    state: str
    unit: str = ""
    alarm: bool = False
    learned: int = 0
    wanted: int = 0
    baseline: Mapping[str, Any] | None = None
    capability: Mapping[str, Any] | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class QualityPart:
    """One part. verdict: ok, watch (a chart out of control), reject, unknown.

    charts: by chart, the rules that were violated; cameras: by camera, what it found.
    """

    asset: str
    part: str
    at_ms: int
    product: str
    verdict: str
    measurements: Mapping[str, float | None] = field(default_factory=dict)
    in_spec: Mapping[str, bool] = field(default_factory=dict)
    charts: Mapping[str, list[str]] = field(default_factory=dict)
    process: Mapping[str, float | None] = field(default_factory=dict)
    cameras: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)


def quality_chart(row: Row) -> QualityChart:
    """A chart from its JSON."""
    return struct(QualityChart, row)


def quality_part(row: Row) -> QualityPart:
    """A part from its JSON."""
    return struct(QualityPart, row)
