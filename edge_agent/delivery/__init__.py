"""Transitions to the store, to the outbox, to the sinks; and which gateway of a pair does it."""

from edge_agent.delivery.followed import Followed
from edge_agent.delivery.lease import Lease, Note, Role
from edge_agent.delivery.memory import Memory
from edge_agent.delivery.publisher import Publisher
from edge_agent.delivery.sender import Sender
from edge_agent.delivery.trial import send_test

__all__ = [
    "Followed",
    "Lease",
    "Memory",
    "Note",
    "Publisher",
    "Role",
    "Sender",
    "proposals",
    "send_test",
]
