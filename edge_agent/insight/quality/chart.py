"""One control chart: of a signal of an asset, for one product. Measurements in, points out."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from edge_agent.clock import US_PER_S
from edge_agent.config.control_charts import ATTRIBUTE, Autocorrelation, ChartKind
from edge_agent.insight.quality.capability import capability_of
from edge_agent.insight.quality.phase_one import (
    WIDTH,
    Baseline,
    count_deviation,
    given_baseline,
    learn_baseline,
    spread_limits,
)
from edge_agent.insight.quality.run_rules import MEMORY, violated_rules

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edge_agent.config.control_charts import ControlChart
    from edge_agent.insight.quality.capability import Capability

KEPT_POINTS: Final = 200
RECENT_VALUES: Final = 1000  # for the capability
SPREAD: Final = "spread"  # the rule of a spread beyond its limits
_MOST_SUM: Final = 2.0  # limits: a sum does not grow further, so that it comes back
_MEMORYLESS: Final = frozenset({ChartKind.EWMA, ChartKind.CUSUM})  # run rules say nothing here


@dataclass(frozen=True, slots=True)
class Point:
    """A point of a chart, in the unit of the statistic.

    other: of CUSUM the lower sum, as a negative number. z: standardised, beyond its limits above 3.
    spread: of the subgroup, with its limits; None if the chart has none. phase: 1 while limits are
    learned, so that rules raise nothing. parts: numbers of its parts, "" if they have none.
    """

    at_us: int
    value: float
    center: float
    low: float
    high: float
    z: float
    other: float | None = None
    spread: float | None = None
    spread_low: float | None = None
    spread_high: float | None = None
    rules: tuple[str, ...] = ()
    phase: int = 2
    parts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Group:
    """A complete subgroup: its values, or [defects, sample size]."""

    at_us: int
    values: tuple[float, ...]
    parts: tuple[str, ...]


class Chart:
    """The state of a chart; `as_json` and `restore` carry it over a restart.

    trouble: why nothing is learned yet: no_spread, unstable; empty: no reason.
    """

    def __init__(self, config: ControlChart, product: str = "") -> None:
        self.config = config
        self.product = product
        self.baseline = given_baseline(config)
        self.trouble = ""
        self.points: deque[Point] = deque(maxlen=KEPT_POINTS)
        self.recent: deque[tuple[float, ...]] = deque(maxlen=RECENT_VALUES // config.group_size)
        self.counts = {"points": 0, "violations": 0, "missing": 0, "late": 0}
        self.last_us = 0
        self._learning: list[Group] = []
        self._open: list[tuple[float, str]] = []
        self._z: deque[float] = deque(maxlen=MEMORY)
        self._before: float | None = None  # the value before, without a gap
        self._average = self._plus = self._minus = 0.0
        self._averaged = 0
        self.begin_anew()

    # -- measurements -------------------------------------------------------------------------

    def add(self, at_us: int, value: float, part: str = "", size: float = 1.0) -> Point | None:
        """Accept a part's measurement (NaN: it has none); returns a point if one is complete.

        size: of the sample, of attribute charts.
        """
        if at_us < self.last_us:
            self.counts["late"] += 1
            return None
        if self.last_us and at_us - self.last_us > self.config.gap * US_PER_S:
            self._end_runs()
        self.last_us = at_us
        if not (math.isfinite(value) and math.isfinite(size) and size > 0):
            self.counts["missing"] += 1
            return None
        self._open.append((value, part))
        if len(self._open) < self.config.group_size:
            return None
        given, self._open = self._open, []
        values = tuple(one for one, _ in given)
        counted = (size,) if self.config.chart in ATTRIBUTE else ()
        group = Group(at_us, (*values, *counted), tuple(one for _, one in given))
        if self.baseline is None:
            self._learn(group)
            return None
        return self._judge(group)

    def _learn(self, group: Group) -> None:
        """Collect the subgroups of phase I; when there are enough, show them as points."""
        wanted = self.config.phase_one.subgroups
        self._learning = [*self._learning, group][-wanted:]
        if len(self._learning) < wanted:
            return
        found = learn_baseline(self.config, [one.values for one in self._learning])
        if isinstance(found, str):
            self.trouble = found
            return
        self.baseline, self.trouble = found, ""
        groups, self._learning = self._learning, []
        self.begin_anew()
        for one in groups:
            self._judge(one, phase=1)
        self.begin_anew()

    def _judge(self, group: Group, phase: int = 2) -> Point:
        baseline = self.baseline
        assert baseline is not None  # noqa: S101 (looked at by the callers)
        point = self._located(group, baseline)
        self._z.append(point["z"])
        kind = self.config.chart
        names = ("beyond_limits",) if kind in _MEMORYLESS else self.config.rule_names
        rules = violated_rules(names, list(self._z))
        point |= self._spread(group, baseline)
        if point.pop("is_spread_out", False):
            rules = (*rules, SPREAD)
        made = Point(**point, rules=rules, phase=phase, parts=group.parts)
        self.points.append(made)
        if kind not in ATTRIBUTE:
            self.recent.append(group.values)
            self._before = group.values[-1]
        if phase == 2:  # noqa: PLR2004 (phase II)
            self.counts["points"] += 1
            self.counts["violations"] += bool(rules)
        return made

    def _located(self, group: Group, baseline: Baseline) -> dict[str, Any]:
        kind = self.config.chart
        if kind in ATTRIBUTE:
            return self._counted(group, baseline)
        n = len(group.values)
        deviation = baseline.sigma / math.sqrt(n) * baseline.factor
        value = self._residual(sum(group.values) / n, baseline)
        if kind is ChartKind.EWMA:
            return self._averaged_point(group.at_us, value, deviation)
        if kind is ChartKind.CUSUM:
            return self._summed(group.at_us, (value - baseline.center) / deviation)
        return _point(group.at_us, value, baseline.center, deviation)

    def _residual(self, value: float, baseline: Baseline) -> float:
        """The value without what the one before it explains, if the chart is one of residuals."""
        if self.config.autocorrelation is not Autocorrelation.RESIDUALS or self._before is None:
            return value
        return value - baseline.phi * (self._before - baseline.center)

    def _averaged_point(self, at_us: int, value: float, deviation: float) -> dict[str, Any]:
        """EWMA with limits that widen from the start (Roberts, 1959; ISO 7870-6)."""
        center, ewma = self._center, self.config.ewma
        self._averaged += 1
        self._average += ewma.weight * (value - self._average)
        share = 1 - (1 - ewma.weight) ** (2 * self._averaged)
        spread = deviation * math.sqrt(ewma.weight / (2 - ewma.weight) * share)
        return _point(at_us, self._average, center, spread, ewma.width)

    def _summed(self, at_us: int, y: float) -> dict[str, Any]:
        """Tabular CUSUM (Page, 1954; ISO 7870-4), in standard deviations."""
        k, h = self.config.cusum.k, self.config.cusum.h
        self._plus = min(max(0.0, self._plus + y - k), _MOST_SUM * h)
        self._minus = min(max(0.0, self._minus - y - k), _MOST_SUM * h)
        larger = self._plus if self._plus >= self._minus else -self._minus
        point = _point(at_us, self._plus, 0.0, h, 1.0)
        return point | {"z": WIDTH * larger / h, "other": -self._minus}

    def _counted(self, group: Group, baseline: Baseline) -> dict[str, Any]:
        count, size = group.values
        kind, center = self.config.chart, baseline.center
        deviation = count_deviation(kind, center, size)
        scale = size if kind in {ChartKind.NP, ChartKind.C} else 1.0
        point = _point(group.at_us, count / size * scale, center * scale, deviation * scale)
        return point | {"low": max(0.0, point["low"])}

    def _spread(self, group: Group, baseline: Baseline) -> dict[str, Any]:
        """The spread of a subgroup, or the moving range of single values, with its limits."""
        kind, values = self.config.chart, group.values
        if kind in ATTRIBUTE or (len(values) == 1 and kind in _MEMORYLESS):
            return {}
        if len(values) == 1 and self._before is None:
            return {}
        spread = _spread_of(kind, values, self._before)
        low, high = spread_limits(kind, baseline.spread, len(values))
        counts = len(values) > 1 or "moving_range" in self.config.rule_names
        is_out = counts and (spread > high or spread < low)
        found = {"spread": spread, "spread_low": low, "spread_high": high}
        return {**found, "is_spread_out": is_out}

    # -- new beginnings -----------------------------------------------------------------------

    def begin_anew(self) -> None:
        """After a tool change: runs, averages and sums begin anew; limits stay."""
        self._end_runs()
        self._average, self._averaged = self._center, 0
        cusum = self.config.cusum
        self._plus = self._minus = cusum.h / 2 if cusum.fast_start else 0.0

    def learn_again(self) -> None:
        """Learn the limits anew, unless the config gives them."""
        self.baseline = given_baseline(self.config)
        self.trouble = ""
        self._learning = []
        self.points.clear()
        self.recent.clear()
        self.begin_anew()

    def reset_clock(self) -> None:
        """The source's clock was set back: its times are no longer compared."""
        self.last_us = 0

    def _end_runs(self) -> None:
        self._open = []
        self._z.clear()
        self._before = None

    @property
    def _center(self) -> float:
        return 0.0 if self.baseline is None else self.baseline.center

    # -- what is shown, and restart ---------------------------------------------------------

    @property
    def learned(self) -> tuple[int, int]:
        """Subgroups of phase I so far, and those that are wanted."""
        return len(self._learning), self.config.phase_one.subgroups

    def capability(self) -> Capability | None:
        """The capability of the last values; None without a specification or with too few."""
        wanted = self.config.specification
        return None if wanted is None else capability_of(list(self.recent), wanted)

    def as_json(self) -> dict[str, Any]:
        """The whole state."""
        return {
            "product": self.product,
            "baseline": None if self.baseline is None else self.baseline.as_json(),
            "trouble": self.trouble,
            "points": [asdict(one) for one in self.points],
            "recent": [list(one) for one in self.recent],
            "counts": self.counts,
            "last_us": self.last_us,
            "learning": [asdict(one) for one in self._learning],
            "open": self._open,
            "z": list(self._z),
            "before": self._before,
            "sums": [self._average, self._plus, self._minus],
            "averaged": self._averaged,
        }

    def restore(self, found: Mapping[str, Any]) -> None:
        """Continue a saved state; ValueError, KeyError or TypeError if it is none."""
        saved = found["baseline"]
        self.baseline = (
            None if saved is None else Baseline(**{**saved, "notes": (*saved["notes"],)})
        )
        self.trouble = str(found["trouble"])
        self.points.extend(_point_of(one) for one in found["points"])
        self.recent.extend(tuple(map(float, one)) for one in found["recent"])
        self.counts |= {key: int(found["counts"][key]) for key in self.counts}
        self.last_us = int(found["last_us"])
        self._learning = [
            Group(int(one["at_us"]), (*map(float, one["values"]),), (*map(str, one["parts"]),))
            for one in found["learning"]
        ]
        self._open = [(float(value), str(part)) for value, part in found["open"]]
        self._z.extend(map(float, found["z"]))
        self._before = None if found["before"] is None else float(found["before"])
        self._average, self._plus, self._minus = map(float, found["sums"])
        self._averaged = int(found["averaged"])


def _point(
    at_us: int, value: float, center: float, deviation: float, width: float = WIDTH
) -> dict[str, Any]:
    """A point with limits of `width` deviations, at which z is 3."""
    half = width * deviation
    z = WIDTH * (value - center) / half if half > 0 else 0.0
    ends = {"low": center - half, "high": center + half}
    return {"at_us": at_us, "value": value, "center": center, "z": z, **ends}


def _spread_of(kind: ChartKind, values: Sequence[float], before: float | None) -> float:
    if len(values) == 1:
        return abs(values[0] - (values[0] if before is None else before))
    if kind is ChartKind.XBAR_R:
        return max(values) - min(values)
    mean = sum(values) / len(values)
    return math.sqrt(sum((one - mean) ** 2 for one in values) / (len(values) - 1))


def _point_of(saved: Mapping[str, Any]) -> Point:
    return Point(**{**saved, "rules": (*saved["rules"],), "parts": (*saved["parts"],)})
