"""Transitions to the store, to the outbox, to the sinks."""

from edge_agent.delivery.memory import Memory
from edge_agent.delivery.publisher import Outlet
from edge_agent.delivery.sender import Delivery

__all__ = [
    "Delivery",
    "Memory",
    "Outlet",
]
