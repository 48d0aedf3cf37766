"""SKAB through real servers, compared with the transitions of a replay.

All 34 recordings with faults are played in parallel with their own time stamps: four channels of
each through a node-opcua server, four through mosquitto, into `edge-agent run`. Its messages
are compared with the output of `edge-agent replay --json` for the same files and config.

    scripts/skab-live                              # all, at 25 times the recorded speed
    scripts/skab-live --speed 40 --only valve1 other/13
    scripts/skab-live --write docs/skab-live.md    # the table, between the marks of that file

Exits 1 if any transition or score of a window differs, or a value was lost.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from edge_agent.testing import Mosquitto, find_mosquitto
from scripts.rigs import find_node_modules
from scripts.skab_live.compare import Comparison, compare
from scripts.skab_live.live import live
from scripts.skab_live.plant import Options, Plant, find_recordings, read

if TYPE_CHECKING:
    from scripts.skab_live.live import Live
    from scripts.skab_live.plant import Recorded

BEGIN, END = "<!-- begin: scripts/skab-live -->", "<!-- end: scripts/skab-live -->"
SHOWN = 20


def main() -> int:
    """Play, replay, compare, print."""
    arguments = parse_arguments()
    modules, files = find_node_modules(), find_recordings(arguments.only)
    if modules is None or find_mosquitto() is None or not files:
        print("needs node-opcua, mosquitto (./scripts/test) and SKAB (EDGE_AGENT_DATA)")
        return 1
    halted, _, halt_s = arguments.halt.partition("=")
    options = Options(
        arguments.speed, arguments.lateness, arguments.flood_limit, halted, float(halt_s or 0)
    )
    recordings = [read(file) for file in files]
    with tempfile.TemporaryDirectory() as scratch:
        found, comparison = run(Path(scratch), recordings, modules, options)
    text = as_markdown(recordings, options, found, comparison)
    print(as_json(recordings, found, comparison) if arguments.json else text)
    lines = [line for lines in comparison.differences.values() for line in lines]
    print("\n".join(lines[:SHOWN]), file=sys.stderr)
    if arguments.write:
        write(arguments.write, text)
    return int(bool(lines or found.troubles or found.received != found.wanted))


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="scripts/skab-live", description=(__doc__ or "").split("\n\n")[0]
    )
    default = Options()
    text = "recorded seconds in one (default: %(default)g)"
    parser.add_argument("--speed", type=float, default=default.speed, help=text)
    text = "learn.lateness in seconds of the recordings (default: %(default)g)"
    parser.add_argument("--lateness", type=float, default=default.lateness_s, help=text)
    text = "alarms.flood_limit (default: %(default)d)"
    parser.add_argument("--flood-limit", type=int, default=default.flood_limit, help=text)
    text = "stop a program for seconds, every ten: daemon=5, mosquitto=2, node-opcua=2"
    parser.add_argument("--halt", default="", metavar="PROGRAM=SECONDS", help=text)
    parser.add_argument("--only", nargs="*", default=[], help="valve1, other/13, ...")
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the table into FILE")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser.parse_args()


def run(
    folder: Path, recordings: list[Recorded], modules: Path, options: Options
) -> tuple[Live, Comparison]:
    """Run the recordings live and in a replay."""
    with Mosquitto(folder, "max_queued_messages 0") as broker:
        plant = Plant(folder, recordings, broker, options)
        plant.learn()
        found = live(plant, modules, broker, options)
    replayed = plant.replay(), asyncio.run(plant.replay_scores())
    last_ms = {one.asset: one.last_ms for one in recordings}
    return found, compare((found.events, found.scores), replayed, last_ms)


def as_json(recordings: list[Recorded], found: Live, comparison: Comparison) -> str:
    """All figures as JSON."""
    live_run = {k: v for k, v in asdict(found).items() if k not in {"events", "scores"}}
    return json.dumps({"recordings": len(recordings), **live_run, **asdict(comparison)})


def as_markdown(
    recordings: list[Recorded], options: Options, found: Live, comparison: Comparison
) -> str:
    """The table, and the other measurements."""
    lines = [
        "| recording | rows | transitions live | replay | windows live | replay | differences |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    sums = [0] * 6
    for one in recordings:
        row = [
            len(one.rows),
            *comparison.transitions.get(one.asset, (0, 0)),
            *comparison.windows.get(one.asset, (0, 0)),
            len(comparison.differences.get(one.asset, [])),
        ]
        lines.append(as_row(one.asset.replace("-", "/"), row))
        sums = [total + n for total, n in zip(sums, row, strict=True)]
    lines += [as_row(f"**{len(recordings)}**", sums), "", *remarks(options, found, comparison)]
    return "\n".join(lines)


def as_row(name: str, row: list[int]) -> str:
    """One row of the table."""
    return f"| {name} | {' | '.join(f'{n:,}' for n in row)} |"


def remarks(options: Options, found: Live, comparison: Comparison) -> list[str]:
    """The lines below the table."""
    cpu = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in found.cpu_s.items())
    wanted, received = found.wanted, found.received
    troubles = ", ".join(f"{name} {n}" for name, n in found.troubles.items()) or "none"
    return [
        f"- speed: {found.speed:.1f} recorded seconds in one, until the daemon had the last value",
        f"- values written: {found.written:,}",
        f"- changes that OPC UA had to report: {wanted['plc']:,}; arrived: {received['plc']:,}",
        f"- values over MQTT: {wanted['bus']:,}; arrived: {received['bus']:,}",
        f"- values late, rejected or dropped, connections lost: {troubles}",
        f"- last rows still open when the daemon was stopped: {comparison.open_rows}",
        f"- lateness {options.lateness_s:g} s, flood limit {options.flood_limit}",
        f"- CPU: {cpu}",
    ]


def write(file: Path, text: str) -> None:
    """Put the table between the marks of a file."""
    before, rest = file.read_text().split(BEGIN)
    after = rest.split(END)[1]
    file.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")


if __name__ == "__main__":
    sys.exit(main())
