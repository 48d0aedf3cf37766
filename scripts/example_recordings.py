"""Write recordings of a simulated pump station as CSV files, to try the factory with.

    scripts/example-recordings /tmp/pumps            # faults/, lives/, recipes and a config
    scripts/example-recordings /tmp/pumps --seed 7   # other pumps

faults  one pump per file, labelled row by row: healthy, bearing_wear, cavitation, blocked_valve
lives   one pump per file, from some healthy hours to the end of its bearing

Also recipes for `edge-agent train` and a config for the daemon (see docs/factory.md).
One row is a minute. The physics is the demo's (edge_agent/demo/plant.py).
"""

from __future__ import annotations

import argparse
import csv
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

from edge_agent.demo import FAULTS, NAMES, PumpPlant
from scripts.rigs import ROOT

BEGIN = datetime(2026, 1, 5, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
STATES = ("healthy", "bearing_wear", "cavitation", "blocked_valve")
HEALTHY_ROWS = 240
FAULT_ROWS = 240
SPREAD_ROWS = 180  # by which the healthy times of pumps differ


def main() -> None:
    """Write both kinds of recordings."""
    parser = argparse.ArgumentParser(
        prog="scripts/example-recordings",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pumps", type=int, default=8, help="of each state (default 8)")
    parser.add_argument("--lives", type=int, default=30, help="pumps that wear out (default 30)")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    for state in STATES:
        write(args.folder / "faults", state, args.pumps, args.seed, after=FAULT_ROWS)
    ramp = round(FAULTS["bearing_wear"].ramp_s)
    write(args.folder / "lives", "bearing_wear", args.lives, args.seed + 100, after=ramp)
    shutil.copytree(ROOT / "docs" / "factory-example", args.folder, dirs_exist_ok=True)
    print(f"{args.folder}: {len(STATES) * args.pumps} labelled pumps, {args.lives} lives")


def write(folder: Path, state: str, pumps: int, seed: int, *, after: int) -> None:
    """Write one file per pump; its fault begins after healthy rows and lasts `after` rows."""
    folder.mkdir(parents=True, exist_ok=True)
    plant = PumpPlant(pumps, seed=seed * 10 + STATES.index(state))
    onset = [HEALTHY_ROWS + SPREAD_ROWS * pump // pumps for pump in range(pumps)]
    rows: list[list[list[str]]] = [[] for _ in range(pumps)]
    for step in range(max(onset) + after):
        for pump in range(pumps):
            if step == onset[pump] and state in FAULTS:
                plant.inject(pump, state)
        plant.step(1.0)
        time = (BEGIN + step * MINUTE).isoformat()
        for pump, values in enumerate(plant.readings.tolist()):
            if step < onset[pump] + after:
                label = state if step >= onset[pump] else "healthy"
                rows[pump].append([time, *(f"{value:g}" for value in values), label])
    for pump, lines in enumerate(rows):
        with (folder / f"{state}-{pump:02d}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([["time", *NAMES, "state"], *lines])


if __name__ == "__main__":
    main()
