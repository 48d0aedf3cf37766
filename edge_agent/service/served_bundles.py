"""The bundles of models_dir on disk, as other programs see them: names, versions, manifests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_agent.errors import NotFoundError, UsageError
from edge_agent.models import stamp_of

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.models import Manifest, ModelRepository, Stamp


@dataclass(frozen=True, slots=True)
class Bundle:
    """A version of a bundle on disk; stamp: of its files; digest: of its manifest."""

    name: str
    version: str
    folder: Path
    stamp: Stamp
    manifest: Manifest
    digest: str


def versions_of(repository: ModelRepository, name: str) -> list[str]:
    """All versions of a bundle, the active one last; empty if there is none."""
    try:
        stored, active = repository.versions(name), repository.active(name)
    except UsageError:
        return []
    return [one for one in stored if one != active] + ([] if active is None else [active])


def find_bundle(
    repository: ModelRepository, name: str, version: str | None, known: Bundle | None
) -> Bundle:
    """The bundle on disk; `known` if its files have not changed."""
    try:
        folder = _folder(repository, name, version)
    except UsageError as error:
        raise NotFoundError(f"no model {name[:200]!r}") from error
    stamp = stamp_of(folder)
    if known is not None and (known.folder, known.stamp) == (folder, stamp):
        return known
    manifest, digest = repository.read(folder)
    return Bundle(name, manifest.version, folder, stamp, manifest, digest)


def _folder(repository: ModelRepository, name: str, version: str | None) -> Path:
    """The folder of a version, by default the active one, else the one that arrived last."""
    if version is not None:
        return repository.folder(name, version)
    place = repository.active_folder(name)
    if place is not None:
        return place
    stored = repository.versions(name)
    if not stored:
        raise NotFoundError(f"no model {name[:200]!r}")
    return repository.folder(name, stored[-1])
