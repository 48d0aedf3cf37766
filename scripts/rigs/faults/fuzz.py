"""atheris (libFuzzer for Python) on every decoder, each in a process of its own.

python -m scripts.rigs.faults.fuzz TARGET SECONDS FOLDER    # one of fuzz_targets.py
"""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, NamedTuple

from scripts.rigs import ROOT
from scripts.rigs.faults.fuzz_child import DECLARED
from scripts.rigs.faults.promises import Measured

if TYPE_CHECKING:
    from scripts.rigs.faults.promises import Run

LONG_S: Final = 600.0  # each decoder
QUICK_S: Final = 5.0
AT_ONCE: Final = 2
CONTROL_S: Final = 30.0  # at most: a crash ends it
CONTROL: Final = ("opcua", "bus_command", "manifest")
_RUNS: Final = re.compile(r"stat::number_of_executed_units:\s+(\d+)")
_PEAK: Final = re.compile(r"stat::peak_rss_mb:\s+(\d+)")


class Fuzzed(NamedTuple):
    """What became of one decoder; crash: the last lines of its output."""

    target: str
    runs: int
    peak_mb: int
    crash: str


def fuzz(run: Run) -> Measured:
    """Fuzz each decoder for ten minutes; the control counts refusals as crashes."""
    targets = importlib.import_module("scripts.rigs.faults.fuzz_targets").TARGETS
    seconds = run.seconds or (QUICK_S if run.quick else LONG_S)
    names = list(targets) if run.protected else list(CONTROL)

    def one(number: int, name: str) -> Fuzzed:
        run.tell(f"{number} of {len(names)}, {name}, {seconds:.0f} s each")
        return fuzz_one(name, seconds if run.protected else CONTROL_S, run)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = list(pool.map(one, range(1, len(names) + 1), names))
    crashed = [one for one in found if one.crash]
    figure = (
        f"{len(found)} decoders, {seconds:.0f} s each: {sum(one.runs for one in found) / 1e6:.1f} "
        f"million inputs, {len(crashed)} crashes, at most {max(one.peak_mb for one in found)} MiB"
    )
    crashes = "".join(f"; {one.target}: {one.crash}" for one in crashed if run.protected)
    holds = not crashed if run.protected else len(crashed) < len(found)
    return Measured(figure + crashes, holds)


def fuzz_one(target: str, seconds: float, run: Run) -> Fuzzed:
    """Run one decoder in its own process, with low priority."""
    folder = run.folder / target
    folder.mkdir()
    command = [sys.executable, "-m", "scripts.rigs.faults.fuzz_child", target, f"{seconds:.0f}"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), DECLARED: str(int(run.protected))}
    done = subprocess.run(
        ["nice", "-n", "15", *command, str(folder)],
        env=environment,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=3 * seconds + 300,
        check=False,
    )
    text = done.stdout + done.stderr
    lines = [line for line in text.splitlines() if "Error" in line or "ERROR" in line]
    crash = (" | ".join(lines[:3]) or f"ended with {done.returncode}") if done.returncode else ""
    return Fuzzed(target, _number(_RUNS, text), _number(_PEAK, text), crash)


def _number(pattern: re.Pattern[str], text: str) -> int:
    found = pattern.search(text)
    return int(found[1]) if found else 0
