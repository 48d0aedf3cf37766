"""`edge-agent train`: a model from recordings, by a recipe of the factory."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edge_agent.cli.learn import baseline_row, listen_recording, report_baseline
from edge_agent.cli.progress import clear_progress
from edge_agent.cli.recordings import (
    add_condition_arguments,
    add_config_arguments,
    add_labelled_argument,
    add_recording_arguments,
    config_of_recording,
    labelled_set,
    with_conditions,
)
from edge_agent.errors import EdgeAgentError, UsageError

if TYPE_CHECKING:
    from edge_agent.config.schema import Config
    from edge_agent.factory import Job
    from edge_agent.learning import TrainedBaseline

HELP = """\
Train a model, from raw recordings to a verified bundle.

RECIPE is a YAML file in the folder of your recordings (docs/factory.md) or, with `kind: pictures`,
of your labelled pictures (docs/cameras.md), or one of

  turbofan-life  remaining life of turbofan engines; recordings cmapss/*FD001.txt
  bearing-fault  which part of a rolling bearing is damaged; recordings cwru/*.npz
  demo-pump      the healthy state of the demo's simulated pumps
  demo-mixer     a forecaster as anomaly detector for the same pumps
  history        the healthy state of an asset from a recording of it, as `edge-agent learn` does:
                 networks (a mixer, a forecaster) compete with the learned chart in held-out time.
                 The result becomes the shadow of the active baseline and raises no alarm

It needs the extra `compress`; of pictures, the extra `pictures` alone. Finished stages are kept in
the work folder: if a run was killed, start it again and it continues from the last finished stage
(not of `history`).

edge-agent train history -c edge-agent.yaml --asset P-101 --input last-month.csv"""
EXAMPLE = "edge-agent train my-pump.yaml --output /var/lib/edge-agent/models"
_ONE_LINE: Final = "edge-agent train history --asset P-101 --input healthy.csv"
_EXTRA: Final = "pip install 'edge-agent-pdm[compress]', torch first: docs/factory.md"
_PICTURES: Final = "pip install 'edge-agent-pdm[pictures]'"
_INTERRUPTED: Final = 130
# One thread computes the same sums every time; no telemetry, no downloads.
_ENVIRONMENT: Final = {
    "OMP_NUM_THREADS": "1",
    "ORT_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
}
_SHADOW: Final = (
    "{version} scores in parallel with the active baseline, without alarms.",
    "Compare them with `edge-agent models report {name}`; then `models activate`.",
)
_ON_SHELF: Final = (
    "{version} is on the shelf: these assets have no baseline that it could shadow.",
    "Learn one with `edge-agent learn`, then `edge-agent models shadow`.",
)
_HISTORY: Final = "history"
_CANDIDATES: Final = ("chart", "mixer", "forecaster")
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
    parser.add_argument("--json", action="store_true", help="one JSON object: what was trained")
    _add_history_arguments(parser)


def _add_history_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("the recipe history")
    group.add_argument("--asset", default="", help="an asset, or a pattern: 'P-*'")
    group.add_argument("--input", type=Path, help="healthy data: a CSV file, or a pattern")
    group.add_argument(
        "--candidates",
        nargs="+",
        choices=_CANDIDATES,
        default=_CANDIDATES,
        metavar="NAME",
        help=f"of {', '.join(_CANDIDATES)}; default: all. Without chart, the best network is taken",
    )
    add_config_arguments(parser)
    add_condition_arguments(parser)
    add_labelled_argument(parser)
    add_recording_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Train, and print the bundle's card."""
    # Before numpy and torch are imported, which read it once.
    os.environ.update(_ENVIRONMENT)
    from edge_agent.factory import train  # noqa: PLC0415

    if args.recipe == _HISTORY:
        return asyncio.run(_train_history(args))
    job = _job(args)
    _ = job.file  # an unknown recipe is refused before a missing package
    _refuse_missing(job.model)
    try:
        folder = train(job)
    except KeyboardInterrupt:
        print("interrupted: finished stages are kept; run it again to continue", file=sys.stderr)
        return _INTERRUPTED
    card = (folder / "card.md").read_text("utf-8")
    print(json.dumps({"bundle": str(folder), "card": card}) if args.json else card)
    return 0


def _refuse_missing(model: str) -> None:
    from edge_agent.factory import missing_packages  # noqa: PLC0415

    if missing := missing_packages(model):
        named = ", ".join(missing)
        hint = _PICTURES if "PIL" in missing or "efficientnet" in named else _EXTRA
        raise EdgeAgentError(f"not installed: {named}", where="edge-agent train", hint=hint)


async def _train_history(args: argparse.Namespace) -> int:
    """Read the recording as `learn` does, train, and start the shadow."""
    from edge_agent.daemon import BaselineTraining  # noqa: PLC0415
    from edge_agent.factory import History  # noqa: PLC0415
    from edge_agent.ops import logs  # noqa: PLC0415

    if not args.asset or args.input is None:
        raise UsageError("--asset and --input are required", where="train history", hint=_ONE_LINE)
    if set(args.candidates) != {_CANDIDATES[0]}:
        _refuse_missing(_HISTORY)
    config = with_conditions(config_of_recording(args, files=False), args)
    logs.setup("warning")
    training = BaselineTraining(config, args.asset)
    training.labelled = labelled_set(args, config)
    listen_recording(training, config, args)
    clear_progress()
    history = History(tuple(args.candidates), args.seed, _command(args), _report)
    found = await training.learn(history.train_baseline, waves=False)
    rows = [_start_shadow(config, one, says=not args.json) for one in found]
    if args.json:
        print(json.dumps({"trained": rows, "refused": training.refused}, ensure_ascii=False))
    for asset, reason in training.refused.items():
        print(f"{asset}: not trained: {reason}", file=sys.stderr)
    return 0


def _start_shadow(config: Config, trained: TrainedBaseline, *, says: bool) -> dict[str, Any]:
    """Let it score in parallel with the active baseline; says: print what becomes of it."""
    from edge_agent.factory import start_shadow  # noqa: PLC0415

    version = f"{trained.name}@{trained.manifest.version}"
    if says:
        report_baseline(version, trained)
    is_shadow = start_shadow(config.models_dir, trained)
    if says:
        for line in _SHADOW if is_shadow else _ON_SHELF:
            print(line.format(version=version, name=trained.name))
    return baseline_row(trained, config) | {"shadow": is_shadow}


def _report(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


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
        report=_report,
    )


def _command(args: argparse.Namespace) -> str:
    """The command that builds the same bundle again, without its folders."""
    words = ["edge-agent", "train", args.recipe]
    if args.recipe == _HISTORY:
        words += ["--asset", args.asset, "--input", args.input.name]
        words += ["--candidates", *args.candidates] * (tuple(args.candidates) != _CANDIDATES)
    words += ["--seed", str(args.seed)] * (args.seed != 1)
    words += ["--seeds", str(args.seeds)] * (args.seeds != 1)
    return shlex.join(words)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number
