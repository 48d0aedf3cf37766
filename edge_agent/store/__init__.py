"""What must survive a power cut: alarm states, history, the outbox, learned values, audit.

One SQLite file with one writer. See `Store`.
"""

from __future__ import annotations

from edge_agent.store._codec import alarm_from_dict, alarm_to_dict
from edge_agent.store._journal import Told
from edge_agent.store._look import look_at_store
from edge_agent.store._outbox import DroppedMessages, Line, OutboxStats, Waiting
from edge_agent.store._store import Store

__all__ = [
    "DroppedMessages",
    "Line",
    "OutboxStats",
    "Store",
    "Told",
    "Waiting",
    "alarm_from_dict",
    "alarm_to_dict",
    "look_at_store",
]
