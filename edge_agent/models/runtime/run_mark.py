"""Which model runs in the daemon's process now, in a file: known also after the process was killed.

The file is mapped into memory, so that a mark costs less than a microsecond; the kernel keeps it
when the process dies. A power cut is no fault of a model: marks of an earlier boot do not count.
"""

from __future__ import annotations

import mmap
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

_BYTES: Final = 512
_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")
_EMPTY: Final = bytes(_BYTES)


class Marked(NamedTuple):
    """A bundle by name and digest of its manifest."""

    name: str
    digest: str


class RunMark:
    """The mark of the present run. found: the run in which the last process was killed, if any.

    OSError if the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._boot = _boot()
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b") as file:
            file.truncate(_BYTES)
            self._map = mmap.mmap(file.fileno(), _BYTES)
        self.found = self._read()
        self.clear()

    def label(self, name: str, digest: str) -> bytes:
        """What `set` writes for a bundle."""
        text = f"{self._boot}\n{name}\n{digest}\n".encode()
        return text[:_BYTES].ljust(_BYTES, b"\0")

    def set(self, label: bytes) -> None:
        """A run begins."""
        self._map[:] = label

    def clear(self) -> None:
        """The run is over."""
        self._map[:] = _EMPTY

    def _read(self) -> Marked | None:
        boot, name, digest, *_ = [*self._map[:].decode("utf-8", "replace").split("\n"), "", "", ""]
        return Marked(name, digest) if digest and boot == self._boot else None


def _boot() -> str:
    """The number of this boot; empty if the system has none."""
    with suppress(OSError):
        return _BOOT.read_text("utf-8").strip()
    return ""
