"""The probe of `check --connect`: tries to write alarms and status to a broker."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, Final

from edge_agent.clock import SystemClock
from edge_agent.errors import ConnectError
from edge_agent.sinks.base import DeliveryError
from edge_agent.sinks.mqtt_connection import Connection
from edge_agent.transport.mqtt import ENOUGH_SILENCES, VersionChoice

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_agent.config.schema import Gateway
    from edge_agent.sinks.mqtt_config import MqttSinkConfig

RETAINED_S: Final = 0.5  # time after SUBACK until retained messages have arrived
MAX_PLACES: Final = 20
_PROBE: Final = "edge-agent-check"


async def probe(
    config: MqttSinkConfig,
    gateway: Gateway | None = None,
    topic_root: str = "",
    paths: Sequence[str] = (),
) -> list[str]:
    """Connect and publish to the topics of alarms; returns notes. ConnectError if refused.

    gateway, topic_root: None: connect only. paths: ISA-95 paths of assets. Nothing on the bus
    changes: alerts are published empty under an id of their own, the status as it stands. It
    connects under another name, so that a running daemon keeps its connection.
    """
    name = f"{_PROBE}-{secrets.token_hex(4)}"
    versions = VersionChoice(config.protocol, ENOUGH_SILENCES - 1)
    connection = await versions.connect(
        lambda version: Connection(config, name, version, SystemClock(), clean=True)
    )
    try:
        if gateway is None:
            return []
        if not connection.v5:
            return ["MQTT 3.1.1: refusals by the broker's access rules cannot be seen"]
        refused = await _refused(connection, gateway, topic_root, paths)
    finally:
        connection.close()
    if refused:
        hint = "allow this gateway to write there, or no alarm arrives"
        raise ConnectError("; ".join(refused), where=config.url, hint=hint)
    return []


async def _refused(
    connection: Connection, gateway: Gateway, root: str, paths: Sequence[str]
) -> list[str]:
    """Return the topics that the broker refuses, each with its reason."""
    status = f"{root}/_svc/{gateway.id}/status"
    body, known = await _retained(connection, status)
    found = [await _try(connection, status, body, retain=known)]
    for path in [gateway.path, *_one_a_line(paths)][:MAX_PLACES]:
        topic = f"{root}/{path}/_pdm/alert/{_PROBE}"
        found.append(await _try(connection, topic, b"", retain=True))
    return [text for text in found if text]


def _one_a_line(paths: Sequence[str]) -> list[str]:
    """Return one path for each ISA-95 line: access rules rarely differ within a line."""
    return list({path.rpartition("/")[0]: path for path in paths}.values())


async def _retained(connection: Connection, topic: str) -> tuple[bytes, bool]:
    """Return the retained message of `topic`, and True if we may read it."""
    came: list[bytes] = []
    connection.on_message = lambda _topic, body, *_: came.append(body)
    if await connection.subscribe([(topic, 1)], as_published=True):
        return b"", False
    await asyncio.sleep(RETAINED_S)
    return (came[-1] if came else b""), True


async def _try(connection: Connection, topic: str, body: bytes, *, retain: bool) -> str:
    try:
        await connection.publish(topic, body, retain=retain)
    except DeliveryError as error:
        if error.hold_s is None:
            raise
        return f"{topic}: {error.message}"
    return ""
