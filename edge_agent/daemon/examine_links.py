"""Probes of sources and sinks: whether they can be reached, and whether what comes fits."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from edge_agent.config.structs import kind_of
from edge_agent.errors import EdgeAgentError
from edge_agent.findings import Finding, error, fine, warning
from edge_agent.plant import Plant
from edge_agent.sinks import SINKS
from edge_agent.sources import SOURCES

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from edge_agent.daemon.examined import Examined

_ANSWER_S: Final = 20.0  # beside the time that messages are waited for
_TCP_S: Final = 3.0
_PORTS: Final = {"mqtt": 1883, "mqtts": 8883, "opc.tcp": 4840, "http": 80, "https": 443}


async def sources(examined: Examined) -> list[Finding]:
    """Each source: connected, every node read, every topic awaited."""
    probes = [
        _findings(f"source {name}", _inspect(examined, name, struct), examined.seconds)
        for name, struct in examined.config.sources.items()
    ]
    return [one for found in await asyncio.gather(*probes) for one in found]


def _inspect(examined: Examined, name: str, struct: object) -> Awaitable[list[Finding]]:
    row = SOURCES[kind_of(SOURCES, struct)]
    return row.inspect(name, struct, examined.config, examined.clock, examined.seconds)


async def sinks(examined: Examined) -> list[Finding]:
    """Each sink: whether its receiver takes what we will send."""
    probes = [
        _findings(f"sink {name}", _try_sink(examined, name, struct), 0)
        for name, struct in examined.config.sinks.items()
    ]
    return [one for found in await asyncio.gather(*probes) for one in found]


async def _try_sink(examined: Examined, name: str, struct: object) -> list[Finding]:
    """Connect, and write where alarms will go: access rules may let us in and refuse them."""
    config = examined.config
    paths = [asset.path for asset in Plant(config).assets.values()]
    probe = SINKS[kind_of(SINKS, struct)].probe
    notes = await probe(struct, config.gateway, config.topic_root, paths)
    return [warning(f"sink {name}", note) for note in notes] or [fine(f"sink {name}")]


async def _findings(where: str, probe: Awaitable[list[Finding]], seconds: float) -> list[Finding]:
    """What a probe finds, or why it could not look."""
    limit_s = _ANSWER_S + seconds
    try:
        async with asyncio.timeout(limit_s):
            return await probe
    except TimeoutError:
        return [error(where, f"no answer within {limit_s:g} s", "does a firewall drop packets?")]
    except EdgeAgentError as problem:
        what = f"{problem.where}: {problem.message}" if problem.where else problem.message
        return [error(where, what, problem.hint)]
    except OSError as problem:
        return [error(where, str(problem) or type(problem).__name__)]


async def addresses(examined: Examined) -> list[Finding]:
    """Each endpoint: its name resolved, and every address of it asked by TCP."""
    config = examined.config
    named = [(f"source {name}", struct) for name, struct in config.sources.items()]
    named += [(f"sink {name}", struct) for name, struct in config.sinks.items()]
    found = await asyncio.gather(*(_addresses(where, struct) for where, struct in named))
    return [one for several in found for one in several]


async def _addresses(where: str, struct: Any) -> list[Finding]:  # noqa: ANN401 (any source or sink)
    parts = urlsplit(str(getattr(struct, "url", "")))
    if not parts.hostname:
        return []
    port = parts.port or _PORTS.get(parts.scheme, 0)
    try:
        rows = await asyncio.get_running_loop().getaddrinfo(
            parts.hostname, port, type=socket.SOCK_STREAM
        )
    except OSError as problem:
        what = f"the name {parts.hostname} is not resolved: {problem.strerror or problem}"
        return [error(where, what, "see the url, /etc/hosts and the name server")]
    hosts = list(dict.fromkeys(str(row[4][0]) for row in rows))
    answers = await asyncio.gather(*(_answers(host, port) for host in hosts))
    bad = [(host, why) for host, why in zip(hosts, answers, strict=True) if why]
    make = error if len(bad) == len(hosts) else warning
    mend = (
        "does it run, on this port? does a firewall drop packets?"
        if make is error
        else "the other addresses answer; take this one out of the name server"
    )
    lost = [make(where, f"{_shown(host, port)}: {why}", mend) for host, why in bad]
    if lost:
        return lost
    shown = ", ".join(_shown(host, port) for host in hosts)
    return [fine(where, f"{parts.hostname}: {shown} accepts connections")]


async def _answers(host: str, port: int) -> str:
    """Why a TCP connection does not come about; empty if it does."""
    try:
        async with asyncio.timeout(_TCP_S):
            _, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        return f"no answer within {_TCP_S:g} s"
    except OSError as problem:
        return (problem.strerror or str(problem)).lower()
    writer.close()
    return ""


def _shown(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
