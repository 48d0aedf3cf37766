"""Short forms for the tables of the dashboards: plots, single figures, bars."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from scripts.grafana.panels import Panel, Query, Variable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

JOB: Final = (Variable("job", "edge_agent_build_info", several=False),)
GATEWAYS: Final = (*JOB, Variable("instance", "edge_agent_build_info"))
BAD: Final = ((1, "red"),)
WATCH: Final = ((1, "orange"),)
GOOD_ABOVE: Final = ((0.5, "orange"), (0.8, "green"))
LINK: Final = {0: ("down", "red"), 1: ("up", "green")}


CPU: Final = Query(
    "sum by (instance) (rate(process_cpu_seconds_total{$here}[$every]))", "{{instance}}"
)
MEMORY: Final = Query("sum by (instance) (process_resident_memory_bytes{$here})", "{{instance}}")


def plot(
    title: str,
    text: str,
    *queries: Query,
    unit: str = "short",
    width: int = 8,
    top: float | None = None,
) -> Panel:
    """Lines over time."""
    return Panel(title, text, queries, unit=unit, width=width, top=top)


def figure(
    title: str,
    text: str,
    query: Query,
    *,
    unit: str = "short",
    steps: Sequence[tuple[float, str]] = (),
    names: Mapping[int, tuple[str, str]] | None = None,
) -> Panel:
    """One number, now."""
    return Panel(title, text, (query,), "stat", unit, 3, 4, steps, names=names or {})


def bars(
    title: str, text: str, query: Query, *, steps: Sequence[tuple[float, str]], low: str = "green"
) -> Panel:
    """The first of a ranking, now."""
    return Panel(title, text, (query,), "bargauge", width=12, steps=steps, low=low)


def timeline(
    title: str, text: str, query: Query, names: Mapping[int, tuple[str, str]] = LINK
) -> Panel:
    """States over time."""
    return Panel(title, text, (query,), "state-timeline", width=12, names=names)


def table(title: str, text: str, *queries: Query) -> Panel:
    """One line for each set of labels, now."""
    return Panel(title, text, queries, "table", width=24, height=8)


def quiet(expr: str, legend: str = "") -> Query:
    """A query of troubles: without a series the panel shows 0."""
    return Query(expr, legend, quiet=True)


def optional(expr: str, legend: str = "") -> Query:
    """A query of a feature that not every gateway uses."""
    return Query(expr, legend, optional=True)


def events(counter: str, of: str = "24h") -> str:
    """How often a counter with labels was raised in a time.

    Such a series begins with its first event, which `increase` does not see: a new one counts
    whole.
    """
    return f"sum(({counter} unless {counter} offset {of}) or increase({counter}[{of}]))"
