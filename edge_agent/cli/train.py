"""`edge-agent train`: a model from recordings, by a recipe of the factory."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edge_agent.errors import EdgeAgentError

if TYPE_CHECKING:
    from edge_agent.factory import Job

HELP = """\
Train a model, from raw recordings to a verified bundle.

RECIPE is a YAML file in the folder of your recordings (docs/factory.md), or one of

  turbofan-life  remaining life of turbofan engines; recordings cmapss/*FD001.txt
  bearing-fault  which part of a rolling bearing is damaged; recordings cwru/*.npz
  demo-pump      the healthy state of the demo's simulated pumps
  demo-mixer     a forecaster as anomaly detector for the same pumps

It needs the extra `compress`. Finished stages are kept in the work folder: if a run was killed,
start it again and it continues from the last finished stage."""
EXAMPLE = "edge-agent train my-pump.yaml --output /var/lib/edge-agent/models"
_EXTRA: Final = "pip install 'edge-agent-pdm[compress]', torch first: docs/factory.md"
_INTERRUPTED: Final = 130
# One thread computes the same sums every time; no telemetry, no downloads.
_ENVIRONMENT: Final = {
    "OMP_NUM_THREADS": "1",
    "ORT_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
}
# option, its default and its help
_FOLDERS: Final = (
    ("--data", None, "folder of the recordings, if RECIPE is a name (default: EDGE_AGENT_DATA)"),
    ("--work", "build/factory", "where finished stages are kept (default: build/factory)"),
    ("--output", "models", "the bundle is written to DIR/NAME (default: models)"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("recipe", metavar="RECIPE", help="a recipe's name, or its YAML file")
    parser.add_argument("--seed", type=int, default=1, help="the first seed (default: 1)")
    parser.add_argument(
        "--seeds", type=_positive, default=1, metavar="N", help="how many times to train"
    )
    for flag, default, text in _FOLDERS:
        start = default and Path(default)
        parser.add_argument(flag, type=Path, default=start, metavar="DIR", help=text)


def run(args: argparse.Namespace) -> int:
    """Train, and print the bundle's card."""
    # Before numpy and torch are imported, which read it once.
    os.environ.update(_ENVIRONMENT)
    from edge_agent.factory import missing_packages, train  # noqa: PLC0415

    job = _job(args)
    _ = job.file  # an unknown recipe is refused before a missing package
    if missing := missing_packages(job.model):
        named = ", ".join(missing)
        raise EdgeAgentError(f"not installed: {named}", where="edge-agent train", hint=_EXTRA)
    try:
        folder = train(job)
    except KeyboardInterrupt:
        print("interrupted: finished stages are kept; run it again to continue", file=sys.stderr)
        return _INTERRUPTED
    print((folder / "card.md").read_text("utf-8"))
    return 0


def _job(args: argparse.Namespace) -> Job:
    from edge_agent.factory import Job  # noqa: PLC0415

    named = os.environ.get("EDGE_AGENT_DATA")
    return Job(
        model=args.recipe,
        seeds=tuple(range(args.seed, args.seed + args.seeds)),
        data=args.data or (Path(named) if named else None),
        work=args.work,
        output=args.output,
        command=_command(args),
        report=lambda line: print(line, file=sys.stderr, flush=True),
    )


def _command(args: argparse.Namespace) -> str:
    """The command that builds the same bundle again, without its folders."""
    words = ["edge-agent", "train", args.recipe]
    words += ["--seed", str(args.seed)] * (args.seed != 1)
    words += ["--seeds", str(args.seeds)] * (args.seeds != 1)
    return shlex.join(words)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number
