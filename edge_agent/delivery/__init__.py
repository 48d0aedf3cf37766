"""Transitions to the store, to the outbox, to the sinks; and which gateway of a pair does it."""

from edge_agent.delivery.followed import Followed
from edge_agent.delivery.lease import Lease, Note, Role
from edge_agent.delivery.memory import Memory
from edge_agent.delivery.publisher import Publisher
from edge_agent.delivery.sender import Sender

__all__ = [
    "Followed",
    "Lease",
    "Memory",
    "Note",
    "Publisher",
    "Role",
    "Sender",
]
