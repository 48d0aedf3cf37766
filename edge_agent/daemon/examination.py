"""Checks of everything that a config depends on: the probes of `check --connect` and `doctor`.

A probe checks one thing and returns findings; it changes nothing permanently. A new one is a row
of CONNECT, or of DEEP if it takes longer or asks the running daemon.
"""

from __future__ import annotations

import asyncio
import socket
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from edge_agent.clock import US_PER_S
from edge_agent.config import warnings
from edge_agent.config.language import EngineKind
from edge_agent.config.structs import kind_of
from edge_agent.daemon.censor import censor_of
from edge_agent.daemon.certificates import certificate_findings
from edge_agent.daemon.examine_http import http_group, http_keys, http_port
from edge_agent.daemon.examine_machine import (
    disk,
    models,
    models_dir,
    running,
    store,
)
from edge_agent.daemon.examine_opcua import opcua_server
from edge_agent.errors import EdgeAgentError
from edge_agent.findings import Finding, error, fine, ordered, warning
from edge_agent.plant import Plant
from edge_agent.sinks import SINKS
from edge_agent.sources import SOURCES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from edge_agent.config.language import Language
    from edge_agent.daemon.examine_machine import Examined

    Probe = Callable[[Examined], Awaitable[list[Finding]]]

_ANSWER_S: Final = 20.0  # in addition to the wait for messages
_TCP_S: Final = 3.0
_PORTS: Final = {"mqtt": 1883, "mqtts": 8883, "opc.tcp": 4840, "http": 80, "https": 443}


async def _config(examined: Examined) -> list[Finding]:
    """Warnings: valid in the config, but probably not intended."""
    return [_of_config(line) for line in warnings(examined.config)]


def _of_config(line: str) -> Finding:
    where, colon, what = line.partition(": ")
    return warning(where, what) if colon else warning("config", line)


async def _certificates(examined: Examined) -> list[Finding]:
    """Own, pinned and trusted certificates."""
    now_s = examined.clock.now_us() / US_PER_S
    return await asyncio.to_thread(certificate_findings, examined.config, now_s)


# -- sources and sinks: reachable, and values that fit the config --------------------------------


async def _sources(examined: Examined) -> list[Finding]:
    """Each source: connect, read every node, wait for every topic."""
    probes = [
        _findings(f"source {name}", _inspect(examined, name, struct), examined.seconds)
        for name, struct in examined.config.sources.items()
    ]
    return [one for found in await asyncio.gather(*probes) for one in found]


def _inspect(examined: Examined, name: str, struct: object) -> Awaitable[list[Finding]]:
    row = SOURCES[kind_of(SOURCES, struct)]
    return row.inspect(name, struct, examined.config, examined.clock, examined.seconds)


async def _cameras(examined: Examined) -> list[Finding]:
    """Each camera: get one picture and decode it."""
    names = list(examined.config.cameras)
    if not names:
        return []
    from edge_agent.daemon.examine_cameras import examine_camera  # noqa: PLC0415 (few have one)

    config, seconds = examined.config, examined.seconds
    probes = [
        _findings(f"camera {name}", examine_camera(config, name, seconds), seconds)
        for name in names
    ]
    return [one for found in await asyncio.gather(*probes) for one in found]


async def _sinks(examined: Examined) -> list[Finding]:
    """Each sink: check that its receiver accepts our messages."""
    probes = [
        _findings(f"sink {name}", _try_sink(examined, name, struct), 0)
        for name, struct in examined.config.sinks.items()
    ]
    return [one for found in await asyncio.gather(*probes) for one in found]


async def _try_sink(examined: Examined, name: str, struct: object) -> list[Finding]:
    """Connect, and write to the topics of alarms: access rules may refuse only these."""
    config = examined.config
    paths = [asset.path for asset in Plant(config).assets.values()]
    probe = SINKS[kind_of(SINKS, struct)].probe
    notes = await probe(struct, config.gateway, config.topic_root, paths)
    return [warning(f"sink {name}", note) for note in notes] or [fine(f"sink {name}")]


async def _findings(where: str, probe: Awaitable[list[Finding]], seconds: float) -> list[Finding]:
    """The findings of a probe, or why it failed."""
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


async def _language(examined: Examined) -> list[Finding]:
    """The language model: its file, or its server."""
    config = examined.config.language
    if config.engine in {EngineKind.NONE, EngineKind.ASSISTANT}:
        return []
    return await _findings("language", _try_language(config, examined), 0)


async def _try_language(config: Language, examined: Examined) -> list[Finding]:
    from edge_agent.language import engine, wording  # noqa: PLC0415 (few gateways have one)

    model = engine.TextEngine(config, examined.clock)
    results = wording.results_beside(examined.config.store.path)
    note = wording.Wording(model, results).status() if config.wording else ""
    try:
        found = [fine("language", await model.check())]
    finally:
        await model.close()
    return [*found, warning("language.wording", note)] if note else found


async def _each_address(examined: Examined) -> list[Finding]:
    """Each endpoint: resolve its name, and connect to every address."""
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
        what = f"the name {parts.hostname} cannot be resolved: {problem.strerror or problem}"
        return [error(where, what, "see the url, /etc/hosts and the name server")]
    hosts = list(dict.fromkeys(str(row[4][0]) for row in rows))
    answers = await asyncio.gather(*(_answers(host, port) for host in hosts))
    bad = [(host, why) for host, why in zip(hosts, answers, strict=True) if why]
    make = error if len(bad) == len(hosts) else warning
    mend = (
        "is it running, on this port? does a firewall drop packets?"
        if make is error
        else "the other addresses answer; remove this one from the name server"
    )
    lost = [make(where, f"{_shown(host, port)}: {why}", mend) for host, why in bad]
    if lost:
        return lost
    shown = ", ".join(_shown(host, port) for host in hosts)
    return [fine(where, f"{parts.hostname}: {shown} accepts connections")]


async def _answers(host: str, port: int) -> str:
    """Why a TCP connection fails; empty if it succeeds."""
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


# -- the table ----------------------------------------------------------------------------------

CONNECT: Final[tuple[Probe, ...]] = (
    _config,
    _sources,
    _cameras,
    _sinks,
    _language,
    _certificates,
    models_dir,
    store,
    http_port,
    http_group,
    http_keys,
    opcua_server,
)
DEEP: Final[tuple[Probe, ...]] = (_each_address, disk, models, running)


async def examine(examined: Examined, *, deep: bool) -> list[Finding]:
    """All findings, the most severe first; `deep` adds the checks of `doctor`."""
    probes = (*CONNECT, *DEEP) if deep else CONNECT
    found = await asyncio.gather(*(probe(examined) for probe in probes))
    hide = censor_of(examined.config)
    return ordered(_hidden(one, hide) for several in found for one in several)


def _hidden(found: Finding, hide: Callable[[str], str]) -> Finding:
    return replace(found, where=hide(found.where), what=hide(found.what), mend=hide(found.mend))
