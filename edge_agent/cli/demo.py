"""`edge-agent demo`: the whole product on this machine, without other software."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from edge_agent.errors import UsageError

if TYPE_CHECKING:
    import argparse

HELP = (
    "Show the product here: a simulated pump station over MQTT and OPC UA, a daemon that\n"
    "monitors some pumps with a shipped model and learns the healthy state of the others,\n"
    "faults, and the alarms that detect them. Ctrl-C ends it."
)
EXAMPLE = "edge-agent demo --seconds 60"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare how long the demo runs."""
    parser.add_argument(
        "--seconds",
        type=float,
        metavar="N",
        help="end after N seconds (at least 45; longer if the machine learns too slowly) "
        "with one summary line; exit code 1 unless every fault raised its alarm in time, with the "
        "right input first, and there was no false alarm",
    )
    parser.add_argument(
        "--with-language",
        action="store_true",
        help="also run a small language model (SmolLM2) in a process of its own, and let it say a "
        "sentence: the proof of the engine, not a voice of the product; ./scripts/demo installs it",
    )
    parser.add_argument(
        "--folder", type=Path, help="keep config, log, store and the learned model there"
    )


def run(args: argparse.Namespace) -> int:
    """Run the demo; 0 if every fault raised its alarm and there was no false alarm."""
    # Here, not above: the help must not wait for an OPC UA server to be imported.
    from edge_agent.demo import SHORTEST_S, run_demo  # noqa: PLC0415

    if args.seconds is not None and args.seconds < SHORTEST_S:
        raise UsageError(f"--seconds {args.seconds:g} is too short: {SHORTEST_S:g} at least")
    return 0 if asyncio.run(run_demo(args.seconds, args.folder, speaks=args.with_language)) else 1
