"""Run every case of a folder against this checkout, and print a table.

    scripts/field-cases ../shared/field/cases              # all of them, two at a time
    scripts/field-cases ../shared/field/cases --only 03 30 # those with these name prefixes
    scripts/field-cases ../shared/field/cases --jobs 1 -v  # one by one, with their output
    scripts/field-cases ../shared/field/cases --retry      # the failed ones once more, alone

A case is a folder with a run.sh: it starts its own real brokers and servers on the loopback,
runs the `edge-agent` that the environment variable EDGE_AGENT names, and exits with 0 if it
behaved correctly. Exit code: 0 all correct, 1 some failed, 2 no such cases.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

PROGRAM = Path(sys.executable).with_name("edge-agent")
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
NODE_OPCUA = CACHE / "edge-agent/node"
LAST_LINES = 6


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a case: its exit code (None: stopped after the time limit) and its output."""

    name: str
    code: int | None
    seconds: float
    output: str

    @property
    def right(self) -> bool:
        """True if the program behaved as the case requires."""
        return self.code == 0

    def row(self) -> str:
        """A row of the table."""
        verdict = "right" if self.right else "too long" if self.code is None else "WRONG"
        return f"| {self.name} | {verdict} | {self.seconds:.0f} s |"


def main() -> int:
    """Print a row when each case ends, then the output of the failed ones."""
    args = _arguments()
    cases = [path.parent for path in sorted(args.folder.glob("*/run.sh"))]
    if args.only:
        cases = [one for one in cases if one.name.startswith(tuple(args.only))]
    if not cases:
        print(f"{args.folder}: no folder with a run.sh", file=sys.stderr)
        return 2
    print("| case | behaved | took |\n| --- | --- | --- |", flush=True)
    results = []
    with ThreadPoolExecutor(args.jobs) as pool:
        for result in pool.map(lambda case: run(case, args.timeout), cases):
            results.append(result)
            print(result.row(), flush=True)
            if args.verbose:
                print(result.output, flush=True)
    wrong = [one for one in results if not one.right]
    if args.retry and wrong:
        print("\nonce more, with nothing beside them:")
        again = [run(args.folder / one.name, args.timeout) for one in wrong]
        print(*(one.row() for one in again), sep="\n")
        wrong = [one for one in again if not one.right]
    for one in wrong:
        print(f"\n{one.name}:", *one.output.splitlines()[-LAST_LINES:], sep="\n  ")
    print(f"\n{len(results) - len(wrong)} passed, {len(wrong)} failed")
    return 1 if wrong else 0


def run(case: Path, timeout_s: float) -> Result:
    """Run one case in its own session, so that all its processes end with it."""
    began = time.monotonic()
    env = {**os.environ, "EDGE_AGENT": str(PROGRAM), "NODE_OPCUA": str(NODE_OPCUA)}
    with subprocess.Popen(
        ["bash", str(case / "run.sh")],
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            output, _ = process.communicate(timeout=timeout_s)
            code: int | None = process.returncode
        except subprocess.TimeoutExpired:
            code, output = None, _stop(process)
    return Result(case.name, code, time.monotonic() - began, output)


def _stop(process: subprocess.Popen[str]) -> str:
    """End a case after the time limit; SIGTERM first, so that it stops its servers."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        os.killpg(process.pid, number)
        try:
            return process.communicate(timeout=10)[0]
        except subprocess.TimeoutExpired:
            continue
    return ""


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/field-cases",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="beginnings of names")
    parser.add_argument("--jobs", type=int, default=2, help="cases at a time")
    parser.add_argument("--timeout", type=float, default=180.0, metavar="SECONDS")
    parser.add_argument(
        "--retry",
        action="store_true",
        help="run those that were wrong once more, one by one: cases have deadlines of their own",
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="show what each case prints")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
