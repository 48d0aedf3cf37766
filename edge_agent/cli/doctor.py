"""`edge-agent doctor`: what is wrong with a gateway, and how to fix it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from edge_agent.cli.findings import as_json, failed, lines, look, positive_seconds, refuse
from edge_agent.cli.waiting import waiting
from edge_agent.findings import Severity

if TYPE_CHECKING:
    import argparse

    from edge_agent.findings import Finding

HELP = """\
Check everything that a config depends on: all checks of `check --connect`, every address of every
endpoint, disk space, the models on disk, and the problems that the running daemon reports.
Prints findings with their fixes, the most severe first. Nothing is changed or disturbed.
Exit code 1 if there is an error; 0 with warnings only."""
EXAMPLE = "edge-agent doctor -c /etc/edge-agent/edge-agent.yaml"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the config file and the form of the output."""
    parser.add_argument("-c", "--config", required=True, type=Path, metavar="FILE")
    parser.add_argument(
        "--seconds",
        type=positive_seconds,
        default=10.0,
        metavar="N",
        help="how long to wait for each MQTT topic (default: 10)",
    )
    parser.add_argument("--all", action="store_true", help="also show checks that passed")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")


def run(args: argparse.Namespace) -> int:
    """Print the findings."""
    from edge_agent.daemon import find_problems  # noqa: PLC0415 (help must not wait for it)

    config, problems = find_problems(args.config)
    if config is None:
        return refuse(problems, json=args.json)
    if not args.json:
        print("checking, for up to half a minute ...", file=sys.stderr, flush=True)
    with waiting("checking the gateway"):
        found = look(config, args.config, args.seconds, deep=True)
    if args.json:
        print(as_json(found))
    else:
        _show(found, everything=args.all)
    return 1 if failed(found) else 0


def _show(found: list[Finding], *, everything: bool) -> None:
    wanted = [one for one in found if everything or one.severity is not Severity.OK]
    for line in lines(wanted):
        print(line)
    counts = {kind: sum(one.severity is kind for one in found) for kind in Severity}
    print(
        f"{counts[Severity.ERROR]} errors, {counts[Severity.WARNING]} warnings, "
        f"{counts[Severity.OK]} checks passed"
    )
