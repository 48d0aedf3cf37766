"""`edge-agent plan`: the maintenance plan of the running daemon, or of a file."""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

from edge_agent.cli.alarms import aligned
from edge_agent.cli.api_client import add_url, daemon_url, not_ours, request, shown

if TYPE_CHECKING:
    import argparse

HELP = """\
The maintenance plan: what to do, until when, in which stop, by which crew, and what it costs to
wait (docs/maintenance-plan.md). It is a proposal: nothing is ordered or commanded. With --input it
is made of the alarms, remaining lives and the section `maintenance` of a file, without a daemon."""
EXAMPLE = "edge-agent plan -c /etc/edge-agent/edge-agent.yaml --ics > plan.ics"

_HEAD: Final = ("#", "ASSET", "WHAT", "UNTIL", "STOP", "FROM", "CREW", "EXPECTED", "WAITING")
_SIGNS: Final = {"planned": "", "late": "TOO LATE: ", "impossible": "NOT PLANNED"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("-c", "--config", type=Path, metavar="FILE", help="that of the daemon")
    add_url(parser)
    parser.set_defaults(url=None)
    parser.add_argument("--input", type=Path, metavar="FILE", help="a case as JSON or YAML")
    parser.add_argument("--language", default="en", help="of the texts; default: en")
    parser.add_argument("--why", action="store_true", help="the reasons below each line")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="the whole plan as JSON")
    form.add_argument("--csv", action="store_true", help="a line for each job")
    form.add_argument("--ics", action="store_true", help="iCalendar (RFC 5545)")


def run(args: argparse.Namespace) -> int:
    """Print the plan; exit code 0 also if jobs are late."""
    url = ""
    if args.input is not None:
        plan = _offline(args.input)
    else:
        url = daemon_url(args)
        plan = request(url, "/api/plan")
    try:
        _print(args, plan)
    except (KeyError, TypeError, AttributeError):
        raise not_ours(url) from None
    return 0


def _offline(file: Path) -> dict[str, Any]:
    """The plan of a file."""
    # Here, not above: the help must not wait for it.
    from edge_agent.insight.maintenance import make_plan, read_case  # noqa: PLC0415

    if sys.stderr.isatty():
        print("planning …", file=sys.stderr)
    return asyncio.run(make_plan(read_case(file)))


def _print(args: argparse.Namespace, plan: dict[str, Any]) -> None:
    if args.json:
        print(json.dumps(plan, ensure_ascii=False))
    elif args.csv or args.ics:
        from edge_agent.insight.maintenance import calendar_of, table_of  # noqa: PLC0415

        made = table_of(plan, args.language) if args.csv else calendar_of(plan, args.language)
        sys.stdout.flush()
        sys.stdout.buffer.write(made)
    else:
        for line in _lines(plan, args.language, why=args.why):
            print(shown(line))


def _lines(plan: dict[str, Any], language: str, *, why: bool) -> list[str]:
    zone = ZoneInfo(plan["zone"])
    head = (
        f"plan of {_time(plan['at_ms'], zone)} until {_time(plan['until_ms'], zone)} ({zone.key})"
    )
    money = f"{plan['expected_cost']:,.0f} {plan['currency']}"
    found = [f"{head}, by {plan['by']}; failures before their stops: {money} expected", ""]
    if not plan["lines"]:
        return [*found, "nothing to do"]
    rows = aligned([list(_HEAD), *(_cells(line, language, zone) for line in plan["lines"])])
    found.append(rows[0])
    for row, line in zip(rows[1:], plan["lines"], strict=True):
        found += [row, f"   {_text(line['why'], language)}"] if why else [row]
    found += [f"changed: {_text(one['text'], language)}" for one in plan["changes"]]
    return found + [f"note: {one}" for one in plan["notes"]]


def _cells(line: dict[str, Any], language: str, zone: ZoneInfo) -> list[str]:
    stop = (line["stop"] or {}).get("name", "")
    return [
        str(line["rank"]),
        line["asset"],
        _text(line["what"], language),
        _time(line["due_ms"], zone),
        f"{_SIGNS[line['status']]}{stop}",
        _time(line["start_ms"], zone),
        line["crew"] or "-",
        f"{line['expected_cost']:,.0f}",
        f"+{line['wait_cost']:,.0f}",
    ]


def _text(by_language: dict[str, str], language: str) -> str:
    return by_language.get(language) or by_language.get("en", "")


def _time(ms: float | None, zone: ZoneInfo) -> str:
    return "-" if ms is None else f"{datetime.fromtimestamp(ms / 1000, zone):%Y-%m-%d %H:%M}"
