"""The learner's defaults on simulated machines of many kinds: false alarms and found faults.

34 machines, steps from 50 ms to an hour, 1 to 60 inputs: on and off, in batches and cycles, at many
operating points, outdoors and through the week, wearing, warming up, running in, with new habits,
with meters, coarse, spiky, coupled, over poor lines, with bent relations. Each is learned, judged
on the healthy time that follows, and on eight kinds of fault of one input. The defaults were chosen
with seeds 1 and 2; the table uses other seeds. Also NASA's FD001 engines, if the data are present
(EDGE_AGENT_DATA, else ../shared/data).

    scripts/other-machines                                     # the tables
    scripts/other-machines --only 'six operating points'       # one of them
    scripts/other-machines --python ../before/.venv/bin/python # beside another version's learner
    scripts/other-machines --json --seeds 11                   # as JSON, and faster
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from typing import Any

from scripts.machines.detectors import LEARNED, OTHER, STUDENTS
from scripts.machines.engines import EARLY, evaluate_engines
from scripts.machines.evaluate import ALL, evaluate
from scripts.rigs import data_folder

SEEDS = (21, 22, 23)
ENGINES = "engines"


def main() -> int:
    """Print the tables."""
    arguments = parse_arguments()
    logging.getLogger("edge_agent").setLevel(logging.ERROR)  # of bundles without signatures
    wanted = arguments.only or [*(machine.name for machine in ALL), ENGINES]
    machines = [machine for machine in ALL if machine.name in wanted]
    python, students = arguments.python, arguments.students
    found = evaluate(arguments.seeds, machines, python, report, students=students)
    file = data_folder() / "cmapss" / "train_FD001.txt"
    if ENGINES in wanted and file.is_file():
        found[ENGINES] = evaluate_engines(file)
    print(json.dumps(found) if arguments.json else as_text(found))
    return 0


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    summary, _, example = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        prog="scripts/other-machines",
        description=summary,
        epilog=example,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    text = "of the simulation (default: %(default)s)"
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS), help=text)
    names = [*(machine.name for machine in ALL), ENGINES]
    parser.add_argument("--only", nargs="+", choices=names, metavar="NAME", help="; ".join(names))
    text = "the Python of another checkout, whose learner is shown beside this one's"
    parser.add_argument("--python", help=text)
    text = "also what `edge-agent train history` makes: needs torch, takes minutes a machine"
    parser.add_argument("--students", action="store_true", help=text)
    return parser.parse_args()


def report(name: str) -> None:
    """Progress, beside the tables."""
    print(name, file=sys.stderr, flush=True)


def as_text(found: dict[str, Any]) -> str:
    """The tables as text."""
    machines = found["machines"]
    parts = [learned_table(machines[LEARNED]), beside_table(found), kinds_table(found["kinds"])]
    parts.append(named_text(machines[LEARNED]))
    parts += [
        f"{name}\n\n{students_table(machines[name])}" for name in STUDENTS if name in machines
    ]
    if engines := found.get(ENGINES):
        parts.append(engines_text(engines))
    return "\n\n".join(parts)


def learned_table(rows: dict[str, dict[str, Any]]) -> str:
    """What this version learned of each machine."""
    columns = "machine | form | own % | healthy days | FAR % | alarms a day | at most, by its card "
    columns += "| found % | delay, rows | covered % | after % | s | MB"
    lines = [f"| {columns} |", "| --- " * 13 + "|"]
    lines += [learned_row(name, row) for name, row in rows.items()]
    return "\n".join(lines)


def learned_row(name: str, row: dict[str, Any]) -> str:
    """One machine."""
    if "own" not in row:
        return f"| {name} | refused: {row['refused'][0]} |" + " |" * 11
    return (
        f"| {name} | {row['form']} | {row['own']:.2f} | {row['days']:.2f} | {row['far']:.2f} "
        f"| {row['raises_per_day']:.2f} | {row['promise']:.2g} | {row['found']:.0f} "
        f"| {row['delay']:.0f} | {row['covered']:.0f} | {row['after']:.0f} "
        f"| {row['seconds']:.1f} | {row['mb']:.0f} |"
    )


def named_text(rows: dict[str, dict[str, Any]]) -> str:
    """How often the input with the fault is the one that contributes most."""
    shares = [f"{name} {row['named']:.0f}" for name, row in rows.items()]
    return f"of the found faults, the right input is named, %: {', '.join(shares)}"


def students_table(rows: dict[str, dict[str, Any]]) -> str:
    """What a candidate of `edge-agent train history` learned of each machine."""
    columns = "machine | form | own % | FAR % | found % | delay, rows | covered % | s | us | KiB"
    lines = [f"| {columns} |", "| --- " * 10 + "|"]
    lines += [
        f"| {name} | {row['form']} | {row['own']:.2f} | {row['far']:.2f} | {row['found']:.0f} "
        f"| {row['delay']:.0f} | {row['covered']:.0f} | {row['seconds']:.0f} | {row['us']:.0f} "
        f"| {row['kb']:.0f} |"
        for name, row in rows.items()
        if "own" in row
    ]
    return "\n".join(lines)


def beside_table(found: dict[str, Any]) -> str:
    """False alarms and found faults of every detector; of another version also its own share."""
    machines = found["machines"]
    lines = [f"| FAR % / found % | {' | '.join(machines)} |", "| --- " * (1 + len(machines)) + "|"]
    for name in machines[LEARNED]:
        cells = [pair(rows[name]) for rows in machines.values()]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    cells = [pair(found["mean"][detector]) for detector in machines]
    lines.append(f"| mean | {' | '.join(cells)} |")
    if other := machines.get(OTHER):
        over = [name for name, row in other.items() if row.get("own", 0) > 1]
        lines.append(
            f"\nThe other version is over its limit on more than 1 % of what it learned: {over}"
        )
    return "\n".join(lines)


def pair(row: dict[str, Any]) -> str:
    """The two figures of a detector."""
    return f"{row['far']:.2f} / {row['found']:.0f}"


def kinds_table(kinds: dict[str, dict[str, float]]) -> str:
    """Found faults by kind."""
    names = list(kinds[LEARNED])
    lines = [f"| faults found % | {' | '.join(names)} |", "| --- " * (1 + len(names)) + "|"]
    for detector, shares in kinds.items():
        lines.append(f"| {detector} | {' | '.join(f'{shares[k]:.0f}' for k in names)} |")
    return "\n".join(lines)


def engines_text(engines: dict[str, Any]) -> str:
    """FD001 in a sentence."""
    low, middle, high = engines["cycles_left"]
    return (
        f"FD001: of {engines['engines']} engines {engines['missed']} fail without an alarm, "
        f"{engines['early']} raise one more than {EARLY} cycles before; cycles left at the "
        f"first alarm: {middle:.0f} (quartiles {low:.0f} and {high:.0f})"
    )


if __name__ == "__main__":
    sys.exit(main())
