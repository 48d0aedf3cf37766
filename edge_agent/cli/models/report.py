"""`models report`: compare a shadow with the active model; the same text as after a replay."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from edge_agent.cli.api_client import add_url, daemon_url, not_ours, request, shown
from edge_agent.cli.duration import duration
from edge_agent.cli.models.verb import Verb, add_json, table

if TYPE_CHECKING:
    import argparse

Report = dict[str, Any]

_LATENCY: Final = {"p50": "latency p50, ms", "p99": "latency p99, ms"}
_ROWS: Final = {
    "version": "version",
    "windows": "windows scored",
    "not_a_number": "no number",
    "failed": "failed",
    "alarms": "would-be alarms",
}


def report_lines(report: Report) -> list[str]:
    """The report for a terminal."""
    reason = f": {shown(report['reason'])}" if report["reason"] else ""
    lines = [f"{shown(report['model'])}: shadow {report['state']}{reason}", "", *_sides(report), ""]
    outcomes, compared = report["outcomes"], report["compared"]
    if not compared:
        return [*lines, "no windows compared"]
    correlation = _figure(report["correlation"])
    counts = ", ".join(f"{name.replace('_', ' ')} {n}" for name, n in outcomes.items())
    over = duration((report["to_ms"] - report["from_ms"]) / 1000)
    lines += [
        f"{compared} windows compared over {over}, {report['skipped']} left out",
        f"alarm active: {counts}",
        f"agreement {report['agreement']:.2%}, correlation of levels {correlation}",
    ]
    for asset, why in report["lacking"].items():
        lines.append(f"{shown(asset)}: the candidate cannot serve it: {shown(why)}")
    return [*lines, "", *_worst(report)]


def _sides(report: Report) -> list[str]:
    sides = [side for side in (report["active"], report["candidate"]) if side]
    head = ["", *(["ACTIVE"] if report["active"] else []), "CANDIDATE"]
    rows = [[text, *(shown(side[key]) for side in sides)] for key, text in _ROWS.items()]
    rows += [
        [text, *(_figure(side["latency_ms"][key]) for side in sides)]
        for key, text in _LATENCY.items()
    ]
    return table([head, *rows]).splitlines()


def _worst(report: Report) -> list[str]:
    """The assets on which the two versions differ most."""
    columns = ("compared", "both", "only_active", "only_candidate")
    head = ["ASSET", *(name.replace("_", " ").upper() for name in columns), "LEVELS APART"]
    rows = [
        [shown(row["asset"]), *(str(row[name]) for name in columns), _figure(row["level_apart"])]
        for row in report["worst"]
    ]
    return table([head, *rows]).splitlines()


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _declare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", metavar="NAME")
    parser.add_argument(
        "-c", "--config", type=Path, metavar="FILE", help="the config of the daemon"
    )
    add_url(parser)
    parser.set_defaults(url=None)
    add_json(parser)


def _run(args: argparse.Namespace) -> int:
    url = daemon_url(args)
    report = request(url, f"/api/models/{quote(args.bundle, safe='')}/report")
    if args.json:
        print(json.dumps(report, ensure_ascii=False))
        return 0
    try:
        lines = report_lines(report)
    except (KeyError, TypeError, AttributeError, ValueError):
        raise not_ours(url) from None
    print("\n".join(lines))
    return 0


VERBS: Final = {
    "report": Verb(
        "compare the shadow of a model with the active version",
        "edge-agent models report pump --json",
        _declare,
        _run,
    ),
}
