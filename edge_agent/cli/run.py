"""`edge-agent run`: the daemon."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

HELP = "run the daemon until SIGTERM; SIGHUP reads the config again"
EXAMPLE = "edge-agent run -c /etc/edge-agent/edge-agent.yaml"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("-c", "--config", required=True, type=Path, help="the config (YAML)")


def run(args: argparse.Namespace) -> int:
    """Run until told to stop."""
    # Here, not above: the help of all commands must not wait for ONNX Runtime.
    from edge_agent.daemon import Daemon, load_config  # noqa: PLC0415
    from edge_agent.ops import logs  # noqa: PLC0415

    config = load_config(args.config)
    logs.setup(config.log.level, json=config.log.json)
    asyncio.run(_run(Daemon, config, args.config))
    return 0


async def _run(daemon: type, config: object, path: Path) -> None:
    await daemon(config, path=path).run()
