"""The demo's own MQTT broker and OPC UA server, on free ports of the loopback."""

from __future__ import annotations

import asyncio
import importlib
import logging
import math
import socket
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from asyncua import ua
from asyncua.server.server import Server

from edge_agent.config.settings import Http
from edge_agent.errors import EdgeAgentError
from edge_agent.values import BAD_SENSOR_FAILURE, GOOD

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from asyncua.common.node import Node

NAMESPACE: Final = "urn:edge-agent:demo"
# asyncua types its numbers and times as classes that it never instantiates.
_ua: Any = ua

_HOST: Final = "127.0.0.1"
_LOUD: Final = ("amqtt", "asyncua", "transitions", "websockets")
_ANYBODY: Final = "amqtt.plugins.authentication.AnonymousAuthPlugin"


def free_port() -> int:
    """A TCP port of the loopback that was free just now."""
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        return int(probe.getsockname()[1])


def http_port() -> int:
    """The daemon's usual port, or a free one if it is in use."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, Http().port))
        except OSError:
            return free_port()
        return Http().port


def quiet_libraries() -> None:
    """Keep the servers' logs out of the demo's output."""
    for name in _LOUD:
        logging.getLogger(name).setLevel(logging.CRITICAL)


@asynccontextmanager
async def mqtt_broker() -> AsyncIterator[str]:
    """A broker without accounts; returns its URL. EdgeAgentError if amqtt is missing."""
    try:
        amqtt = importlib.import_module("amqtt.broker")
    except ModuleNotFoundError as error:
        raise EdgeAgentError(
            f"the demo's MQTT broker needs the Python package {error.name!r}",
            hint="pip install 'amqtt>=0.12.1,<0.13'",
        ) from error
    port = free_port()
    listener = {"type": "tcp", "bind": f"{_HOST}:{port}"}
    plugins = {_ANYBODY: {"allow_anonymous": True}}
    broker = amqtt.Broker({"listeners": {"default": listener}, "plugins": plugins})
    asyncio.get_running_loop().set_exception_handler(_ignore_lost_clients)
    await broker.start()
    try:
        yield f"mqtt://{_HOST}:{port}"
    finally:
        await broker.shutdown()


def _ignore_lost_clients(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Do not report clients that amqtt loses while it refuses their MQTT 5."""
    if context.get("message") != "Unhandled exception in client_connected_cb":
        loop.default_exception_handler(context)


class OpcUaNodes:
    """One variable for each sensor: `nsu=urn:edge-agent:demo;s=<asset>.<signal>`."""

    def __init__(self, server: Server, url: str) -> None:
        self.url = url
        self._server = server
        self._nodes: dict[tuple[str, str], Node] = {}

    async def add(self, asset: str, signals: Iterable[str]) -> None:
        """Add an object for the asset, with its variables."""
        index = await self._server.register_namespace(NAMESPACE)
        folder = await self._server.nodes.objects.add_object(index, asset)
        for name in signals:
            node_id = _ua.NodeId(f"{asset}.{name}", index)
            node = await folder.add_variable(node_id, name, math.nan, ua.VariantType.Double)
            self._nodes[asset, name] = node

    async def write(self, asset: str, values: dict[str, float], time_us: int) -> None:
        """Set the variables of an asset; NaN means a failed sensor."""
        stamp = datetime.fromtimestamp(time_us / 1e6, UTC)
        for name, value in values.items():
            node = self._nodes[asset, name]
            await self._server.write_attribute_value(node.nodeid, _data_value(value, stamp))


def _data_value(value: float, stamp: Any) -> ua.DataValue:  # noqa: ANN401 (see _ua)
    lost = math.isnan(value)
    variant = ua.Variant() if lost else ua.Variant(value, ua.VariantType.Double)
    status = ua.StatusCode(_ua.UInt32(BAD_SENSOR_FAILURE if lost else GOOD))
    return ua.DataValue(variant, status, SourceTimestamp=stamp, ServerTimestamp=stamp)


@asynccontextmanager
async def opcua_server() -> AsyncIterator[OpcUaNodes]:
    """An OPC UA server without security, for the loopback only."""
    server: Any = Server()
    await server.init()
    url = f"opc.tcp://{_HOST}:{free_port()}/demo"
    server.set_endpoint(url)
    server.set_server_name("edge-agent demo")
    server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
    async with server:
        yield OpcUaNodes(server, url)
