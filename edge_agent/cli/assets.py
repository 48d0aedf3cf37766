"""`edge-agent assets`: list the running daemon's assets, and say what became of them."""

from __future__ import annotations

import argparse
import json
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from edge_agent.cli.alarms import aligned, login, moment_ms
from edge_agent.cli.api_client import add_url, daemon_url, not_ours, query_rows, request, shown
from edge_agent.errors import EdgeAgentError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from edge_agent.cli.api_client import Row

HELP = (
    "List the running daemon's assets; report that one has failed or was overhauled, so that the "
    "intervals of remaining life adapt; call one healthy whose baseline raises an alarm; forget a "
    "discovered asset that is gone."
)
EXAMPLE = "edge-agent assets healthy P-101 --by anna --comment 'new impeller'"

_PATTERN: Final = frozenset("*?[")
_ENDS: Final = {
    "failed": "report that machines have failed",
    "overhauled": "report that machines were overhauled before they failed",
}
_OPEN: Final = "not scored: the time of failure is unknown"

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
    text = "forget discovered assets: their alarms, windows and state are deleted"
    forget = actions.add_parser("forget", help=text, description=text)
    forget.add_argument("asset", metavar="ASSET", nargs="+", help="or a pattern: 'junk-*'")
    text = (
        "what these assets do now is healthy: their learned baselines are centred on it at once, "
        "and their alarms clear by their own rules. A fault that is present now is not found "
        "any more"
    )
    healthy = actions.add_parser("healthy", help="call assets healthy", description=text)
    healthy.add_argument("asset", metavar="ASSET", nargs="+")
    ended = [_add_end(actions, kind, text) for kind, text in _ENDS.items()]
    for one in (forget, healthy, *ended):
        one.add_argument("--by", default="", metavar="NAME", help="default: your login name")
        one.add_argument("--comment", default="", metavar="TEXT", help="kept in the audit")
    for one in (listing, forget, healthy, *ended):
        one.add_argument("--json", action="store_true", help="one JSON object a line")
        one.add_argument(
            "-c", "--config", type=Path, metavar="FILE", help="the config of the daemon"
        )
        add_url(one)
        one.set_defaults(url=None)


def _add_end(
    actions: argparse._SubParsersAction[argparse.ArgumentParser], kind: str, text: str
) -> argparse.ArgumentParser:
    parser = actions.add_parser(
        kind,
        help=text,
        description=f"{text}; its predictions of remaining life are compared with it",
        epilog=f"example:\n  edge-agent assets {kind} T-7 --at 2026-11-20T14:30 --by anna",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("asset", metavar="ASSET", nargs="+")
    text = "ISO 8601, local time without a zone; default: now"
    parser.add_argument("--at", type=moment_ms, help=text)
    return parser


def run(args: argparse.Namespace) -> int:
    """Send a query or a command to the daemon, print its answer."""
    args.url = daemon_url(args)
    try:
        for row, text in _ACTIONS[args.action](args):
            if args.json or text:  # a machine whose models predict no life has none
                print(json.dumps(row, ensure_ascii=False) if args.json else text)
    except (KeyError, TypeError, ValueError):
        raise not_ours(args.url) from None
    return 0


def _list(args: argparse.Namespace) -> Iterable[tuple[Row, str]]:
    """The rows with the lines of their table."""
    rows = query_rows(args.url, "/api/assets", {"search": args.search or None})
    if args.json:
        return [(row, "") for row in rows]
    cells = [[shown(cell(row)) for cell in _COLUMNS.values()] for row in rows]
    lines = aligned([list(_COLUMNS), *cells]) if rows else ["no assets"]
    return [({}, line) for line in lines]


def _forget(args: argparse.Namespace) -> Iterable[tuple[Row, str]]:
    listed = [name for name in args.asset if not set(name) & _PATTERN]
    patterns = [name for name in args.asset if set(name) & _PATTERN]
    matching = _matching(args.url, patterns) if patterns else []
    for asset in (*listed, *matching):
        try:
            answer = _command(args, asset, "forget")
        except EdgeAgentError as error:
            if asset in listed:
                raise
            kept = {"asset": asset, "forgotten": False, "error": error.message}
            yield kept, f"{shown(asset)}: kept: {error.message}"  # of the config, for example
        else:
            yield answer, f"{shown(answer['asset'])}: forgotten; its next message creates it again"


def _matching(url: str, patterns: Sequence[str]) -> list[str]:
    known = [str(row["id"]) for row in query_rows(url, "/api/assets", {})]
    found = [one for one in known if any(fnmatchcase(one, pattern) for pattern in patterns)]
    if not found:
        raise UsageError(f"the daemon has no asset {' '.join(patterns)!r}", where=url)
    return sorted(found)


def _healthy(args: argparse.Namespace) -> Iterable[tuple[Row, str]]:
    for answer in _commanded(args, "healthy"):
        models = ", ".join(shown(model) for model in answer["models"])
        yield answer, f"{shown(answer['asset'])}: {models} is centred on what it does now"


def _end(args: argparse.Namespace) -> Iterable[tuple[Row, str]]:
    """Report the end of a life: how good its predictions were, by model."""
    for answer in _commanded(args, args.action):
        models = [] if args.json else answer["models"]
        known = args.action == "failed"
        yield answer, "\n".join(_ended(answer, one, known=known) for one in models)


def _ended(answer: Row, one: Row, *, known: bool) -> str:
    score = f"{float(one['coverage']):.0%} of them contained the truth" if known else _OPEN
    model = f"{shown(one['model'])} {shown(one['version'])}"
    return f"{shown(answer['asset'])}: {model}: {int(one['predictions'])} predictions, {score}"


def _commanded(args: argparse.Namespace, kind: str) -> Iterable[Row]:
    """The answers to a command, asset by asset."""
    for asset in args.asset:
        yield _command(args, asset, kind)


def _command(args: argparse.Namespace, asset: str, kind: str) -> Row:
    body: dict[str, Any] = {"by": args.by or login(), "comment": args.comment}
    if getattr(args, "at", None) is not None:
        body["at_ms"] = args.at
    answer: Row = request(args.url, f"/api/assets/{quote(asset, safe='')}/{kind}", body)
    return answer


_ACTIONS: Final[dict[str, Callable[[argparse.Namespace], Iterable[tuple[Row, str]]]]] = {
    "list": _list,
    "forget": _forget,
    "healthy": _healthy,
    "failed": _end,
    "overhauled": _end,
}
