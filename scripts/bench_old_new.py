"""Compare two checkouts in one run: CPU, latency, memory, start-up; ratios new to old.

    scripts/bench-old-new ../old               # against this checkout, about 15 minutes
    scripts/bench-old-new ../old ../other --reps 1 --modes signal

The referee (run.py of the side-by-side benchmark; run its setup.sh first) gives both the same
load alternately, and `py-limit`, a bare reader: at full speed and at 5,000 values/s.
Each checkout brings its own `scripts/bench-candidate`, `scripts/bench` and `.venv`. `best` is the
ratio of the best repetitions, which a busy machine affects least; `spread` is (largest -
smallest) / median of the old checkout's repetitions.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from scripts.rigs import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable

PEERS = Path(os.environ.get("PEERS_WORK", Path.home() / ".cache" / "plant-peers"))
# At full speed for some seconds: CPU time is counted in ticks of 10 ms.
VALUES = {"signal": 600_000, "asset": 3_000_000}
CANDIDATE = "--host {host} --port {port} --model {model} --mode {mode} --qos {qos}"
BARE = "py-limit (raw+orjson, batched)"
FLAT_OUT = "values/s, flat out"
MEASURES = {
    FLAT_OUT: ("drain", "values_per_s"),
    "CPU s per million values, flat out": ("drain", "peer_cpu_s_per_M"),
    "CPU s per million values, paced": ("paced", "peer_cpu_s_per_M"),
    "p50 ms, paced": ("paced", "p50_ms"),
    "p99 ms, paced": ("paced", "p99_ms"),
    "peak RSS MiB": ("drain", "peer_rss_mb"),
    "lost windows": ("drain", "missing"),
}
IDLE = ("start-up until ready, s", "idle share of a core, %", "idle peak RSS MiB")


def main() -> int:
    """Print the referee's tables, then the ratios."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench-old-new",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("old", type=Path, help="a checkout with its .venv")
    parser.add_argument("new", type=Path, nargs="?", default=ROOT, help="default: this one")
    parser.add_argument("--reps", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=6.0, help="length of the paced runs")
    parser.add_argument("--modes", nargs="+", default=["signal", "asset"])
    parser.add_argument("--referee", type=Path, default=ROOT.parent / "shared/bench/run.py")
    args = parser.parse_args()
    trees = {"old": args.old.resolve(), "new": args.new.resolve()}
    rows = [row for mode in args.modes for row in load(trees, mode, args)]
    rows += idle(trees, args.reps)
    print("\n| load | measure | py-limit | old | new | new / old | best | spread |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for name, measure, bare, old, new in rows:
        cells = compared(old, new, max if measure == FLAT_OUT else min)
        print(f"| {name} | {measure} | {bare} | {cells} |")
    return 0


def load(
    trees: dict[str, Path], mode: str, args: argparse.Namespace
) -> list[tuple[str, str, str, list[float], list[float]]]:
    """Rows of one mode: the load, the measure, the bare reader's figure, and old and new."""
    candidates = [
        f"--candidate={name}={tree}/.venv/bin/python {tree}/scripts/bench-candidate {CANDIDATE}"
        for name, tree in trees.items()
    ]
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        options = ["--mode", mode, "--reps", str(args.reps), "--seconds", str(args.seconds)]
        options += ["--quiet-wait", "3", "--retries", "0", "--peers", "py-limit"]
        options += ["--values", str(VALUES[mode])]
        command = [str(PEERS / "venv/bin/python"), str(args.referee), "--json", file.name]
        subprocess.run([*command, *options, *candidates], check=True)
        found = json.loads(Path(file.name).read_text())

    def figures(name: str, measure: str) -> list[float]:
        run, key = MEASURES[measure]
        return [float(each[key]) for each in found[name][run]]

    return [
        (mode, one, f"{middle(figures(BARE, one)):.2f}", figures("old", one), figures("new", one))
        for one in MEASURES
    ]


def idle(trees: dict[str, Path], reps: int) -> list[tuple[str, str, str, list[float], list[float]]]:
    """Rows of 500 known assets without data."""
    found: dict[str, list[list[float]]] = {name: [] for name in trees}
    for _ in range(reps):
        for name, tree in trees.items():
            command = f"{tree}/.venv/bin/python {tree}/scripts/bench --only idle --seconds 5"
            done = subprocess.run(shlex.split(command), check=True, capture_output=True, text=True)
            cells = done.stdout.strip().splitlines()[-1].strip("| ").split("|")
            found[name].append([float(cell.strip(" %")) for cell in cells])
    old, new = (list(zip(*found[name], strict=True)) for name in trees)
    return [("idle", one, "-", [*old[n]], [*new[n]]) for n, one in enumerate(IDLE)]


def middle(figures: list[float]) -> float:
    """The median; NaN if every run failed."""
    return statistics.median(figures) if figures else float("nan")


def compared(old: list[float], new: list[float], best: Callable[[list[float]], float]) -> str:
    """Cells: both medians, their ratio, the ratio of the best, and the spread of the old."""
    base, other = middle(old), middle(new)
    if not (old and new and base):
        return f"{base:.2f} | {other:.2f} | - | - | -"
    ratios = other / base, best(new) / best(old), (max(old) - min(old)) / base
    return " | ".join(f"{cell:.2f}" for cell in (base, other, *ratios))


if __name__ == "__main__":
    sys.exit(main())
