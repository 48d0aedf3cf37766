"""State detection (ISO 13374 SD): limits, conditions, sensors and sources that are silent."""

from edge_agent.detection.rules import Rules
from edge_agent.detection.sensors import SensorAlarms
from edge_agent.detection.silence import Silence
from edge_agent.detection.stops import STOPPED

__all__ = [
    "STOPPED",
    "Rules",
    "SensorAlarms",
    "Silence",
]
