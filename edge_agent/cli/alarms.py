"""`edge-agent alarms`: the running daemon's alarms over its HTTP API."""

from __future__ import annotations

import argparse
import getpass
import json
import os
import re
import time
import urllib.error
import urllib.request
from http import HTTPStatus
from http.client import HTTPException
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode, urlsplit

from edge_agent.errors import ConnectError, EdgeAgentError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from http.client import HTTPMessage
    from typing import IO

HELP = "List the running daemon's alarms, acknowledge and shelve them, read their history."
EXAMPLE = "edge-agent alarms shelve P-101.pump --for 2h --by anna"

URL: Final = "http://127.0.0.1:9460"
TOKEN: Final = "EDGE_AGENT_TOKEN"  # noqa: S105 (the variable's name)
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

_TIMEOUT_S: Final = 15
_MAX_ANSWER: Final = 64 << 20
_DURATION: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)(s|m|h|d)")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}

Row = dict[str, Any]


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
        rows = _ask(args.url, "/api/alarms", {"state": args.state})
        _show(rows, _ALARM_COLUMNS, args, none="no alarms")
    elif args.action == "history":
        query = {"asset": args.asset, "alarm_id": args.alarm_id, "limit": args.limit}
        rows = _ask(args.url, "/api/alarms/history", query)
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
    parser.add_argument("--url", default=URL, help=f"default: {URL}; ${TOKEN} holds its token")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    return parser


# Asking -------------------------------------------------------------------------------------------


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the token to whoever sent it."""

    def redirect_request(  # noqa: PLR0913, PLR0917 (as the base class has it)
        self,
        req: urllib.request.Request,  # noqa: ARG002
        fp: IO[bytes],  # noqa: ARG002
        code: int,  # noqa: ARG002
        msg: str,  # noqa: ARG002
        headers: HTTPMessage,  # noqa: ARG002
        newurl: str,  # noqa: ARG002
    ) -> None:
        """Follow none."""
        return


def _command(args: argparse.Namespace) -> Row:
    body = {"by": args.by or _login()}
    if args.action == "shelve":
        body["duration_s"] = args.duration_s
    kind = args.action.replace("-", "_")
    row: Row = _request(args.url, f"/api/alarms/{quote(args.alarm_id, safe='')}/{kind}", body)
    return row


def _ask(url: str, path: str, query: Mapping[str, Any]) -> list[Row]:
    words = urlencode({name: value for name, value in query.items() if value is not None})
    rows: list[Row] = _request(url, f"{path}?{words}" if words else path)
    return rows


def _request(url: str, path: str, body: Row | None = None) -> Any:  # noqa: ANN401 (any JSON)
    _check(url)
    data = None if body is None else json.dumps(body).encode()
    headers = {"Accept": "application/json", "Content-Type": "application/json"}
    if os.environ.get(TOKEN):
        headers["Authorization"] = f"Bearer {os.environ[TOKEN]}"
    request = urllib.request.Request(url.rstrip("/") + path, data, headers)  # noqa: S310 (checked)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect)
    try:
        with opener.open(request, timeout=_TIMEOUT_S) as answer:
            return _decode(answer.read(_MAX_ANSWER + 1), url)
    except urllib.error.HTTPError as refusal:
        with refusal:
            raise _refused(refusal, url) from None
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", error)
        hint = "is the daemon running, with http enabled, at this --url?"
        raise ConnectError(f"no answer: {reason}", where=url, hint=hint) from error


def _check(url: str) -> None:
    try:
        parts = urlsplit(url)
        good = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise UsageError("not an address of a daemon", where=url, hint=f"such as {URL}")


def _decode(body: bytes, url: str) -> Any:  # noqa: ANN401 (any JSON)
    try:
        if len(body) <= _MAX_ANSWER:
            return json.loads(body)
    except ValueError:
        pass
    raise _not_ours(url)


def _not_ours(url: str) -> EdgeAgentError:
    return EdgeAgentError("what answers there is not edge-agent", where=url)


def _refused(refusal: urllib.error.HTTPError, url: str) -> EdgeAgentError:
    """Make an error of the daemon's own words."""
    try:
        said = json.loads(refusal.read(_MAX_ANSWER))
        text, hint = _shown(said["error"]), _shown(said.get("hint", ""))
    except (ValueError, TypeError, KeyError, AttributeError, OSError):
        text, hint = f"HTTP {refusal.code}", "is this --url that of an edge-agent?"
    kind = UsageError if refusal.code == HTTPStatus.BAD_REQUEST else EdgeAgentError
    return kind(text, where=url, hint=hint)


def _login() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        raise UsageError("who gives the command?", where="alarms", hint="--by NAME") from None


# Printing -----------------------------------------------------------------------------------------


def _show(
    rows: Sequence[Row], columns: Mapping[str, Any], args: argparse.Namespace, none: str = ""
) -> None:
    try:
        cells = [[_shown(cell(row)) for cell in columns.values()] for row in rows]
    except (KeyError, TypeError, AttributeError):
        raise _not_ours(args.url) from None
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


def _shown(value: object) -> str:
    return "".join(char if char.isprintable() else "?" for char in str(value))


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
