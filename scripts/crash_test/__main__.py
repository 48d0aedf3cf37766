"""Kill the daemon and its broker at random moments while alarms come and go; count losses.

    scripts/crash-test                          # 50 kills of the daemon, 10 of mosquitto
    scripts/crash-test --persistence off --seed 7
    scripts/crash-test --soak 180               # no kills: does memory grow?

Every transition that the store has committed must have reached a subscriber under its own id, and
the retained alerts must be the final states. Prints one line; exits 1 if anything is lost.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from scripts.crash_test.crash import Plan, crash
from scripts.crash_test.soak import soak


def main() -> int:
    """Run the selected test; 0 if nothing was lost."""
    parser = argparse.ArgumentParser(
        prog="scripts/crash-test",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--daemon-kills", type=int, default=50, metavar="N")
    parser.add_argument("--broker-kills", type=int, default=10, metavar="N")
    parser.add_argument("--persistence", choices=("on", "off"), default="on", help="mosquitto's")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--soak", type=float, metavar="SECONDS", help="watch the memory instead")
    parser.add_argument("--keep", type=Path, help="leave logs and store in this folder")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="edge-agent-crash.") as scratch:
        folder = args.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        if args.soak:
            return soak_test(args.soak, folder, args.seed)
        return crash_test(args, folder)


def crash_test(args: argparse.Namespace, folder: Path) -> int:
    """Print one line, and one for each error."""
    plan = Plan(args.daemon_kills, args.broker_kills, args.persistence == "on", args.seed)
    verdict = crash(plan, folder)
    kills = f"{plan.daemon_kills} kills of the daemon, {plan.broker_kills} of mosquitto"
    print(f"{kills} (persistence {args.persistence}), seed {plan.seed}: {verdict}")
    for name in verdict.unheard[:20]:
        print(f"lost: {name}")
    for problem in verdict.problems[:20]:
        print(f"problem: {problem}")
    return 1 if verdict.unheard or verdict.problems else 0


def soak_test(seconds: float, folder: Path, seed: int) -> int:
    """Print one line."""
    found = soak(seconds, folder, seed)
    print(f"soak: {found}")
    return 1 if found.grows else 0


if __name__ == "__main__":
    sys.exit(main())
