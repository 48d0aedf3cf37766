"""One inference server of a model: a thread that connects, probes and calls it.

A server is used after its metadata fit and the golden vectors came back right; after any failure
it must show that again.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from edge_agent.errors import ConfigError
from edge_agent.models.bundle.golden import Golden, differences
from edge_agent.models.bundle.variants import parity
from edge_agent.models.runtime.remote_http import HttpLink, why
from edge_agent.models.runtime.remote_tensors import WrongAnswerError
from edge_agent.transport import Waits, backoff_s

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from edge_agent.config.settings import RemoteServer
    from edge_agent.models.bundle.golden import Tensors
    from edge_agent.models.bundle.manifest import Manifest
    from edge_agent.models.bundle.remote_spec import Route
    from edge_agent.models.runtime.engine import Signature
    from edge_agent.ops.metrics import Metrics

log = logging.getLogger("edge_agent.models")

_WAITS: Final = Waits(first_s=2.0, longest_s=30.0)


@dataclass(frozen=True, slots=True)
class Pace:
    """How often servers are probed, in seconds.

    waits: after failures; a server that fails again within settle_s of its return waits longer each
    time. verify_s: between two checks of a server in use. probe_s: of a whole probe, at most.
    """

    waits: Waits = _WAITS
    settle_s: float = 10.0
    verify_s: float = 60.0
    probe_s: float = 5.0


class Link(Protocol):
    """An interface of a server: REST or gRPC; see `HttpLink`."""

    def describe(self, signature: Signature, until_s: float) -> None:
        """Ask whether it is ready, and compare its metadata with the manifest."""

    def infer(
        self, feeds: Mapping[str, NDArray[Any]], signature: Signature, number: str, until_s: float
    ) -> Tensors:
        """Run N rows."""

    def close(self) -> None:
        """Close the connection."""


@dataclass(frozen=True, slots=True)
class Checks:
    """What a server must return before it is used. max_batch: rows of one call."""

    manifest: Manifest
    signature: Signature
    golden: Golden
    max_batch: int
    timeout_s: float

    def run(self, link: Link, until_s: float, number: str) -> float:
        """Check metadata and golden vectors; returns the seconds of its slowest call.

        WrongAnswerError, OSError or EdgeAgentError if the server is not what the manifest says.
        """
        link.describe(self.signature, until_s)
        found, slowest_s = [], 0.0
        for start in range(0, self.golden.rows, self.max_batch):
            piece = {n: a[start : start + self.max_batch] for n, a in self.golden.inputs.items()}
            # The first call after a start may be slow: it opens connections, there and here.
            begin_s = time.monotonic()
            found.append(link.infer(piece, self.signature, f"{number}.{start}", until_s))
            again_s = time.monotonic()
            slowest_s = max(slowest_s, again_s - begin_s) if start else 0.0
        if not slowest_s:
            link.infer(piece, self.signature, f"{number}.again", until_s)
            slowest_s = time.monotonic() - again_s
        self._compare({n: np.concatenate([one[n] for one in found]) for n in found[0]})
        if slowest_s > self.timeout_s:
            text = f"it takes {slowest_s * 1e3:.0f} ms, more than {self.timeout_s * 1e3:.0f} ms"
            raise WrongAnswerError("slow", text)
        return slowest_s

    def _compare(self, found: Tensors) -> None:
        """As exact as our own graph, or as near as a quantized variant must be."""
        golden = self.golden.outputs
        wanted = {name: golden[name].reshape(array.shape) for name, array in found.items()}
        problems = differences(wanted, found)
        if problems and parity(self.manifest, self.golden._replace(outputs=wanted), found)[1]:
            raise WrongAnswerError("golden", "; ".join(problems))


@dataclass(slots=True, eq=False)
class Call:
    """Some rows of a run at one server. tried: the servers that had it. reason: why it failed."""

    feeds: Mapping[str, NDArray[Any]]
    until_s: float
    number: str
    tried: list[Endpoint] = field(default_factory=list)
    done: threading.Event = field(default_factory=threading.Event)
    found: Tensors | None = None
    reason: str = ""


class _Word(Enum):
    """What the thread of a server is told."""

    LOOK = "look"
    END = "end"


class Endpoint:
    """One URL of a model, with its thread. is_ready: it passed all checks and has not failed since.

    pending: calls that it has not answered. reason: why it is not ready, for people; latency_ms: of
    the last check or call. is_probed: it was probed once.
    """

    def __init__(self, url: str, link: Link, checks: Checks, report: Report, pace: Pace) -> None:
        self.url = url
        self.is_ready = False
        self.is_probed = threading.Event()
        self.pending = 0
        self.reason = ""
        self.latency_ms = 0.0
        self._link, self._checks, self._report, self._pace = link, checks, report, pace
        self._calls: queue.SimpleQueue[Call | _Word] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._failures = 0
        self._probe_s = self._ready_s = time.monotonic()
        self._probes = 0
        self._thread = threading.Thread(target=self._work, daemon=True, name=f"remote {url}"[:15])
        self._thread.start()

    def submit(self, call: Call) -> None:
        """Send a call when those before it are answered."""
        with self._lock:
            self.pending += 1
        call.tried.append(self)
        self._calls.put(call)

    def fail(self, label: str, text: str) -> None:
        """It is not used until it passes a probe."""
        with self._lock:
            was_ready, self.is_ready = self.is_ready, False
            if was_ready and time.monotonic() - self._ready_s >= self._pace.settle_s:
                self._failures = 0
            if was_ready or self.reason != text:
                self._report.lost(self.url, label, text, was_ready=was_ready)
            self._failures += was_ready or not self._is_waiting()
            self._probe_s = time.monotonic() + backoff_s(self._failures, self._pace.waits)
            self.reason = text
        self.is_probed.set()
        self._calls.put(_Word.LOOK)  # its next probe is another one now

    def close(self) -> None:
        """End the thread."""
        self._calls.put(_Word.END)

    def _is_waiting(self) -> bool:
        return time.monotonic() < self._probe_s

    def _work(self) -> None:
        while True:
            try:
                call = self._calls.get(timeout=max(self._probe_s - time.monotonic(), 0.0))
            except queue.Empty:
                self._probe()
                continue
            if call is _Word.END:
                self._link.close()
                return
            if isinstance(call, Call):
                self._run(call)

    def _run(self, call: Call) -> None:
        begin_s = time.monotonic()
        try:
            if begin_s >= call.until_s:
                raise TimeoutError  # noqa: TRY301 (as if it had been sent)
            call.found = self._link.infer(
                call.feeds, self._checks.signature, call.number, call.until_s
            )
            self.latency_ms = (time.monotonic() - begin_s) * 1e3
        except Exception as error:  # noqa: BLE001 (whatever a server does, the graph here replaces it)
            label, call.reason = why(error)
            self.fail(label, call.reason)
        finally:
            with self._lock:
                self.pending -= 1
            call.done.set()

    def _probe(self) -> None:
        self._probes += 1
        until_s = time.monotonic() + self._pace.probe_s
        try:
            latency_s = self._checks.run(self._link, until_s, f"golden.{self._probes}")
        except Exception as error:  # noqa: BLE001 (as above)
            self._link.close()
            self.fail(*why(error))
            return
        with self._lock:
            was_ready, self.is_ready, self.reason = self.is_ready, True, ""
            self.latency_ms = latency_s * 1e3
            self._probe_s = time.monotonic() + self._pace.verify_s
            if not was_ready:
                self._ready_s = time.monotonic()
                self._report.back(self.url, self.latency_ms)
        self.is_probed.set()


class Report:
    """What happens to the servers of a model, for the log and the metrics."""

    def __init__(self, name: str, metrics: Metrics) -> None:
        self._name, self._metrics = name, metrics
        self.scored("remote", 0)
        self.scored("local", 0)

    def lost(self, url: str, label: str, text: str, *, was_ready: bool) -> None:
        """A server failed, or fails in another way than before."""
        self._metrics.model_remote_failures.labels(self._name, label).inc()
        what = "model server failed" if was_ready else "model server cannot be used"
        log.warning(what, extra={"model": self._name, "url": url, "reason": text})

    def back(self, url: str, latency_ms: float) -> None:
        """A server passed all checks."""
        extra = {"model": self._name, "url": url, "latency_ms": round(latency_ms, 2)}
        log.info("model server is used", extra=extra)

    def scored(self, place: str, rows: int) -> None:
        """Windows were scored there or here."""
        self._metrics.model_remote_windows.labels(self._name, place).inc(rows)

    def is_up(self, *, up: bool) -> None:
        """Windows can go to a server."""
        self._metrics.model_remote_up.labels(self._name).set(up)

    def took(self, seconds: float) -> None:
        """A run at the servers was answered."""
        self._metrics.model_remote_seconds.labels(self._name).observe(seconds)


def link_of(url: str, server: RemoteServer, route: Route) -> Link:
    """The interface of a URL by its scheme."""
    if url.startswith("grpc"):
        try:
            from edge_agent.models.runtime.remote_grpc import GrpcLink  # noqa: PLC0415 (an extra)
        except ImportError as error:
            hint = "pip install 'edge-agent-pdm[grpc]', or name its URL of REST"
            raise ConfigError("grpcio is not installed", where=url, hint=hint) from error
        return GrpcLink(url, server, route.model, route.version)
    return HttpLink(url, server, route.model, route.version)
