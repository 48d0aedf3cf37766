"""Source `replay`: CSV recordings at their own pace, N times as fast, or as fast as it goes."""

from edge_agent.sources.replay._source import (
    Recording,
    ReplayConfig,
    ReplaySource,
    inspect,
    probe,
)

__all__ = [
    "Recording",
    "ReplayConfig",
    "ReplaySource",
    "inspect",
    "probe",
]
