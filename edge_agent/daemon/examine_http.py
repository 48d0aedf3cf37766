"""Probes of the HTTP server: its port, the group that may command, and the API keys."""

from __future__ import annotations

import asyncio
import errno
import grp
import json
import socket
from datetime import datetime
from typing import TYPE_CHECKING, Any

from edge_agent.clock import US_PER_MS
from edge_agent.errors import EdgeAgentError
from edge_agent.findings import Finding, error, fine, first_of, warning
from edge_agent.ops.key_file import FILE_NAME, open_to_others, parse_keys

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge_agent.daemon.examine_machine import Examined
    from edge_agent.ops.key_file import Key


async def http_port(examined: Examined) -> list[Finding]:
    """The port of our HTTP server: free, or used by the daemon of this gateway."""
    http = examined.config.http
    if not http.enabled or not http.port:
        return []
    try:
        await asyncio.to_thread(bind, http.host, http.port)
    except OSError as problem:
        if problem.errno == errno.EADDRINUSE:
            return [await _who_answers(examined)]
        mend = "is http.host an address of this machine?"
        what = f"{http.host}:{http.port}: {(problem.strerror or str(problem)).lower()}"
        return [error("http", what, mend)]
    return [fine("http", f"{http.host}:{http.port} is free")]


async def http_group(examined: Examined) -> list[Finding]:
    """The group whose members may command over the unix socket: this machine must have it."""
    name = examined.config.http.group
    if name is None:
        return []
    try:
        await asyncio.to_thread(grp.getgrnam, name)
    except KeyError:
        mend = f"sudo groupadd --system {name}, or name the group of the operators"
        return [error("http.group", f"this machine has no group {name!r}", mend)]
    return [fine("http.group", f"members of {name} may command on this machine")]


async def http_keys(examined: Examined) -> list[Finding]:
    """The file of the API keys: who may read it, and which keys have ended or end soon."""
    config = examined.config
    path = config.http.keys or config.store.path.with_name(FILE_NAME)
    try:
        is_open = await asyncio.to_thread(open_to_others, path)
        keys = parse_keys(await asyncio.to_thread(path.read_bytes), str(path))
    except FileNotFoundError:
        if config.http.keys is None:
            return []
        return [
            error("http.keys", f"{path} is not there", "edge-agent keys create NAME --scope read")
        ]
    except OSError as problem:
        what = f"{path}: {(problem.strerror or str(problem)).lower()}"
        return [warning("http.keys", what, "run it as root, or as the service's user")]
    except EdgeAgentError as problem:
        return [error("http.keys", str(problem))]
    found = [_of_key(key, examined.clock.now_us() // US_PER_MS) for key in keys.values()]
    if is_open:
        what = f"{path} can be read or written by others; the daemon refuses all keys"
        found.append(error("http.keys", what, f"chmod 600 {path}"))
    return [one for one in found if one] or [fine("http.keys", f"{len(keys)} keys in {path}")]


def _of_key(key: Key, now_ms: int) -> Finding | None:
    """What is to be done about a key; None: nothing."""
    if key.revoked_ms is not None or key.expires_ms is None:
        return None
    on = datetime.fromtimestamp(key.expires_ms / 1000).astimezone().strftime("%Y-%m-%d")
    if not key.is_valid(now_ms):
        return warning(
            "http.keys", f"the key {key.name} expired on {on}", f"{key.renewal}, or revoke it"
        )
    mend = f"edge-agent keys revoke {key.name}; {key.renewal}"
    return (
        warning("http.keys", f"the key {key.name} expires on {on}", mend)
        if key.ends_soon(now_ms)
        else None
    )


def bind(host: str, port: int) -> None:
    """Bind a port for a moment; OSError if this is not possible. Blocks."""
    rows: Iterable[Any] = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    family, kind, protocol, _, address = next(iter(rows))
    with socket.socket(family, kind, protocol) as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.bind(address)


async def _who_answers(examined: Examined) -> Finding:
    config, where = examined.config, f"{examined.config.http.host}:{examined.config.http.port}"
    mend = "stop the other one, or choose another http.port"
    try:
        body = await asyncio.to_thread(examined.ask, str(examined.url), "/api/summary")
        gateway = str(json.loads(body)["gateway"])
    except (EdgeAgentError, ValueError, KeyError, TypeError):
        return error("http", f"{where} is taken by another program", mend)
    if gateway == config.gateway.id:
        return fine("http", f"{where}: the running daemon of this gateway")
    shown = first_of([gateway.encode("ascii", "replace").decode()[:64]])
    return error("http", f"{where} is taken by the edge-agent of gateway {shown}", mend)
