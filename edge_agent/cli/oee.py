"""`edge-agent oee`: OEE and losses of lines, of the running daemon or of a recording."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from edge_agent.cli.api_client import add_url, query_rows, request
from edge_agent.cli.recordings import (
    add_config_arguments,
    add_recording_arguments,
    config_of_recording,
    recording_config,
)
from edge_agent.errors import UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Mapping

    Row = dict[str, Any]

HELP: Final = """\
OEE by ISO 22400-2 of the lines of a config (docs/lines.md): the running shift and the closed ones,
from the running daemon, or with --input of a recording, without a daemon. A gap in the data is no
loss: `known` is the share of the time of which the state is known."""
EXAMPLE: Final = "edge-agent oee assembly --shifts 6"
_SHIFTS: Final = 3
_COLUMNS: Final = ("oee", "availability", "effectiveness", "quality_ratio")
_HEAD: Final = ("line", "machine", "shift", "OEE", "avail.", "effect.", "quality", "known", "parts")
_LOSSES: Final = 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("line", nargs="?", default="", metavar="LINE", help="default: all lines")
    parser.add_argument("--machine", default="", metavar="ASSET", help="only this machine")
    parser.add_argument(
        "--shifts",
        type=int,
        default=_SHIFTS,
        metavar="N",
        help=f"closed shifts; default: {_SHIFTS}",
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one JSON object a line: each shift")
    form.add_argument("--csv", action="store_true", help="a table with all elements")
    add_url(parser)
    parser.add_argument("--input", type=Path, help="a recording; needs the config (-c)")
    parser.add_argument("--asset", default="", help="the asset of its columns; {stem} = file name")
    add_config_arguments(parser)
    add_recording_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Print results of shifts; 0."""
    found = _of_recording(args) if args.input is not None else list(_of_daemon(args))
    mine = [
        one
        for one in found
        if args.line in {"", one["line"]} and args.machine in {"", one["machine"]}
    ]
    if args.json:
        for one in mine:
            print(json.dumps(one))
    elif args.csv:
        _print_csv(mine)
    else:
        _print_table(mine)
    return 0


def _of_daemon(args: argparse.Namespace) -> Iterable[Row]:
    lines = request(args.url, "/api/lines")
    names = [one["line"] for one in lines]
    if args.line and args.line not in names:
        raise UsageError(f"there is no line {args.line!r}", hint=f"lines: {', '.join(names)}")
    for one in lines:
        if args.line in {"", one["line"]}:
            path = f"/api/lines/{quote(one['line'], safe='')}/shifts"
            most = max(0, args.shifts) * len(one["machines"])
            query = {"limit": min(1000, most), "machine": args.machine or None}
            closed = query_rows(args.url, path, query) if most else []
            yield from reversed(closed)
            yield from (row["current"] for row in one["machines"] if row["current"] is not None)


def _of_recording(args: argparse.Namespace) -> list[Row]:
    # Here, not above: the help must not wait for the daemon's libraries.
    from edge_agent.daemon.line_replay import replay_lines  # noqa: PLC0415
    from edge_agent.ops import logs  # noqa: PLC0415
    from edge_agent.sources.replay import Playback  # noqa: PLC0415

    if args.config is None:
        raise UsageError("a recording needs the config with its lines", hint="-c FILE")
    logs.setup("warning")
    config = config_of_recording(args, files=False)
    if not config.lines:
        raise UsageError("the config has no lines", where=str(args.config), hint="docs/lines.md")
    source = recording_config(args, config, args.input, args.asset, args.template)
    return replay_lines(
        config,
        lambda plant: Playback(source, plant, quiet=True, sources=config.sources).readings(),
    )


def _print_csv(found: list[Row]) -> None:
    from edge_agent.service.lines_api import shift_rows  # noqa: PLC0415

    table = csv.writer(sys.stdout, lineterminator="\n")
    for row in shift_rows(found):
        table.writerow(["" if cell is None else cell for cell in row])


def _print_table(found: list[Row]) -> None:
    rows = [_HEAD, *(_cells(one) for one in found)]
    widths = [max(len(row[n]) for row in rows) for n in range(len(_HEAD))]
    for number, row in enumerate(rows):
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        )
        if number:
            print(f"    {_losses(found[number - 1])}")
    if not found:
        print("no shift yet", file=sys.stderr)


def _cells(one: Mapping[str, Any]) -> tuple[str, ...]:
    mark = "" if one["is_closed"] else " (running)"
    return (
        one["line"],
        one["machine"],
        f"{one['day']} {one['shift']}{mark}",
        *(_percent(one["indicators"][key]) for key in _COLUMNS),
        _percent(one["coverage"]),
        f"{one['elements']['pq']:g}",
    )


def _losses(one: Mapping[str, Any]) -> str:
    """The largest losses in minutes, and a wrong ideal cycle."""
    found = [(seconds, name) for name, seconds in _leaves(one["losses"]) if seconds >= 1]
    found.sort(reverse=True)
    said = [f"{name.replace('_', ' ')} {seconds / 60:.1f} min" for seconds, name in found[:_LOSSES]]
    if one["is_ideal_cycle_wrong"]:
        said.append("faster than its ideal cycle: correct ideal_cycle")
    return ", ".join(said) or "no losses"


def _leaves(node: Mapping[str, Any]) -> Iterable[tuple[str, float]]:
    for part in node.get("parts", ()):
        yield from _leaves(part)
    if not node.get("parts") and node["name"] not in {"good_parts", "running"}:
        yield node["name"], node["seconds"]


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"
