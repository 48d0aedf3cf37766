"""Commands from the plant bus: nothing in them is trusted, and each counts once."""

from __future__ import annotations

import logging
import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import orjson

from edge_agent.clock import US_PER_MS, US_PER_S
from edge_agent.errors import DecodeError
from edge_agent.sinks._base import Command

if TYPE_CHECKING:
    from edge_agent.clock import Clock
    from edge_agent.ops.metrics import Metrics

log = logging.getLogger("edge_agent.sinks")

MAX_BYTES: Final = 4096
MAX_TEXT: Final = 256
REMEMBERED_IDS: Final = 1024
KINDS: Final = ("ack", "shelve")
_PLACE_LEVELS: Final = 5  # enterprise/site/area/line/asset


def command_filters(root: str) -> list[str]:
    """Return the topic filters to subscribe to."""
    return [f"{root}/{'+/' * _PLACE_LEVELS}_pdm/cmd/{kind}" for kind in KINDS]


class CommandInbox:
    """Decides which messages are commands to be carried out; all others are counted by reason."""

    def __init__(self, sink: str, metrics: Metrics, clock: Clock) -> None:
        self._sink = sink
        self._counter = metrics.commands
        self._clock = clock
        self._seen: dict[str, None] = {}

    def take(self, topic: str, payload: bytes, *, retained: bool) -> Command | None:
        """Return the command, or None where there is nothing to do."""
        try:
            command = self._check(topic, payload, retained=retained)
        except DecodeError as error:
            self._counter.labels(self._sink, error.reason).inc()
            log.debug("command ignored", extra={"topic": topic, "reason": str(error)})
            return None
        self._counter.labels(self._sink, "accepted").inc()
        return command

    def _check(self, topic: str, payload: bytes, *, retained: bool) -> Command:
        if retained:  # it is of unknown age, and comes again with every connection
            raise DecodeError("retained", "a command must not be retained")
        command = parse_command(topic, payload, self._clock.now_us())
        if command.id in self._seen:
            raise DecodeError("repeated", "a command with this id came before")
        self._seen[command.id] = None
        if len(self._seen) > REMEMBERED_IDS:
            del self._seen[next(iter(self._seen))]
        return command


def parse_command(topic: str, payload: bytes, now_us: int) -> Command:
    """Decode `{id, alarm_id, expires, by, duration_s}`; DecodeError with a bounded reason.

    expires: epoch milliseconds, or ISO 8601 (UTC where it names no zone); duration_s: for `shelve`.
    """
    if len(payload) > MAX_BYTES:
        raise DecodeError("oversized", f"{len(payload)} bytes")
    try:
        data = orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        raise DecodeError("malformed", str(error)) from error
    if not isinstance(data, dict):
        raise DecodeError("malformed", "not a JSON object")
    *place, _, _, kind = topic.split("/")
    command = Command(
        kind=kind,
        alarm_id=_text(data, "alarm_id"),
        actor=_text(data, "by", "mqtt"),
        duration_s=_duration_s(data) if kind == "shelve" else 0.0,
        id=_text(data, "id"),
        place="/".join(place[-_PLACE_LEVELS:]),
    )
    if _expires_us(data.get("expires")) <= now_us:
        raise DecodeError("expired", "it has expired")
    return command


def _text(data: dict[str, Any], key: str, default: str = "") -> str:
    value = data.get(key, default)
    if not isinstance(value, str) or not value or len(value) > MAX_TEXT or not value.isprintable():
        raise DecodeError("malformed", f"{key} is not a text of 1 to {MAX_TEXT} characters")
    return value


def _duration_s(data: dict[str, Any]) -> float:
    value = _number(data.get("duration_s"))
    if value is None or value <= 0:
        raise DecodeError("malformed", "duration_s is not a positive number")
    return value


def _expires_us(value: object) -> float:
    number = _number(value)
    if number is not None:
        return number * US_PER_MS
    try:
        moment = datetime.fromisoformat(value)  # type: ignore[arg-type]
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return moment.timestamp() * US_PER_S
    except (TypeError, ValueError, OverflowError) as error:
        raise DecodeError("malformed", "expires is not a time") from error


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)
