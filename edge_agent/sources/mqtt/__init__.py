"""Source `mqtt`: subscribes to topics of a broker and decodes the messages into columns."""

from edge_agent.sources.mqtt.config import MqttSourceConfig, Subscription
from edge_agent.sources.mqtt.decode import Decoder
from edge_agent.sources.mqtt.form import Form
from edge_agent.sources.mqtt.inspection import inspect_broker as inspect
from edge_agent.sources.mqtt.listener import HeardTopic, Listened
from edge_agent.sources.mqtt.paho_client import FrameCutter
from edge_agent.sources.mqtt.payload_spec import Payload
from edge_agent.sources.mqtt.proposals import Proposal, propose
from edge_agent.sources.mqtt.refusals import Refusals
from edge_agent.sources.mqtt.routes import Routes
from edge_agent.sources.mqtt.source import (
    MqttSource,
    beside,
    client_id,
    filters,
    listen,
    probe,
)
from edge_agent.transport import Tls

__all__ = [
    "Decoder",
    "Form",
    "FrameCutter",
    "HeardTopic",
    "Listened",
    "MqttSource",
    "MqttSourceConfig",
    "Payload",
    "Proposal",
    "Refusals",
    "Routes",
    "Subscription",
    "Tls",
    "beside",
    "client_id",
    "filters",
    "inspect",
    "listen",
    "probe",
    "propose",
]
