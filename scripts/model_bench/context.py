"""The paths and the progress output of the benchmarks."""

from __future__ import annotations

import importlib
import importlib.util
import platform
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import onnxruntime

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

T = TypeVar("T")
_LEARNED = "learned-"
_TRAINERS = ("torch", "optimum", "sklearn")


@dataclass(frozen=True, slots=True)
class Context:
    """One run of the benchmarks.

    data: the folder of skab/, cmapss/ and cwru/, which may not exist; work: the factory's cache;
    seeds: for new training, none to judge only the shipped files.
    """

    models: Path
    data: Path
    work: Path
    seeds: tuple[int, ...]

    def folder(self, name: str) -> Path | None:
        """A set of recordings, or None."""
        folder = self.data / name
        return folder if folder.is_dir() else None

    def bundles(self) -> list[Path]:
        """The shipped bundles, without those learned in this checkout."""
        found = (file.parent for file in self.models.glob("*/model.yaml"))
        return sorted(folder for folder in found if not folder.name.startswith(_LEARNED))

    def no_training(self) -> str:
        """Why training is impossible here; empty if it is possible."""
        if not self.seeds:
            return "no seeds were asked for (--seeds 0)"
        missing = [name for name in _TRAINERS if importlib.util.find_spec(name) is None]
        if missing:
            return f"training needs {', '.join(missing)}: pip install -e '.[compress]'"
        return ""


def trained_anew(context: Context, recipe: str) -> dict[str, Any] | str:
    """The result of the recipe's `evaluate` over all seeds, or why it is impossible."""
    if reason := context.no_training():
        return reason
    try:
        found: dict[str, Any] = importlib.import_module(recipe).evaluate(
            context.seeds, context.work, context.data
        )
    except (ModuleNotFoundError, FileNotFoundError) as error:
        return str(error)
    return found


def no_recordings(name: str) -> str:
    """The text for a missing set of recordings."""
    return f"no recordings {name}/: set EDGE_AGENT_DATA to the folder that holds it"


def progress(items: Iterable[T], text: str) -> Iterator[T]:
    """Yield the items, with a line on the terminal that shows the progress."""
    items = list(items)
    live = sys.stderr.isatty()
    for number, item in enumerate(items):
        if live:
            print(f"\r\033[K{text} {number + 1}/{len(items)}", end="", file=sys.stderr, flush=True)
        yield item
    if live:
        print("\r\033[K", end="", file=sys.stderr, flush=True)


def environment() -> dict[str, str]:
    """The environment of the time measurements."""
    return {
        "cpu": _cpu(),
        "vnni": "yes" if _has_flag(("avx512_vnni", "avx_vnni")) else "no",
        "python": platform.python_version(),
        "onnxruntime": str(onnxruntime.__version__),
        "numpy": np.__version__,
    }


def _cpu() -> str:
    for line in _cpuinfo():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _has_flag(flags: Sequence[str]) -> bool:
    line = next((line for line in _cpuinfo() if line.startswith("flags")), "")
    return any(flag in line.split() for flag in flags)


def _cpuinfo() -> list[str]:
    try:
        return Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return []
