"""`edge-agent check`: every problem of a config at once."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from edge_agent.cli.findings import as_json, failed, lines, look, positive_seconds, refuse
from edge_agent.cli.waiting import waiting
from edge_agent.config import warnings
from edge_agent.findings import error, warning
from edge_agent.plant import Plant

if TYPE_CHECKING:
    import argparse

    from edge_agent.config.schema import Config

HELP = """\
List every problem of a config with its file and line. Nothing is started or changed.
--connect also checks every endpoint, every OPC UA node (read once), every MQTT topic (awaited),
clocks, certificates, and files that must be writable. A running daemon is not disturbed.
Exit code 1 if there is an error; 0 with warnings only."""
EXAMPLE = "edge-agent check -c /etc/edge-agent/edge-agent.yaml --connect"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The config file, and whether to try its endpoints."""
    parser.add_argument("-c", "--config", required=True, type=Path, metavar="FILE")
    parser.add_argument(
        "--connect", action="store_true", help="also try every endpoint, node and topic"
    )
    parser.add_argument(
        "--seconds",
        type=positive_seconds,
        default=5.0,
        metavar="N",
        help="with --connect: how long to wait for each MQTT topic (default: 5)",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")


def run(args: argparse.Namespace) -> int:
    """Print problems and warnings to stderr, or one line if the config is correct."""
    # Here, not above: the help must not wait for ONNX Runtime.
    from edge_agent.daemon import find_problems  # noqa: PLC0415

    config, problems = find_problems(args.config)
    if config is None:
        return refuse(problems, json=args.json)
    if args.connect:
        return _connect(config, args)
    from edge_agent.alarms import unknown_modes  # noqa: PLC0415
    from edge_agent.daemon import certificate_problems  # noqa: PLC0415

    errors, soon = certificate_problems(config)
    said = [*warnings(config), *unknown_modes(config), *soon]
    if args.json:
        found = [error("certificate", text) for text in errors]
        print(as_json([*found, *(warning("config", text) for text in said)]))
        return 1 if errors else 0
    for text in errors:
        print(f"error: {text}", file=sys.stderr)
    for text in said:
        print(f"warning: {text}", file=sys.stderr)
    if errors:
        return 1
    print(f"config ok: {_summary(config)}")
    return 0


def _connect(config: Config, args: argparse.Namespace) -> int:
    """Try every endpoint, node and topic of the config; one line per finding, the worst first."""
    if not args.json:
        print(f"config ok: {_summary(config)}")
        print("reading nodes, waiting for topics ...", file=sys.stderr, flush=True)
    with waiting("asking servers and brokers"):
        found = look(config, args.config, args.seconds, deep=False)
    print(as_json(found) if args.json else "\n".join(lines(found)))
    return 1 if failed(found) else 0


def _summary(config: Config) -> str:
    plant = Plant(config)
    bundles = {use.bundle for template in config.templates.values() for use in template.models}
    counts = {
        "source": len(config.sources),
        "sink": len(config.sinks),
        "template": len(config.templates),
        "asset": len(plant.assets),
        "signal": len(plant.signals),
        "model": len(bundles),
    }
    return ", ".join(f"{n} {noun}{'' if n == 1 else 's'}" for noun, n in counts.items())
