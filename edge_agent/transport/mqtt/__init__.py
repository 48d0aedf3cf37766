"""One asyncio bridge to paho-mqtt, for source and sink."""

from edge_agent.transport.mqtt.broker import PORTS, Broker, Protocol
from edge_agent.transport.mqtt.session import BrokerSession, VersionError
from edge_agent.transport.mqtt.takeover import Takeovers
from edge_agent.transport.mqtt.versions import ENOUGH_SILENCES, VersionChoice
from edge_agent.transport.mqtt.wire import BrokerClient

__all__ = [
    "ENOUGH_SILENCES",
    "PORTS",
    "Broker",
    "BrokerClient",
    "BrokerSession",
    "Protocol",
    "Takeovers",
    "VersionChoice",
    "VersionError",
]
