"""`edge-agent check`: every problem of a config at once."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from edge_agent.config import ConfigErrors, Plant, warnings

if TYPE_CHECKING:
    import argparse

    from edge_agent.config import Config

HELP = "List every problem of a config with its file and line. Nothing is started or changed."
EXAMPLE = "edge-agent check -c /etc/edge-agent/edge-agent.yaml --connect"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The config file, and whether to try its endpoints."""
    parser.add_argument("-c", "--config", required=True, type=Path, metavar="FILE")
    parser.add_argument("--connect", action="store_true", help="also try to reach every endpoint")


def run(args: argparse.Namespace) -> int:
    """Print problems and warnings to stderr, or one line about a config that is sound."""
    # Here, not above: the help must not wait for ONNX Runtime.
    from edge_agent.daemon import find_problems  # noqa: PLC0415

    config, problems = find_problems(args.config)
    for problem in problems:
        print(problem, file=sys.stderr)
    if config is None:
        return ConfigErrors.exit_code
    for warning in warnings(config):
        print(f"warning: {warning}", file=sys.stderr)
    print(f"config ok: {_summary(config)}")
    return _connect(config) if args.connect else 0


def _connect(config: Config) -> int:
    """Try every endpoint; one line each."""
    from edge_agent.daemon import try_endpoints  # noqa: PLC0415

    results = asyncio.run(try_endpoints(config))
    for name, error in results:
        print(f"{name}: {error or 'ok'}")
    return 1 if any(error for _, error in results) else 0


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
