"""One asyncio bridge to paho-mqtt, for source and sink."""

from edge_agent.transport.mqtt.broker import PORTS, Broker, Protocol

__all__ = ["PORTS", "Broker", "Protocol"]
