"""`remote` of `model.yaml`: the servers that run a model, and which of them a gateway allows.

A signed bundle cannot know the hosts of a plant, and must not decide where its values go: a URL is
used only if the gateway's config lists it. Keys and authorities are the config's alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Annotated, Final, NamedTuple
from urllib.parse import urlsplit

from edge_agent.config.settings import RemoteServer, remote_url_problem
from edge_agent.config.types import Between

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{0,128}")
_MOST_URLS: Final = 16
_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class RemoteSpec:
    """Servers (Open Inference Protocol v2) that run the model in place of its own graph.

    urls: as the author knows them; the gateway's config must list each, and knows its keys. model:
    its name there, by default the bundle's; version: by default the server's choice. timeout_s: of
    a run of up to `max_batch` windows; in proportion for more.
    """

    urls: tuple[str, ...] = ()
    model: str = ""
    version: str = ""
    timeout_s: Annotated[float, Between(0.001, 10)] = 0.04

    def problems(self) -> Iterator[tuple[str, str]]:
        """Contradictions, as (key, message)."""
        if len(self.urls) > _MOST_URLS:
            yield "urls", f"at most {_MOST_URLS}"
        for number, url in enumerate(self.urls):
            if problem := remote_url_problem(url):
                yield f"urls.{number}", problem
        for key in ("model", "version"):
            if not _NAME.fullmatch(getattr(self, key)):
                yield key, "at most 128 letters, digits and _ . - only"


class RemoteAccess(NamedTuple):
    """The servers of the config. is_patient: runs wait for them as long as it takes (a replay)."""

    servers: Collection[RemoteServer]
    is_patient: bool = False


class Route(NamedTuple):
    """Where a model runs: its URLs, each with the server of the config that allows it.

    refused: URLs that no server of the config lists. timeout_s: as in `RemoteSpec`.
    """

    targets: tuple[tuple[str, RemoteServer], ...]
    refused: tuple[str, ...]
    model: str
    version: str
    timeout_s: float


def route_of(name: str, spec: RemoteSpec | None, servers: Collection[RemoteServer]) -> Route | None:
    """Where a bundle runs by its manifest and the config; None if only here."""
    bound = [one for one in servers if any(fnmatchcase(name, p) for p in one.bundles)]
    if spec is None and not bound:
        return None
    wished = spec or RemoteSpec()
    targets = [(url, one) for one in bound for url in one.urls]
    refused: list[str] = []
    for url in () if bound else wished.urls:
        server = _allowing(url, servers)
        if server is None:
            refused.append(url)
        else:
            targets.append((url, server))
    limits = [one.timeout for _, one in targets if one.timeout is not None]
    timeout_s = float(min(limits, default=wished.timeout_s))
    return Route(tuple(targets), tuple(refused), wished.model or name, wished.version, timeout_s)


def _allowing(url: str, servers: Collection[RemoteServer]) -> RemoteServer | None:
    """The server of the config that lists a URL; its paths below are listed with it."""
    for server in servers:
        for listed in server.urls:
            path, base = (urlsplit(one).path.rstrip("/") + "/" for one in (url, listed))
            is_below = path.startswith(base) and ".." not in path and "%" not in path
            if _origin(url) == _origin(listed) and is_below:
                return server
    return None


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or _PORTS.get(parts.scheme)
