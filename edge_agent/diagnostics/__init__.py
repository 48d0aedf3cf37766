"""In addition to the score: contributions, drift, remaining life (ISO 13374 HA and PA)."""

from edge_agent.diagnostics.adaptive_interval import AdaptiveInterval
from edge_agent.diagnostics.diagnostics import Diagnostics
from edge_agent.diagnostics.rul_tracker import Outcome, RulTracker

__all__ = [
    "AdaptiveInterval",
    "Diagnostics",
    "Outcome",
    "RulTracker",
]
