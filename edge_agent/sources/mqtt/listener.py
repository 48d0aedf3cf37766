"""Listens to a broker's topics for some seconds and describes them; memory is always bounded."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from edge_agent.sources.mqtt.form import MAX_BYTES, Form, form_of_topic
from edge_agent.sources.mqtt.receive import receive
from edge_agent.sources.mqtt.topics import compile_pattern

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge_agent.clock import Clock
    from edge_agent.sources.mqtt.config import MqttSourceConfig
    from edge_agent.sources.mqtt.paho_client import Messages

MAX_TOPICS: Final = 2000
_SAMPLE_CHARACTERS: Final = 80
# One topic may bring many machines or signals in turns: so many of its payloads are looked at.
_MAX_BEFORE: Final = 500
_MAX_BEFORE_BYTES: Final = 16 << 20


@dataclass(slots=True)
class HeardTopic:
    """A topic. n: live messages; retained: retained ones; rate: live messages per second."""

    topic: str
    n: int
    retained: int
    rate: float
    form: Form
    sample: str


@dataclass(slots=True)
class Listened:
    """The result of listening. more: messages beyond MAX_TOPICS; refused: filters, with reasons."""

    topics: list[HeardTopic]
    messages: int
    more: int
    refused: list[str]


@dataclass(slots=True)
class _Kept:
    """The data kept for a topic while listening: the latest payload, and some before it."""

    n: int = 0
    retained: int = 0
    payload: bytes = b""
    size: int = 0
    arrival_us: int = 0
    before: list[bytes] = field(default_factory=list)


@dataclass(slots=True)
class _Ear:
    """Accepts messages."""

    clock: Clock
    kept: dict[bytes, _Kept] = field(default_factory=dict)
    messages: int = 0
    more: int = 0
    room: int = _MAX_BEFORE_BYTES

    def accept(self, messages: Messages) -> None:
        """Count each message, and keep the latest of its topic."""
        now_us = self.clock.now_us()
        retained = set(messages.retained)
        for number, (topic, payload) in enumerate(
            zip(messages.topics, messages.payloads, strict=True)
        ):
            self._keep(topic, payload, now_us, retained=number in retained)
        for topic in messages.too_large:
            self._keep(topic, b"", now_us, retained=False)

    def _keep(self, topic: bytes, payload: bytes, now_us: int, *, retained: bool) -> None:
        self.messages += 1
        one = self.kept.get(topic)
        if one is None:
            if len(self.kept) >= MAX_TOPICS:
                self.more += 1
                return
            one = self.kept[topic] = _Kept()
        if one.payload and len(one.before) < _MAX_BEFORE and len(one.payload) <= self.room:
            one.before.append(one.payload)
            self.room -= len(one.payload)
        one.n += not retained
        one.retained += retained
        one.payload = payload[: MAX_BYTES + 1]
        one.size, one.arrival_us = len(payload), now_us


async def listen_to(
    config: MqttSourceConfig,
    topics: Sequence[str],
    seconds: float,
    clock: Clock,
    progress: Callable[[float, int], None],
) -> Listened:
    """Listen to topic filters (patterns with {placeholders} are allowed) for `seconds`.

    Uses a separate client id, so that a running daemon misses nothing. ConnectError if the broker
    refuses the connection.
    """
    ear = _Ear(clock)
    filters = [(compile_pattern(topic).filter, 0) for topic in topics]

    def go_on(share: float) -> bool:
        progress(share, ear.messages)
        return False

    refused = await receive(config, filters, seconds, ear.accept, go_on)
    found = [_topic_of(topic, one, seconds) for topic, one in sorted(ear.kept.items())]
    return Listened(found, ear.messages, ear.more, refused)


def _topic_of(raw: bytes, kept: _Kept, seconds: float) -> HeardTopic:
    topic = raw.decode(errors="replace")
    form = form_of_topic(topic, [*kept.before, kept.payload], kept.arrival_us)
    return HeardTopic(topic, kept.n, kept.retained, kept.n / seconds, form, _sample(kept.payload))


def _sample(payload: bytes) -> str:
    text = payload[: 4 * _SAMPLE_CHARACTERS].decode(errors="replace")
    text = "".join(sign if sign.isprintable() else " " for sign in text)
    return text if len(text) <= _SAMPLE_CHARACTERS else text[: _SAMPLE_CHARACTERS - 3] + "..."
