"""The Skoltech Anomaly Benchmark by its published protocol, with the daemon's windows and learning.

Per recording: learn from rows 0-399, judge the rest row by row; counts are pooled over recordings.
The learner's defaults were chosen on the 16 valve1 recordings and on simulated machines
(`scripts/other-machines`); the other 18 recordings are the test.

    scripts/skab                      # the table
    scripts/skab --json               # the table as JSON
    EDGE_AGENT_DATA=/data scripts/skab   # the folder that contains skab/, if not ../shared/data

The data (GPL-3.0): https://github.com/waico/SKAB, version 0.9.
"""

from __future__ import annotations

import argparse
import json
import sys

from scripts.rigs import find_data
from scripts.skab_eval.evaluate import STEP_S, evaluate, healthy_far


def main() -> int:
    """Print the table."""
    arguments = parse_arguments()
    folder = find_data("skab")
    if folder is None:
        print("no recordings: set EDGE_AGENT_DATA to the folder that holds skab/", file=sys.stderr)
        return 1
    found = evaluate(folder, arguments.step)
    drift = healthy_far(folder, arguments.step)
    if arguments.json:
        print(json.dumps({**found, "healthy_far": drift}))
        return 0
    print(as_text(found["rows"]))
    print(f"\n{found['protocol']}")
    share = f"{found['flow_first']} of {found['valve_runs']}"
    print(f"\nthe throttled flow contributes most in {share} valve runs")
    for rows, far in drift.items():
        print(f"healthy recording: learned from {rows} rows, {far:.1f} % of the rest are alarms")
    return 0


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="scripts/skab", description=(__doc__ or "").split("\n\n")[0]
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    text = "seconds between two rows; 0: one row for each time stamp (default: %(default)s)"
    parser.add_argument("--step", type=float, default=STEP_S, help=text)
    return parser.parse_args()


def as_text(table: dict[str, dict[str, dict[str, float]]]) -> str:
    """The table as text."""
    lines = [
        "| detector | recordings | F1 | FAR % | MAR % | FAR before % | NAB | delay s | silent |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for detector, parts in table.items():
        for part, m in parts.items():
            lines.append(
                f"| {detector} | {part} | {m['f1']:.3f} | {m['far']:.1f} | {m['mar']:.1f} "
                f"| {m['pre_fault_far']:.1f} | {m['nab']:.1f} | {m['delay_s']:.0f} "
                f"| {m['undetected']:.0f} |"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
