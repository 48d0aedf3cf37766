"""Source `replay`: CSV recordings at real speed, N times as fast, or as fast as possible."""

from edge_agent.sources.replay.config import ReplayConfig
from edge_agent.sources.replay.recording import Recording
from edge_agent.sources.replay.source import ReplaySource, inspect, probe

__all__ = [
    "Recording",
    "ReplayConfig",
    "ReplaySource",
    "inspect",
    "probe",
]
