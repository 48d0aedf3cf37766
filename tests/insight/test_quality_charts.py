"""Control charts: constants, rules, phase I, each kind of chart, restart."""

from __future__ import annotations

import itertools
import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.config.control_charts import (
    RULES,
    SETS,
    Autocorrelation,
    ChartKind,
    ControlChart,
    Cusum,
    Ewma,
    GivenLimits,
    PhaseOne,
    RunRule,
    Specification,
)
from edge_agent.config.types import Name
from edge_agent.insight.quality.capability import capability_of, chi_square
from edge_agent.insight.quality.chart import SPREAD, Chart
from edge_agent.insight.quality.constants import (
    c4,
    deviation_limits,
    mean_factor,
    range_limits,
    range_moments,
)
from edge_agent.insight.quality.phase_one import Baseline, autocorrelation, learn_baseline
from edge_agent.insight.quality.run_rules import is_violated

S = 1_000_000


def chart_of(kind: ChartKind = ChartKind.INDIVIDUALS, **more: Any) -> ControlChart:
    return ControlChart("P-1", Name("bore"), chart=kind, **more)


def walk(chart: Chart, values: Any, first_s: int = 1) -> list[Any]:
    """The points of values, one a second."""
    found = [chart.add((first_s + n) * S, float(one)) for n, one in enumerate(values)]
    return [one for one in found if one is not None]


@pytest.mark.parametrize(
    ("n", "d2", "d3", "c_4", "a2", "big_d3", "big_d4", "b3", "b4", "a3"),
    [  # ASTM STP 15D (1976), table 27; the same figures are in ISO 7870-2
        (2, 1.128, 0.853, 0.7979, 1.880, 0, 3.267, 0, 3.267, 2.659),
        (5, 2.326, 0.864, 0.9400, 0.577, 0, 2.114, 0, 2.089, 1.427),
        (10, 3.078, 0.797, 0.9727, 0.308, 0.223, 1.777, 0.284, 1.716, 0.975),
        (25, 3.931, 0.708, 0.9896, 0.153, 0.459, 1.541, 0.565, 1.435, 0.606),
    ],
)
def test_the_constants_are_those_of_the_tables(  # noqa: PLR0917 (a row)
    n: int,
    d2: float,
    d3: float,
    c_4: float,
    a2: float,
    big_d3: float,
    big_d4: float,
    b3: float,
    b4: float,
    a3: float,
) -> None:
    """They are computed; the published ones are rounded to three or four digits."""
    moments = range_moments(n)
    found = (
        *(moments.d2, moments.d3, c4(n), mean_factor(n, of_range=True)),
        *(*range_limits(n), *deviation_limits(n), mean_factor(n, of_range=False)),
    )
    assert found == pytest.approx((d2, d3, c_4, a2, big_d3, big_d4, b3, b4, a3), abs=0.001)


def slow(rule: RunRule, z: list[float]) -> bool:
    """The rule by its words, over all that came; the newest point must take part."""
    last = z[len(z) - min(len(z), rule.points) :]
    ups = [b > a for a, b in itertools.pairwise(last)]
    downs = [b < a for a, b in itertools.pairwise(last)]
    whole = len(last) == rule.points
    if rule.kind == "trend":
        return whole and (all(ups) or all(downs))
    if rule.kind == "alternating":
        first, second = ups[::2] + downs[1::2], downs[::2] + ups[1::2]
        return whole and (all(first) or all(second))
    if rule.kind == "inside":
        return whole and max(map(abs, last)) < rule.sigma
    if rule.kind == "spread":
        return False
    above = [one > rule.sigma for one in last]
    below = [one < -rule.sigma for one in last]
    if rule.is_any_side:
        either = [a or b for a, b in zip(above, below, strict=True)]
        return either[-1] and sum(either) >= rule.count
    one_side = (above, below)
    return any(side[-1] and sum(side) >= rule.count for side in one_side)


@pytest.mark.parametrize("name", RULES)
@settings(max_examples=60, deadline=None)
@given(z=st.lists(st.sampled_from([-3.5, -2.5, -1.5, -0.5, 0.0, 0.5, 1.5, 2.5, 3.5]), max_size=20))
def test_a_run_rule_is_what_its_words_say(name: str, z: list[float]) -> None:
    """Against a slow implementation, with ties, and points on the centre."""
    for end in range(1, len(z) + 1):
        assert is_violated(RULES[name], z[:end]) == slow(RULES[name], z[:end])


def test_every_set_names_rules_that_exist() -> None:
    assert {name for names in SETS.values() for name in names} <= RULES.keys()


def test_limits_come_from_the_spread_within_subgroups_without_those_out_of_control() -> None:
    """Two shifted subgroups would move the centre and, by the overall spread, hide themselves."""
    rng = np.random.default_rng(2)
    table = rng.normal(10, 0.1, (100, 5))
    table[[4, 20]] += 1.0
    found = learn_baseline(chart_of(ChartKind.XBAR_R), table.tolist())
    assert isinstance(found, Baseline)
    assert 2 <= found.excluded <= 5  # some by chance
    assert "excluded" in found.notes
    assert found.center == pytest.approx(10, abs=0.01)
    assert found.sigma == pytest.approx(0.1, rel=0.15)
    kept = chart_of(ChartKind.XBAR_R, phase_one=PhaseOne(exclude=False))
    loose = learn_baseline(kept, table.tolist())
    assert isinstance(loose, Baseline)
    assert loose.center > 10.01


def test_an_unstable_phase_one_teaches_nothing() -> None:
    """Too many subgroups out of control: the chart waits for a stable process, and says why."""
    chart = Chart(chart_of(phase_one=PhaseOne(10)))
    walk(chart, [0, 0.01, 9, 9.01, 20, 20.01, 31, 31.01, 42, 42.01])
    assert (chart.baseline, chart.trouble) == (None, "unstable")
    walk(chart, [5, 6, 4, 5, 6, 5, 4, 6, 5, 4], first_s=20)
    assert chart.baseline is not None


def test_a_constant_value_has_no_limits() -> None:
    """Zero range: a chart of it would alarm on the first digit that changes."""
    chart = Chart(chart_of(phase_one=PhaseOne(5)))
    walk(chart, [3.0] * 30)
    assert (chart.baseline, chart.trouble) == (None, "no_spread")


def test_a_coarse_sensor_widens_its_limits_and_is_named() -> None:
    rng = np.random.default_rng(3)
    values = np.round(rng.normal(10, 0.25, 200))
    found = learn_baseline(chart_of(phase_one=PhaseOne(200)), [[one] for one in values.tolist()])
    assert found == "no_spread" or (isinstance(found, Baseline) and "coarse" in found.notes)
    values = np.round(rng.normal(10, 0.5, 200))
    found = learn_baseline(chart_of(phase_one=PhaseOne(200)), [[one] for one in values.tolist()])
    assert isinstance(found, Baseline)
    assert "coarse" in found.notes
    assert found.sigma >= 1 / math.sqrt(12)


def ar1(phi: float, n: int, seed: int) -> list[float]:
    rng = np.random.default_rng(seed)
    x, found = 0.0, []
    for e in rng.normal(0, math.sqrt(1 - phi * phi), n):
        x = phi * x + e
        found.append(x)
    return found


def test_autocorrelation_is_named_and_residuals_take_it_out() -> None:
    """The moving range of dependent values is too small: too many alarms, unless it is treated."""
    values = ar1(0.8, 4000, 5)
    phase = PhaseOne(500, exclude=False)
    alarms = {}
    for how in Autocorrelation:
        chart = Chart(chart_of(phase_one=phase, autocorrelation=how))
        alarms[how] = sum(bool(one.rules) for one in walk(chart, values)) / 3500
        assert chart.baseline is not None
        assert "autocorrelated" in chart.baseline.notes
    assert alarms[Autocorrelation.SAY] > 0.1
    assert alarms[Autocorrelation.WIDEN] < 0.01
    assert alarms[Autocorrelation.RESIDUALS] < 0.01


def test_independent_values_have_no_autocorrelation() -> None:
    assert autocorrelation(np.random.default_rng(8).normal(0, 1, 400)) == 0


def test_the_ewma_begins_with_narrow_limits() -> None:
    """Hand-computed (Montgomery's form): z1 = .2 * 12 + .8 * 10; limits widen with the time."""
    config = chart_of(ChartKind.EWMA, limits=GivenLimits(10, 1), ewma=Ewma(0.2, 3.0))
    first, second = walk(Chart(config), [12, 12])
    assert [first.value, first.high] == pytest.approx([10.4, 10.6])
    assert second.value == pytest.approx(10.72)
    assert second.high == pytest.approx(10 + 3 * math.sqrt(0.2 / 1.8 * (1 - 0.8**4)))


def test_the_cusum_sums_deviations_and_begins_fast_if_told() -> None:
    config = chart_of(ChartKind.CUSUM, limits=GivenLimits(10, 2))
    points = walk(Chart(config), [13, 13, 7, 7])
    assert [one.value for one in points] == pytest.approx([1, 2, 0, 0])
    assert [-(one.other or 0) for one in points] == pytest.approx([0, 0, 1, 2])
    fast = chart_of(ChartKind.CUSUM, limits=GivenLimits(10, 2), cusum=Cusum(fast_start=True))
    assert walk(Chart(fast), [13])[0].value == pytest.approx(3.5)
    assert walk(Chart(config), [40, 40])[1].rules == ("beyond_limits",)


@pytest.mark.parametrize(
    ("kind", "center", "count", "size", "value", "high"),
    [  # the formulas of ISO 7870-2, table 6
        (ChartKind.P, 0.1, 12, 100, 0.12, 0.19),
        (ChartKind.NP, 0.1, 12, 100, 12, 19),
        (ChartKind.C, 4, 5, 1, 5, 10),
        (ChartKind.U, 4, 20, 4, 5, 7),
    ],
)
def test_charts_of_counts(  # noqa: PLR0917 (a row)
    kind: ChartKind, center: float, count: float, size: float, value: float, high: float
) -> None:
    point = Chart(chart_of(kind, limits=GivenLimits(center))).add(S, count, size=size)
    assert point is not None
    assert [point.value, point.high] == pytest.approx([value, high])
    assert point.low >= 0


def test_a_spread_out_of_control_is_a_rule_of_its_own() -> None:
    config = chart_of(ChartKind.XBAR_S, limits=GivenLimits(10, 1), subgroup=4)
    (point,) = walk(Chart(config), [6, 14, 6, 14])
    assert point.rules == (SPREAD,)
    assert point.spread == pytest.approx(math.sqrt(64 / 3))


def test_bad_and_late_measurements_never_enter() -> None:
    chart = Chart(chart_of(limits=GivenLimits(10, 1)))
    assert walk(chart, [math.nan, 10], first_s=5)[0].value == 10
    assert chart.add(3 * S, 99.0) is None
    assert (chart.counts["missing"], chart.counts["late"]) == (1, 1)


def test_a_gap_ends_runs_and_the_open_subgroup() -> None:
    config = chart_of(limits=GivenLimits(10, 1), rules=("run_of_7",), gap=60.0)
    chart = Chart(config)
    assert not walk(chart, [11] * 6)[-1].rules
    assert not walk(chart, [11] * 6, first_s=1000)[-1].rules
    assert walk(chart, [11], first_s=1007)[-1].rules == ("run_of_7",)


def test_a_chart_goes_on_after_a_restart_where_it_was() -> None:
    """Phase I, runs and sums: the points after it are the same as without one."""
    values = np.random.default_rng(2).normal(10, 1, 60).tolist()
    for kind in (ChartKind.XBAR_R, ChartKind.EWMA, ChartKind.CUSUM, ChartKind.INDIVIDUALS):
        config = chart_of(kind, phase_one=PhaseOne(5), rules=("nelson",))
        for cut in (3, 17, 48):
            whole, first, second = Chart(config), Chart(config), Chart(config)
            walk(whole, values)
            walk(first, values[:cut])
            second.restore(json.loads(json.dumps(first.as_json())))
            walk(second, values[cut:], first_s=1 + cut)
            assert list(second.points) == list(whole.points), (kind, cut)
            assert second.baseline == whole.baseline


def test_capability_against_hand_computed_indices() -> None:
    """Cp 1.667 by construction; the interval by chi-square (30 values: .744 to 1.254 of it)."""
    groups = [[9.9, 10.1], [10.1, 9.9]] * 15
    wanted = Specification(9.0, 11.0, 10.0)
    found = capability_of(groups, wanted)
    assert found is not None
    assert found.within == pytest.approx(math.sqrt(0.02))
    assert found.cp is not None
    assert found.cp.value == pytest.approx(2 / (6 * math.sqrt(0.02)))
    assert found.cpk.value == pytest.approx(found.cp.value)
    assert found.cp.low < found.cp.value < found.cp.high
    assert found.outside == 0
    assert (chi_square(0.025, 30), chi_square(0.975, 30)) == pytest.approx(
        (16.791, 46.979), abs=2e-3
    )
    one_side = capability_of(groups, Specification(high=10.5))
    assert one_side is not None
    assert one_side.cp is None
    assert one_side.cpk.value == pytest.approx(0.5 / (3 * math.sqrt(0.02)))


def test_the_interval_of_cpk_holds_its_confidence() -> None:
    """Of 400 processes with Cpk 1.33 about 95 % have it in their interval."""
    rng = np.random.default_rng(4)
    hits = 0
    for _ in range(400):
        groups = rng.normal(10, 1, (20, 5)).tolist()
        found = capability_of(groups, Specification(6.0, 15.0))
        assert found is not None
        hits += found.cpk.low <= 4 / 3 <= found.cpk.high
    assert 0.92 <= hits / 400 <= 0.98


@pytest.mark.parametrize(
    ("pattern", "inside", "outside"),
    [
        ("P-1", ["P-1"], ["P-12", "XP-1"]),
        ("P-{01..12}", ["P-01", "P-12"], ["P-1", "P-13", "P-012", "P-00"]),
        ("P-{1..12}", ["P-1", "P-12"], ["P-01", "P-0", "P-13"]),
        ("L?-*.x", ["L1-.x", "L2-abc.x"], ["L12-a.x", "L1-axx"]),
    ],
)
def test_a_chart_covers_an_id_a_range_or_a_pattern(
    pattern: str, inside: list[str], outside: list[str]
) -> None:
    chart = ControlChart(pattern, Name("bore"))
    assert all(map(chart.covers, inside))
    assert not any(map(chart.covers, outside))


@settings(max_examples=40, deadline=None)
@given(values=st.lists(st.floats(-5, 5), min_size=1, max_size=60))
def test_sums_and_averages_are_those_of_a_plain_loop(values: list[float]) -> None:
    """CUSUM and EWMA against their definitions, until the first alarm."""
    ewma = walk(Chart(chart_of(ChartKind.EWMA, limits=GivenLimits(0, 1))), values)
    cusum = walk(Chart(chart_of(ChartKind.CUSUM, limits=GivenLimits(0, 1))), values)
    z = plus = minus = 0.0
    for n, x in enumerate(values):
        z = 0.2 * x + 0.8 * z
        limit = 2.962 * math.sqrt(0.2 / 1.8 * (1 - 0.8 ** (2 * n + 2)))
        plus, minus = max(0.0, plus + x - 0.5), max(0.0, minus - x - 0.5)
        assert ewma[n].value == pytest.approx(z, abs=1e-9)
        if abs(abs(z) - limit) > 1e-9:
            assert bool(ewma[n].rules) == (abs(z) > limit)
        is_out = max(plus, minus) > 5
        if abs(max(plus, minus) - 5) > 1e-9:
            assert bool(cusum[n].rules) == is_out
        if is_out:
            break
        assert (cusum[n].value, -(cusum[n].other or 0.0)) == pytest.approx((plus, minus), abs=1e-9)
