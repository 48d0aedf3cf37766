"""What became of each part: measurements, verdicts of charts and cameras, process signals."""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from edge_agent.clock import US_PER_MS, US_PER_S

if TYPE_CHECKING:
    from collections.abc import Iterator

_SAME_US: Final = 600 * US_PER_S  # a number that comes again later is another part
_RECENT: Final = 2000  # parts of which something may still come
_INSPECTIONS: Final = 500  # that wait for their part


@dataclass(slots=True, eq=False)
class PartRecord:
    """One part. part: its number, or empty; in_spec: by signal; None where it is not known."""

    asset: str
    part: str
    at_us: int
    product: str = ""
    measurements: dict[str, float | None] = field(default_factory=dict)
    in_spec: dict[str, bool] = field(default_factory=dict)
    charts: dict[str, list[str]] = field(default_factory=dict)  # by chart: the violated rules
    process: dict[str, float | None] = field(default_factory=dict)
    cameras: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """What makes it one part among those of now: its number, else its time."""
        return f"{self.asset}/{self.part or f'@{self.at_us}'}"

    @property
    def row_key(self) -> str:
        """What makes it one part of all: numbers may begin anew, with each shift or order."""
        return f"{self.asset}/{self.part}@{self.at_us}"

    @property
    def verdict(self) -> str:
        """The worst that was found: reject, watch (a chart out of control), ok, or unknown."""
        if not all(self.in_spec.values()) or any(c.get("defect") for c in self.cameras.values()):
            return "reject"
        if any(self.charts.values()):
            return "watch"
        known = self.in_spec or self.cameras or self.charts
        return "ok" if known and None not in self.measurements.values() else "unknown"

    def as_json(self) -> dict[str, Any]:
        """The record as the API shows it."""
        return {
            "asset": self.asset,
            "part": self.part,
            "at_ms": self.at_us // US_PER_MS,
            "product": self.product,
            "verdict": self.verdict,
            "measurements": self.measurements,
            "in_spec": self.in_spec,
            "charts": self.charts,
            "process": self.process,
            "cameras": self.cameras,
        }


@dataclass(frozen=True, slots=True)
class Inspection:
    """A camera's verdict of a picture; part: its number, or empty. found: defect, score, ..."""

    asset: str
    camera: str
    part: str
    at_us: int
    found: dict[str, Any]


class RecentParts:
    """The parts of which verdicts may still come; what changed is drained by whoever stores it."""

    def __init__(self) -> None:
        self._records: OrderedDict[str, PartRecord] = OrderedDict()
        self._inspections: deque[tuple[Inspection, int]] = deque(maxlen=_INSPECTIONS)
        self._changed: OrderedDict[str, PartRecord] = OrderedDict()

    def record_of(self, asset: str, part: str, at_us: int) -> PartRecord:
        """The record of a part, made if it is new."""
        new = PartRecord(asset, part, at_us)
        found = self._records.get(new.key)
        if found is None or at_us - found.at_us > _SAME_US:
            self._records.pop(new.key, None)
            found = self._records[new.key] = new
            if len(self._records) > _RECENT:
                self._records.popitem(last=False)
        self.mark_changed(found)
        return found

    def mark_changed(self, record: PartRecord) -> None:
        """The record is to be stored again."""
        self._changed[record.row_key] = record
        if len(self._changed) > _RECENT:  # nobody stores them: a recording
            self._changed.popitem(last=False)

    def drain_changed(self) -> list[PartRecord]:
        """The records that changed since the last call."""
        changed, self._changed = list(self._changed.values()), OrderedDict()
        return changed

    def add_inspection(self, one: Inspection, within_us: int) -> bool:
        """Join a camera's verdict with its part; it waits for its part if there is none yet."""
        record = self._part_of(one, within_us)
        if record is None:
            self._inspections.append((one, within_us))
            return False
        self._join(record, one)
        return True

    def join_waiting(self, record: PartRecord) -> None:
        """Join the verdicts that came before their part."""
        for waiting in list(self._inspections):
            one, within_us = waiting
            if self._belongs(one, record, within_us):
                self._inspections.remove(waiting)
                self._join(record, one)

    def _join(self, record: PartRecord, one: Inspection) -> None:
        record.cameras[one.camera] = {**one.found, "at_ms": one.at_us // US_PER_MS}
        self.mark_changed(record)

    def _part_of(self, one: Inspection, within_us: int) -> PartRecord | None:
        if one.part:
            return self._records.get(f"{one.asset}/{one.part}")
        near = [r for r in self._of_asset(one.asset) if self._belongs(one, r, within_us)]
        return min(near, key=lambda r: abs(r.at_us - one.at_us), default=None)

    def _of_asset(self, asset: str) -> Iterator[PartRecord]:
        return (one for one in self._records.values() if one.asset == asset)

    @staticmethod
    def _belongs(one: Inspection, record: PartRecord, within_us: int) -> bool:
        if one.asset != record.asset:
            return False
        if one.part:
            return one.part == record.part
        return abs(one.at_us - record.at_us) <= within_us
