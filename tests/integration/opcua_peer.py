"""A small OPC UA server of another maker in a process of its own: `opcua_peer.py MAKER PORT`.

MAKER: asyncua, or open62541 (package `o6`, which ends by itself after ten minutes). One variable,
a000.s0 of `urn:plant`, that counts. A line on stdin, {"sessions": true} or {"limit": N} for the
number of sessions (asyncua only), is answered on stdout with the number of open sessions.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
from typing import Any

PERIOD_S = 0.1
NAME = "a000.s0"


class Asyncua:
    """The server of the library that our client is made of."""

    async def start(self, port: int) -> None:
        module, self._sessions = (
            importlib.import_module("asyncua"),
            importlib.import_module("asyncua.server.internal_session").InternalSession,
        )
        self._server = module.Server()
        await self._server.init()
        self._server.set_endpoint(f"opc.tcp://127.0.0.1:{port}")
        self._server.set_security_policy([module.ua.SecurityPolicyType.NoSecurity])
        index = await self._server.register_namespace("urn:plant")
        node = module.ua.NodeId(NAME, index)
        self._node = await self._server.nodes.objects.add_variable(node, NAME, 0.0)
        await self._server.start()

    async def write(self, value: float) -> None:
        await self._node.write_value(value)

    async def count(self) -> int:
        return len(self._server.iserver._external_sessions)

    def limit(self, number: int) -> None:
        self._sessions.max_connections = number


class Open62541:
    """A server in C, of which many devices are made."""

    async def start(self, port: int) -> None:
        module = importlib.import_module("o6")
        loop = asyncio.get_running_loop()
        self._server = module.Server(port, loop=loop, applicationUri="urn:plant")
        await _done(self._server.start())
        place, parent = f"ns=1;s={NAME}", self._server.objectsNode
        await _done(self._server.addVariable(NAME, parent, 0.0, nodeId=place))
        self._place = place

    async def write(self, value: float) -> None:
        await _done(self._server.write(self._place, value))

    async def count(self) -> int:
        return int(await _done(self._server.read("ns=0;i=2277")))  # CurrentSessionCount


async def _done(answer: Any) -> Any:
    return await answer if hasattr(answer, "__await__") else answer


async def serve(maker: str, port: int) -> None:
    """Until stdin ends."""
    server: Any = {"asyncua": Asyncua, "open62541": Open62541}[maker]()
    await server.start(port)
    lines = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    print("READY", flush=True)  # noqa: T201

    async def answer() -> None:
        while line := await lines.readline():
            if number := json.loads(line).get("limit"):
                server.limit(number)
            print(json.dumps({"sessions": await server.count()}), flush=True)  # noqa: T201

    answering = asyncio.create_task(answer())
    value = 0.0
    while not answering.done():
        value += 1.0
        await server.write(value)
        await asyncio.sleep(PERIOD_S)


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], int(sys.argv[2])))
