"""The work folder: the result of a stage is kept, and made again only if its inputs change."""

from __future__ import annotations

import json
import sys
import tempfile
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_agent.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_DIGITS = 16
_OWN = f"{__package__}."
_PACKAGES = ("torch", "optimum", "onnx", "onnxruntime", "transformers", "scikit-learn", "numpy")
_HERE = Path(__file__).parent


class Workshop:
    """Stages of one run, each in a folder named by the digest of all its inputs.

    A folder appears by one rename when its stage is done: a killed run leaves none behind.
    """

    def __init__(
        self, folder: Path, identity: Mapping[str, Any], report: Callable[[str], None]
    ) -> None:
        self._folder = folder
        self._report = report
        self._key = digest_of({**identity, "packages": versions()})

    def stage(
        self,
        name: str,
        make: Callable[[Path], None],
        *,
        code: tuple[str, ...] = (),
        inputs: Mapping[str, Any] | None = None,
    ) -> Path:
        """The folder of a stage; `make` fills it if it does not exist.

        Every stage depends on the previous one. code: the files of the package that it uses;
        inputs: settings that no earlier stage has.
        """
        own = {"stage": name, "code": _digests(code), "inputs": inputs or {}}
        self._key = digest_of({"before": self._key, **own})
        done = self._folder / f"{name}-{self._key[:_DIGITS]}"
        if done.is_dir():
            self._report(f"{name}: unchanged, the result of an earlier run is used")
            return done
        self._report(name)
        self._folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".new-", dir=self._folder) as scratch:
            new = Path(scratch) / name
            new.mkdir()
            make(new)
            new.rename(done)
        return done


def digest_of(value: Mapping[str, Any]) -> str:
    """SHA-256 of a JSON value; the same for the same content."""
    return sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def code_of(functions: list[Callable[..., Any]]) -> dict[str, str]:
    """Digests of the files that define these functions, and of those of this package they use.

    A recipe runs again if it, or one of its helpers, was edited.
    """
    found: dict[str, str] = {}
    pending = {function.__module__ for function in functions}
    while pending:
        name = pending.pop()
        module = sys.modules[name]
        file = getattr(module, "__file__", None)
        found[name] = file_digest(Path(file)) if file else ""
        used = {getattr(value, "__module__", None) for value in vars(module).values()}
        ours = {each for each in used if isinstance(each, str) and each.startswith(_OWN)}
        pending |= ours - found.keys()
    return dict(sorted(found.items()))


def source_digests(folder: Path, patterns: tuple[str, ...]) -> dict[str, str]:
    """Digests of the recordings; UsageError if a pattern finds none."""
    found: dict[str, str] = {}
    for pattern in patterns:
        files = sorted(folder.glob(pattern))
        if not files:
            hint = "give the folder by --data or EDGE_AGENT_DATA"
            raise UsageError(f"no file {pattern}", where=str(folder), hint=hint)
        found |= {str(file.relative_to(folder)): file_digest(file) for file in files}
    return found


def file_digest(path: Path) -> str:
    """SHA-256 of a file."""
    return sha256(path.read_bytes()).hexdigest()


def versions() -> dict[str, str]:
    """Versions of the tools that a result depends on."""
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def write_json(path: Path, value: Any) -> None:  # noqa: ANN401 (whatever JSON may hold)
    """One JSON file."""
    path.write_text(json.dumps(value, indent=1) + "\n")


def read_json(path: Path) -> Any:  # noqa: ANN401
    """One JSON file."""
    return json.loads(path.read_text())


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """An .npz file of arrays by name."""
    np.savez(path, **arrays)


def read_arrays(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    """An .npz file; nothing in it is code."""
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def _digests(code: tuple[str, ...]) -> dict[str, str]:
    return {name: file_digest(_HERE / name) for name in code}
