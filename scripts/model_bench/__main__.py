"""All benchmark figures of the models, next to published rows and simple detectors.

    scripts/benchmark-models                         # the shipped files, and new training: hours
    scripts/benchmark-models --seeds 0               # only the shipped files: minutes
    scripts/benchmark-models --only latency,parity   # some sections
    scripts/benchmark-models --json FILE             # also the figures as JSON
    scripts/benchmark-models --write-docs            # also into docs/benchmarks.md

With the daemon's packages, only the shipped files are judged. With the extra `compress`, models
are also trained again, once per seed; finished work is kept in the work folder, so that a
killed run continues. Recordings are in EDGE_AGENT_DATA, else in ../shared/data; missing ones
are reported.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

# Set before the imports: one thread for reproducible sums, and no telemetry.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
os.environ.setdefault("HF_HUB_OFFLINE", "1")


from scripts.model_bench import (
    SECTIONS,
    Context,
    Table,
    environment,
    write_docs,
)
from scripts.rigs import ROOT, data_folder

FIRST_SEED = 1


def main() -> int:
    """Measure and print."""
    args = parse_arguments()
    seeds = tuple(range(FIRST_SEED, FIRST_SEED + args.seeds))
    context = Context(args.models, data_folder(), args.work, seeds)
    found: dict[str, list[Table]] = {}
    for name in args.only:
        print(f"-- {name}", file=sys.stderr)
        found[name] = SECTIONS[name](context)
        for table in found[name]:
            print(table.as_markdown(), flush=True)
    if args.json:
        tables = {name: [table.as_json() for table in each] for name, each in found.items()}
        args.json.write_text(json.dumps({"environment": environment(), **tables}, indent=1))
    if args.write_docs:
        write_docs(ROOT / "docs" / "benchmarks.md", found, list(SECTIONS))
    return 0


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="scripts/benchmark-models",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", type=sections, default=list(SECTIONS), metavar="SECTION,..")
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="train anew so often")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")
    parser.add_argument("--write-docs", action="store_true", help="also write docs/benchmarks.md")
    parser.add_argument("--models", type=Path, default=ROOT / "models", metavar="DIR")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "factory", metavar="DIR")
    return parser.parse_args()


def sections(text: str) -> list[str]:
    """The selected sections, in their usual order."""
    named = text.split(",")
    unknown = [name for name in named if name not in SECTIONS]
    if unknown:
        known = ", ".join(SECTIONS)
        raise argparse.ArgumentTypeError(f"no section {unknown[0]!r}; there are {known}")
    return [name for name in SECTIONS if name in named]


if __name__ == "__main__":
    sys.exit(main())
