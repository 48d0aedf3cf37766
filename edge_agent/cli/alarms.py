"""`edge-agent alarms`: the running daemon's alarms over its HTTP API."""

from __future__ import annotations

import argparse
import getpass
import json
import os
import re
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from edge_agent.cli.api_client import add_url, not_ours, query_pages, query_rows, request, shown
from edge_agent.errors import EdgeAgentError, NotFoundError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edge_agent.cli.api_client import Row

HELP = "List the running daemon's alarms, acknowledge and shelve them, read their history."
EXAMPLE = "edge-agent alarms ack 'P-1*' --by anna --comment 'pump is being replaced'"

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
    "confirm": "say that what an acknowledged alarm asks for is done",
    "comment": "write a comment; the state stays",
    "shelve": "silence an alarm for some time",
    "unshelve": "end a shelving early",
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
    listing.add_argument(
        "--state", choices=STATES, help="only alarms in this state; all: also normal ones"
    )
    for name, text in COMMANDS.items():
        command = _action(actions, name, text)
        command.add_argument(
            "alarm_id", metavar="ALARM", nargs="*", help="an id, or a pattern in quotes: 'P-1*'"
        )
        command.add_argument(
            "--asset", metavar="ASSET", help="all alarms of this asset; or a pattern"
        )
        command.add_argument("--all", action="store_true", help="every alarm that is not normal")
        command.add_argument("--by", default="", metavar="NAME", help="default: your login name")
        command.add_argument("--comment", default="", metavar="TEXT", help="kept with the alarm")
        if name == "shelve":
            command.add_argument(
                "--for", dest="duration_s", type=seconds, required=True, metavar="30m"
            )
    text = "say what the last alarm of an anomaly model was: after a false one its limit follows"
    feedback = _action(actions, "feedback", text)
    feedback.epilog = (
        "example:\n  edge-agent alarms feedback P-101.baseline false --comment 'new oil'"
    )
    feedback.formatter_class = argparse.RawDescriptionHelpFormatter
    text = "an id, or a pattern in quotes: 'P-1*'"
    feedback.add_argument("alarm_id", metavar="ALARM", nargs="+", help=text)
    feedback.add_argument("verdict", choices=("false", "true", "planned"))
    feedback.add_argument("--part", default="", metavar="NAME", help="of the machine: bearing")
    feedback.add_argument("--by", default="", metavar="NAME", help="default: your login name")
    feedback.add_argument("--comment", default="", metavar="TEXT", help="kept in the audit")
    history = _action(actions, "history", "show past transitions, the newest first")
    history.add_argument("--asset", help="only this asset's")
    history.add_argument("--alarm", dest="alarm_id", help="only this alarm's")
    history.add_argument("--limit", type=int, default=50, metavar="N", help="default: 50")
    _add_audit(actions)


def _add_audit(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    text = "show commands with user and reason, changes of models, refusals; newest first"
    audit = _action(actions, "audit", text)
    audit.epilog = "example:\n  edge-agent alarms audit --asset P-101 --since 7d"
    audit.formatter_class = argparse.RawDescriptionHelpFormatter
    audit.add_argument("--asset", help="only of this asset and its alarms; or a pattern: 'P-1*'")
    audit.add_argument("--alarm", dest="alarm_id", help="only of this alarm; or a pattern")
    audit.add_argument("--by", metavar="NAME", help="only commands of this user")
    audit.add_argument(
        "--since", type=since_ms, metavar="TIME", help="30m, 24h or 7d ago, or an ISO 8601 time"
    )
    audit.add_argument("--before", type=int, metavar="ROW", help="continue after this row")
    audit.add_argument("--limit", type=int, default=50, metavar="N", help="default: 50")


def run(args: argparse.Namespace) -> int:
    """Send a query or a command to the daemon, print its answer."""
    if args.action == "list":
        rows = query_rows(args.url, "/api/alarms", {"state": args.state})
        _show(rows, _ALARM_COLUMNS, args, none="no alarms")
    elif args.action == "history":
        query = {"asset": args.asset, "alarm_id": args.alarm_id}
        rows = query_pages(args.url, "/api/alarms/history", query, args.limit)
        _show(rows, _HISTORY_COLUMNS, args, none="no history")
    elif args.action == "audit":
        _audit(args)
    elif args.action == "feedback":
        _feedback(args)
    else:
        _show(_command(args), _ALARM_COLUMNS, args)
    return 0


def seconds(text: str) -> float:
    """Read `90s`, `30m`, `2h` or `1d`."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration such as 90s, 30m, 2h, 1d")
    return float(match[1]) * _SECONDS[match[2]]


def since_ms(text: str) -> int:
    """Milliseconds since the epoch of `24h` (ago) or an ISO 8601 time (local without a zone)."""
    if _DURATION.fullmatch(text):
        return round((time.time() - seconds(text)) * 1000)
    return round(moment_ms(text))


def moment_ms(text: str) -> float:
    """Milliseconds since the epoch of an ISO 8601 time."""
    try:
        return datetime.fromisoformat(text).astimezone(UTC).timestamp() * 1000
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a time such as 2026-11-20T14:30"
        ) from None


def _audit(args: argparse.Namespace) -> None:
    query = {
        "asset": args.asset,
        "alarm_id": args.alarm_id,
        "by": args.by,
        "since_ms": args.since,
        "before": args.before,
    }
    rows = query_pages(args.url, "/api/audit", query, args.limit)
    _show(rows, _AUDIT_COLUMNS, args, none="no entries")
    if rows and len(rows) == args.limit:
        print(f"older entries: --before {rows[-1].get('row')}", file=sys.stderr)


def _feedback(args: argparse.Namespace) -> None:
    body = {"by": args.by or login(), "verdict": args.verdict, "comment": args.comment}
    if args.part:
        body["part"] = args.part
    listed = [one for one in args.alarm_id if not _is_pattern(one)]
    patterns = [one for one in args.alarm_id if _is_pattern(one)]
    for alarm_id in (*listed, *_matching(args.url, patterns)):
        path = f"/api/alarms/{quote(alarm_id, safe='')}/feedback"
        try:
            answer = request(args.url, path, body)
        except EdgeAgentError as error:
            if alarm_id in listed:
                raise
            print(f"{shown(alarm_id)}: {error.message}", file=sys.stderr)  # no anomaly model's
            continue
        print(json.dumps(answer, ensure_ascii=False) if args.json else _called(answer, args.url))


def _called(answer: Row, url: str) -> str:
    """What feedback did to the limit of a model."""
    try:
        return (
            f"{shown(answer['alarm_id'])}: called {shown(answer['verdict'])}; "
            f"{answer['called_false']} of {answer['alarms']} alarms in {answer['judged_h']:g} h "
            f"were called false; limit: {answer['limit_factor']:g} times the model's"
        )
    except (KeyError, TypeError, ValueError):
        raise not_ours(url) from None


def _matching(url: str, patterns: Sequence[str]) -> list[str]:
    """The ids of all alarms that match one of the patterns; NotFoundError if none does."""
    if not patterns:
        return []
    forms = [re.compile(".*".join(map(re.escape, one.split("*")))) for one in patterns]
    known = [str(row["alarm_id"]) for row in query_rows(url, "/api/alarms", {"state": "all"})]
    found = [one for one in known if any(form.fullmatch(one) for form in forms)]
    if not found:
        raise NotFoundError(
            "no such alarm", where=" ".join(patterns), hint="alarms list --state all"
        )
    return found


def _action(
    actions: argparse._SubParsersAction[argparse.ArgumentParser], name: str, text: str
) -> argparse.ArgumentParser:
    parser = actions.add_parser(name, help=text, description=text)
    add_url(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    return parser


def _command(args: argparse.Namespace) -> list[Row]:
    body = {"by": args.by or login()}
    if args.action == "comment" and not args.comment:
        raise UsageError("which comment?", where="alarms comment", hint="--comment TEXT")
    if args.comment:
        body["comment"] = args.comment
    if args.action == "shelve":
        body["duration_s"] = args.duration_s
    kind = args.action.replace("-", "_")
    names = args.alarm_id
    if names and not args.asset and not args.all and not any(map(_is_pattern, names)):
        path = "/api/alarms/{}/" + kind
        return [request(args.url, path.format(quote(one, safe="")), body) for one in names]
    return _several(args, kind, body)


def _several(args: argparse.Namespace, kind: str, body: Row) -> list[Row]:
    """All matching alarms: those of each pattern, of an asset, or all."""
    if not (args.alarm_id or args.asset or args.all):
        raise UsageError("which alarm?", where="alarms", hint="ALARM, 'PATTERN*', --asset or --all")
    asset = {"asset": args.asset} if args.asset else {}
    chosen: list[Row] = [{"pattern": one, **asset} for one in args.alarm_id]
    chosen = chosen or [asset or {"all": True}]
    rows = [row for one in chosen for row in request(args.url, f"/api/alarms/{kind}", body | one)]
    if not rows:
        wanted = " ".join([*args.alarm_id, args.asset or ""]).strip() or "any"
        hint = "`alarms list` shows those that are not normal, and their states"
        raise NotFoundError(f"no alarm to {args.action}", where=wanted, hint=hint)
    return rows


def _is_pattern(text: str) -> bool:
    return "*" in text


def login() -> str:
    """The login name of the user who runs this command."""
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
        lines = aligned([list(columns), *cells]) if rows else [none]
    for line in lines:
        print(line)


def aligned(table: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table whose columns are aligned."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    padded = (
        [cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in table
    )
    return ["  ".join(line).rstrip() for line in padded]


def _when(ms: float | None, form: str = "%Y-%m-%d %H:%M:%S") -> str:
    """A time in the local time zone."""
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


def _message_text(row: Row, alarm: Row) -> str:
    """The message and the operator's comment."""
    comment = alarm.get("comment")
    return f"{_message(row)} [{comment}]" if comment else _message(row)


_ALARM_COLUMNS: Final = {
    "PRIORITY": lambda row: row["priority"],
    "STATE": _state,
    "SINCE": lambda row: _when(row["changed_ms"]),
    "COUNT": lambda row: row["count"],
    "ALARM": lambda row: row["alarm_id"],
    "BY": lambda row: row.get("shelved_by") or row["acked_by"] or "-",
    "MESSAGE": lambda row: _message_text(row, row),
}
_HISTORY_COLUMNS: Final = {
    "TIME": lambda row: _when(row["at_ms"] if "at_ms" in row else row["at_us"] / 1000),
    "TRANSITION": lambda row: row["transition"],
    "STATE": lambda row: row["alarm"]["state"],
    "BY": lambda row: row["actor"] or "-",
    "ALARM": lambda row: row["alarm_id"],
    "MESSAGE": lambda row: _message_text(row, row["alarm"] if row["actor"] else {}),
}
_AUDIT_COLUMNS: Final = {
    "TIME": lambda row: _when(row["at_ms"]),
    "BY": lambda row: row["actor"] or "-",
    "ACTION": lambda row: row["action"],
    "SUBJECT": lambda row: row["subject"],
    "DETAIL": lambda row: row["detail"],
}
