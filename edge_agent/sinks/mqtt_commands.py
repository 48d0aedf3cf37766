"""Commands from the plant bus: nothing in them is trusted, and each is executed once."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import orjson

from edge_agent.alarms import VERDICTS, clean_part
from edge_agent.clock import US_PER_MS, US_PER_S
from edge_agent.errors import DecodeError
from edge_agent.messages import KEY_MARK
from edge_agent.sinks.base import Command, RefusedCommand

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.clock import Clock
    from edge_agent.ops.metrics import Metrics
    from edge_agent.sinks.base import Reply

MAX_BYTES: Final = 4096
MAX_TEXT: Final = 256
MAX_AHEAD_S: Final = 900.0
REMEMBERED_IDS: Final = 1024
# A burst, as of a panel that acknowledges each alarm of a power cut, and then so many a second.
BURST: Final = 2000.0
RATE_HZ: Final = 50.0
KINDS: Final = ("ack", "confirm", "comment", "shelve", "unshelve", "feedback", "healthy")
_PLACE_LEVELS: Final = 5  # enterprise/site/area/line/asset


def command_filters(root: str) -> list[str]:
    """Return the topic filters to subscribe to."""
    return [f"{root}/{'+/' * _PLACE_LEVELS}_pdm/cmd/{kind}" for kind in KINDS]


class CommandInbox:
    """Decides which messages are commands to execute; all others are counted by reason.

    on_refused: called for invalid ones. An id is kept here only for a short time; the executor of
    commands keeps it until it expires.
    """

    def __init__(self, sink: str, metrics: Metrics, clock: Clock) -> None:
        self.on_refused: Callable[[RefusedCommand], None] | None = None
        self._sink = sink
        self._counter = metrics.commands
        self._clock = clock
        self._seen: dict[str, None] = {}
        self._allowed = BURST
        self._allowed_at_s = clock.monotonic_s()

    def command_of(
        self, topic: str, payload: bytes, *, retained: bool, reply: Reply | None = None
    ) -> Command | None:
        """Return the command, or None if there is nothing to do."""
        if not self._is_in_rate():
            self._counter.labels(self._sink, "flood").inc()
            return None
        try:
            command = self._check(topic, payload, retained=retained)
        except DecodeError as error:
            self._counter.labels(self._sink, error.reason).inc()
            self._refuse(topic, payload, error, reply)
            return None
        self._counter.labels(self._sink, "accepted").inc()
        return replace(command, sink=self._sink, reply=reply)

    def _is_in_rate(self) -> bool:
        """False for messages of a flood, which are not even read."""
        now_s = self._clock.monotonic_s()
        grown = self._allowed + (now_s - self._allowed_at_s) * RATE_HZ
        self._allowed, self._allowed_at_s = min(BURST, grown), now_s
        if self._allowed < 1.0:
            return False
        self._allowed -= 1.0
        return True

    def _refuse(self, topic: str, payload: bytes, error: DecodeError, reply: Reply | None) -> None:
        if self.on_refused is None:
            return
        found, place = _id_of(payload), _place(topic)
        self.on_refused(
            RefusedCommand(self._sink, topic, error.reason, error.message, found, place, reply)
        )

    def _check(self, topic: str, payload: bytes, *, retained: bool) -> Command:
        if retained:  # its age is unknown, and it is received again with every connection
            raise DecodeError("retained", "a command must not be retained")
        command = parse_command(topic, payload, self._clock.now_us())
        if command.id in self._seen:
            raise DecodeError("repeated", "a command with this id was received before")
        self._seen[command.id] = None
        if len(self._seen) > REMEMBERED_IDS:
            del self._seen[next(iter(self._seen))]
        return command


def parse_command(topic: str, payload: bytes, now_us: int) -> Command:
    """Decode `{id, alarm_id, expires, by, comment, ..}`; DecodeError with a bounded reason.

    expires: epoch milliseconds, or ISO 8601 (UTC where it names no zone), at most `MAX_AHEAD_S`
    ahead, since ids are remembered for this long; comment: optional except for `comment`;
    duration_s: for `shelve`; verdict and part: for `feedback`; alarm_id: not for `healthy`, which
    is about the asset of the topic.
    """
    if len(payload) > MAX_BYTES:
        raise DecodeError("oversized", f"{len(payload)} bytes")
    try:
        data = orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        raise DecodeError("malformed", str(error)) from error
    if not isinstance(data, dict):
        raise DecodeError("malformed", "not a JSON object")
    kind = topic.rpartition("/")[2]
    expires_us = _expires_us(data)
    command = Command(
        kind=kind,
        alarm_id="" if kind == "healthy" else _text(data, "alarm_id"),
        actor=_text(data, "by", "mqtt"),
        duration_s=_duration_s(data) if kind == "shelve" else 0.0,
        id=_text(data, "id"),
        place=_place(topic),
        comment=_comment(data, kind),
        verdict=_verdict(data) if kind == "feedback" else "",
        part=_part(data) if kind == "feedback" else "",
        expires_us=round(expires_us),
    )
    if expires_us <= now_us:
        raise DecodeError("expired", "it has expired (expires), or a clock is wrong")
    if expires_us > now_us + MAX_AHEAD_S * US_PER_S:
        raise DecodeError("too_far", f"expires is more than {MAX_AHEAD_S:g} s ahead")
    return command


def _place(topic: str) -> str:
    """The ISA-95 path of {root}/{path}/_pdm/cmd/{kind}."""
    return "/".join(topic.split("/")[:-3][-_PLACE_LEVELS:])


def _id_of(payload: bytes) -> str:
    """The id of a refused command, for its answer."""
    try:
        return _text(orjson.loads(payload[:MAX_BYTES]), "id")
    except (orjson.JSONDecodeError, DecodeError, AttributeError):
        return ""


def _text(data: dict[str, Any], key: str, default: str = "") -> str:
    value = data.get(key, default)
    if key not in data and not default:
        raise DecodeError("malformed", f"{key} is missing")
    if not isinstance(value, str) or not value or len(value) > MAX_TEXT or not value.isprintable():
        raise DecodeError("malformed", f"{key} is not a text of 1 to {MAX_TEXT} characters")
    if key == "by" and KEY_MARK in f" {value}":
        raise DecodeError("malformed", f"by may not contain{KEY_MARK}")
    return value


def _comment(data: dict[str, Any], kind: str) -> str:
    is_said = bool(data.get("comment")) or kind == "comment"
    return _text(data, "comment") if is_said else ""


def _duration_s(data: dict[str, Any]) -> float:
    if "duration_s" not in data:
        raise DecodeError("malformed", "duration_s is missing: for how many seconds")
    value = _number(data["duration_s"])
    if value is None or value <= 0:
        raise DecodeError("malformed", "duration_s is not a positive number")
    return value


def _verdict(data: dict[str, Any]) -> str:
    value = data.get("verdict")
    if value not in VERDICTS:
        named = ", ".join(f'"{one}"' for one in VERDICTS)
        raise DecodeError("malformed", f"verdict: one of {named}, as a text")
    return str(value)


def _part(data: dict[str, Any]) -> str:
    return clean_part(_text(data, "part")) if data.get("part") else ""


def _expires_us(data: dict[str, Any]) -> float:
    if "expires" not in data:
        raise DecodeError("malformed", "expires is missing: epoch milliseconds or ISO 8601")
    value = data["expires"]
    number = _number(value)
    if number is not None:
        return number * US_PER_MS
    try:
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return moment.timestamp() * US_PER_S
    except (TypeError, ValueError, OverflowError) as error:
        raise DecodeError("malformed", "expires is not a time") from error


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)
