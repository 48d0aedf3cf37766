"""What many machines say together: their states, availability and losses (ISO 22400-2).

The package `maintenance` has the plan. A gateway with neither `lines:` nor `maintenance:` in its
config imports nothing of this room.
"""

from edge_agent.insight.states import CODES, STATES, MachineState, StateLog, Stay

__all__ = [
    "CODES",
    "STATES",
    "MachineState",
    "StateLog",
    "Stay",
]
