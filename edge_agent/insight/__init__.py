"""What many machines say together: their states, availability and losses (ISO 22400-2).

A gateway without `lines:` in its config does not import this room.
"""

from edge_agent.insight.states import CODES, STATES, MachineState, StateLog, Stay

__all__ = [
    "CODES",
    "STATES",
    "MachineState",
    "StateLog",
    "Stay",
]
