"""Advisory generation (ISO 13374 AG): the receivers of alarms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from edge_agent.sinks import log, mqtt_probe, smtp, webhook
from edge_agent.sinks.base import (
    ALERT,
    EVENT,
    Command,
    DeliveryError,
    Position,
    Refusals,
    RefusedCommand,
    Sink,
)
from edge_agent.sinks.log import LogSink, LogSinkConfig
from edge_agent.sinks.mqtt import MqttSink
from edge_agent.sinks.mqtt_config import MqttSinkConfig
from edge_agent.sinks.mqtt_lease import OFFLINE, LeaseLink, PairListener
from edge_agent.sinks.smtp import SmtpSink, SmtpSinkConfig
from edge_agent.sinks.templates import template_problems
from edge_agent.sinks.webhook import WebhookSink, WebhookSinkConfig

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

__all__ = [
    "ALERT",
    "EVENT",
    "OFFLINE",
    "SINKS",
    "Command",
    "DeliveryError",
    "LeaseLink",
    "LogSinkConfig",
    "MqttSinkConfig",
    "PairListener",
    "Position",
    "Refusals",
    "RefusedCommand",
    "Sink",
    "SinkType",
    "WebhookSinkConfig",
    "template_problems",
]


class SinkType(NamedTuple):
    """The struct of a sink's config, its factory, and the probe of its endpoint.

    make: (name, config, gateway, topic_root, metrics, clock) -> Sink.
    probe: (config, gateway, topic_root, paths of assets) -> notes for the user, or EdgeAgentError
    if the receiver does not answer correctly, or does not allow us to write.
    """

    config: type
    make: Callable[..., Sink]
    probe: Callable[..., Awaitable[list[str]]]


# The possible values of `type:` in a config.
SINKS: Final[Mapping[str, SinkType]] = {
    "mqtt": SinkType(MqttSinkConfig, MqttSink, mqtt_probe.probe),
    "webhook": SinkType(WebhookSinkConfig, WebhookSink, webhook.probe),
    "smtp": SinkType(SmtpSinkConfig, SmtpSink, smtp.probe),
    "log": SinkType(LogSinkConfig, LogSink, log.probe),
}
