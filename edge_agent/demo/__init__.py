"""The whole product on one machine: a simulated plant with faults, and a daemon that finds them.

Everything is real: the pumps use MQTT and OPC UA over real sockets, the daemon is
`edge-agent run` in its own process, and the alarms are those that an MQTT client receives.
"""

from edge_agent.demo.plant import FAULTS, NAMES, SENSORS, PumpPlant
from edge_agent.demo.show import SHORTEST_S, run_demo

__all__ = [
    "FAULTS",
    "NAMES",
    "SENSORS",
    "SHORTEST_S",
    "PumpPlant",
    "run_demo",
]
