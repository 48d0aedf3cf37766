"""`edge-agent doctor`: what is wrong with a gateway, and the mend."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from edge_agent.cli.findings import as_json, failed, lines, look, positive_seconds, refuse
from edge_agent.findings import Severity

if TYPE_CHECKING:
    import argparse

    from edge_agent.findings import Finding

HELP = """\
Look at everything around a config: all that `check --connect` looks at, and every address of every
endpoint, disk space, the models on disk, and what the running daemon itself complains of.
Prints findings with their mend, the most severe first. Nothing is changed, nothing disturbed.
Exit code 1 if anything is wrong; warnings do not fail."""
EXAMPLE = "edge-agent doctor -c /etc/edge-agent/edge-agent.yaml"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The config file, and how to say it."""
    parser.add_argument("-c", "--config", required=True, type=Path, metavar="FILE")
    parser.add_argument(
        "--seconds",
        type=positive_seconds,
        default=10.0,
        metavar="N",
        help="wait so long for each MQTT topic (default: 10)",
    )
    parser.add_argument("--all", action="store_true", help="show also what is as it should be")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")


def run(args: argparse.Namespace) -> int:
    """Print the findings."""
    from edge_agent.daemon import find_problems  # noqa: PLC0415 (help must not wait for it)

    config, problems = find_problems(args.config)
    if config is None:
        return refuse(problems, json=args.json)
    if not args.json:
        print("looking, for up to half a minute ...", file=sys.stderr, flush=True)
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
        f"{counts[Severity.OK]} things as they should be"
    )
