"""Simulations for docs/process-quality.md: points until an alarm, beside published values.

    scripts/control-charts                # all tables; some minutes
    scripts/control-charts --runs 2000    # more exact
    scripts/control-charts --only rules

Seeded normal values unless a table says so. The rules, sums and averages are those of the product:
`insight.quality.chart.Chart`, point by point.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edge_agent.config.control_charts import (
    SETS,
    ChartKind,
    ControlChart,
    Cusum,
    Ewma,
    GivenLimits,
    PhaseOne,
)
from edge_agent.config.types import Name
from edge_agent.insight.quality.chart import Chart

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.random import Generator

    Published = dict[float, float | None]
    Draw = Callable[[Generator, int], np.ndarray[Any, np.dtype[np.float64]]]

_LONGEST: Final = 20_000  # points of a run
_BLOCK: Final = 64
# Champ and Woodall (1987), table 1: rules of Western Electric, shifts in standard deviations.
_RULES: Final[dict[tuple[str, ...], Published]] = {
    ("beyond_limits",): {0.0: 370.4, 1.0: 43.9},
    ("beyond_limits", "two_of_three"): {0.0: 225.4, 1.0: 20.0},
    ("beyond_limits", "four_of_five"): {0.0: 166.1, 1.0: 12.66},
    ("beyond_limits", "run_of_8"): {0.0: 152.7, 1.0: 14.6},
    SETS["western_electric"]: {0.0: 91.8, 1.0: 9.22},
    SETS["iso_7870"]: {0.0: None, 1.0: None},
    SETS["nelson"]: {0.0: None, 1.0: None},
}
# Lucas and Saccucci (1990): constant limits; ours are narrower at the start.
_EWMA: Final[dict[tuple[float, float], Published]] = {
    (0.2, 2.962): {0.0: 500.0, 0.5: 41.8, 1.0: 10.5, 2.0: 3.7}
}
# Montgomery (2013), table 9.3 (by Hawkins); with fast start Lucas and Crosier (1982).
_CUSUM: Final[dict[tuple[float, float, bool], Published]] = {
    (0.5, 4.0, False): {0.0: 168.0, 1.0: 8.38, 2.0: 3.34},
    (0.5, 5.0, False): {0.0: 465.0, 0.5: 38.0, 1.0: 10.4, 2.0: 4.01},
    (0.5, 5.0, True): {0.0: 430.0, 1.0: 6.35},
}
_DRAWS: Final[dict[str, Draw]] = {
    "normal": lambda r, n: r.normal(0, 1, n),
    "uniform": lambda r, n: r.uniform(-(3**0.5), 3**0.5, n),
    "Student t, 5 degrees": lambda r, n: r.standard_t(5, n) / (5 / 3) ** 0.5,
    "exponential": lambda r, n: r.exponential(1, n) - 1,
    "gamma, shape 4": lambda r, n: (r.gamma(4, 1, n) - 4) / 2,
    "rounded to half a sigma": lambda r, n: np.round(2 * r.normal(0, 1, n)) / 2,
}


def main() -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        prog="scripts/control-charts", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--runs", type=int, default=400, help="runs for each number")
    parser.add_argument("--only", choices=sorted(_TABLES), help="one table")
    args = parser.parse_args()
    for name, table in _TABLES.items():
        if args.only in (None, name):
            print(f"\n{name}")
            for line in table(args.runs):
                print(line, flush=True)
    return 0


def run_length(config: ControlChart, shift: float, draw: Draw, seed: int) -> int:
    """Points until the first alarm of a chart with known limits."""
    random, chart, n = np.random.default_rng([1924, seed]), Chart(config), 0
    size = config.group_size
    while n < _LONGEST:
        for value in (draw(random, _BLOCK * size) + shift).tolist():
            point = chart.add(chart.last_us + 1, value)
            if point is None:
                continue
            n += 1
            if point.rules:
                return n
    return n


def mean_length(
    config: ControlChart, shift: float, runs: int, draw: Draw = _DRAWS["normal"]
) -> str:
    """The average run length and its standard error, as text."""
    found = np.array([run_length(config, shift, draw, seed) for seed in range(runs)], np.float64)
    return f"{found.mean():7.2f} ± {found.std() / runs**0.5:5.2f}"


def _chart(kind: ChartKind = ChartKind.INDIVIDUALS, **more: Any) -> ControlChart:  # noqa: ANN401 (keys)
    return ControlChart("M", Name("x"), chart=kind, limits=GivenLimits(0, 1), **more)


def _rows(name: str, config: ControlChart, published: Published, runs: int) -> Iterable[str]:
    for shift, known in published.items():
        said = "–" if known is None else f"{known:g}"  # noqa: RUF001 (a dash)
        found = mean_length(config, shift, runs)
        yield f"  {name:<60} shift {shift:3.1f}: {found}  published {said}"


def _rule_table(runs: int) -> Iterable[str]:
    for names, published in _RULES.items():
        yield from _rows(", ".join(names)[:60], _chart(rules=names), published, runs)


def _ewma_table(runs: int) -> Iterable[str]:
    for (weight, width), published in _EWMA.items():
        config = _chart(ChartKind.EWMA, ewma=Ewma(weight, width))
        yield from _rows(f"EWMA lambda {weight}, L {width}", config, published, runs)


def _cusum_table(runs: int) -> Iterable[str]:
    for (k, h, fast), published in _CUSUM.items():
        config = _chart(ChartKind.CUSUM, cusum=Cusum(k, h, fast_start=fast))
        name = f"CUSUM k {k}, h {h}{', fast start' if fast else ''}"
        yield from _rows(name, config, published, runs)


def _group_table(runs: int) -> Iterable[str]:
    for kind in (ChartKind.XBAR_R, ChartKind.XBAR_S):
        yield f"  {kind}, 5 parts: {mean_length(_chart(kind, subgroup=5), 0.0, runs)}"
    config = _chart(rules=("shewhart", "moving_range"))
    yield f"  individuals with the rule moving_range: {mean_length(config, 0.0, runs)}"


def _shape_table(runs: int) -> Iterable[str]:
    """False alarms per 1,000 points of in-control values that are not normal."""
    kinds = (
        ("individuals", _chart()),
        ("xbar_r 5", _chart(ChartKind.XBAR_R, subgroup=5)),
        ("ewma", _chart(ChartKind.EWMA)),
        ("cusum", _chart(ChartKind.CUSUM)),
    )
    for name, draw in _DRAWS.items():
        rates = [f"{kind} {_false_rate(config, draw, runs):6.2f}" for kind, config in kinds]
        yield f"  {name:<26}" + "   ".join(rates)


def _false_rate(config: ControlChart, draw: Draw, runs: int) -> float:
    lengths = [run_length(config, 0.0, draw, seed) for seed in range(max(20, runs // 4))]
    return 1000 / float(np.mean(lengths))


def _learned_table(runs: int) -> Iterable[str]:
    """What limits from few subgroups cost: the run length of learned limits, in control."""
    for groups in (25, 50, 100):
        lengths = []
        for seed in range(runs):
            config = ControlChart("M", Name("x"), phase_one=PhaseOne(groups))
            lengths.append(run_length(config, 0.0, _DRAWS["normal"], seed))
        mean, median = np.mean(lengths), np.median(lengths)
        yield f"  {groups} values of phase I: mean {mean:.0f}, median {median:.0f}"


_TABLES: Final[dict[str, Callable[[int], Iterable[str]]]] = {
    "rules": _rule_table,
    "ewma": _ewma_table,
    "cusum": _cusum_table,
    "groups": _group_table,
    "shapes": _shape_table,
    "learned": _learned_table,
}

if __name__ == "__main__":
    sys.exit(main())
