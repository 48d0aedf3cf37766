"""Source `mqtt`: subscribes at a broker and decodes what it sends into columns."""

from edge_agent.sources.mqtt._form import Form
from edge_agent.sources.mqtt._inspect import inspect_broker as inspect
from edge_agent.sources.mqtt._listen import HeardTopic, Listened
from edge_agent.sources.mqtt._propose import Proposal, propose
from edge_agent.sources.mqtt._source import (
    MqttSource,
    MqttSourceConfig,
    Payload,
    Subscription,
    Tls,
    backoff_s,
    beside,
    client_id,
    filters,
    listen,
    probe,
    versions,
)

__all__ = [
    "Form",
    "HeardTopic",
    "Listened",
    "MqttSource",
    "MqttSourceConfig",
    "Payload",
    "Proposal",
    "Subscription",
    "Tls",
    "backoff_s",
    "beside",
    "client_id",
    "filters",
    "inspect",
    "listen",
    "probe",
    "propose",
    "versions",
]
