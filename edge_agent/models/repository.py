"""The shelf of versions: what was at work before, and what may be next, beside the models at work.

The active bundle is `models_dir/<name>/`. The shelf is `models_dir/.shelf/<name>/<version>/`, with
one `state.json` a name: the order of arrival, what was at work before, which one is the shadow. A
version never changes once it is there. Several processes may write (daemon and command line); a
lock file keeps them apart, and readers only ever see whole folders.
"""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Final, NamedTuple

from edge_agent.errors import ModelError, NotFoundError, UsageError
from edge_agent.models.bundle.bundle import bundle_files, load_manifest, read_file
from edge_agent.models.bundle.folder import locked, write_file, write_folder
from edge_agent.models.bundle.kinds import MANIFEST
from edge_agent.models.bundle.manifest import parse_manifest

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.models.bundle.manifest import Manifest

REPOSITORY_DIR: Final = ".shelf"
KEEP: Final = 5
_STATE: Final = "state.json"
_MAX_BYTES: Final = 65_536
_MAX_NAMES: Final = 100
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")


@dataclass(frozen=True, slots=True)
class RepositoryState:
    """What `state.json` of one name remembers; both lists with the newest last."""

    versions: tuple[str, ...] = ()
    previous: tuple[str, ...] = ()
    shadow: str | None = None

    def arrived(self, version: str) -> RepositoryState:
        """After a version came onto the shelf."""
        return replace(self, versions=_last(self.versions, version))

    def kept(self, version: str) -> RepositoryState:
        """After the active version was noted as one to go back to."""
        return replace(self, previous=_last(self.previous, version))

    def activated(self, version: str, old: str | None) -> RepositoryState:
        """After `version` went to work in place of `old`."""
        state = self if old in {None, version} else self.kept(str(old))
        previous = tuple(earlier for earlier in state.previous if earlier != version)
        shadow = None if self.shadow == version else self.shadow
        return replace(state, previous=previous, shadow=shadow)

    def rolled_back(self, version: str) -> RepositoryState:
        """After `version` was put back: what came after it is no version to go back to."""
        if version not in self.previous:
            return self
        return replace(self, previous=self.previous[: self.previous.index(version)])

    def shadowed(self, version: str | None) -> RepositoryState:
        """With another shadow."""
        return replace(self, shadow=version)

    def dumped(self) -> bytes:
        """The file's bytes."""
        return json.dumps(asdict(self), indent=1).encode() + b"\n"


def parse_state(file: Path) -> RepositoryState:
    """The state in `file`; empty if there is none, or where it is not one.

    It only orders what lies in the folders, so one that is lost costs the order and no bundle.
    """
    try:
        with file.open("rb") as stream:
            found = json.loads(stream.read(_MAX_BYTES))
        shadow = found["shadow"]
        return RepositoryState(
            _names(found["versions"]), _names(found["previous"]), shadow and str(shadow)
        )
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return RepositoryState()


def _names(found: object) -> tuple[str, ...]:
    return tuple(map(str, found))[-_MAX_NAMES:] if isinstance(found, list) else ()


def _last(names: tuple[str, ...], name: str) -> tuple[str, ...]:
    return (*(other for other in names if other != name), name)[-_MAX_NAMES:]


class Ref(NamedTuple):
    """A bundle by name, of one version or (None) of whichever there is."""

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

    keep: versions of a name beside those that are needed (at work, the previous one, the shadow).
    """

    def __init__(self, models_dir: Path, keep: int = KEEP) -> None:
        self._dir = models_dir
        self._shelf = models_dir / REPOSITORY_DIR
        self._keep = keep

    # -- looking ------------------------------------------------------------------------------

    def names(self) -> list[str]:
        """All bundles that are at work or on the shelf, by name."""
        found = {path.parent.name for path in self._dir.glob(f"*/{MANIFEST}")}
        found |= {path.parent.parent.name for path in self._shelf.glob(f"*/*/{MANIFEST}")}
        return sorted(name for name in found if _NAME.fullmatch(name))

    def versions(self, name: str) -> list[str]:
        """The versions on the shelf, in the order in which they arrived."""
        there = {p.parent.name for p in self._place(name).glob(f"*/{MANIFEST}")}
        there = {version for version in there if _NAME.fullmatch(version)}
        known = [version for version in self._state(name).versions if version in there]
        return [*sorted(there.difference(known)), *known]

    def folder(self, name: str, version: str) -> Path:
        """The folder of a version, on the shelf or at work; NotFoundError if there is none."""
        path = self._place(name) / _checked(version)
        if (path / MANIFEST).is_file():
            return path
        if self.active(name) == version:
            return self._dir / name
        there = ", ".join(self.versions(name)) or "none"
        raise NotFoundError("no such version", where=f"{name}@{version}", hint=f"there: {there}")

    def active(self, name: str) -> str | None:
        """The version in the folder of the models at work; None if none is readable there."""
        try:
            return load_manifest(self._dir / _checked(name)).version
        except ModelError:
            return None

    def previous(self, name: str) -> str | None:
        """The version that `rollback` would put back."""
        there, active = self.versions(name), self.active(name)
        earlier = [v for v in self._state(name).previous if v in there and v != active]
        return earlier[-1] if earlier else None

    def shadow(self, name: str) -> str | None:
        """The version that scores beside the active one."""
        shadow = self._state(name).shadow
        return shadow if shadow in self.versions(name) else None

    # -- changing -----------------------------------------------------------------------------

    def install(self, source: Path) -> Manifest:
        """Copy a verified bundle onto the shelf; nothing is at work for that.

        ModelError if its version is there already with another content.
        """
        raw = read_file(source, MANIFEST)
        manifest = parse_manifest(raw, source / MANIFEST)
        name, version = manifest.name, manifest.version
        with locked(self._shelf):
            self._refuse_other_content(name, version, raw)
            if version not in self.versions(name):
                self._copy(source, raw, self._place(name) / version)
            self._write_state(name, self._state(name).arrived(version))
            self._prune(name, fresh=version)
        return manifest

    def activate(self, name: str, version: str) -> None:
        """Put a version from the shelf into the folder of the models at work.

        The one that was there stays on the shelf, and is what `rollback` puts back.
        """
        with locked(self._shelf):
            source = self.folder(name, version)
            if _digest(source) == _digest(self._dir / name):
                return
            old = self._keep_active(name)
            self._write_state(name, self._state(name).activated(version, old))
            self._copy(source, read_file(source, MANIFEST), self._dir / name)
            self._prune(name)

    def rollback(self, name: str) -> str:
        """Put the version back that was at work before; returns it. ModelError if there is none.

        The one that goes stays on the shelf, but no rollback ever leads back to it.
        """
        with locked(self._shelf):
            version = self.previous(name)
            if version is None:
                raise ModelError("no earlier version is installed", where=f"model {name}")
            self._keep_active(name)
            source = self._place(name) / version
            self._copy(source, read_file(source, MANIFEST), self._dir / name)
            self._write_state(name, self._state(name).rolled_back(version))
        return version

    def keep(self, name: str) -> str | None:
        """Put what is at work on the shelf, before somebody writes another version over it.

        Gives its version; None if nothing readable is at work.
        """
        with locked(self._shelf):
            version = self._keep_active(name)
            if version is not None:
                self._write_state(name, self._state(name).kept(version))
                self._prune(name)
        return version

    def set_shadow(self, name: str, version: str | None) -> None:
        """Choose the version that scores beside the active one; None for no shadow."""
        with locked(self._shelf):
            if version is not None and version not in self.versions(name):
                self.folder(name, version)
                raise ModelError("is active, so it cannot be the shadow", where=name)
            self._write_state(name, self._state(name).shadowed(version))

    # -- parts --------------------------------------------------------------------------------

    def _place(self, name: str) -> Path:
        return self._shelf / _checked(name)

    def _state(self, name: str) -> RepositoryState:
        return parse_state(self._place(name) / _STATE)

    def _write_state(self, name: str, state: RepositoryState) -> None:
        if state != self._state(name):
            write_file(self._place(name) / _STATE, state.dumped())

    def _keep_active(self, name: str) -> str | None:
        """Copy what is at work onto the shelf, over a version of that name: it is what worked."""
        folder = self._dir / name
        try:
            raw = read_file(folder, MANIFEST)
            version = parse_manifest(raw, folder / MANIFEST).version
            place = self._place(name) / version
            if _digest(place) != sha256(raw).digest():
                self._copy(folder, raw, place)
                self._write_state(name, self._state(name).arrived(version))
        except ModelError:
            return None  # nothing is there, or it is broken: nobody would want it back
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
        """The files that the manifest `raw` lists; what was verified is what is written."""
        write_folder(target, bundle_files(source, raw))

    def _prune(self, name: str, fresh: str | None = None) -> None:
        """Remove the oldest versions that nobody needs."""
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


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name[:200]!r} is not the name or version of a bundle")
    return name
