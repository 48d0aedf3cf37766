"""Two MQTT clients, as in any plant: one publishes readings, one receives alarms."""

from __future__ import annotations

import asyncio
import json
import logging
import math
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

log = logging.getLogger("edge_agent.demo")


class Readings:
    """Publishes one JSON object for each pump."""

    def __init__(self, client: paho.Client) -> None:
        self._client = client

    def publish(self, topic: str, values: dict[str, float], time_us: int) -> None:
        """Publish the readings; a lost sensor has no key."""
        found = {name: value for name, value in values.items() if not math.isnan(value)}
        self._client.publish(topic, json.dumps({"ts": time_us // 1000, **found}))


@asynccontextmanager
async def readings(url: str) -> AsyncIterator[Readings]:
    """A connected publisher."""
    async with _connected(url, "plant") as client:
        yield Readings(client)


@asynccontextmanager
async def seen_on_bus(url: str, *topics: str) -> AsyncIterator[asyncio.Queue[tuple[str, Any]]]:
    """A queue of (topic, decoded payload), filled by its own client; QoS 1."""
    queue: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def on_message(_client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        if message.payload:
            item = message.topic, json.loads(message.payload)
            loop.call_soon_threadsafe(queue.put_nowait, item)

    async with _connected(url, "operator") as client:
        client.on_message = on_message
        client.subscribe([(topic, 1) for topic in topics])
        yield queue


@asynccontextmanager
async def _connected(url: str, client_id: str) -> AsyncIterator[paho.Client]:
    # 3.1.1, because amqtt does not support MQTT 5.
    client = paho.Client(
        CallbackAPIVersion.VERSION2,
        f"edge-agent-demo-{client_id}",
        protocol=MQTTProtocolVersion.MQTTv311,
    )
    address = urlsplit(url)
    # In a thread, because the broker answers on this event loop.
    await asyncio.to_thread(client.connect, address.hostname or "", address.port or 0)
    client.loop_start()
    try:
        yield client
    finally:
        client.disconnect()
        await asyncio.to_thread(client.loop_stop)
