"""Where the benchmarks find things, and how they say what they do."""

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

    data: the folder of skab/, cmapss/ and cwru/, or where it would be; work: the factory's cache;
    seeds: to train anew with, none to judge the shipped files alone.
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
        """The shipped bundles; what somebody learned in his checkout is none."""
        found = (file.parent for file in self.models.glob("*/model.yaml"))
        return sorted(folder for folder in found if not folder.name.startswith(_LEARNED))

    def no_training(self) -> str:
        """Why nothing can be trained here; empty where it can."""
        if not self.seeds:
            return "no seeds were asked for (--seeds 0)"
        missing = [name for name in _TRAINERS if importlib.util.find_spec(name) is None]
        if missing:
            return f"training needs {', '.join(missing)}: pip install -e '.[compress]'"
        return ""


def trained_anew(context: Context, recipe: str) -> dict[str, Any] | str:
    """What the recipe's `evaluate` finds over all seeds, or why it cannot."""
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
    """What to say where a set is absent."""
    return f"no recordings {name}/: set EDGE_AGENT_DATA to the folder that holds it"


def progress(items: Iterable[T], text: str) -> Iterator[T]:
    """The items, with a line on the terminal that says how far they are."""
    items = list(items)
    live = sys.stderr.isatty()
    for number, item in enumerate(items):
        if live:
            print(f"\r\033[K{text} {number + 1}/{len(items)}", end="", file=sys.stderr, flush=True)
        yield item
    if live:
        print("\r\033[K", end="", file=sys.stderr, flush=True)


def environment() -> dict[str, str]:
    """What the figures of time were measured on."""
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
