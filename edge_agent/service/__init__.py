"""What other programs may ask: each interface is a table of routes for `ops.http`."""

from edge_agent.service.ask_api import AnswerProvider, Question, ask_routes
from edge_agent.service.status_api import (
    ASSET_COMMANDS,
    COMMANDS,
    StatusProvider,
    status_routes,
)

__all__ = [
    "ASSET_COMMANDS",
    "COMMANDS",
    "AnswerProvider",
    "Question",
    "StatusProvider",
    "ask_routes",
    "status_routes",
]
