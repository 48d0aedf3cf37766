"""The versions of bundles on disk: the active ones, and a shelf of previous and future ones.

The active bundle is `models_dir/<name>/`. The shelf is `models_dir/.shelf/<name>/<version>/`, with
one `state.json` a name: the order of arrival, the previously active versions, the shadow. A
version never changes after its arrival. Several processes may write (daemon and command line); a
lock file serialises them, and readers only ever see whole folders.
"""

from __future__ import annotations

import re
import shutil
from hashlib import sha256
from typing import TYPE_CHECKING, Final, NamedTuple

from edge_agent.errors import ModelError, NotFoundError, UsageError
from edge_agent.models.bundle.bundle import bundle_files, load_manifest, read_file
from edge_agent.models.bundle.folder import locked, write_file, write_folder
from edge_agent.models.bundle.kinds import MANIFEST
from edge_agent.models.bundle.manifest_text import parse_manifest
from edge_agent.models.repository_state import RepositoryState, parse_state

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.models.bundle.manifest import Manifest

REPOSITORY_DIR: Final = ".shelf"
KEEP: Final = 5
_STATE: Final = "state.json"
_MARK: Final = ".run"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")


class Ref(NamedTuple):
    """A bundle by name, of one version or (None) of any."""

    name: str
    version: str | None

    def __str__(self) -> str:
        return self.name if self.version is None else f"{self.name}@{self.version}"


def parse_ref(text: str) -> Ref:
    """`NAME` or `NAME@VERSION`; UsageError for anything else."""
    name, at, version = text.partition("@")
    if not _NAME.fullmatch(name) or (at and not _NAME.fullmatch(version)):
        raise UsageError(f"{text[:200]!r} is not NAME or NAME@VERSION")
    return Ref(name, version if at else None)


class ModelRepository:
    """The versions of the bundles of one folder. All calls block; ModelError if the disk fails.

    keep: versions of a name; the active, the previous one and the shadow are never removed.
    """

    def __init__(self, models_dir: Path, keep: int = KEEP) -> None:
        self._dir = models_dir
        self._stored = models_dir / REPOSITORY_DIR
        self._keep = keep

    # -- queries ------------------------------------------------------------------------------

    def names(self) -> list[str]:
        """All bundles that are active or on the shelf, by name."""
        found = {path.parent.name for path in self._dir.glob(f"*/{MANIFEST}")}
        found |= {path.parent.parent.name for path in self._stored.glob(f"*/*/{MANIFEST}")}
        return sorted(name for name in found if _NAME.fullmatch(name))

    def versions(self, name: str) -> list[str]:
        """The versions on the shelf, in the order of their arrival."""
        there = {p.parent.name for p in self._place(name).glob(f"*/{MANIFEST}")}
        there = {version for version in there if _NAME.fullmatch(version)}
        known = [version for version in self.state(name).versions if version in there]
        return [*sorted(there.difference(known)), *known]

    def folder(self, name: str, version: str) -> Path:
        """The folder of a version, on the shelf or active; NotFoundError if there is none."""
        path = self._place(name) / _checked(version)
        if (path / MANIFEST).is_file():
            return path
        if self.active(name) == version:
            return self._dir / name
        there = ", ".join(self.versions(name)) or "none"
        raise NotFoundError("no such version", where=f"{name}@{version}", hint=f"there: {there}")

    def active(self, name: str) -> str | None:
        """The version in the folder of the active models; None if none is readable there."""
        try:
            return load_manifest(self._dir / _checked(name)).version
        except ModelError:
            return None

    def active_folder(self, name: str) -> Path | None:
        """The folder of the active version, readable or not; None if there is none."""
        folder = self._dir / _checked(name)
        return folder if (folder / MANIFEST).is_file() else None

    def installed(self, name: str) -> list[tuple[str, Path]]:
        """The active version, then the others, the newest first: each with state and folder.

        States: active, previous, shadow, and shelf for any other.
        """
        folder = self._dir / _checked(name)
        found = [("active", folder)] if folder.is_dir() else []
        states = {self.previous(name): "previous", self.shadow(name): "shadow"}
        active = self.active(name)
        versions = [one for one in reversed(self.versions(name)) if one != active]
        return [*found, *((states.get(one, "shelf"), self.folder(name, one)) for one in versions)]

    def read(self, folder: Path) -> tuple[Manifest, str]:
        """The manifest of a version and its digest; ModelError if it is not valid."""
        raw = read_file(folder, MANIFEST)
        return parse_manifest(raw, folder / MANIFEST), sha256(raw).hexdigest()

    def previous(self, name: str) -> str | None:
        """The version that `rollback` would restore."""
        there, active = self.versions(name), self.active(name)
        earlier = [v for v in self.state(name).previous if v in there and v != active]
        return earlier[-1] if earlier else None

    def shadow(self, name: str) -> str | None:
        """The version that scores in parallel with the active one."""
        shadow = self.state(name).shadow
        return shadow if shadow in self.versions(name) else None

    def state(self, name: str) -> RepositoryState:
        """What is known of the versions of a name."""
        return parse_state(self._place(name) / _STATE)

    # -- changes ------------------------------------------------------------------------------

    def install(self, source: Path) -> Manifest:
        """Copy a verified bundle onto the shelf, without activating it.

        ModelError if its version exists already with other content.
        """
        raw = read_file(source, MANIFEST)
        manifest = parse_manifest(raw, source / MANIFEST)
        name, version = manifest.name, manifest.version
        with locked(self._stored):
            self._refuse_other_content(name, version, raw)
            if version not in self.versions(name):
                self._copy(source, raw, self._place(name) / version)
            self._write_state(name, self.state(name).arrived(version))
            self._prune(name, fresh=version)
        return manifest

    def activate(self, name: str, version: str) -> None:
        """Put a version from the shelf into the folder of the active models.

        The replaced version stays on the shelf, and `rollback` restores it. A version that was
        stopped because its runs ended processes is tried again.
        """
        with locked(self._stored):
            source = self.folder(name, version)
            self._write_state(name, self.state(name).forgiven(_hex(source)))
            if _digest(source) == _digest(self._dir / name):
                return
            old = self._keep_active(name)
            self._write_state(name, self.state(name).activated(version, old))
            self._copy(source, read_file(source, MANIFEST), self._dir / name)
            self._prune(name)

    def rollback(self, name: str) -> str:
        """Restore the version that was active before; returns it. ModelError if there is none.

        The replaced version stays on the shelf, but no rollback ever restores it.
        """
        with locked(self._stored):
            version = self.previous(name)
            if version is None:
                raise ModelError("no earlier version is installed", where=f"model {name}")
            self._keep_active(name)
            source = self._place(name) / version
            self._copy(source, read_file(source, MANIFEST), self._dir / name)
            self._write_state(name, self.state(name).rolled_back(version))
        return version

    def store_active(self, name: str) -> str | None:
        """Copy the active version onto the shelf, before another version is written over it.

        Returns its version; None if no readable version is active.
        """
        with locked(self._stored):
            version = self._keep_active(name)
            if version is not None:
                self._write_state(name, self.state(name).kept(version))
                self._prune(name)
        return version

    def set_shadow(self, name: str, version: str | None) -> None:
        """Choose the version that scores in parallel with the active one; None for no shadow."""
        with locked(self._stored):
            if version is not None and version not in self.versions(name):
                self.folder(name, version)
                raise ModelError("is active, so it cannot be the shadow", where=name)
            self._write_state(name, self.state(name).shadowed(version))

    def add_proven(self, name: str, digest: str) -> None:
        """Note that a bundle may run in the daemon's process."""
        with locked(self._stored):
            self._write_state(name, self.state(name).proved(digest))

    def add_death(self, name: str, digest: str) -> None:
        """Note that a run of a bundle ended a process of its own."""
        with locked(self._stored):
            self._write_state(name, self.state(name).died(digest))

    def add_killed(self, name: str, digest: str) -> None:
        """Note that the daemon was killed during a run of a bundle."""
        with locked(self._stored):
            self._write_state(name, self.state(name).was_killed(digest))

    def mark_file(self) -> Path:
        """The file of the present run; see `RunMark`."""
        return self._stored / _MARK

    # -- parts --------------------------------------------------------------------------------

    def _place(self, name: str) -> Path:
        return self._stored / _checked(name)

    def _write_state(self, name: str, state: RepositoryState) -> None:
        if state != self.state(name):
            write_file(self._place(name) / _STATE, state.dumped())

    def _keep_active(self, name: str) -> str | None:
        """Copy the active version onto the shelf, over a version of that name: this one worked."""
        folder = self._dir / name
        try:
            raw = read_file(folder, MANIFEST)
            version = parse_manifest(raw, folder / MANIFEST).version
            place = self._place(name) / version
            if _digest(place) != sha256(raw).digest():
                self._copy(folder, raw, place)
                self._write_state(name, self.state(name).arrived(version))
        except ModelError:
            return None  # none is there, or it is broken: of no use for a rollback
        return version

    def _refuse_other_content(self, name: str, version: str, raw: bytes) -> None:
        for folder in (self._place(name) / version, self._dir / name):
            there = folder.name == version or self.active(name) == version
            if there and _digest(folder) not in {None, sha256(raw).digest()}:
                raise ModelError(
                    "this version exists already, with other content",
                    where=f"{name}@{version}",
                    hint="give the new one another version",
                )

    def _copy(self, source: Path, raw: bytes, target: Path) -> None:
        """Copy the files that the manifest `raw` lists: the verified bytes are the written ones."""
        write_folder(target, bundle_files(source, raw))

    def _prune(self, name: str, fresh: str | None = None) -> None:
        """Remove the oldest versions that are not needed."""
        needed = {self.active(name), self.previous(name), self.shadow(name), fresh}
        versions = self.versions(name)
        spare = [version for version in versions if version not in needed]
        for version in spare[: max(0, len(versions) - self._keep)]:
            shutil.rmtree(self._place(name) / version, ignore_errors=True)
        for left in self._place(name).glob(".new-*/"):  # by a process that died
            shutil.rmtree(left, ignore_errors=True)


def _digest(folder: Path) -> bytes | None:
    try:
        return sha256(read_file(folder, MANIFEST)).digest()
    except ModelError:
        return None


def _hex(folder: Path) -> str:
    return (_digest(folder) or b"").hex()


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name[:200]!r} is not the name or version of a bundle")
    return name
