"""Trends: aggregates of signals and scores at several resolutions, in a bounded file of their own.

A gateway with `trends.enabled: false` does not import this room.
"""

from edge_agent.trends.levels import RESOLUTIONS_S, step_for
from edge_agent.trends.rows import (
    BAD,
    HELD,
    OVER,
    REPLAYED,
    UNCERTAIN,
    Rows,
    empty_rows,
    grouped,
    joined,
    marks_of,
    means,
    missing_rows,
    rows_of,
)
from edge_agent.trends.trends import SeriesName, Trend, Trends

__all__ = [
    "BAD",
    "HELD",
    "OVER",
    "REPLAYED",
    "RESOLUTIONS_S",
    "UNCERTAIN",
    "Rows",
    "SeriesName",
    "Trend",
    "Trends",
    "empty_rows",
    "grouped",
    "joined",
    "marks_of",
    "means",
    "missing_rows",
    "rows_of",
    "step_for",
]
