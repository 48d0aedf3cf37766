"""What does not fit around a config: one table of probes behind `check --connect` and `doctor`.

A probe looks at one thing and gives findings; it changes nothing that lasts. A new one is a row of
CONNECT, or of DEEP where it takes longer or asks the running daemon.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from edge_agent.config import secrets_of, warnings
from edge_agent.daemon.examine_links import addresses, sinks, sources
from edge_agent.daemon.examine_place import certificates, disk, http_port, models_dir, store
from edge_agent.daemon.examine_service import models, running
from edge_agent.errors import ConfigError
from edge_agent.findings import Finding, ordered, warning

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from edge_agent.config.schema import Config
    from edge_agent.daemon.examined import Examined

    Probe = Callable[[Examined], Awaitable[list[Finding]]]

_MIN_SECRET: Final = 4  # characters; what is shorter stands in every other word


async def _config(examined: Examined) -> list[Finding]:
    """What the config allows but hardly means."""
    return [_of_config(line) for line in warnings(examined.config)]


def _of_config(line: str) -> Finding:
    where, colon, what = line.partition(": ")
    return warning(where, what) if colon else warning("config", line)


CONNECT: Final[tuple[Probe, ...]] = (
    _config,
    sources,
    sinks,
    certificates,
    models_dir,
    store,
    http_port,
)
DEEP: Final[tuple[Probe, ...]] = (addresses, disk, models, running)


async def examine(examined: Examined, *, deep: bool) -> list[Finding]:
    """All findings, the most severe first; `deep` adds what only `doctor` looks at."""
    probes = (*CONNECT, *DEEP) if deep else CONNECT
    found = await asyncio.gather(*(probe(examined) for probe in probes))
    hide = _censor(examined.config)
    return ordered(_hidden(one, hide) for several in found for one in several)


def _hidden(found: Finding, hide: Callable[[str], str]) -> Finding:
    return replace(found, where=hide(found.where), what=hide(found.what), mend=hide(found.mend))


def _censor(config: Config) -> Callable[[str], str]:
    """A function that takes secrets out of a text: those of the config, and a webhook's path."""
    hidden: set[str] = set()
    for _, secret in secrets_of(config):
        try:
            hidden.add(secret.reveal())
        except ConfigError:
            continue
    for sink in config.sinks.values():
        hidden.update(_of_webhook(sink))
    words = sorted((word for word in hidden if len(word) >= _MIN_SECRET), key=len, reverse=True)
    if not words:
        return str
    pattern = re.compile("|".join(map(re.escape, words)))
    return lambda text: pattern.sub("...", text)


def _of_webhook(sink: object) -> set[str]:
    """Chat services put their token into the path or query: shown is the host alone."""
    parts = urlsplit(str(getattr(sink, "url", "")))
    if parts.scheme not in {"http", "https"}:
        return set()
    headers = set(getattr(sink, "headers", {}).values())
    return {f"{parts.path}?{parts.query}", parts.path, parts.query} | headers
