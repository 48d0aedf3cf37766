"""Loads bundles into memory after every check, each once while it is in use."""

from __future__ import annotations

import ctypes
import logging
import re
from dataclasses import replace
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias
from weakref import WeakValueDictionary

from edge_agent.config.settings import Isolated, Trust
from edge_agent.errors import ModelError
from edge_agent.models.bundle.bundle import file_problems, read_checked, read_file, try_files
from edge_agent.models.bundle.golden import parse_golden
from edge_agent.models.bundle.kinds import FP32, GOLDEN, MANIFEST, PICTURE, WINDOW
from edge_agent.models.bundle.manifest_text import KINDS, parse_manifest
from edge_agent.models.bundle.ort import available_providers
from edge_agent.models.bundle.trust import UNSIGNED, keyring
from edge_agent.models.repository import ModelRepository
from edge_agent.models.runtime.engine import LoadRequest
from edge_agent.models.runtime.graph_engine import GraphEngine
from edge_agent.models.runtime.isolation import StoppedError
from edge_agent.models.runtime.model import Model
from edge_agent.models.runtime.providers import PROVIDERS, PROVIDERS_KEY, choose_providers
from edge_agent.models.runtime.reference import reference_of
from edge_agent.models.runtime.verified import VerifiedBundles

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from edge_agent.config.settings import Runtime
    from edge_agent.models.bundle.golden import Golden
    from edge_agent.models.bundle.manifest import Manifest
    from edge_agent.models.bundle.remote_spec import RemoteAccess
    from edge_agent.models.bundle.variants import Trial
    from edge_agent.models.runtime.engine import Engine, LoadableEngine
    from edge_agent.models.runtime.isolation import Isolation
    from edge_agent.models.runtime.picture_engine import PictureEngines
    from edge_agent.ops.metrics import Metrics

log = logging.getLogger("edge_agent.models")

# By kind of bundle.
ENGINES: Final[Mapping[str, type[LoadableEngine]]] = {
    WINDOW.name: GraphEngine,
    PICTURE.name: GraphEngine,
}
# Name, time of change and size of each file of a bundle.
Stamp: TypeAlias = tuple[tuple[str, int, int], ...]
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


class _Verified(NamedTuple):
    """A bundle whose files hold; digest: of its manifest."""

    folder: Path
    manifest: Manifest
    digest: str
    golden: Golden


class SessionRegistry:
    """A cache of loaded models by the digest of their manifest. Calls block; one thread at a time.

    A model stays while it is in use; which version is active is not known here.

    trust: trusted keys and names; ConfigError if a key cannot be read. kinds, engines: the class
    of the manifest and that of the engine, by kind of bundle. isolation: of graphs that are not
    proven; None if all run in this process. verified: bundles that need not be tried again.
    remote: the servers that may run models; None if all run here. pictures: opens models of
    pictures in their process; None if they run here.
    """

    def __init__(  # noqa: PLR0913 (two tables)
        self,
        models_dir: Path,
        runtime: Runtime,
        metrics: Metrics,
        trust: Trust | None = None,
        *,
        kinds: Mapping[str, type[Manifest]] = KINDS,
        engines: Mapping[str, type[LoadableEngine]] = ENGINES,
        isolation: Isolation | None = None,
        verified: VerifiedBundles | None = None,
        remote: RemoteAccess | None = None,
        pictures: PictureEngines | None = None,
    ) -> None:
        self._remote = remote
        self._pictures = pictures
        self._isolation = isolation
        self._verified = verified or VerifiedBundles()
        self._kinds = kinds
        self._engines = engines
        self._dir = models_dir
        self._repository = ModelRepository(models_dir)
        if isolation is not None:
            isolation.open_mark(self._repository)
        self._runtime = runtime
        self._metrics = metrics
        self._keyring = keyring(trust or Trust())
        self._logged_unsigned = False
        self._logged_refused: dict[str, tuple[str, Stamp]] = {}
        self._sessions: WeakValueDictionary[str, Model] = WeakValueDictionary()
        self._missing: set[str] = set()
        report = choose_providers(runtime.providers, available_providers())
        self._providers = report.used
        for name in runtime.providers:
            metrics.provider_missing.labels(name).set(0)
        for name in report.missing:
            self._log_missing(name, "this build of onnxruntime does not include it")

    def load(self, name: str, folder: Path | None = None) -> Model:
        """The model of a bundle: verified, loaded and tested, unless it is loaded already.

        folder: its folder, from `ModelRepository.folder`; left out, the folder of the version that
        should be active, whose refusal is logged. ModelError if it is refused.
        """
        if folder is not None:
            return self._build(name, folder)
        try:
            model = self._build(name, self._dir / name)
        except ModelError as error:
            self._log_refused(name, str(error))
            raise
        self._logged_refused.pop(name, None)
        return model

    def trim(self) -> None:
        """Return freed memory to the system: sessions that come and go fragment the heap."""
        try:
            ctypes.CDLL(None).malloc_trim(0)
        except (OSError, AttributeError):
            log.debug("no malloc_trim in this C library")

    def _log_refused(self, name: str, reason: str) -> None:
        """Log a refusal once for each state of its files; repeated checks add no information."""
        said = (reason, stamp_of(self._dir / name))
        if self._logged_refused.get(name) != said:
            self._logged_refused[name] = said
            log.error("model refused", extra={"model": name, "reason": reason})

    def tend(self) -> list[tuple[Model, Engine]]:
        """Look after the processes of isolated models: note those that died, start them again.

        Returns the models that are proven now, each with an engine to continue in this process.
        """
        if self._isolation is None:
            return []
        return self._isolation.tend(list(self._sessions.values()), self._repository, self._runtime)

    # -- parts --------------------------------------------------------------------------------

    def _build(self, name: str, folder: Path) -> Model:
        if not _NAME.fullmatch(name):
            raise self._rejected(name, "files", "is not the name of a bundle")
        try:
            raw = read_file(folder, MANIFEST)
            manifest = parse_manifest(raw, folder / MANIFEST, self._kinds)
        except ModelError as error:
            raise self._rejected(name, "manifest", str(error)) from error
        digest = sha256(raw).hexdigest()
        loaded = self._sessions.get(digest)
        if loaded is not None:
            return loaded
        if manifest.name != name:
            raise self._rejected(name, "manifest", f"model.yaml is of {manifest.name!r}")
        self._refuse_stopped(manifest, digest)
        signer = self._signer(folder, name, raw)
        if self._isolation is not None and self._can_isolate(manifest):
            self._isolation.prepare(self._runtime, name, digest)
        trial = self._verified.trial(digest, manifest)
        if trial is not None:
            problems = file_problems(folder, manifest)
        else:
            problems, trial = try_files(folder, manifest, raw)
        if problems:
            more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
            raise self._rejected(name, problems[0].reason, f"{problems[0].text}{more}")
        model = self._tested(folder, manifest, digest, trial)
        model.signer = signer
        self._verified.add(digest, trial)
        _log_variants(model)
        self._sessions[digest] = model
        return model

    def _refuse_stopped(self, manifest: Manifest, digest: str) -> None:
        if self._isolation is None:
            return
        try:
            self._isolation.follow_record(
                manifest, digest, self._repository, can_isolate=self._can_isolate(manifest)
            )
        except StoppedError:
            self._metrics.model_rejected.labels(manifest.name, "stopped").inc()
            raise

    def _signer(self, folder: Path, name: str, raw: bytes) -> str:
        """The key that signed it. Without any key nothing is refused, which is logged once."""
        try:
            return self._keyring.signer(folder, name, raw)
        except ModelError as error:
            if self._keyring.keys:
                raise self._rejected(name, "signature", str(error)) from error
        if not self._logged_unsigned:
            self._logged_unsigned = True
            extra = {"model": name, "reason": "trust.keys is empty: any bundle is loaded"}
            log.warning("model signatures not checked", extra=extra)
        return UNSIGNED

    def _tested(self, folder: Path, manifest: Manifest, digest: str, trial: Trial) -> Model:
        """In memory on the wished provider; on the CPU if golden vectors do not pass there."""
        try:
            golden = parse_golden(read_checked(folder, manifest, GOLDEN))
            files = _Verified(folder, manifest, digest, golden)
            if self._providers[0] != "cpu" and not self._is_apart(manifest):
                try:
                    # The trial ran on the CPU, and int8 in this form (QDQ) is made for CPUs.
                    return self._opened(files, replace(trial, chosen=FP32), self._providers)
                except ModelError as error:
                    if self._runtime.required:
                        raise
                    self._log_unfit(manifest, str(error))
            return self._fastest(files, trial)
        except ModelError as error:
            raise self._rejected(manifest.name, "golden", str(error)) from error

    def _fastest(self, files: _Verified, trial: Trial) -> Model:
        """The trial's variant on the CPU; fp32 if that fails here."""
        try:
            return self._opened(files, trial, ("cpu",))
        except ModelError as error:
            if trial.chosen == FP32:
                raise
            extra = {"model": files.manifest.name, "variant": trial.chosen, "reason": str(error)}
            log.warning("model variant refused", extra=extra)
        return self._opened(files, replace(trial, chosen=FP32), ("cpu",))

    def _opened(self, files: _Verified, trial: Trial, providers: Sequence[str]) -> Model:
        manifest, golden = files.manifest, files.golden
        request = LoadRequest(
            manifest,
            partial(self._read, files.folder, manifest),  # again: verified bytes are loaded
            trial.chosen,
            [PROVIDERS[provider] for provider in providers],
            self._runtime.max_batch,
        )
        engine = self._engine(request, files.digest, trial)
        model = Model(manifest, engine, files.digest, trial)
        self._check_providers(providers, engine.providers)
        model.self_test(golden)
        self._use_servers(model, golden)
        model.reference = reference_of(manifest, golden.inputs, golden.outputs)
        if self._isolation is not None:
            model.mark_runs(self._isolation.mark)
        return model

    def _use_servers(self, model: Model, golden: Golden) -> None:
        """Let the servers run it that its manifest and the config name."""
        if self._remote is None or not (model.manifest.remote or self._remote.servers):
            return
        from edge_agent.models.runtime.remote import open_remote  # noqa: PLC0415 (few need it)

        engine = open_remote(model.manifest, golden, self._runtime, self._remote, self._metrics)
        if engine is not None:
            model.use_servers(engine)

    def _engine(self, request: LoadRequest, digest: str, trial: Trial) -> Engine:
        manifest, isolation = request.manifest, self._isolation
        if self._pictures is not None and self._is_apart(manifest):
            return self._pictures.open(request, digest)
        if (
            isolation is not None
            and self._can_isolate(manifest)
            and request.providers[0] == PROVIDERS["cpu"]
            and isolation.is_needed(self._runtime, manifest.name, digest, trial)
        ):
            return isolation.open(request, self._runtime, digest)
        return self._engines[manifest.kind].load(request)

    def _can_isolate(self, manifest: Manifest) -> bool:
        is_graph = self._engines[manifest.kind] is GraphEngine
        is_wished = self._runtime.isolation is not Isolated.NEVER
        is_possible = is_graph and not self._is_apart(manifest)
        return is_possible and is_wished and self._providers[0] == "cpu"

    def _is_apart(self, manifest: Manifest) -> bool:
        """True if it runs in the process of pictures."""
        return self._pictures is not None and manifest.kind == PICTURE.name

    def _read(self, folder: Path, manifest: Manifest, name: str) -> bytes:
        """A file of a bundle, also after another version has replaced it in its folder."""
        try:
            return read_checked(folder, manifest, name)
        except ModelError:
            other = self._repository.folder(manifest.name, manifest.version)
            return read_checked(other, manifest, name)

    def _log_unfit(self, manifest: Manifest, reason: str) -> None:
        extra = {"model": manifest.name, "provider": self._providers[0], "reason": reason}
        log.warning("execution provider refused", extra=extra)

    def _check_providers(self, wished: Sequence[str], used: Sequence[str]) -> None:
        """Log providers whose library is missing: they fall back to the CPU without an error."""
        for provider in wished if used else ():
            if PROVIDERS[provider] not in used:
                self._log_missing(
                    provider, "it failed to start: is its driver or library installed?"
                )

    def _log_missing(self, provider: str, reason: str) -> None:
        self._metrics.provider_missing.labels(provider).set(1)
        if self._runtime.required:
            hint = "install it, or set runtime.required to false"
            text = f"execution provider {provider!r} is missing: {reason}"
            raise ModelError(text, where=PROVIDERS_KEY, hint=hint)
        if provider not in self._missing:
            self._missing.add(provider)
            extra = {"provider": provider, "reason": reason}
            log.warning("execution provider missing", extra=extra)

    def _rejected(self, name: str, reason: str, text: str) -> ModelError:
        self._metrics.model_rejected.labels(name, reason).inc()
        return ModelError(text, where=f"model {name}")


def _log_variants(model: Model) -> None:
    """Log which variant was chosen, and why not the others."""
    for row in model.trial.figures:
        figures = {f"p50_us_batch_{batch}": round(us) for batch, us in row.p50_us}
        reason = row.refused or ("at work" if row.variant == model.variant else "slower")
        said = {"model": model.manifest.name, "variant": row.variant, "reason": reason}
        log.info("model variant", extra={**said, **figures})


def stamp_of(folder: Path) -> Stamp:
    """The present state of a bundle's files, to notice changes; empty if there are none."""
    try:
        found = [(path.name, path.lstat()) for path in folder.iterdir()]
    except (OSError, ValueError):  # missing, or not a valid name
        return ()
    return tuple(sorted((name, status.st_mtime_ns, status.st_size) for name, status in found))
