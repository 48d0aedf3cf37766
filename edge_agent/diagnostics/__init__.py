"""Beside the score: contributions, drift, remaining life (ISO 13374 HA and PA)."""

from edge_agent.diagnostics.diagnostics import Insight
from edge_agent.diagnostics.rul_interval import AdaptiveInterval
from edge_agent.diagnostics.rul_tracker import Lives, Outcome

__all__ = [
    "AdaptiveInterval",
    "Insight",
    "Lives",
    "Outcome",
]
