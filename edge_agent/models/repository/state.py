"""`state.json` of the shelf: which versions came when, which were at work, which is the shadow."""

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
    """What one name's shelf remembers; both lists with the newest last."""

    versions: tuple[str, ...] = ()
    previous: tuple[str, ...] = ()
    shadow: str | None = None

    def arrived(self, version: str) -> RepositoryState:
        """After a version came onto the shelf."""
        return replace(self, versions=_last(self.versions, version))

    def kept(self, version: str) -> RepositoryState:
        """After the version at work was noted as one to go back to."""
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
    """The state in `file`; empty where there is none, or where it is not one.

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
