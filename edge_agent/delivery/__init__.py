"""Transitions to the store, to the outbox, to the sinks."""

from edge_agent.delivery.memory import Memory
from edge_agent.delivery.publisher import Publisher
from edge_agent.delivery.sender import Sender

__all__ = [
    "Memory",
    "Publisher",
    "Sender",
]
