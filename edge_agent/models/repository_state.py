"""What is known of the versions of one bundle besides their files: `state.json` on the shelf."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

_MAX_BYTES: Final = 65_536
_MAX_NAMES: Final = 100


@dataclass(frozen=True, slots=True)
class RepositoryState:
    """The contents of `state.json` of one name; all lists with the newest last.

    proven: digests of manifests that may run in the daemon's process; deaths: a digest for each
    time that its run ended a process of its own; killed: for each time that the daemon was killed
    during its run.
    """

    versions: tuple[str, ...] = ()
    previous: tuple[str, ...] = ()
    shadow: str | None = None
    proven: tuple[str, ...] = ()
    deaths: tuple[str, ...] = ()
    killed: tuple[str, ...] = ()

    def arrived(self, version: str) -> RepositoryState:
        """The state after a version arrived on the shelf."""
        return replace(self, versions=_last(self.versions, version))

    def kept(self, version: str) -> RepositoryState:
        """The state after the active version was added to the versions to roll back to."""
        return replace(self, previous=_last(self.previous, version))

    def activated(self, version: str, old: str | None) -> RepositoryState:
        """The state after `version` replaced `old` as the active one."""
        state = self if old in {None, version} else self.kept(str(old))
        previous = tuple(earlier for earlier in state.previous if earlier != version)
        shadow = None if self.shadow == version else self.shadow
        return replace(state, previous=previous, shadow=shadow)

    def rolled_back(self, version: str) -> RepositoryState:
        """The state after a rollback: `version` and later ones are not in `previous`."""
        if version not in self.previous:
            return self
        return replace(self, previous=self.previous[: self.previous.index(version)])

    def shadowed(self, version: str | None) -> RepositoryState:
        """The state with another shadow."""
        return replace(self, shadow=version)

    def proved(self, digest: str) -> RepositoryState:
        """The state after a bundle has proven that it may run in the daemon's process."""
        return replace(self, proven=_last(self.proven, digest))

    def died(self, digest: str) -> RepositoryState:
        """The state after a run of a bundle ended a process of its own."""
        return replace(self, deaths=(*self.deaths, digest)[-_MAX_NAMES:])

    def was_killed(self, digest: str) -> RepositoryState:
        """The state after the daemon was killed during a run of a bundle: it is not proven."""
        proven = tuple(other for other in self.proven if other != digest)
        return replace(self, proven=proven, killed=(*self.killed, digest)[-_MAX_NAMES:])

    def forgiven(self, digest: str) -> RepositoryState:
        """The state without the deaths of a bundle."""
        deaths = tuple(other for other in self.deaths if other != digest)
        killed = tuple(other for other in self.killed if other != digest)
        return replace(self, deaths=deaths, killed=killed)

    def dumped(self) -> bytes:
        """The file's bytes."""
        return json.dumps(asdict(self), indent=1).encode() + b"\n"


def parse_state(file: Path) -> RepositoryState:
    """The state in `file`; empty if it is missing or not valid.

    It only orders the versions in the folders, so its loss costs the order and no bundle.
    """
    try:
        with file.open("rb") as stream:
            found = json.loads(stream.read(_MAX_BYTES))
        shadow = found["shadow"]
        return RepositoryState(
            _names(found["versions"]),
            _names(found["previous"]),
            shadow and str(shadow),
            _names(found.get("proven")),
            _names(found.get("deaths")),
            _names(found.get("killed")),
        )
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return RepositoryState()


def _names(found: object) -> tuple[str, ...]:
    return tuple(map(str, found))[-_MAX_NAMES:] if isinstance(found, list) else ()


def _last(names: tuple[str, ...], name: str) -> tuple[str, ...]:
    return (*(other for other in names if other != name), name)[-_MAX_NAMES:]
