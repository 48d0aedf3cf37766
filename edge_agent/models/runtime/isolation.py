"""Which models run in processes of their own, and when one may run in the daemon's.

In the daemon a graph can stop everything, so a foreign one never runs there, unless the config
wants to save the memory of its process: then a graph is isolated until it has scored many real
windows, and for ever if its time or memory depends on its input values.
"""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

from edge_agent.config.settings import Isolated
from edge_agent.errors import ModelError
from edge_agent.models.bundle.learned import LEARNED
from edge_agent.models.runtime.graph_engine import GraphEngine
from edge_agent.models.runtime.isolated_engine import IsolatedEngine, Limits
from edge_agent.models.runtime.model_process import Launcher
from edge_agent.models.runtime.run_mark import RunMark

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from edge_agent.config.settings import Runtime
    from edge_agent.models.bundle.manifest import Manifest
    from edge_agent.models.bundle.variants import Trial
    from edge_agent.models.repository import ModelRepository
    from edge_agent.models.runtime.engine import Engine, LoadRequest
    from edge_agent.models.runtime.model import Model
    from edge_agent.ops.metrics import Metrics

log = logging.getLogger("edge_agent.models")

MAX_DEATHS: Final = 3
PROVEN_ROWS: Final = 1000
PROVEN_S: Final = 3600.0
SERVICE_NICENESS: Final = 10  # a tenth of the processor time of the daemon when both want it
_PATIENCE: Final = 1.5  # of the latency budget


class StoppedError(ModelError):
    """A version is not loaded, because its runs ended processes again and again."""

    def __init__(self, message: str, *, where: str, hint: str, version: str) -> None:
        super().__init__(message, where=where, hint=hint)
        self.version = version


class Isolation:
    """The processes of isolated models, and what is known of these models; over all reloads.

    proven: digests of the manifests that may run in the daemon. mark: of runs in this process; None
    if it cannot be written.
    """

    def __init__(
        self,
        metrics: Metrics,
        monotonic_s: Callable[[], float] = time.monotonic,
        niceness: int = 0,
    ) -> None:
        self.proven: set[str] = set()
        self.mark: RunMark | None = None
        self._suspects: set[str] = set()
        self._metrics = metrics
        self._launcher = Launcher(niceness)
        self._monotonic_s = monotonic_s
        self._rows: dict[str, int] = {}
        self._since_s: dict[str, float] = {}

    def prepare(self, runtime: Runtime, name: str, digest: str) -> None:
        """A bundle is about to be verified: get ready if it may need a process of its own."""
        is_proven = runtime.isolation is Isolated.YOUNG and digest in self.proven
        if not is_proven and not name.startswith(f"{LEARNED}-"):
            with suppress(OSError):  # `open` reports it
                self._launcher.prepare()

    def is_needed(self, runtime: Runtime, name: str, digest: str, trial: Trial) -> bool:
        """True if a bundle of this name and digest must run in a process of its own.

        A baseline that was learned here is our own graph, so its values cannot change its time.
        """
        if runtime.isolation is Isolated.ALWAYS:
            return True
        is_ours = name.startswith(f"{LEARNED}-") and digest not in self._suspects
        is_proven = runtime.isolation is Isolated.YOUNG and digest in self.proven
        return not (trial.steady and (is_ours or is_proven))

    def open(self, request: LoadRequest, runtime: Runtime, digest: str) -> IsolatedEngine:
        """An engine in a process of its own; ModelError if it does not start."""
        limits = Limits(_PATIENCE * runtime.latency_budget, int(runtime.model_memory))
        engine = IsolatedEngine(request, self._launcher, limits)
        engine.rows = self._rows.get(digest, 0)
        self._since_s.setdefault(digest, self._monotonic_s())
        return engine

    def tend(
        self, models: Iterable[Model], repository: ModelRepository, runtime: Runtime
    ) -> list[tuple[Model, Engine]]:
        """Look after the processes: note those that died, start them again; blocking.

        Returns the models that are proven now, each with an engine to continue in this process, if
        `runtime.isolation` is YOUNG.
        """
        found: list[tuple[Model, Engine]] = []
        for model in models:
            engine = model.engine
            if not isinstance(engine, IsolatedEngine):
                continue
            self._note_deaths(model, engine, repository)
            if engine.needs_restart and not _is_stopped(model, repository):
                _restart(engine)
            if runtime.isolation is Isolated.YOUNG and self._is_proven(model, engine):
                found.append((model, GraphEngine.load(engine.request)))
                self._note_proven(model, repository)
        self._launcher.reap()
        return found

    def open_mark(self, repository: ModelRepository) -> None:
        """Note the model in whose run the last process was killed; from now on mark the runs."""
        if self.mark is not None:
            return
        try:
            self.mark = RunMark(repository.mark_file())
            if self.mark.found is not None:
                name, digest = self.mark.found
                log.error("killed during a run of a model", extra={"model": name})
                repository.add_killed(name, digest)
        except (OSError, ModelError) as error:
            log.warning("runs of models are not marked", extra={"reason": str(error)})

    def follow_record(
        self, manifest: Manifest, digest: str, repository: ModelRepository, *, can_isolate: bool
    ) -> None:
        """Follow what is noted of a bundle; StoppedError if its runs ended too many processes.

        The daemon's own process counts if the bundle cannot be isolated.
        """
        noted = repository.state(manifest.name)
        if digest in noted.proven:
            self.proven.add(digest)
        if digest in noted.killed:
            self._suspects.add(digest)
        ends = noted.deaths.count(digest)
        if max(ends, 0 if can_isolate else noted.killed.count(digest)) >= MAX_DEATHS:
            ref = f"{manifest.name}@{manifest.version}"
            hint = f"'edge-agent models activate {ref}' tries it again"
            text = f"its runs ended {MAX_DEATHS} processes"
            where, version = f"model {manifest.name}", manifest.version
            raise StoppedError(text, where=where, hint=hint, version=version)

    def _is_proven(self, model: Model, engine: IsolatedEngine) -> bool:
        digest = model.sha256
        if engine.deaths:
            self._since_s[digest], engine.rows = self._monotonic_s(), 0
        self._rows[digest] = engine.rows
        age_s = self._monotonic_s() - self._since_s[digest]
        return model.trial.steady and engine.rows >= PROVEN_ROWS and age_s >= PROVEN_S

    def _note_deaths(
        self, model: Model, engine: IsolatedEngine, repository: ModelRepository
    ) -> None:
        name, version = model.manifest.name, model.manifest.version
        for reason in engine.drain_deaths():
            self._metrics.model_process_ends.labels(name).inc()
            extra = {"model": name, "version": version, "reason": reason}
            log.error("process of a model ended", extra=extra)
            _write(model, partial(repository.add_death, name, model.sha256))

    def _note_proven(self, model: Model, repository: ModelRepository) -> None:
        """From now on it runs in this process; if this cannot be written, until a restart."""
        name = model.manifest.name
        self.proven.add(model.sha256)
        _write(model, partial(repository.add_proven, name, model.sha256))
        extra = {"model": name, "version": model.manifest.version}
        log.info("model is proven, and leaves its own process", extra=extra)

    def close(self) -> None:
        """End all processes."""
        self._launcher.close()


class ServiceIsolation(Isolation):
    """The processes of models that answer requests of other programs.

    A program can send what it likes, so none of them ever runs in the daemon, whatever they have
    proven there; and a process that a request ends says nothing about the plant's own runs, so
    nothing is noted in the repository. patience_s: of a run; memory_bytes: of a process.
    """

    def __init__(self, metrics: Metrics, patience_s: float, memory_bytes: int) -> None:
        super().__init__(metrics, niceness=SERVICE_NICENESS)
        self._limits = Limits(patience_s, memory_bytes)

    def open_mark(self, repository: ModelRepository) -> None:
        """No run of these is in this process, so none is marked."""

    def is_needed(self, *_: object) -> bool:
        """Always."""
        return True

    def open(self, request: LoadRequest, *_: object) -> IsolatedEngine:
        """An engine in a process of its own; ModelError if it does not start."""
        return IsolatedEngine(request, self._launcher, self._limits)

    def reap(self) -> None:
        """End the processes of models that are no longer used; blocking."""
        self._launcher.reap()


def _is_stopped(model: Model, repository: ModelRepository) -> bool:
    return repository.state(model.manifest.name).deaths.count(model.sha256) >= MAX_DEATHS


def _write(model: Model, write: Callable[[], None]) -> None:
    try:
        write()
    except ModelError as error:
        log.error("not on disk", extra={"model": model.manifest.name, "reason": str(error)})


def _restart(engine: IsolatedEngine) -> None:
    try:
        engine.restart()
    except ModelError as error:
        log.error("process of a model not started", extra={"reason": str(error)})
