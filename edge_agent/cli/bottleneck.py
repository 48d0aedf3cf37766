"""`edge-agent bottleneck`: the machine that limits a line, and what improving it would gain."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edge_agent.cli.alarms import aligned
from edge_agent.cli.api_client import add_url, not_ours, request
from edge_agent.cli.duration import seconds
from edge_agent.errors import UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    Row = Mapping[str, Any]

HELP = """\
Name the machine that limits a line, how sure that is, and what it would gain: from the running
daemon (--line), or from tables of states and part counts as CSV (--input), without a daemon."""
EXAMPLE = "edge-agent bottleneck --input states.csv --parts parts.csv"

_NONE: Final = "-"
_SAYS: Final = {
    "named": "{line}: {names} is the bottleneck (confidence {confidence})",
    "not_sure": "{line}: not sure: {names}",
    "too_little": "{line}: nothing can be said",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_url(parser)
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--line", default="", metavar="LINE", help="a line of the running daemon")
    where.add_argument(
        "--input",
        type=Path,
        metavar="CSV",
        help="states: machine, state, start, end; states are running, idle, blocked, starved, "
        "down, setup, planned, unknown; times in ISO 8601, or seconds or milliseconds since 1970",
    )
    parser.add_argument(
        "--parts",
        type=Path,
        metavar="CSV",
        help="finished parts: machine, time, and parts if a row is of several; without it parts "
        "are taken from the rows of running: a row for each part",
    )
    text = "their order in the line: A,B,C; default: the order in which they first appear"
    parser.add_argument("--machines", default="", metavar="NAMES", help=text)
    text = "only the last part of the table: 8h"
    parser.add_argument("--last", type=seconds, metavar="8h", help=text)
    parser.add_argument(
        "--json", action="store_true", help="one JSON object with all that is known"
    )


def run(args: argparse.Namespace) -> int:
    """Print the answer; 1 if nothing can be said."""
    row = _of_daemon(args.url, args.line) if args.line else _of_tables(args)
    if args.json:
        print(json.dumps(row, ensure_ascii=False))
    else:
        print("\n".join(lines_of(row)))
    return 1 if row["verdict"] == "too_little" else 0


def _of_daemon(url: str, line: str) -> Row:
    from urllib.parse import quote  # noqa: PLC0415 (only here)

    answer = request(url, f"/api/lines/{quote(line, safe='')}/bottleneck")
    if not isinstance(answer, dict) or not isinstance(answer.get("shift"), dict):
        raise not_ours(url)
    found: Row = answer["shift"]
    return found


def _of_tables(args: argparse.Namespace) -> Row:
    from dataclasses import replace  # noqa: PLC0415 (help must not wait for numpy)

    from edge_agent.insight import answer_row, find_bottleneck, read_line  # noqa: PLC0415

    names = [one.strip() for one in args.machines.split(",") if one.strip()]
    data = read_line(args.input, args.parts, names)
    if args.last is not None:
        from_ns = data.to_ns - round(args.last * 1e9)
        if from_ns >= data.to_ns:
            raise UsageError("no time is left", where="--last")
        from_ns = max(from_ns, data.from_ns)
        log = data.log.within(from_ns, data.to_ns)
        data = replace(data, log=log, from_ns=from_ns)
    return answer_row(find_bottleneck(data), args.input.stem, data.from_ns, data.to_ns)


def lines_of(row: Row) -> list[str]:
    """The answer for a terminal."""
    from edge_agent.insight import DOUBTS  # noqa: PLC0415 (as above)

    names = " or ".join(row["named"])
    said = _SAYS[row["verdict"]]
    head = said.format(line=row["line"], names=names, confidence=_percent(row["confidence"]))
    found = [head, *(f"  {DOUBTS.get(one, one)}" for one in row["doubts"])]
    found.append(
        f"  by active time: {row['by_active'] or _NONE}; by blocked and starved: "
        f"{row['by_waits'] or _NONE}; states known: {_percent(row['coverage'])}; "
        f"parts: {row['parts']:.0f}"
    )
    if row["stations"]:
        found += ["", *aligned([_HEAD, *(_cells(one) for one in row["stations"])])]
    return [*found, *_buffer_lines(row)]


_HEAD: Final = [
    *("MACHINE", "ACTIVE", "DOWN", "BLOCKED", "STARVED", "CYCLE", "MTBF", "MTTR"),
    *("BEST", "10 % FASTER", "STOPS HALVED", "BUFFER +5"),
]


def _cells(one: Row) -> list[str]:
    shares = [_percent(one[key]) for key in ("active", "down", "blocked", "starved")]
    times = [_NONE if one[key] is None else f"{one[key]:.4g} s" for key in _TIMES]
    gains = [_gain(one[key]) for key in ("faster", "repaired", "buffered")]
    return [one["machine"], *shares, *times, _percent(one["chance"]), *gains]


_TIMES: Final = ("cycle_s", "mtbf_s", "mttr_s")


def _gain(gain: Row | None) -> str:
    """`+2.1 (1.2 to 3.0) parts/h`, or in per cent if nothing counts parts."""
    if gain is None:
        return _NONE
    parts, share = gain.get("parts_per_h"), gain["share"]
    if parts is None or not share:
        return f"{100 * share:+.1f} % ({100 * gain['low']:.1f} to {100 * gain['high']:.1f})"
    low, high = parts * gain["low"] / share, parts * gain["high"] / share
    return f"{parts:+.1f}/h ({low:.1f} to {high:.1f})"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _buffer_lines(row: Row) -> list[str]:
    machines: Sequence[Row] = row["stations"]
    pairs = zip(machines, row["buffers"], strict=False)
    found = [
        f"  behind {machine['machine']}: {one['capacity']} parts "
        f"({one['low']} to {one['high']}, by {one['origin']})"
        for machine, one in pairs
    ]
    return ["", "buffers:", *found] if found else []
