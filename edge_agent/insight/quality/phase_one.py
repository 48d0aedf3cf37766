"""Phase I: centre and standard deviation of a process, learned from its first subgroups.

Subgroups out of control are left out and the limits computed again, until none is (ISO 7870-2:2013,
clause 9). Sigma comes from the spread within subgroups, so that shifts between them widen nothing.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edge_agent.config.control_charts import ATTRIBUTE, Autocorrelation, ChartKind
from edge_agent.insight.quality.constants import (
    c4,
    deviation_limits,
    range_limits,
    range_moments,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edge_agent.config.control_charts import ControlChart

    Group = Sequence[float]

WIDTH: Final = 3.0
_COARSE: Final = 1.0  # steps of the sensor per standard deviation: below it limits are coarse
_ROUNDING: Final = 1e-9  # of the largest value: a smaller difference is one of the number's form
_LEAST_STEPS: Final = 3  # different values that a spread can be learned from


@dataclass(frozen=True, slots=True)
class Baseline:
    """What a chart compares with: of one value, of attribute charts of one unit.

    spread: the centre of the chart of the spread. phi: lag-1 autocorrelation, 0 unless it is
    significant. factor: widens the limits for it. step: of the values, if they are quantized.
    notes: what a reader must know: coarse, autocorrelated, excluded.
    """

    center: float
    sigma: float
    spread: float = 0.0
    phi: float = 0.0
    factor: float = 1.0
    step: float = 0.0
    groups: int = 0
    excluded: int = 0
    notes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return asdict(self)


def given_baseline(chart: ControlChart) -> Baseline | None:
    """The baseline of limits that the config gives."""
    if chart.limits is None:
        return None
    sigma, n = chart.limits.sigma, chart.group_size
    return Baseline(chart.limits.center, sigma, _mean_spread(chart.chart, sigma, n))


def learn_baseline(chart: ControlChart, groups: Sequence[Group]) -> Baseline | str:
    """The baseline of the first subgroups, or why there is none yet.

    groups: values of each subgroup; of attribute charts [defects, sample size].
    """
    if chart.chart in ATTRIBUTE:
        return _learned_counts(chart, groups)
    table = np.array(groups, np.float64)
    kept = np.ones(len(table), np.bool_)
    while True:
        found = _estimate(chart, table[kept])
        if found.sigma <= 0 or len(np.unique(table[kept])) < _LEAST_STEPS:
            return "no_spread"
        if not _exclude_worst(chart, kept, _distance(chart, table, found)):
            break
        if (~kept).mean() > chart.phase_one.most_excluded:
            return "unstable"
    return _judged(chart, table[kept], found, int((~kept).sum()))


def _exclude_worst(
    chart: ControlChart, kept: NDArray[np.bool_], distance: NDArray[np.float64]
) -> bool:
    """Leave out the one subgroup that is farthest out of control; False if none is.

    One at a time: a far one moves the centre, so that good ones seem to be out.
    """
    worst = int(np.argmax(np.where(kept, distance, -np.inf)))
    if not chart.phase_one.exclude or distance[worst] <= 1:
        return False
    kept[worst] = False
    return True


def _estimate(chart: ControlChart, table: NDArray[np.float64]) -> Baseline:
    center, n = float(table.mean()), table.shape[1]
    if n == 1:
        spread = float(np.abs(np.diff(table[:, 0])).mean()) if len(table) > 1 else 0.0
        return Baseline(center, spread / range_moments(2).d2, spread)
    if chart.chart is ChartKind.XBAR_R:
        spread = float(np.ptp(table, axis=1).mean())
        return Baseline(center, spread / range_moments(n).d2, spread)
    spread = float(table.std(axis=1, ddof=1).mean())
    return Baseline(center, spread / c4(n), spread)


def _distance(
    chart: ControlChart, table: NDArray[np.float64], found: Baseline
) -> NDArray[np.float64]:
    """How far each subgroup is from the centre; above 1 it is out of control."""
    n = table.shape[1]
    far = WIDTH * found.sigma / math.sqrt(n)
    distance = np.abs(table.mean(axis=1) - found.center) / far
    if n == 1:
        return np.asarray(distance)
    _, high = spread_limits(chart.chart, found.spread, n)
    is_range = chart.chart is ChartKind.XBAR_R
    spread = np.ptp(table, axis=1) if is_range else table.std(axis=1, ddof=1)
    return np.asarray(np.maximum(distance, spread / high))


def _judged(
    chart: ControlChart, table: NDArray[np.float64], found: Baseline, excluded: int
) -> Baseline:
    """The baseline with what is unusual of its values."""
    notes = ["excluded"] if excluded else []
    step = step_of(table.ravel())
    sigma = found.sigma
    if step > _COARSE * sigma:
        # A value rounded to `step` has at least the deviation of the rounding itself.
        sigma = max(sigma, step / math.sqrt(12))
        notes.append("coarse")
    phi = autocorrelation(table.mean(axis=1))
    factor = 1.0
    if phi:
        notes.append("autocorrelated")
        factor, sigma = _with_autocorrelation(chart, table, phi, sigma)
    spread = (
        found.spread if sigma == found.sigma else _mean_spread(chart.chart, sigma, table.shape[1])
    )
    return Baseline(
        found.center, sigma, spread, phi, factor, step, len(table), excluded, tuple(notes)
    )


def _with_autocorrelation(
    chart: ControlChart, table: NDArray[np.float64], phi: float, sigma: float
) -> tuple[float, float]:
    """The factor on the limits and sigma; only what the config asks for is changed.

    The moving range of an AR(1) process underestimates sigma by sqrt(1 - phi); of residuals it
    is sigma * sqrt(1 - phi^2). An average needs more (Schmid, 1997).
    """
    if chart.autocorrelation is Autocorrelation.SAY:
        return 1.0, sigma
    single = table.shape[1] == 1
    overall = max(sigma, float(table.std(ddof=1))) if single else sigma
    if chart.autocorrelation is Autocorrelation.RESIDUALS:
        return 1.0, overall * math.sqrt(1 - phi * phi)
    if chart.chart is ChartKind.EWMA:
        keep = 1 - chart.ewma.weight
        return math.sqrt(max(1.0, (1 + phi * keep) / (1 - phi * keep))), overall
    if chart.chart is ChartKind.CUSUM:
        return math.sqrt(max(1.0, (1 + phi) / (1 - phi))), overall
    if single:
        return 1.0, overall
    between = float(table.mean(axis=1).std(ddof=1)) * math.sqrt(table.shape[1])
    return max(1.0, between / sigma), sigma


def _learned_counts(chart: ControlChart, groups: Sequence[Group]) -> Baseline | str:
    table = np.array(groups, np.float64)
    kept = np.ones(len(table), np.bool_)
    while True:
        center = float(table[kept, 0].sum() / table[kept, 1].sum())
        if center <= 0 or (chart.chart in {ChartKind.P, ChartKind.NP} and center >= 1):
            return "no_spread"
        z = np.array([count_z(chart.chart, center, c, n) for c, n in table.tolist()])
        if not _exclude_worst(chart, kept, np.abs(z) / WIDTH):
            break
        if (~kept).mean() > chart.phase_one.most_excluded:
            return "unstable"
    excluded = int((~kept).sum())
    notes = ("excluded",) if excluded else ()
    return Baseline(center, 0.0, groups=int(kept.sum()), excluded=excluded, notes=notes)


def count_deviation(kind: ChartKind, center: float, size: float) -> float:
    """The standard deviation of a share of defectives, or of defects a unit, in a sample."""
    variance = center * (1 - center) if kind in {ChartKind.P, ChartKind.NP} else center
    return math.sqrt(max(0.0, variance) / size)


def count_z(kind: ChartKind, center: float, count: float, size: float) -> float:
    """A count as standard deviations from what is expected."""
    deviation = count_deviation(kind, center, size)
    return (count / size - center) / deviation if deviation > 0 else 0.0


def spread_limits(kind: ChartKind, spread: float, n: int) -> tuple[float, float]:
    """The limits of the range, or standard deviation, of n values; n 1: of the moving range."""
    of_range = kind is ChartKind.XBAR_R or n == 1
    low, high = range_limits(max(n, 2), WIDTH) if of_range else deviation_limits(n, WIDTH)
    return low * spread, high * spread


def _mean_spread(kind: ChartKind, sigma: float, n: int) -> float:
    if kind is ChartKind.XBAR_R or n == 1:
        return sigma * range_moments(max(n, 2)).d2
    return sigma * c4(n)


def step_of(values: NDArray[np.float64]) -> float:
    """The step of quantized values: the smallest difference, if values repeat; else 0."""
    found = np.unique(values)
    if len(found) == len(values) or len(found) < 2:  # noqa: PLR2004 (two make a difference)
        return 0.0
    steps = np.diff(found)
    real = steps[steps > _ROUNDING * max(1.0, float(np.abs(found).max()))]
    return float(real.min()) if len(real) else 0.0


def autocorrelation(values: NDArray[np.float64]) -> float:
    """The lag-1 autocorrelation if it is significant (beyond 2 / sqrt(n)), else 0."""
    centred = values - values.mean()
    total = float((centred**2).sum())
    if total <= 0:
        return 0.0
    found = float((centred[1:] * centred[:-1]).sum()) / total
    return found if abs(found) > 2 / math.sqrt(len(values)) else 0.0
