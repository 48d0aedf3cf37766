"""Probe of our OPC UA server: its port, its certificate and key, and who may log in."""

from __future__ import annotations

import asyncio
import errno
import json
from typing import TYPE_CHECKING

from edge_agent.daemon.examine_http import bind
from edge_agent.errors import EdgeAgentError
from edge_agent.findings import Finding, error, fine

if TYPE_CHECKING:
    from edge_agent.config.settings import OpcuaServer
    from edge_agent.daemon.examine_machine import Examined

_WHERE = "opcua_server"


async def opcua_server(examined: Examined) -> list[Finding]:
    """What keeps the server from listening, or its users from logging in."""
    config = examined.config.opcua_server
    if not config.enabled:
        return []
    found = [await _port(examined, config)] if config.port else []
    return [*found, *await asyncio.to_thread(_logins, config)]


async def _port(examined: Examined, config: OpcuaServer) -> Finding:
    where = f"{config.host}:{config.port}"
    try:
        await asyncio.to_thread(bind, config.host, config.port)
    except OSError as problem:
        if problem.errno == errno.EADDRINUSE:
            return await asyncio.to_thread(_taken, examined, where)
        mend = "is opcua_server.host an address of this machine?"
        return error(_WHERE, f"{where}: {(problem.strerror or str(problem)).lower()}", mend)
    return fine(_WHERE, f"{where} is free")


def _taken(examined: Examined, where: str) -> Finding:
    """By the running daemon of this gateway, if it says that its server listens."""
    mend = "stop the other one, or choose another opcua_server.port"
    try:
        said = json.loads(examined.ask(str(examined.url), "/api/summary"))
        is_ours = said["gateway"] == examined.config.gateway.id
        listens = not any(str(text).startswith("opc ua ") for text in said["troubles"])
    except (EdgeAgentError, ValueError, KeyError, TypeError):
        is_ours = listens = False
    if is_ours and listens:
        return fine(_WHERE, f"{where}: the running daemon of this gateway")
    return error(_WHERE, f"{where} is taken by another program", mend)


def _logins(config: OpcuaServer) -> list[Finding]:
    """The key pair and the passwords, read as the server reads them. Blocks."""
    # The library behind them takes long to import, and few gateways have this server.
    from edge_agent.opcua_server import users  # noqa: PLC0415

    try:
        users.Users(config)
        pair = users.key_pair(config)
    except EdgeAgentError as problem:
        where = problem.where or _WHERE
        return [error(_WHERE, f"{where}: {problem.message}", problem.hint)]
    return [fine(_WHERE, f"encrypted, as {pair.uri}")] if pair else []
