"""A bundle on inference servers of this process, and the model that a gateway makes of them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from isolated_models import runtime
from support import value_of
from tiny_versions import NAME, mean

from edge_agent.config.settings import RemoteServer, Trust
from edge_agent.models import SessionRegistry, parse_golden, route_of
from edge_agent.models.bundle.bundle import load_manifest
from edge_agent.models.bundle.remote_spec import RemoteSpec
from edge_agent.models.runtime.remote import RemoteEngine, checks_of
from edge_agent.models.runtime.remote_server import Pace
from edge_agent.ops.metrics import Metrics
from edge_agent.testing import wait_until
from edge_agent.transport import Waits
from scripts.rigs.oip_server import OipServer, served_bundle

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.models import Model

SOON = Pace(Waits(0.02, 0.05), settle_s=10.0, verify_s=60.0, probe_s=5.0)


class RemoteSite:
    """A bundle, its servers, and the model that a gateway makes of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / NAME
        mean(folder=self.folder)
        self.metrics = Metrics()
        self.servers: list[OipServer] = []
        self.model: Model | None = None

    def serve(self, **changes: Any) -> OipServer:
        """One more server of the bundle's graph."""
        tls = changes.pop("tls", None)
        made = OipServer(replace(served_bundle(self.folder), **changes), tls=tls)
        self.servers.append(made)
        return made

    def load(
        self,
        *,
        pace: Pace = SOON,
        turn_s: float = 5.0,
        timeout_s: float = 2.0,
        is_good: bool = True,
        **server: Any,
    ) -> Model:
        """The model with these servers, each probed once; is_good: they can be used."""
        urls = tuple(one.url for one in self.servers)
        allowed = (RemoteServer(**{"urls": urls, "bundles": (NAME,), **server}),)
        manifest = load_manifest(self.folder)
        route = route_of(NAME, RemoteSpec(timeout_s=timeout_s), allowed)
        assert route is not None
        golden = parse_golden((self.folder / "golden.npz").read_bytes())
        checks = checks_of(manifest, golden, route, 64)
        trust = Trust(allow_unsigned=("*",))
        model = SessionRegistry(self.folder.parent, runtime(), self.metrics, trust).load(NAME)
        model.use_servers(RemoteEngine(route, checks, self.metrics, turn_s, pace))
        assert model.remote is not None
        model.remote.wait_probed(20.0)
        if is_good:  # a busy machine may need another probe
            wait_until(lambda: is_used(model), timeout_s=20, what="the servers")
        self.model = model
        return model

    def scored(self, place: str) -> float:
        """Windows that were scored there."""
        return value_of(self.metrics.model_remote_windows.labels(NAME, place))

    def failures(self, reason: str) -> float:
        """Failures of the servers."""
        return value_of(self.metrics.model_remote_failures.labels(NAME, reason))

    def close(self) -> None:
        """End the threads, and the servers."""
        if self.model is not None and self.model.remote is not None:
            self.model.remote.close()
        for server in self.servers:
            server.served.mode = "good"
            server.stop()


def is_used(model: Model) -> bool:
    """True if a server can be used."""
    assert model.remote is not None
    return not model.remote.trouble
