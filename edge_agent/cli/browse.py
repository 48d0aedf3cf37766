"""`edge-agent browse`: list the variables of an OPC UA server, and print the config for them."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from edge_agent.cli.api_client import shown
from edge_agent.cli.endpoint import add_login, add_source, found_text, login_keys, opcua_source
from edge_agent.cli.findings import positive_seconds
from edge_agent.cli.models.verb import table
from edge_agent.config import render

if TYPE_CHECKING:
    import argparse

    from edge_agent.sources.opcua import Browsed, FoundNode, OpcUaSourceConfig, Proposal

HELP = """\
List the variables of an OPC UA server with type, value, unit and range, and print a config for
them: objects with the same variables become assets of one template. Nothing is written to the
server. PATTERN is a glob of browse paths (Line1/P-*/Flow) or node ids; a word without * ? [ is
a search. In a pipe or file the list is written as comments, so that the output is YAML."""
EXAMPLE = """\
edge-agent browse plc 'Line1/*' -c edge-agent.yaml
  edge-agent browse opc.tcp://192.168.0.10:4840 > plant.yaml
  EDGE_AGENT_PASSWORD=... edge-agent browse opc.tcp://plc:4840 --user reader \\
    --policy Basic256Sha256 --certificate client.der --key client.pem --pin plc.der"""

_COLUMNS: Final = ("NODE", "TYPE", "VALUE", "STATUS", "UNIT", "RANGE", "PATH")
_MAX_LISTED: Final = 2000
_MAX_LEFT_OUT: Final = 50


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which server, which nodes, and how to print them."""
    add_source(parser, "opc.tcp://HOST:PORT", "a source of the config, or an endpoint")
    parser.add_argument("pattern", nargs="?", default="", metavar="PATTERN", help="see above")
    add_login(parser)
    parser.add_argument("--policy", help="Basic256Sha256, ...; default: no encryption")
    parser.add_argument("--mode", help="Sign or SignAndEncrypt")
    parser.add_argument("--certificate", metavar="FILE", help="our certificate")
    parser.add_argument("--key", metavar="FILE", help="our private key")
    parser.add_argument(
        "--pin",
        metavar="FILE",
        help="file of the server's certificate; if it does not exist, it is written",
    )
    parser.add_argument("--all", action="store_true", help="also properties and the Server object")
    parser.add_argument("--seconds", type=positive_seconds, default=120.0, help="default: 120")
    parser.add_argument("--most", type=int, metavar="N", help="read at most N variables")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--yaml", action="store_true", help="only the config")
    form.add_argument("--table", action="store_true", help="only the list")
    form.add_argument("--json", action="store_true", help="the list as JSON")


def run(args: argparse.Namespace) -> int:
    """Browse, and print."""
    name, config, is_known = opcua_source(args)
    browsed = asyncio.run(_browse(name, config, args))
    if args.json:
        nodes = [asdict(one) for one in browsed.nodes]
        print(json.dumps({"nodes": nodes, "stopped": browsed.stopped}))
    else:
        print(_text(args, name, config, browsed, is_known=is_known), end="")
    _print_summary(args, browsed)
    return 0 if browsed.nodes else 1


async def _browse(name: str, config: OpcUaSourceConfig, args: argparse.Namespace) -> Browsed:
    from edge_agent.sources.opcua import browse  # noqa: PLC0415 (the help need not load it)

    del name
    live = sys.stderr.isatty()

    def progress(seen: int) -> None:
        if live:
            print(f"\r{seen} nodes ...", end="", file=sys.stderr, flush=True)

    found = await browse(
        config,
        "browse",
        args.pattern,
        seconds=args.seconds,
        everything=args.all,
        most=args.most,
        progress=progress,
    )
    if live:
        print("\r" + " " * 30 + "\r", end="", file=sys.stderr)
    return found


def _print_summary(args: argparse.Namespace, browsed: Browsed) -> None:
    """Print on stderr how many variables were found, and if the list is complete."""
    print(f"{len(browsed.nodes)} variables among {browsed.seen} nodes", file=sys.stderr)
    if browsed.stopped:
        hint = "give a PATTERN such as 'Line1/*', or more --seconds"
        print(f"not complete: stopped {browsed.stopped} ({hint})", file=sys.stderr)
    if not browsed.nodes:
        hint = (
            "does this user have the right to see them?"
            if not args.pattern
            else "is the PATTERN right?"
        )
        print(f"no variable found ({hint})", file=sys.stderr)


def _text(
    args: argparse.Namespace,
    name: str,
    config: OpcUaSourceConfig,
    browsed: Browsed,
    *,
    is_known: bool,
) -> str:
    from edge_agent.sources.opcua import propose  # noqa: PLC0415

    def config_text() -> str:
        node = config.node if is_known else None
        proposal = propose(browsed.nodes, name if is_known else "", node)
        return _yaml(args, name, proposal, is_known=is_known)

    return found_text(args, _listed(browsed.nodes), config_text)


def _listed(nodes: list[FoundNode]) -> list[str]:
    rows = [
        (
            shown(one.address),
            f"{one.type}[]" if one.array else one.type,
            shown(one.value),
            one.status,
            shown(one.unit),
            "" if one.low is None else f"{one.low:g}..{one.high:g}",
            shown("/".join(one.path)),
        )
        for one in nodes[:_MAX_LISTED]
    ]
    lines = table([_COLUMNS, *rows]).splitlines() if rows else []
    more = len(nodes) - _MAX_LISTED
    return [*lines, f"and {more} more"] if more > 0 else lines


def _yaml(args: argparse.Namespace, name: str, proposal: Proposal, *, is_known: bool) -> str:
    tree: dict[str, Any] = {}
    if not is_known:
        tree["sources"] = {name: source_keys(args, proposal.node)}
    tree["templates"] = proposal.templates
    tree["assets"] = proposal.assets
    notes = [f"# left out: {shown(line)}" for line in proposal.left_out[:_MAX_LEFT_OUT]]
    more = len(proposal.left_out) - _MAX_LEFT_OUT
    if more > 0:
        notes.append(f"# left out: {more} more")
    if not proposal.templates:
        return "".join(f"{line}\n" for line in notes)
    shown_notes = {path: shown(text) for path, text in proposal.notes.items()}
    return "".join(f"{line}\n" for line in notes) + render(tree, shown_notes)


def source_keys(args: argparse.Namespace, node: str) -> dict[str, Any]:
    """The source of a config that connects in the same way as this command."""
    keys: dict[str, Any] = {"type": "opcua", "url": args.source}
    security = {
        "policy": args.policy,
        "mode": args.mode,
        "certificate": args.certificate,
        "private_key": args.key,
        "server_certificate": args.pin,
    }
    if args.policy:
        keys["security"] = {key: value for key, value in security.items() if value}
    keys |= login_keys(args)
    return keys | ({"node": node} if node else {})
