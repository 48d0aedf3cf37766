"""Source `mqtt`: subscribes at a broker and decodes what it sends into columns."""

from edge_agent.sources.mqtt._inspect import inspect_broker as inspect
from edge_agent.sources.mqtt._source import (
    MqttSource,
    MqttSourceConfig,
    Payload,
    Subscription,
    Tls,
    backoff_s,
    client_id,
    filters,
    probe,
    versions,
)

__all__ = [
    "MqttSource",
    "MqttSourceConfig",
    "Payload",
    "Subscription",
    "Tls",
    "backoff_s",
    "client_id",
    "filters",
    "inspect",
    "probe",
    "versions",
]
