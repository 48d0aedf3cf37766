"""Receives from a broker for some seconds, beside a running daemon, without taking its messages."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from typing import TYPE_CHECKING, Final

from edge_agent.clock import SystemClock
from edge_agent.errors import ConnectError
from edge_agent.sources.mqtt.session import (
    CONNECT_TIMEOUT_S,
    FIRST_TRY_TIMEOUT_S,
    Session,
    VersionError,
    make_client,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from edge_agent.sources.mqtt.config import MqttSourceConfig
    from edge_agent.sources.mqtt.paho_client import Messages
    from edge_agent.transport.mqtt import Protocol

_STEP_S: Final = 0.2


async def receive(  # noqa: PLR0913, PLR0917 (topics, duration and callbacks)
    config: MqttSourceConfig,
    versions: Sequence[Protocol],
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
    *first, last = versions
    for version in first:
        with contextlib.suppress(VersionError):
            return await _serve(
                config, version, FIRST_TRY_TIMEOUT_S, filters, accept, _until(seconds, enough)
            )
    return await _serve(config, last, CONNECT_TIMEOUT_S, filters, accept, _until(seconds, enough))


async def _serve(  # noqa: PLR0913, PLR0917
    config: MqttSourceConfig,
    version: Protocol,
    timeout_s: float,
    filters: list[tuple[str, int]],
    accept: Callable[[Messages], None],
    wait: Callable[[asyncio.Future[str]], Awaitable[None]],
) -> list[str]:
    own_id = f"{config.client_id or 'edge-agent'}-probe-{secrets.token_hex(4)}"
    client = make_client(config, own_id, version, set(), persistent=False)
    session = Session(config, client, accept, SystemClock())
    try:
        await session.open(timeout_s)
        refused = await session.subscribe(filters)
        await wait(session.ended)
        if session.ended.done():
            raise ConnectError(session.ended.result(), where=config.url)
    finally:
        session.close()
    return refused


def _until(
    seconds: float, enough: Callable[[float], bool]
) -> Callable[[asyncio.Future[str]], Awaitable[None]]:
    async def wait(ended: asyncio.Future[str]) -> None:
        clock = SystemClock()
        begin_s = clock.monotonic_s()
        passed_s = 0.0
        while passed_s < seconds and not ended.done() and not enough(passed_s / seconds):
            await asyncio.wait([ended], timeout=min(_STEP_S, seconds - passed_s))
            passed_s = clock.monotonic_s() - begin_s

    return wait
