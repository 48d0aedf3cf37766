"""Sink `log`: one log line for each alarm event; for gateways whose logs are collected anyway."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson

from edge_agent.messages import LinkState, TransitionKind
from edge_agent.sinks.base import EVENT, DeliveryError, Sink, SinkReporter

if TYPE_CHECKING:
    from edge_agent.clock import Clock
    from edge_agent.config.schema import Gateway
    from edge_agent.messages import Message
    from edge_agent.ops.metrics import Metrics

log = logging.getLogger("edge_agent.alarms")

_FIELDS: Final = (
    "alarm_id",
    "transition",
    "state",
    "severity",
    "ne107",
    "failure_mode",
    "actor",
    "comment",
)


@dataclass(frozen=True, slots=True)
class LogSinkConfig:
    """Alarm events as log lines."""

    language: str = "en"


class LogSink(Sink):
    """Writes to the logger `edge_agent.alarms`; a line that is written counts as delivered."""

    kinds = frozenset({EVENT})
    window = 1

    def __init__(  # noqa: PLR0913, PLR0917 (the same for all sinks)
        self,
        name: str,
        config: LogSinkConfig,
        gateway: Gateway,  # noqa: ARG002
        topic_root: str,  # noqa: ARG002
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self.name = name
        self._config = config
        self._reporter = SinkReporter(name, metrics, clock)
        self.link = self._reporter.link

    async def start(self) -> None:
        """Be ready at once."""
        self._reporter.set(LinkState.UP)

    async def stop(self) -> None:
        """Write no more."""
        self._reporter.set(LinkState.STOPPED)

    async def deliver(self, message: Message) -> None:
        """Write the line; DeliveryError before `start`, and for a body that is no alarm."""
        if self.link.state is not LinkState.UP:
            raise DeliveryError("not started", reason="disconnected", retry=True)
        data = event_data(message)
        fields = {field: data[field] for field in _FIELDS if data.get(field) not in {None, ""}}
        fields["text"] = text_in(data.get("message"), self._config.language)
        raised = data.get("transition") == TransitionKind.RAISE
        log.log(logging.WARNING if raised else logging.INFO, "alarm", extra=fields)


def event_data(message: Message) -> dict[str, Any]:
    """Return the `data` of a CloudEvent; DeliveryError if there is none."""
    try:
        data = orjson.loads(message.body)["data"]
    except (ValueError, KeyError, TypeError):
        data = None
    if not isinstance(data, dict):
        raise DeliveryError("not a CloudEvent with data", reason="malformed", retry=False)
    return data


def text_in(texts: object, language: str) -> str:
    """Return the text of that language, or the first there is."""
    if not isinstance(texts, dict):
        return str(texts or "")
    return str(texts.get(language) or next(iter(texts.values()), ""))


async def probe(config: LogSinkConfig, *_: object) -> list[str]:  # noqa: ARG001
    """There is nothing to reach."""
    return []
