"""Control charts of a plant: values in, observations for the alarm table and records of parts out.

`keep` runs in the path of a value and only keeps references; `evaluate` does the work: in the
daemon on a thread of its own, in a recording at once. Values of a part wait for `lateness`, so that
the result does not depend on the batching of values.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from threading import RLock
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edge_agent.clock import ENDLESS, US_PER_S
from edge_agent.insight.quality.parts import PartWatch, SignalTraits, by_moment, number_text
from edge_agent.insight.quality.records import Inspection, RecentParts
from edge_agent.insight.quality.watched import WatchedChart, point_json
from edge_agent.messages import Observation
from edge_agent.signals import BAD, MISSING, marks
from edge_agent.values import RETAINED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from edge_agent.config.schema import Config
    from edge_agent.insight.quality.parts import Finished
    from edge_agent.insight.quality.records import PartRecord
    from edge_agent.plant import PlantAsset
    from edge_agent.signals import Acceptance, Observed
    from edge_agent.values import Columns

_KEPT: Final = 4096  # turns until they are evaluated
_WAITING: Final = 65_536  # values of a station


@dataclass(slots=True, eq=False)
class Station:
    """The charts of one asset that have the same parts.

    waiting: values until their time is past: (time_us, signal, value).
    """

    asset: PlantAsset
    lateness_us: int
    watch: PartWatch
    charts: list[WatchedChart] = field(default_factory=list)
    waiting: list[tuple[int, str, float]] = field(default_factory=list)
    is_each_value: bool = False

    def due(self, until_us: int) -> list[tuple[int, str, float]]:
        """Remove and return the values up to a time, in its order."""
        self.waiting.sort(key=lambda row: row[0])
        if len(self.waiting) > _WAITING:
            until_us = max(until_us, self.waiting[-_WAITING][0])
        n = sum(row[0] <= until_us for row in self.waiting)
        found, self.waiting = self.waiting[:n], self.waiting[n:]
        return found


class ControlCharts:
    """All charts of a config. parts: what became of the parts.

    is_apart: a thread calls `evaluate`, not the pipeline.
    """

    def __init__(self, config: Config, signals: Acceptance, watched: set[str]) -> None:
        self.is_apart = False
        self.parts = RecentParts()
        self._config = config
        self._signals = signals
        self._alarms = watched
        self._stations: list[Station] = []
        self._of_signal: dict[int, list[tuple[Station, str]]] = {}
        self._is_watched = np.zeros(0, np.bool_)
        self._uncertain = np.zeros(0, np.uint8)
        self._kept: deque[Columns] = deque(maxlen=_KEPT)
        self._known_us: NDArray[np.int64] = np.zeros(0, np.int64)
        self._inspections: deque[Inspection] = deque(maxlen=_KEPT)
        self._resets: set[int] = set()
        self._saved: dict[str, Any] = {}
        self._lock = RLock()

    # -- in the path of a value ---------------------------------------------------------------

    def add_asset(self, asset: PlantAsset) -> None:
        """Add an asset whose signals are already accepted, with the charts that name it."""
        with self._lock:
            for name, chart in self._config.control_charts.items():
                if chart.covers(asset.id) and set(chart.inputs) <= set(asset.signals):
                    self._add_chart(WatchedChart(str(name), chart, asset))
            bindings = self._signals.bindings
            new = [one.index for one in asset.signals.values()]
            watched = [index in self._of_signal for index in new]
            self._is_watched = np.append(self._is_watched, np.array(watched, np.bool_))
            uncertain = np.array([bindings[index].uncertain for index in new], np.uint8)
            self._uncertain = np.append(self._uncertain, uncertain)

    def keep(self, observed: Observed) -> None:
        """Keep the values of a turn that charts need."""
        values = observed.values
        mine = self._is_watched[values.signal]
        if mine.any():
            self._kept.append(values.where(mine))
        self._known_us = observed.known_us
        if observed.clock_reset or observed.step_us:
            moved = np.flatnonzero(self._signals.moves).tolist() if observed.step_us else ()
            self._resets |= {*observed.clock_reset, *moved}

    # -- the work -----------------------------------------------------------------------------

    def evaluate(self, *, is_end: bool = False) -> list[Observation]:
        """Judge the parts that are finished; returns observations for the alarm table.

        is_end: of a recording, so that nothing is waited for.
        """
        with self._lock:
            self._sort_kept()
            known_us, found = self._known_us, list[Observation]()
            for station in self._stations:
                if station.waiting:
                    until_us = int(known_us[station.asset.index]) - station.lateness_us
                    due = station.due(ENDLESS if is_end else until_us)
                    found += self._walk(station, due)
            self._join_inspections()
            return found

    def _sort_kept(self) -> None:
        """Hand what was kept to the stations."""
        resets, self._resets = self._resets, set()
        for station in self._stations if resets else ():
            if station.asset.index in resets:
                station.watch.reset_clock()
                station.waiting.clear()
                for one in station.charts:
                    for chart in one.charts.values():
                        chart.reset_clock()
        while self._kept:
            values = self._kept.popleft()
            mark = marks(values, self._uncertain)
            value = np.where(mark == BAD, np.nan, values.value)
            rows = zip(values.signal.tolist(), values.time_us.tolist(), value.tolist(), strict=True)
            missing = ((mark == MISSING) | (values.status == RETAINED)).tolist()
            for (signal, time_us, one), is_missing in zip(rows, missing, strict=True):
                for station, name in () if is_missing else self._of_signal[signal]:
                    station.waiting.append((time_us, name, one))

    def _walk(self, station: Station, rows: Sequence[tuple[int, str, float]]) -> list[Observation]:
        found = list[Observation]()
        for at_us, values in by_moment(rows):
            for one in station.charts:
                if one.config.reset and station.watch.rises(one.config.reset, values):
                    one.begin_anew()
            for finished in station.watch.accept(at_us, values):
                found += self._finish(station, finished)
        return found

    def _finish(self, station: Station, finished: Finished) -> list[Observation]:
        """A part is finished: measure it."""
        charts = station.charts
        if station.is_each_value:
            charts = [one for one in charts if one.config.signal in finished.signals]
        if not charts:
            return []
        record = self.parts.record_of(station.asset.id, finished.part, finished.at_us)
        found = [self._measure(station, one, finished, record) for one in charts]
        self.parts.join_waiting(record)
        return [one for one in found if one is not None]

    def _measure(
        self, station: Station, one: WatchedChart, finished: Finished, record: PartRecord
    ) -> Observation | None:
        watch, chart = station.watch, one.config
        at_us = finished.at_us
        for name in chart.process:
            record.process[name] = _or_none(watch.present(name, at_us))
        if chart.product:
            record.product = number_text(watch.present(chart.product, at_us))
        value = watch.measured(chart.signal, finished)
        if chart.product and not record.product:
            value = math.nan  # of which product is not known
        size = chart.sample_size
        if chart.sample_signal:
            size = watch.measured(chart.sample_signal, finished)
        record.measurements[chart.signal] = _or_none(value)
        wanted = chart.specification
        if wanted is not None and math.isfinite(value):
            record.in_spec[chart.signal] = wanted.allows(value)
        point, judged = one.measure(record, record.product, value, size)
        for part in judged:
            self.parts.mark_changed(part)
        return None if point is None else one.observe(point, record.product, self._alarms)

    def add_inspection(
        self, asset: str, camera: str, part: str, at_us: int, found: dict[str, Any]
    ) -> None:
        """Take a camera's verdict; the next `evaluate` joins it by number, or the nearest time.

        found: JSON values, of which `defect` is True for a bad part.
        """
        self._inspections.append(Inspection(asset, camera, part, at_us, found))

    def _join_inspections(self) -> None:
        while self._inspections:
            one = self._inspections.popleft()
            wanted = [
                watched.config.join_within
                for watched in self._all()
                if watched.asset.id == one.asset
                and (not watched.config.cameras or one.camera in watched.config.cameras)
            ]
            if wanted:
                self.parts.add_inspection(one, round(max(wanted) * US_PER_S))

    # -- commands, what is shown --------------------------------------------------------------

    def begin_anew(self, asset: str, name: str, *, learn: bool) -> bool:
        """After a tool change; learn: the limits anew, too. False if there is no such chart."""
        with self._lock:
            found = [one for one in self._all() if (one.asset.id, one.name) == (asset, name)]
            for one in found:
                one.begin_anew(learn=learn)
            return bool(found)

    def shown(self) -> list[dict[str, Any]]:
        """A row for each chart, without its points."""
        with self._lock:
            return [row for one in self._all() for row in one.shown()]

    def points(self, asset: str, name: str, product: str) -> list[dict[str, Any]] | None:
        """The last points of a chart, the oldest first; None if there is no such chart."""
        with self._lock:
            for one in self._all():
                if (one.asset.id, one.name) == (asset, name) and product in one.charts:
                    return [point_json(point) for point in one.charts[product].points]
            return None

    # -- restart, reload ----------------------------------------------------------------------

    def as_json(self) -> dict[str, Any]:
        """The state of all charts; what belongs to assets that are not known yet is kept."""
        with self._lock:
            return {**self._saved, **{_key(one): one.as_json() for one in self._all()}}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Continue a saved state; a chart that is not as it was begins anew."""
        with self._lock:
            self._saved = dict(saved)
            for one in self._all():
                self._restore(one)

    def adopt_state(self, old: ControlCharts) -> None:
        """Continue the charts and the parts of an earlier config."""
        self.restore(old.as_json())
        self.parts = old.parts
        self.is_apart = old.is_apart

    def _restore(self, one: WatchedChart) -> None:
        found = self._saved.pop(_key(one), None)
        try:
            if found is not None:
                one.restore(found)
        except (KeyError, TypeError, ValueError):
            one.charts.clear()

    def _add_chart(self, one: WatchedChart) -> None:
        part, asset = one.config.part, one.asset
        lateness_us = round(one.config.lateness * US_PER_S)
        for station in self._stations:
            same = station.charts[0].config.part == part and station.lateness_us == lateness_us
            if station.asset is asset and same:
                break
        else:
            watch = PartWatch(part, lambda name: self._traits(asset, name))
            station = Station(asset, lateness_us, watch)
            station.is_each_value = not (part.trigger or part.id)
            self._stations.append(station)
        station.charts.append(one)
        for name in one.config.inputs:
            rows = self._of_signal.setdefault(asset.signals[name].index, [])
            if (station, name) not in rows:
                rows.append((station, name))
        self._restore(one)

    def _traits(self, asset: PlantAsset, name: str) -> SignalTraits:
        index = asset.signals[name].index
        stale_us = int(self._signals.watch.silence.stale_us[index])
        return SignalTraits(stale_us, self._signals.bindings[index].group > 0)

    def _all(self) -> list[WatchedChart]:
        return [one for station in self._stations for one in station.charts]


def _key(one: WatchedChart) -> str:
    return f"{one.asset.id}/{one.name}"


def _or_none(value: float) -> float | None:
    return value if math.isfinite(value) else None
