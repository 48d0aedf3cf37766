"""The learner's defaults on simulated machines of many kinds: false alarms and found faults.

Fifteen machines (on and off, in batches, at several speeds, outdoors, wearing, warming up, with
meters, coarse, spiky, coupled, over a poor line): each is learned, judged on the healthy time that
follows, and on six kinds of fault of one input. The defaults were chosen with seeds 1 and 2; the
table uses other seeds.

Also NASA's FD001 engines, if the data are present (EDGE_AGENT_DATA, else ../shared/data).

    scripts/other-machines                       # the table
    scripts/other-machines --json --seeds 11     # as JSON, and faster
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from scripts.machines.engines import EARLY, evaluate_engines
from scripts.machines.evaluate import LEARNED, MEAN_Z, evaluate
from scripts.rigs import data_folder

SEEDS = (11, 12, 13)


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(
        prog="scripts/other-machines", description=(__doc__ or "").split("\n\n")[0]
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    text = "of the simulation (default: %(default)s)"
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS), help=text)
    arguments = parser.parse_args()
    found = evaluate(arguments.seeds)
    file = data_folder() / "cmapss" / "train_FD001.txt"
    if file.is_file():
        found["engines"] = evaluate_engines(file)
    print(json.dumps(found) if arguments.json else as_text(found))
    return 0


def as_text(found: dict[str, Any]) -> str:
    """The tables as text."""
    columns = "machine | healthy days | FAR % | alarms a day | found % | delay, rows | covered %"
    columns += " | after % | mean of abs(z): FAR % | found %"
    lines = [f"| {columns} |", "| --- " * 10 + "|"]
    for name, row in found["machines"][LEARNED].items():
        simple = found["machines"][MEAN_Z][name]
        lines.append(
            f"| {name} | {row['days']:.2f} | {row['far']:.2f} | {row['raises_per_day']:.2f} "
            f"| {row['found']:.0f} | {row['delay']:.0f} | {row['covered']:.0f} "
            f"| {row['after']:.0f} | {simple['far']:.2f} | {simple['found']:.0f} |"
        )
    mean = found["mean"]
    lines.append(
        f"| mean | | {mean[LEARNED]['far']:.2f} | | {mean[LEARNED]['found']:.0f} | | | "
        f"| {mean[MEAN_Z]['far']:.2f} | {mean[MEAN_Z]['found']:.0f} |"
    )
    kinds = list(found["kinds"][LEARNED])
    lines += ["", f"| faults found % | {' | '.join(kinds)} |", "| --- " * (1 + len(kinds)) + "|"]
    for detector, shares in found["kinds"].items():
        lines.append(f"| {detector} | {' | '.join(f'{shares[k]:.0f}' for k in kinds)} |")
    if engines := found.get("engines"):
        low, middle, high = engines["cycles_left"]
        lines.append(
            f"\nFD001: of {engines['engines']} engines {engines['missed']} fail without an alarm, "
            f"{engines['early']} raise one more than {EARLY} cycles before; cycles left at the "
            f"first alarm: {middle:.0f} (quartiles {low:.0f} and {high:.0f})"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
