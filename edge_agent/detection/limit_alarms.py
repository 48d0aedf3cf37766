"""Limit alarms: a signal beyond its limit, with the same alarm table as all other alarms."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from edge_agent.alarms import limit_alarm_id
from edge_agent.clock import US_PER_S
from edge_agent.config.limit_rules import rules_of, zone_bounds, zone_of
from edge_agent.detection.stops import STOPPED, Pause
from edge_agent.messages import AlarmState, Contributor, Detail, Observation
from edge_agent.signals import FALSE, TRUE, Bound, Change, Limits, Points, Rates, joined
from edge_agent.tables import Table, column

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from edge_agent.alarms import AlarmTable
    from edge_agent.config.limit_rules import LimitRule
    from edge_agent.plant import PlantAsset, PlantSignal
    from edge_agent.signals import Bindings, ConditionChange, Crossing

_PAUSE: Final[dict[Change, Literal["stops", "judged"]]] = {
    Change.PAUSE: "stops",
    Change.RESUME: "judged",
    Change.END: "judged",
}
_LEVEL: Final = {Change.RAISE: 1.0, Change.CLEAR: 0.0, Change.END: 0.0}


@dataclass(frozen=True, slots=True)
class _Limit:
    """A limit of a signal of an asset, and the point that it monitors."""

    signal: PlantSignal
    rule: LimitRule
    point: int
    condition: int


class LimitAlarms(Table):
    """The limits of all signals of a plant.

    Points are the signals, by their number in `_point_of`, and the rates of some. rows: the limits,
    by their number.
    """

    _point_of = column(np.intp, -1)  # by signal, -1 for none

    def __init__(self, bindings: Bindings, alarms: AlarmTable) -> None:
        super().__init__()
        self._bindings = bindings
        self._alarms = alarms
        self.rows: list[_Limit] = []
        self._of_signal: dict[int, list[int]] = {}
        self._columns = Limits()
        self._rates = Rates()
        self._points = 0
        self._rate_points: dict[tuple[int, float, float], int] = {}
        self._crossings: list[Crossing] = []

    def add(self, signal: PlantSignal) -> None:
        """Add the limits of a signal."""
        self.cover(signal.index + 1)
        for rule in rules_of(signal.config):
            condition = self._bindings.condition(signal.asset, rule.config.when)
            point = self._rate(signal, rule) if rule.is_rate else self._value(signal)
            sign = -1 if rule.kind == "falling" else 1
            bound = Bound(
                point,
                signal.asset.index,
                above=rule.kind in {"above", "rising"},
                limit=sign * rule.limit,
                deadband=rule.deadband,
                on_us=round(rule.config.on_delay * US_PER_S),
                off_us=round(rule.config.off_delay * US_PER_S),
                cooldown_us=round(rule.config.cooldown * US_PER_S),
                condition=condition,
            )
            row = self._columns.add(bound)
            self._of_signal.setdefault(signal.index, []).append(row)
            self.rows.append(_Limit(signal, rule, point, condition))
            self._restore(row)

    def _value(self, signal: PlantSignal) -> int:
        if self._point_of[signal.index] < 0:
            self._point_of[signal.index] = self._new_point()
        return int(self._point_of[signal.index])

    def _rate(self, signal: PlantSignal, rule: LimitRule) -> int:
        """The point of a rate; limits over the same window share it."""
        rolls = rule.config.rolls_over_at or 0.0
        key = (signal.index, rule.config.window, rolls)
        if key not in self._rate_points:
            self._rate_points[key] = self._new_point()
            self._rates.add(
                signal.index,
                signal.asset.index,
                self._rate_points[key],
                window_us=round(rule.config.window * US_PER_S),
                rolls_over_at=rolls,
                holds=self._bindings[signal.index].group > 0,
            )
        return self._rate_points[key]

    def _new_point(self) -> int:
        self._points += 1
        return self._points - 1

    def _restore(self, row: int) -> None:
        """Continue an alarm from the store that is not normal."""
        limit = self.rows[row]
        alarm = self._alarms.get(limit_alarm_id(limit.signal, limit.rule.name))
        if alarm is not None:
            paused = alarm.state is AlarmState.SUPPRESSED and alarm.suppressed_by == STOPPED
            self._columns.restore(row, raised=alarm.active, paused=paused)

    def update(
        self, values: Points, changes: Sequence[ConditionChange], asset_now_us: NDArray[np.int64]
    ) -> None:
        """Accept values by signal (NaN: unknown) and changes of conditions."""
        parts = [self._direct(values)]
        rates = self._rates.update(values, asset_now_us)
        points = parts[0] if rates is None else joined((*parts, rates))
        self._crossings += self._columns.update(points, changes)

    def _direct(self, values: Points) -> Points:
        point = self._point_of[values.number]
        mine = Points(point, values.time_us, values.value)
        watched = point >= 0
        return mine if watched.all() else mine.where(watched)

    def advance(self, asset_now_us: NDArray[np.int64]) -> None:
        """Advance time; asset_now_us: event time by asset [A]."""
        self._crossings += self._columns.advance(asset_now_us)

    def reset_clock(self, asset: int, to_us: int) -> None:
        """The clock of an asset was set back to `to_us`."""
        self._columns.reset_clock(asset, to_us)
        self._rates.reset_clock(asset)

    def shift_clock(self, step_us: int, moves: NDArray[np.bool_]) -> None:
        """Shift the times of these assets [A]; the gateway's clock was moved."""
        self._columns.shift_clock(step_us, moves)
        for asset in np.flatnonzero(moves).tolist():  # a rate describes the past window
            self._rates.reset_clock(asset)

    def observations(self, now_us: NDArray[np.int64]) -> list[Observation | Pause]:
        """The observations for the alarm table since the last call."""
        self.advance(now_us)
        crossings, self._crossings = self._crossings, []
        return [one for crossing in crossings for one in self._observations_of(crossing)]

    def _observations_of(self, crossing: Crossing) -> Iterator[Observation | Pause]:
        limit, at_us = self.rows[crossing.row], crossing.at_us
        alarm_id = limit_alarm_id(limit.signal, limit.rule.name)
        if crossing.change in _LEVEL:
            detail = _detail(limit, crossing.value)
            yield Observation(alarm_id, _LEVEL[crossing.change], at_us, detail)
        if crossing.change in _PAUSE:
            yield Pause(alarm_id, at_us, _PAUSE[crossing.change])

    # -- what the API shows -------------------------------------------------------------------

    def shown(self, signal: PlantSignal) -> dict[str, Any]:
        """The present state of the limits of a signal; empty if it has none."""
        rows = self._of_signal.get(signal.index)
        if not rows:
            return {}
        zone = self._zone(signal)
        return {"limits": [self._row(row) for row in rows], **({"zone": zone} if zone else {})}

    def judges(self, asset: PlantAsset) -> bool:
        """True if a limit of any signal of an asset is evaluated now."""
        rows = [r for s in asset.signals.values() for r in self._of_signal.get(s.index, ())]
        return any(known and truth == TRUE for _, truth, known in map(self._columns.state, rows))

    def _zone(self, signal: PlantSignal) -> str | None:
        """The vibration zone A to D of a signal with zones and a known value."""
        bounds = zone_bounds(signal.config)
        rows = self._of_signal.get(signal.index, ())
        if bounds is None or not rows:
            return None
        known = [row for row in rows if self.rows[row].rule.zone and self._columns.state(row)[2]]
        if not known:
            return None
        return zone_of(bounds, self._columns.value(self.rows[known[0]].point))

    def _row(self, row: int) -> dict[str, Any]:
        limit = self.rows[row]
        rule = limit.rule
        raised, truth, known = self._columns.state(row)
        state = "alarm" if raised else "ok"
        if truth == FALSE:
            state = "stopped"
        elif truth != TRUE or not known:
            state = "not_judged"
        shown = {
            "name": rule.name,
            "alarm_id": limit_alarm_id(limit.signal, rule.name),
            "kind": rule.kind,
            "limit": rule.limit * (rule.per_s or 1),
            "per": rule.per,
            "state": state,
        }
        if rule.is_rate:
            value = self._columns.value(limit.point) * (rule.per_s or 1)
            shown["rate"] = None if math.isnan(value) else value
        return shown


def _detail(limit: _Limit, value: float) -> Detail:
    """The detail of a limit alarm: by rule above, below, rising, falling or zone of ISO 20816."""
    rule, signal = limit.rule, limit.signal
    unit = signal.config.unit
    args: dict[str, Any] = {"input": signal.name, "unit": unit, "limit_name": rule.name}
    args["limit"] = rule.limit * (rule.per_s or 1)
    key = f"limit_{rule.kind}"
    if rule.is_rate:
        args |= {"value": abs(value) * rule.per_s, "unit": f"{unit}/{rule.per}"}
        unit = args["unit"]
    else:
        args["value"] = value
    bounds = zone_bounds(signal.config)
    if rule.zone and bounds is not None:
        key = "limit_zone"
        args["zone"] = rule.zone if math.isnan(value) else zone_of(bounds, value)
    contributors = (Contributor(signal.name, 1.0, float(args["value"]), unit),)
    return Detail(key, args, failure_mode=rule.config.failure_mode, contributors=contributors)
