"""One asyncio bridge to paho-mqtt, for source and sink."""

from edge_agent.transport.mqtt.broker import PORTS, Broker, Protocol
from edge_agent.transport.mqtt.wire import OWN_END, BrokerClient, Wire

__all__ = ["OWN_END", "PORTS", "Broker", "BrokerClient", "Protocol", "Wire"]
