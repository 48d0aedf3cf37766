"""`edge-agent notify`: list the routes of a config, and send a test message over one."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING

from edge_agent.config.types import Name
from edge_agent.errors import EdgeAgentError, UsageError

if TYPE_CHECKING:
    import argparse

    from edge_agent.config.schema import Config

HELP = """\
Messages to people (docs/notifications.md): `list` shows the routes of a config, `test ROUTE` sends
one test message over a route and says what its receiver answers. No daemon is needed, and a running
one is not disturbed. Quiet hours do not hold a test back."""
EXAMPLE = "edge-agent notify test shift -c /etc/edge-agent/edge-agent.yaml"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to do, and with which config."""
    parser.add_argument("action", choices=("list", "test"), help="list routes, or test one")
    parser.add_argument("route", nargs="?", default="", metavar="ROUTE", help="of notify.routes")
    parser.add_argument("-c", "--config", required=True, type=Path, metavar="FILE")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")


def run(args: argparse.Namespace) -> int:
    """List routes, or send a test message; 1 if it was not confirmed."""
    # Here, not above: the help must not wait for the daemon's libraries.
    from edge_agent.daemon import load_config  # noqa: PLC0415

    config = load_config(args.config, files=False, live=False)
    if args.action == "list":
        return _list(config, as_json=args.json)
    if args.route not in config.notify.routes:
        known = ", ".join(config.notify.routes) or "none: write notify.routes"
        raise UsageError(f"there is no route {args.route!r}", hint=f"routes: {known}")
    return _test(config, args.route, as_json=args.json)


def _list(config: Config, *, as_json: bool) -> int:
    for name, route in config.notify.routes.items():
        quiet = [f"{one.start}-{one.end} {','.join(one.days)}" for one in route.quiet]
        row = {
            "route": name,
            "sink": route.sink,
            "severity": route.severity,
            "assets": list(route.assets),
            "quiet": quiet,
            "escalate_to": route.escalate_to,
        }
        if as_json:
            print(json.dumps(row))
        else:
            then = f", then {route.escalate_to}" if route.escalate_to else ""
            hours = f", quiet {'; '.join(quiet)}" if quiet else ""
            assets = ", ".join(route.assets)
            print(f"{name}: {route.sink}, severity {route.severity}+, {assets}{hours}{then}")
    return 0


def _test(config: Config, name: str, *, as_json: bool) -> int:
    from edge_agent.delivery import send_test  # noqa: PLC0415

    sink = config.notify.routes[Name(name)].sink
    try:
        seconds, error = asyncio.run(send_test(config, name)), ""
    except EdgeAgentError as problem:
        seconds, error = 0.0, str(problem)
    if as_json:
        print(json.dumps({"route": name, "sink": sink, "ok": not error, "error": error}))
    elif error:
        print(f"route {name}: NOT delivered by sink {sink}: {error}")
    else:
        print(f"route {name}: the receiver of sink {sink} has taken it after {seconds:.1f} s")
    return 1 if error else 0
