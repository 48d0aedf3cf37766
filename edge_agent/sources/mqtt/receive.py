"""Receives from a broker for some seconds, beside a running daemon, without taking its messages."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, Final

from edge_agent.clock import SystemClock
from edge_agent.errors import ConnectError
from edge_agent.sources.mqtt.paho_client import Client
from edge_agent.sources.mqtt.session import Session
from edge_agent.transport.mqtt import VersionChoice

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.sources.mqtt.config import MqttSourceConfig
    from edge_agent.sources.mqtt.paho_client import Messages
    from edge_agent.transport.mqtt import Protocol

_STEP_S: Final = 0.2


async def receive(
    config: MqttSourceConfig,
    filters: list[tuple[str, int]],
    seconds: float,
    accept: Callable[[Messages], None],
    enough: Callable[[float], bool],
) -> list[str]:
    """Subscribe with a separate client id and pass messages on; returns the refused filters.

    Ends after `seconds`, or as soon as `enough` (called with the fraction of the time that has
    passed) returns True. ConnectError if the broker refuses the connection or the connection
    breaks.
    """
    own_id = f"{config.client_id or 'edge-agent'}-probe-{secrets.token_hex(4)}"

    def make(version: Protocol) -> Session:
        return Session(config, Client(config, own_id, version, 0, set()), accept, SystemClock())

    session = await VersionChoice(config.version, wary=False).connect(make)
    try:
        refused = await session.subscribe(filters)
        await _wait(session.ended, seconds, enough)
        if session.ended.done():
            raise ConnectError(session.ended.result(), where=config.url)
    finally:
        session.close()
    return refused


async def _wait(
    ended: asyncio.Future[str], seconds: float, enough: Callable[[float], bool]
) -> None:
    clock = SystemClock()
    begin_s = clock.monotonic_s()
    passed_s = 0.0
    while passed_s < seconds and not ended.done() and not enough(passed_s / seconds):
        await asyncio.wait([ended], timeout=min(_STEP_S, seconds - passed_s))
        passed_s = clock.monotonic_s() - begin_s
