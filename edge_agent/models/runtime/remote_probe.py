"""One look at the servers of a bundle, for commands: nothing is scored there."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, NamedTuple

from edge_agent.models.bundle.bundle import load_manifest, read_checked
from edge_agent.models.bundle.golden import parse_golden
from edge_agent.models.bundle.kinds import GOLDEN
from edge_agent.models.bundle.remote_spec import route_of

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from edge_agent.config.settings import RemoteServer
    from edge_agent.models.bundle.remote_spec import Route
    from edge_agent.models.runtime.remote_server import Checks

_LIMIT_S: Final = 5.0  # for one URL


class ProbedServer(NamedTuple):
    """problem: why the URL cannot be used; empty if it can. latency_ms: of a run there."""

    url: str
    problem: str
    latency_ms: float = 0.0


def probe_remote(
    folder: Path, servers: Collection[RemoteServer], max_batch: int
) -> list[ProbedServer]:
    """Metadata and golden vectors at each server of a verified bundle; empty if it has none.

    servers: of the config. Blocking, up to 5 s for each URL. ModelError if the bundle is not valid.
    """
    manifest = load_manifest(folder)
    route = route_of(manifest.name, manifest.remote, servers)
    if route is None:
        return []
    from edge_agent.models.runtime.remote import checks_of  # noqa: PLC0415 (few bundles need it)

    golden = parse_golden(read_checked(folder, manifest, GOLDEN))
    checks = checks_of(manifest, golden, route, max_batch)
    refused = "the config's `remote` does not list it"
    found = [ProbedServer(url, refused) for url in route.refused]
    found += [_probed(url, server, route, checks) for url, server in route.targets]
    nothing = "neither its manifest nor the config's `remote` names a URL for it"
    return found or [ProbedServer("remote", nothing)]


def _probed(url: str, server: RemoteServer, route: Route, checks: Checks) -> ProbedServer:
    from edge_agent.models.runtime.remote_http import why  # noqa: PLC0415 (as above)
    from edge_agent.models.runtime.remote_server import link_of  # noqa: PLC0415

    link = None
    try:
        link = link_of(url, server, route)
        took_s = checks.run(link, time.monotonic() + _LIMIT_S, "probe")
    except Exception as error:  # noqa: BLE001 (whatever it does is the finding)
        return ProbedServer(url, why(error)[1])
    finally:
        if link is not None:
            link.close()
    return ProbedServer(url, "", took_s * 1e3)
