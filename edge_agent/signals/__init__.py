"""Data manipulation (ISO 13374 DM): intake, event-time windows, resampling, quality of inputs."""

from edge_agent.signals._conditions import FALSE, TRUE, UNKNOWN, Conditions, Turn
from edge_agent.signals._intake import Intake, IntakeStats
from edge_agent.signals._limits import SETTLE_US, Bound, Change, Crossing, Limits
from edge_agent.signals._points import Points, joined
from edge_agent.signals._quality import ENDLESS_US, Episode, Problem, QualityWatch
from edge_agent.signals._rates import Rates
from edge_agent.signals._waves import Waves, WaveWindows
from edge_agent.signals._windows import Windows
from edge_agent.signals._windowset import (
    BAD,
    GOOD,
    HELD,
    MISSING,
    STALE,
    UNCERTAIN,
    Layout,
    Reads,
    WindowSet,
)

__all__ = [
    "BAD",
    "ENDLESS_US",
    "FALSE",
    "GOOD",
    "HELD",
    "MISSING",
    "SETTLE_US",
    "STALE",
    "TRUE",
    "UNCERTAIN",
    "UNKNOWN",
    "Bound",
    "Change",
    "Conditions",
    "Crossing",
    "Episode",
    "Intake",
    "IntakeStats",
    "Layout",
    "Limits",
    "Points",
    "Problem",
    "QualityWatch",
    "Rates",
    "Reads",
    "Turn",
    "WaveWindows",
    "Waves",
    "WindowSet",
    "Windows",
    "joined",
]
