"""`edge-agent assets`: list the running daemon's assets; forget discovered ones."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from edge_agent.cli.alarms import aligned, login
from edge_agent.cli.api_client import add_url, not_ours, query_rows, request, shown

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from edge_agent.cli.api_client import Row

HELP = "List the running daemon's assets; forget a discovered asset that is gone."
EXAMPLE = "edge-agent assets forget M-O1 --by anna"

_COLUMNS: Final[dict[str, Callable[[Row], object]]] = {
    "STATE": lambda row: row["state"],
    "ALARMS": lambda row: row["alarms"],
    "HEALTH": lambda row: "-" if row["health"] is None else f"{row['health']:.0%}",
    "ASSET": lambda row: row["id"],
    "PATH": lambda row: row["path"],
    "NOTE": lambda row: row["note"],
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what can be done with assets."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="show all assets, those with alarms first")
    listing.add_argument("search", nargs="?", default="", help="only those that contain this")
    listing.add_argument("--json", action="store_true", help="one JSON object a line")
    text = "forget discovered assets: their alarms, windows and state are deleted"
    forget = actions.add_parser("forget", help=text, description=text)
    forget.add_argument("asset", metavar="ASSET", nargs="+")
    forget.add_argument("--by", default="", metavar="NAME", help="default: your login name")
    for one in (listing, forget):
        add_url(one)


def run(args: argparse.Namespace) -> int:
    """Send a query or a command to the daemon, print its answer."""
    try:
        for line in _list(args) if args.action == "list" else _forget(args):
            print(line)
    except (KeyError, TypeError, ValueError):
        raise not_ours(args.url) from None
    return 0


def _list(args: argparse.Namespace) -> list[str]:
    rows = query_rows(args.url, "/api/assets", {"search": args.search or None})
    if args.json:
        return [json.dumps(row, ensure_ascii=False) for row in rows]
    cells = [[shown(cell(row)) for cell in _COLUMNS.values()] for row in rows]
    return aligned([list(_COLUMNS), *cells]) if rows else ["no assets"]


def _forget(args: argparse.Namespace) -> list[str]:
    body: dict[str, Any] = {"by": args.by or login()}
    lines = []
    for asset in args.asset:
        answer = request(args.url, f"/api/assets/{quote(asset, safe='')}/forget", body)
        lines.append(f"{shown(answer['asset'])}: forgotten; its next message creates it again")
    return lines
