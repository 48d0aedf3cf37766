"""One asyncio bridge to paho-mqtt, for source and sink."""

from edge_agent.transport.mqtt.broker import PORTS, Broker, Protocol
from edge_agent.transport.mqtt.takeover import Takeovers
from edge_agent.transport.mqtt.wire import BrokerClient, Wire

__all__ = ["PORTS", "Broker", "BrokerClient", "Protocol", "Takeovers", "Wire"]
