"""`edge-agent alarms`: the running daemon's alarms over its HTTP API."""

from __future__ import annotations

import argparse
import getpass
import json
import os
import re
import time
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from edge_agent.cli._api import add_url, ask, not_ours, request, shown
from edge_agent.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edge_agent.cli._api import Row

HELP = "List the running daemon's alarms, acknowledge and shelve them, read their history."
EXAMPLE = "edge-agent alarms shelve P-101.pump --for 2h --by anna"

STATES: Final = (
    "normal",
    "unack",
    "acked",
    "rtn_unack",
    "shelved",
    "suppressed",
    "out_of_service",
    "all",
)
COMMANDS: Final = {
    "ack": "acknowledge an alarm",
    "shelve": "silence an alarm for some time",
    "unshelve": "end a shelving before its time",
    "suppress": "suppress an alarm by design, until it is unsuppressed",
    "unsuppress": "end a suppression",
    "remove-from-service": "take an alarm out of service while its machine is maintained",
    "return-to-service": "put an alarm back in service",
}

_DURATION: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)(s|m|h|d)")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what can be done with alarms."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = _action(actions, "list", "show the alarms that are not normal")
    listing.add_argument("--state", choices=STATES, help="only this one; all: also normal ones")
    for name, text in COMMANDS.items():
        command = _action(actions, name, text)
        command.add_argument("alarm_id", metavar="ALARM")
        command.add_argument("--by", default="", metavar="NAME", help="default: your login name")
        if name == "shelve":
            command.add_argument(
                "--for", dest="duration_s", type=seconds, required=True, metavar="30m"
            )
    history = _action(actions, "history", "show past transitions, the newest first")
    history.add_argument("--asset", help="only this asset's")
    history.add_argument("--alarm", dest="alarm_id", help="only this alarm's")
    history.add_argument("--limit", type=int, default=50, metavar="N", help="default: 50")


def run(args: argparse.Namespace) -> int:
    """Ask or command the daemon, print its answer."""
    if args.action == "list":
        rows = ask(args.url, "/api/alarms", {"state": args.state})
        _show(rows, _ALARM_COLUMNS, args, none="no alarms")
    elif args.action == "history":
        query = {"asset": args.asset, "alarm_id": args.alarm_id, "limit": args.limit}
        rows = ask(args.url, "/api/alarms/history", query)
        _show(rows, _HISTORY_COLUMNS, args, none="no history")
    else:
        _show([_command(args)], _ALARM_COLUMNS, args)
    return 0


def seconds(text: str) -> float:
    """Read `90s`, `30m`, `2h` or `1d`."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration such as 90s, 30m, 2h, 1d")
    return float(match[1]) * _SECONDS[match[2]]


def _action(
    actions: argparse._SubParsersAction[argparse.ArgumentParser], name: str, text: str
) -> argparse.ArgumentParser:
    parser = actions.add_parser(name, help=text, description=text)
    add_url(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    return parser


def _command(args: argparse.Namespace) -> Row:
    body = {"by": args.by or login()}
    if args.action == "shelve":
        body["duration_s"] = args.duration_s
    kind = args.action.replace("-", "_")
    row: Row = request(args.url, f"/api/alarms/{quote(args.alarm_id, safe='')}/{kind}", body)
    return row


def login() -> str:
    """The name of whoever runs this command."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        raise UsageError("who gives the command?", where="alarms", hint="--by NAME") from None


# Printing -----------------------------------------------------------------------------------------


def _show(
    rows: Sequence[Row], columns: Mapping[str, Any], args: argparse.Namespace, none: str = ""
) -> None:
    try:
        cells = [[shown(cell(row)) for cell in columns.values()] for row in rows]
    except (KeyError, TypeError, AttributeError):
        raise not_ours(args.url) from None
    if args.json:
        lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    else:
        lines = _aligned([list(columns), *cells]) if rows else [none]
    for line in lines:
        print(line)


def _aligned(table: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    padded = (
        [cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in table
    )
    return ["  ".join(line).rstrip() for line in padded]


def _when(ms: float | None, form: str = "%Y-%m-%d %H:%M:%S") -> str:
    """Show a time as the clock on the wall has it."""
    try:
        return "" if ms is None else time.strftime(form, time.localtime(ms / 1000))
    except (ValueError, OverflowError, OSError):
        return "?"


def _state(alarm: Row) -> str:
    until = alarm.get("shelved_until_ms")
    return f"{alarm['state']} until {_when(until, '%H:%M')}" if until else str(alarm["state"])


def _message(alarm: Row) -> str:
    texts = alarm.get("message") or {}
    language = os.environ.get("LC_ALL") or os.environ.get("LANG") or ""
    return texts.get(language[:2]) or texts.get("en") or next(iter(texts.values()), "")


_ALARM_COLUMNS: Final = {
    "PRIORITY": lambda row: row["priority"],
    "STATE": _state,
    "SINCE": lambda row: _when(row["changed_ms"]),
    "COUNT": lambda row: row["count"],
    "ALARM": lambda row: row["alarm_id"],
    "BY": lambda row: row["acked_by"] or "-",
    "MESSAGE": _message,
}
_HISTORY_COLUMNS: Final = {
    "TIME": lambda row: _when(row["at_ms"] if "at_ms" in row else row["at_us"] / 1000),
    "TRANSITION": lambda row: row["transition"],
    "STATE": lambda row: row["alarm"]["state"],
    "BY": lambda row: row["actor"] or "-",
    "ALARM": lambda row: row["alarm_id"],
}
