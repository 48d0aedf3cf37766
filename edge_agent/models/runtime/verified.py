"""Which bundles this machine has verified, so that a restart need not try them in a child again."""

from __future__ import annotations

import platform
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson

from edge_agent import __version__
from edge_agent.models.bundle.ort import RUNTIME_VERSION
from edge_agent.models.bundle.variants import Trial, parse_trial

if TYPE_CHECKING:
    from edge_agent.models.bundle.manifest import Manifest

MOST: Final = 2000  # the oldest are forgotten
_CPU: Final = Path("/proc/cpuinfo")


class VerifiedBundles:
    """The trials of bundles that passed every check, by the digest of their manifest.

    The manifest contains the checksums of all files, and these are compared at each load. Another
    version of this program or of ONNX Runtime, or another processor, makes all of them void.
    """

    def __init__(self) -> None:
        self.is_changed = False
        self._machine = f"{__version__} {RUNTIME_VERSION} {platform.machine()} {_processor()}"
        self._trials: dict[str, dict[str, Any]] = {}
        self._lock = threading.Lock()  # two threads load: the plant's models, and those of clients

    def trial(self, digest: str, manifest: Manifest) -> Trial | None:
        """The trial of a bundle with this digest; None if it has to be tried."""
        found = self._trials.get(digest)
        return None if found is None else parse_trial(found, manifest)

    def add(self, digest: str, trial: Trial) -> None:
        """Remember a bundle that a child has found good."""
        with self._lock:
            self._trials[digest] = trial.as_json()
            while len(self._trials) > MOST:
                self._trials.pop(next(iter(self._trials)))
            self.is_changed = True

    def dumped(self) -> bytes:
        """As bytes for the store; `is_changed` is false from now on."""
        with self._lock:
            self.is_changed = False
            return self._as_bytes()

    def as_bytes(self) -> bytes:
        """The same for another process of this machine; `is_changed` stays."""
        with self._lock:
            return self._as_bytes()

    def _as_bytes(self) -> bytes:
        return orjson.dumps({"machine": self._machine, "trials": self._trials})

    def restore(self, raw: bytes) -> None:
        """Read what `dumped` wrote, on this machine or another.

        ValueError, KeyError or TypeError if it is damaged.
        """
        found = orjson.loads(raw)
        if found["machine"] == self._machine:
            self._trials.update(found["trials"])


def _processor() -> str:
    """Its name, because variants are chosen by their speed; empty if the system does not say."""
    try:
        lines = _CPU.read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line.split(":", 1)[1].strip() for line in lines if "model name" in line), "")
