"""State detection (ISO 13374 SD): limits, conditions, silent sensors and sources."""

from edge_agent.detection.detection import Detection
from edge_agent.detection.silence import Silence
from edge_agent.detection.stops import STOPPED, Pause

__all__ = [
    "STOPPED",
    "Detection",
    "Pause",
    "Silence",
]
