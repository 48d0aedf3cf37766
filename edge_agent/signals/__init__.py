"""Data manipulation (ISO 13374 DM): intake, event-time windows, resampling, quality of inputs."""

from edge_agent.signals._intake import Intake, IntakeStats
from edge_agent.signals._quality import ENDLESS_US, Episode, Problem, QualityWatch
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
    "GOOD",
    "HELD",
    "MISSING",
    "STALE",
    "UNCERTAIN",
    "Episode",
    "Intake",
    "IntakeStats",
    "Layout",
    "Problem",
    "QualityWatch",
    "Reads",
    "WaveWindows",
    "Waves",
    "WindowSet",
    "Windows",
]
