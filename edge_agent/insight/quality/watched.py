"""A chart of the config at one asset: its products, and the alarm of what it finds."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from edge_agent.alarms import chart_alarm_id
from edge_agent.clock import US_PER_MS
from edge_agent.config.control_charts import RULES
from edge_agent.insight.quality.chart import SPREAD, Chart
from edge_agent.insight.quality.phase_one import WIDTH
from edge_agent.messages import Contributor, Detail, Observation

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_agent.config.control_charts import ControlChart
    from edge_agent.insight.quality.chart import Point
    from edge_agent.insight.quality.records import PartRecord
    from edge_agent.plant import PlantAsset

_SHOWN: Final = 5  # points in an alarm
# The message of a rule, if it is not the one of its kind.
_MESSAGES: Final = {
    "two_of_three": "chart_zone",
    "four_of_five": "chart_zone",
    "eight_outside": "chart_mixture",
    "beyond_limits": "chart_beyond",
    SPREAD: "chart_spread",
}
_KINDS: Final = {
    "beyond": "chart_run",
    "inside": "chart_stratified",
    "trend": "chart_trend",
    "alternating": "chart_alternating",
}


class WatchedChart:
    """The charts of one entry of the config at one asset, one for each product.

    is_open: its alarm is raised, as far as the charts know; calm: points in control since.
    """

    def __init__(self, name: str, config: ControlChart, asset: PlantAsset) -> None:
        self.name = name
        self.config = config
        self.asset = asset
        self.alarm_id = chart_alarm_id(asset.id, name)
        self.charts: OrderedDict[str, Chart] = OrderedDict()
        self.is_open = False
        self.calm = 0
        self._waiting: dict[str, list[PartRecord]] = {}  # by product: for the end of the subgroup

    def chart_of(self, product: str) -> Chart:
        """The chart of a product, made if it is new; the one unused for longest gives way."""
        found = self.charts.get(product)
        if found is None:
            found = self.charts[product] = Chart(self.config, product)
            if len(self.charts) > self.config.products:
                gone, _ = self.charts.popitem(last=False)
                self._waiting.pop(gone, None)
        self.charts.move_to_end(product)
        return found

    def measure(
        self, record: PartRecord, product: str, value: float, size: float
    ) -> tuple[Point | None, list[PartRecord]]:
        """Add a part's measurement; returns a point and the parts that it judges."""
        chart = self.chart_of(product)
        point = chart.add(record.at_us, value, record.part, size)
        waiting = self._waiting.setdefault(product, [])
        if math.isfinite(value):
            waiting.append(record)
            del waiting[: -self.config.group_size]
        if point is None:
            return None, []
        self._waiting[product] = []
        for one in waiting:
            one.charts[self.name] = list(point.rules)
        return point, waiting

    def observe(self, point: Point, product: str, watched: set[str]) -> Observation | None:
        """What a point means for the alarm; watched: alarms that are not normal."""
        if point.rules:
            self.is_open, self.calm = True, 0
            level = max(1.0, abs(point.z) / WIDTH)
            return Observation(self.alarm_id, level, point.at_us, self._detail(point, product))
        self.calm += 1
        if self.calm < self.config.clear_after:
            return None
        if not (self.is_open or self.alarm_id in watched):
            return None
        self.is_open = False
        return Observation(self.alarm_id, 0.0, point.at_us, self._detail(point, product))

    def begin_anew(self, *, learn: bool = False) -> None:
        """After a tool change; learn: the limits anew, too."""
        self._waiting.clear()
        for chart in self.charts.values():
            (chart.learn_again if learn else chart.begin_anew)()

    def _detail(self, point: Point, product: str) -> Detail:
        chart = self.charts[product]
        unit = self.asset.signals[self.config.signal].config.unit
        first = point.rules[0] if point.rules else "beyond_limits"
        is_spread = first == SPREAD
        value = (point.spread if is_spread else shown_value(point)) or 0.0
        args = {
            "chart": self.name,
            "input": self.config.signal,
            "unit": unit,
            "value": value,
            "rules": ", ".join(point.rules),
            "points": RULES[first].points if first in RULES else 1,
            "center": point.center,
            "low": point.spread_low if is_spread else point.low,
            "high": point.spread_high if is_spread else point.high,
            "product": product,
            "part": next(iter(point.parts[-1:]), ""),
        }
        key = _MESSAGES.get(first) or _KINDS[RULES[first].kind]
        last = list(chart.points)[-_SHOWN:]
        return Detail(
            key,
            {name: one for name, one in args.items() if one not in ("", None)},
            failure_mode=self.config.failure_mode,
            contributors=tuple(self._contributors(last, unit)),
        )

    def _contributors(self, last: list[Point], unit: str) -> list[Contributor]:
        """The last points, the newest first; weights: standard deviations from the centre."""
        return [
            Contributor(
                f"{self.config.signal} {one.parts[-1] if one.parts[-1:] != ('',) else -back}",
                one.z,
                shown_value(one),
                unit,
                one.low,
                one.high,
            )
            for back, one in enumerate(reversed(last))
        ]

    # -- what is shown, and restart -----------------------------------------------------------

    def shown(self) -> list[dict[str, Any]]:
        """A row for each product, without points."""
        return [self._row(product, chart) for product, chart in self.charts.items()]

    def _row(self, product: str, chart: Chart) -> dict[str, Any]:
        signal = self.asset.signals[self.config.signal]
        done, wanted = chart.learned
        capability = chart.capability()
        last = chart.points[-1] if chart.points else None
        return {
            "asset": self.asset.id,
            "chart": self.name,
            "product": product,
            "kind": str(self.config.chart),
            "signal": self.config.signal,
            "unit": signal.config.unit,
            "subgroup": self.config.group_size,
            "rules": list(self.config.rule_names),
            "state": self._state(chart),
            "alarm_id": self.alarm_id,
            "alarm": self.is_open,
            "learned": done,
            "wanted": wanted,
            "trouble": chart.trouble,
            "baseline": None if chart.baseline is None else chart.baseline.as_json(),
            "last": None if last is None else point_json(last),
            "capability": None if capability is None else capability.as_json(),
            "specification": self._specification(),
            "counts": dict(chart.counts),
        }

    def _specification(self) -> dict[str, Any] | None:
        wanted = self.config.specification
        return None if wanted is None else asdict(wanted)

    def _state(self, chart: Chart) -> str:
        if chart.baseline is None:
            return "learning"
        judged = [one for one in chart.points if one.phase == 2]  # noqa: PLR2004 (phase II)
        if not judged:
            return "ready"
        return "out_of_control" if judged[-1].rules else "in_control"

    def as_json(self) -> dict[str, Any]:
        """The state over a restart."""
        charts = [one.as_json() for one in self.charts.values()]
        return {
            "form": self._form(),
            "is_open": self.is_open,
            "calm": self.calm,
            "charts": charts,
        }

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Continue a saved state; nothing if the config of the chart has changed."""
        if saved["form"] != self._form():
            return
        for one in saved["charts"]:
            chart = Chart(self.config, str(one["product"]))
            chart.restore(one)
            self.charts[chart.product] = chart
        self.is_open, self.calm = bool(saved["is_open"]), int(saved["calm"])

    def _form(self) -> str:
        """What must be the same for a saved state to be continued."""
        one = self.config
        return repr(
            (
                one.signal,
                str(one.chart),
                one.group_size,
                one.limits,
                one.phase_one,
                one.sample_size,
                one.sample_signal,
                one.product,
                str(one.autocorrelation),
                one.ewma,
                one.cusum,
            )
        )


def shown_value(point: Point) -> float:
    """The value of a point; of CUSUM the sum that is nearer to its limit."""
    if point.other is not None and -point.other > point.value:
        return point.other
    return point.value


def point_json(point: Point) -> dict[str, Any]:
    """A point as the API shows it."""
    found = asdict(point)
    found["at_ms"] = found.pop("at_us") // US_PER_MS
    return found
