"""`edge-agent outcome`: report to the running daemon that a machine's life has ended."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from edge_agent.cli.alarms import login, moment_ms
from edge_agent.cli.api_client import add_url, daemon_url, not_ours, request, shown

if TYPE_CHECKING:
    import argparse

HELP = (
    "report that a machine has failed or was overhauled, to adapt the intervals of remaining life"
)
EXAMPLE = "edge-agent outcome -c edge-agent.yaml --asset T-7 --at 2026-11-20T14:30"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "-c", "--config", type=Path, metavar="FILE", help="the config of the daemon"
    )
    add_url(parser)
    parser.set_defaults(url=None)
    parser.add_argument("--asset", required=True, metavar="ID")
    parser.add_argument(
        "--at", type=moment_ms, help="ISO 8601, local time without a zone; default: now"
    )
    parser.add_argument(
        "--overhauled",
        action="store_true",
        help="it was overhauled before it failed, so its true life is unknown",
    )
    parser.add_argument("--by", default="", metavar="NAME", help="default: your login name")


def run(args: argparse.Namespace) -> int:
    """Send the outcome to the daemon, print its answer."""
    url = daemon_url(args)
    kind = "overhauled" if args.overhauled else "failed"
    body: dict[str, Any] = {"by": args.by or login()}
    if args.at is not None:
        body["at_ms"] = args.at
    answer = request(url, f"/api/assets/{quote(args.asset, safe='')}/{kind}", body)
    try:
        for line in _lines(answer, overhauled=args.overhauled):
            print(line)
    except (KeyError, TypeError):
        raise not_ours(url) from None
    return 0


def _lines(answer: dict[str, Any], *, overhauled: bool) -> list[str]:
    said = "not scored: the time of failure is unknown" if overhauled else ""
    return [
        f"{shown(answer['asset'])}: {shown(one['model'])} {shown(one['version'])}: "
        f"{int(one['predictions'])} predictions, "
        + (said or f"{float(one['coverage']):.0%} of them contained the truth")
        for one in answer["models"]
    ]
