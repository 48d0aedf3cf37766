"""A model that runs on inference servers of the plant, with its own graph as the replacement.

The model thread only hands windows over and waits for an answer, never longer than a turn may:
whatever blocks (names, connections, TLS) is done by the thread of a server.
"""

from __future__ import annotations

import math
import threading
import time
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edge_agent.models.bundle.remote_spec import route_of
from edge_agent.models.runtime.engine import LateError
from edge_agent.models.runtime.graph_session import signature_of
from edge_agent.models.runtime.remote_server import Call, Checks, Endpoint, Pace, Report, link_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from edge_agent.config.settings import Runtime
    from edge_agent.models.bundle.golden import Golden, Tensors
    from edge_agent.models.bundle.manifest import Manifest
    from edge_agent.models.bundle.remote_spec import RemoteAccess, Route
    from edge_agent.ops.metrics import Metrics

START_S: Final = 1.0  # so long the loading of a model waits for the first probe of its servers
PATIENT_START_S: Final = 10.0  # and that of a recording
TURN_S: Final = 0.04  # so long a turn waits for answers: the longest pause between two turns


@dataclass(slots=True)
class _Run:
    """A run at the servers: its parts, and when it is given up."""

    feeds: Mapping[str, NDArray[Any]]
    calls: list[Call]
    begin_s: float
    until_s: float

    @property
    def rows(self) -> int:
        return len(next(iter(self.feeds.values())))


class RemoteEngine:
    """The servers of one model. Calls are those of one thread, and never wait for a connection.

    turn_s: how long `infer` waits; infinite for a recording.
    """

    def __init__(
        self,
        route: Route,
        checks: Checks,
        metrics: Metrics,
        turn_s: float = TURN_S,
        pace: Pace = Pace(),  # noqa: B008 (immutable)
    ) -> None:
        self._route, self._checks, self._turn_s = route, checks, turn_s
        self._report = Report(checks.manifest.name, metrics)
        self._endpoints = [
            Endpoint(url, link_of(url, server, route), checks, self._report, pace)
            for url, server in route.targets
        ]
        self._run: _Run | None = None
        self._number = 0

    # -- runs ---------------------------------------------------------------------------------

    def begin(self, feeds: Mapping[str, NDArray[Any]]) -> None:
        """Send N rows, if a server can be used; `infer` with the same feeds returns the answer."""
        self._run = None
        ready = [one for one in self._endpoints if one.is_ready]
        self._report.is_up(up=bool(ready))
        # A baseline that follows its machine passes how far it has moved; no server knows of that.
        if not ready or feeds.keys() != self._checks.signature.inputs.keys():
            return
        rows, most = len(next(iter(feeds.values()))), self._checks.max_batch
        begin_s = time.monotonic()
        until_s = begin_s + self._checks.timeout_s * ceil(rows / most)
        self._run = _Run(feeds, [], begin_s, until_s)
        for start in range(0, rows, most):
            self._number += 1
            piece = {name: array[start : start + most] for name, array in feeds.items()}
            call = Call(piece, until_s, f"{self._checks.manifest.name}.{self._number}")
            self._run.calls.append(call)
            _least_pending(ready).submit(call)

    def infer(self, feeds: Mapping[str, NDArray[Any]], *, wait: bool = True) -> Tensors | None:
        """The outputs of N rows; None if the model's own graph must run them.

        LateError if they are not there when the turn must go on: see `late_answer`.
        """
        if self._run is None or self._run.feeds is not feeds:
            self.begin(feeds)
        if self._run is None:
            self._report.scored("local", len(next(iter(feeds.values()))))
            return None
        return self._answer(self._run, self._turn_s if wait else 0.0)

    @property
    def late_feeds(self) -> Mapping[str, NDArray[Any]] | None:
        """The rows of the run that goes on; None if none does."""
        return None if self._run is None else self._run.feeds

    def late_answer(self) -> Tensors | None:
        """The outputs of the run that was late, as `infer` returns them; never waits."""
        return None if self._run is None else self._answer(self._run, 0.0)

    def _answer(self, run: _Run, patience_s: float) -> Tensors | None:
        turn_s = min(time.monotonic() + patience_s, run.until_s)
        for call in run.calls:
            while call.found is None:
                call.done.wait(max(turn_s - time.monotonic(), 0.0))
                if call.found is not None:
                    break
                if call.done.is_set() and self._try_another(call):
                    continue
                now_s = time.monotonic()
                if not call.done.is_set() and now_s < run.until_s:
                    text = f"no answer after {now_s - run.begin_s:.3g} s"
                    raise LateError(text, where=self._checks.manifest.name, is_computing=False)
                self._give_up(run, call)
                return None
        self._run = None
        self._report.scored("remote", run.rows)
        self._report.took(time.monotonic() - run.begin_s)
        found = [call.found or {} for call in run.calls]
        return {name: np.concatenate([one[name] for one in found]) for name in found[0]}

    def _try_another(self, call: Call) -> bool:
        """Send a call that failed to a server that has not had it."""
        others = [one for one in self._endpoints if one.is_ready and one not in call.tried]
        if not others or time.monotonic() >= call.until_s:
            return False
        call.done, call.reason = threading.Event(), ""
        _least_pending(others).submit(call)
        return True

    def _give_up(self, run: _Run, call: Call) -> None:
        """The model's own graph runs all rows."""
        self._run = None
        if not call.done.is_set():
            limit_ms = (run.until_s - run.begin_s) * 1e3
            call.tried[-1].fail("timeout", f"it does not answer in {limit_ms:.0f} ms")
        self._report.is_up(up=any(one.is_ready for one in self._endpoints))
        self._report.scored("local", run.rows)

    # -- state --------------------------------------------------------------------------------

    @property
    def trouble(self) -> str:
        """Why no server can be used; empty if one can, or none was probed yet."""
        if any(one.is_ready for one in self._endpoints):
            return ""
        hosts = [f"{url}: the config's `remote` does not list it" for url in self._route.refused]
        if not self._endpoints and not hosts:
            return "the manifest names no URL, and the config's `remote` no server for it"
        reasons = [f"{one.url}: {one.reason}" for one in self._endpoints if one.reason]
        return "; ".join([*reasons, *hosts])

    def export(self) -> None:
        """Update the gauge of its servers."""
        self._report.is_up(up=any(one.is_ready for one in self._endpoints))

    def wait_probed(self, limit_s: float) -> None:
        """Wait until each server was probed once, or the limit is over."""
        until_s = time.monotonic() + limit_s
        for one in self._endpoints:
            one.is_probed.wait(max(until_s - time.monotonic(), 0.0))

    def as_dict(self) -> dict[str, Any]:
        """As the API shows it."""
        servers = [
            {
                "url": one.url,
                "ready": one.is_ready,
                "reason": one.reason,
                "latency_ms": round(one.latency_ms, 2),
            }
            for one in self._endpoints
        ]
        return {"servers": servers, "refused": list(self._route.refused), "reason": self.trouble}

    def close(self) -> None:
        """End all threads and connections. May be called repeatedly."""
        for one in self._endpoints:
            one.close()


def open_remote(
    manifest: Manifest, golden: Golden, runtime: Runtime, access: RemoteAccess, metrics: Metrics
) -> RemoteEngine | None:
    """The servers of a bundle, probed once if they answer soon; None if it runs only here."""
    route = route_of(manifest.name, manifest.remote, access.servers)
    if route is None:
        return None
    checks = checks_of(manifest, golden, route, runtime.max_batch)
    patience_s = math.inf if access.is_patient else TURN_S
    engine = RemoteEngine(route, checks, metrics, patience_s)
    engine.wait_probed(PATIENT_START_S if access.is_patient else START_S)
    return engine


def checks_of(manifest: Manifest, golden: Golden, route: Route, max_batch: int) -> Checks:
    """What the servers of a bundle must return."""
    return Checks(manifest, signature_of(manifest), golden, max_batch, route.timeout_s)


def _least_pending(ready: Sequence[Endpoint]) -> Endpoint:
    return min(ready, key=lambda one: one.pending)
