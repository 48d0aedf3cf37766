"""Source `replay`: recordings at real speed, N times as fast, or as fast as possible."""

from edge_agent.sources.replay.config import QualityCodes, ReplayConfig, Waves
from edge_agent.sources.replay.plan import has_times
from edge_agent.sources.replay.playback import Playback
from edge_agent.sources.replay.recording import Recording
from edge_agent.sources.replay.report import Finding, Report
from edge_agent.sources.replay.source import ReplaySource, inspect, probe
from edge_agent.sources.replay.survey import find_signals

__all__ = [
    "Finding",
    "Playback",
    "QualityCodes",
    "Recording",
    "ReplayConfig",
    "ReplaySource",
    "Report",
    "Waves",
    "find_signals",
    "has_times",
    "inspect",
    "probe",
]
