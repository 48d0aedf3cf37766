"""A trend as the gateway answers it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from edge_agent.client.reading import struct

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_agent.client.reading import Row


@dataclass(frozen=True, slots=True)
class TrendSeries:
    """One series as columns, one entry for each bucket of time that has data.

    kind: input, score, limit or contribution. time_ms: the begin of each bucket. good: the share of
    values of good quality; None in min, max and mean: no value could be used. marks: bits of
    `Trend.marks`.
    """

    kind: str
    name: str
    unit: str = ""
    time_ms: list[int] = field(default_factory=list)
    min: list[float | None] = field(default_factory=list)
    max: list[float | None] = field(default_factory=list)
    mean: list[float | None] = field(default_factory=list)
    count: list[int] = field(default_factory=list)
    good: list[float | None] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class TrendAlarm:
    """When an alarm was raised and cleared; to_ms: None while it is there.

    replayed: it was told late, from values that another side had kept.
    """

    alarm_id: str
    severity: int
    from_ms: int
    to_ms: int | None = None
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class Trend:
    """The aggregates of an asset; step_s: the length of a bucket; marks: the bit of each mark."""

    asset: str
    from_ms: int
    to_ms: int
    step_s: int
    series: list[TrendSeries]
    alarms: list[TrendAlarm]
    marks: Mapping[str, int] = field(default_factory=dict)
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def of(self, name: str, kind: str = "input") -> TrendSeries:
        """One series; KeyError if it is not there."""
        found = next((one for one in self.series if (one.kind, one.name) == (kind, name)), None)
        if found is None:
            raise KeyError(f"{kind}:{name}")
        return found


def trend(row: Row) -> Trend:
    """The answer from its JSON."""
    series = [struct(TrendSeries, one) for one in row["series"]]
    alarms = [struct(TrendAlarm, one) for one in row["alarms"]]
    return struct(Trend, row, series=series, alarms=alarms)


def as_ms(moment: datetime | float | None) -> int | None:
    """Milliseconds since the epoch, of a time or of seconds since the epoch."""
    if isinstance(moment, datetime):
        moment = moment.astimezone(UTC).timestamp()
    return None if moment is None else round(moment * 1000)
