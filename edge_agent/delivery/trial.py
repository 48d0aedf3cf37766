"""A test message over a route, without a daemon: what its receiver answers."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from edge_agent.alarms import load_texts
from edge_agent.clock import SystemClock
from edge_agent.config.structs import kind_of
from edge_agent.delivery import notices
from edge_agent.delivery.quiet import zone_of
from edge_agent.messages import Message
from edge_agent.ops.metrics import Metrics
from edge_agent.sinks import EVENT, SINKS

if TYPE_CHECKING:
    from edge_agent.config.notify import Route
    from edge_agent.config.schema import Config


async def send_test(config: Config, name: str) -> float:
    """Send a test message over a route of the config; returns the seconds until it was confirmed.

    DeliveryError if the receiver refuses it or cannot be reached.
    """
    route = next(one for key, one in config.notify.routes.items() if key == name)
    struct = config.sinks[route.sink]
    clock = SystemClock()
    sink = SINKS[kind_of(SINKS, struct)].make(
        route.sink, struct, config.gateway, config.topic_root, Metrics(), clock
    )
    began_s = time.monotonic()
    await sink.start()
    try:
        await sink.deliver(_message(config, name, route, clock.now_us()))
    finally:
        await sink.stop()
    return time.monotonic() - began_s


def _message(config: Config, name: str, route: Route, now_us: int) -> Message:
    language = route.language or config.alarms.languages[0]
    zone = zone_of(config.notify.timezone)
    speaker = notices.Speaker(load_texts(config.alarms), language, zone, config.notify.url)
    key = f"notify.{name}.test"
    values = notices.test_values(name, speaker, f"{key}:{now_us}", now_us)
    body = notices.body_of(name, values, None)
    return Message(0, route.sink, EVENT, key, now_us, name, body, now_us)
